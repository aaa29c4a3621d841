package engine

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/audit"
	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
)

// This file serves people who look at a space: nothing else relies on it.

// Inspect runs fn while the space cannot be closed. A memory fault in fn, which a
// file that was cut can cause, becomes an error.
func (sp *Space) Inspect(fn func() error) error { return sp.Within(fn) }

// Check verifies everything that the newest version can reach, that no block of it is listed as
// free, and everything that a recovery would need. If it has found nothing wrong so far, it
// verifies that indexes agree with their maps.
func (sp *Space) Check(ctx context.Context) (*check.Report, error) {
	report, err := sp.audit().Check(ctx)
	if err != nil || len(report.Findings) > 0 {
		return report, err
	}
	err = sp.look(func(tx *Tx) error {
		return indexing.Verify(&tx.Editor, func(object uint64, what string) {
			report.Add(check.Finding{Object: object, What: what})
		})
	})
	if failure.Damaged(err) {
		report.Add(check.Finding{What: "the indexes cannot be compared with their maps: " + err.Error()})
		err = nil
	}
	return report, err
}

// Place returns the file of a finding, and the offset in it.
func (sp *Space) Place(f check.Finding) (file string, offset int64) {
	if f.File != "" {
		return filepath.Join(sp.Dir(), f.File), f.Offset
	}
	return sp.HeapFile(f.Addr)
}

// audit returns an audit of the space.
func (sp *Space) audit() *audit.Audit {
	return audit.Of(&sp.Member, &sp.durable, sp.store.Shape, sp.Changes.VerifyAside)
}

// Status is the state of a space at a moment.
type Status struct {
	Version   format.Version
	Committed time.Time // when the version was committed
	Anchored  format.Version
	Durable   format.Version   // the newest version that survives power loss
	Journal   format.ByteCount // how much of the journal a recovery would read, in whole segments
	Objects   uint64
	Live      format.ByteCount // blocks that the version can reach
	Carved    uint64           // offset below which space is reserved
	MaxSize   uint64           // the most bytes that the space may hold
	Reserved  format.ByteCount // by living processes, not published yet
	Leaked    format.ByteCount // estimate of what the next sweep finds
	Free      format.ByteCount // in the lists of this process; 0 while it writes
	Waiting   format.ByteCount // freed by this process, not yet reusable; 0 while it writes
	File      int64            // length of the heap file
	Disk      int64            // bytes that the files take
	Failure   error            // the last failure of the background
	Failed    bool             // a sync failed: the space refuses writes
	Processes int
	Collected collect.Collection // by the last collection of this process
}

// Status reads the state of the space. It waits for nothing.
func (sp *Space) Status() (s Status, err error) {
	err = sp.Inspect(func() error {
		tx, err := sp.View()
		if err != nil {
			return err
		}
		defer tx.DropView()
		w := sp.Live.Words()
		s.Version, s.Committed = tx.Version(), time.Unix(0, int64(tx.State.UnixNano))
		s.Anchored = sp.Live.NewestAnchor()
		s.Durable = max(s.Anchored, format.Version(w.Durable.Load()))
		s.Journal = sp.Live.JournalBytes(s.Anchored)
		s.Objects, s.Live = tx.State.Objects, format.ByteCount(tx.State.BlockBytes)
		s.Carved, s.MaxSize = w.Carved.Load(), w.Limit.Load()
		s.Leaked, s.Failed = format.ByteCount(w.Leaked.Load()), w.Failed.Load() != 0
		counted := sp.Queue.TryLock() // if not, a transaction uses the lists
		if counted {
			h := sp.Heap.Stats()
			sp.Queue.Unlock()
			s.Free, s.Waiting = h.Free, h.Waiting
		}
		for _, p := range sp.Live.Processes() {
			s.Processes++
			if p.Self && counted {
				p.Reserved = s.Free + s.Waiting // the entry of this process has an older number
			}
			s.Reserved += p.Reserved
		}
		s.Collected = sp.collections.Last()
		s.Failure = sp.Failure()
		if info, err := sp.Files.Locks.Stat(); err == nil {
			s.File = info.Size()
		}
		s.Disk = spacefile.DiskIn(sp.Files.Dir)
		return nil
	})
	return s, err
}

// Member is a process that has the space open.
type Member struct {
	live.Process
	Stopped bool // the system says so, or its transaction has no heartbeat
}

// heartPause is how long Members watches a heartbeat, which comes every 25 ms.
const heartPause = 100 * time.Millisecond

// Members lists the processes that have the space open, in the order in which they opened it. If
// one of them writes, Members takes heartPause to see whether that process makes progress.
func (sp *Space) Members() (list []Member, err error) {
	err = sp.Inspect(func() error {
		before := map[format.Incarnation]uint64{}
		for _, p := range sp.Live.Processes() {
			list = append(list, Member{p, member.Stopped(p)})
			if p.Writing && !p.Self {
				before[p.Incarnation] = sp.heartbeat(p.Incarnation)
			}
		}
		if len(before) == 0 {
			return nil
		}
		time.Sleep(heartPause)
		owner := sp.Live.Words().Owner.Load()
		for i, p := range list {
			beat, ok := before[p.Incarnation]
			if ok && owner == uint64(p.Incarnation) && sp.heartbeat(p.Incarnation) == beat {
				list[i].Stopped = true
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Member) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.PID, b.PID)) })
	return list, err
}

// heartbeat reads the heartbeat of a member.
func (sp *Space) heartbeat(i format.Incarnation) uint64 {
	return sp.Live.Words().Processes[i.Entry()].Heartbeat.Load()
}

// Look reads what the files tell about the space in a directory without opening it, and returns the
// absolute path of the directory.
func Look(dir string) (spacefile.Outline, string, error) {
	o, err := spacefile.Look(dir)
	if err != nil {
		err = openError(dir, err)
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return o, dir, err
}
