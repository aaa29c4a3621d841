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

// What is in this file is for people who look at a space: nothing rests on it.

// Inspect runs fn while the space cannot be closed. A memory fault in fn, which a
// file that was cut can cause, becomes an error.
func (sp *Space) Inspect(fn func() error) error { return sp.Within(fn) }

// Check verifies everything that the newest version can reach; that nothing of it is
// listed as free; what a recovery would need; and, if nothing is wrong so far, that indexes agree
// with their maps.
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
		report.Add(check.Finding{What: "the indexes cannot be compared with what they are of: " + err.Error()})
		err = nil
	}
	return report, err
}

// Place returns where a finding is: a file, and the offset in it.
func (sp *Space) Place(f check.Finding) (file string, offset int64) {
	if f.File != "" {
		return filepath.Join(sp.Dir(), f.File), f.Offset
	}
	return sp.HeapFile(f.Addr)
}

// audit returns what checks the space.
func (sp *Space) audit() *audit.Audit {
	return audit.Of(&sp.Member, &sp.durable, sp.store.Shape, sp.Changes.VerifyAside)
}

// Status is the state of a space at a moment.
type Status struct {
	Version   format.Version
	Committed time.Time // of the version
	Anchored  format.Version
	Durable   format.Version   // the newest version that survives power loss
	Journal   format.ByteCount // of the journal that a recovery would read, in whole segments
	Objects   uint64
	Live      format.ByteCount // blocks that the version can reach
	Carved    uint64           // offset below which space is reserved
	MaxSize   uint64           // the most bytes that the space may hold
	Reserved  format.ByteCount // by living processes, and not published
	Leaked    format.ByteCount // estimate of what the next sweep finds
	Free      format.ByteCount // in this process's lists; 0 while it writes
	Waiting   format.ByteCount // freed by this process, not yet reusable; 0 while it writes
	File      int64            // length of the heap file
	Disk      int64            // bytes that the files take
	Failure   error            // of the background's last failure
	Failed    bool             // a sync failed: no more writing
	Processes int
	Collected collect.Collection // the last collection of this process
}

// Status looks at the space. It waits for nobody.
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
		counted := sp.Queue.TryLock() // else a transaction uses the lists
		if counted {
			h := sp.Heap.Stats()
			sp.Queue.Unlock()
			s.Free, s.Waiting = h.Free, h.Waiting
		}
		for _, p := range sp.Live.Processes() {
			s.Processes++
			if p.Self && counted {
				p.Reserved = s.Free + s.Waiting // its entry says how much it was a while ago
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
	Stopped bool // the system says that it is stopped, or its transaction's heart stands still
}

// heartPause is how long a heart that beats every 25 ms is listened to.
const heartPause = 100 * time.Millisecond

// Members lists the processes that have the space open, by the time at which they opened it. If one of them writes, it
// takes a moment to see whether that one moves.
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

// Look reads what can be told of the space in a directory without opening it, and returns the
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
