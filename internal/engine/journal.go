package engine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

const (
	spoolBytes = 128 << 10 // logged by this process: then they are written, without a sync
	pieceBytes = 1 << 20   // copied before they are written
)

// journaling is this process's part in writing the journal.
//
// Commits only name their changes (heap.Txn.Log). Whoever leads the journal, in
// whatever process, copies the changes of all versions that are not written yet,
// and writes them to the file: soon, so that the blocks which they name can be
// reused while they are in the caches; and makes them durable when somebody waits
// for that, or after the flush interval. One sync serves all that wait.
type journaling struct {
	sync.Mutex // writing: one goroutine of the process at a time
	file       mapping.File
	id         mapping.FileID
	losses     atomic.Uint64 // of the journal, that this process was told of
	writer     *journal.Writer
	states     []format.Addr // of the versions to be written, newest first
	ops        []byte        // of one record

	wish    chan struct{} // spooling is due
	pending uint64        // bytes logged since the last wish; of whoever has the queue

	syncTime time.Duration // of the last sync, by whoever leads

	round struct {
		sync.Mutex
		done chan struct{} // of the round that a goroutine of this process leads; nil: none
	}
}

var (
	errMoved    = errors.New("another process has written the records meanwhile")
	errUnlisted = errors.New("a version does not list its changes")
)

// openJournal opens the journal file.
func (sp *Space) openJournal() (err error) {
	if sp.Guest {
		return sp.openGuestJournal()
	}
	mode, created := os.O_RDWR, false
	if sp.ReadOnly {
		mode = os.O_RDONLY
	}
	sp.journal.file, err = sp.Files.OpenFile(journal.FileName, mode, 0)
	if errors.Is(err, os.ErrNotExist) {
		if alone, aloneErr := sp.Files.Alone(); !sp.ReadOnly && (aloneErr != nil || !alone) { // F4
			return errors.Join(fmt.Errorf("%w: %s is not there, and other processes have the space open; close it there first", ErrReplaced, sp.Files.Join(journal.FileName)), aloneErr)
		}
		if w := sp.Live.Words(); w.Recovering.Load() != 0 && w.Clean.Load() == 0 {
			return spacefile.ErrNoJournal
		}
		if sp.journal.file, err = sp.Files.OpenFile(journal.FileName, os.O_RDWR|os.O_CREATE, sp.Files.Perm()); err == nil {
			err = sp.Files.SyncNames()
		}
		created = err == nil && !sp.ReadOnly
	}
	if err != nil {
		return err
	}
	sp.journal.writer = journal.NewWriter(sp.journal.file, sp.Live, sp.Head.SpaceID)
	sp.lookForDoubt()
	return sp.settleJournal(created)
}

// release gives up the segment that this process writes.
func (j *journaling) release() {
	j.Lock()
	defer j.Unlock()
	j.writer.Release()
}

// noteLogged counts what a commit has logged, and reports whether it is so much
// that it should be written. The caller has the queue.
func (sp *Space) noteLogged(bytes uint64) bool {
	j := &sp.journal
	if j.pending += bytes + uint64(format.RecordHeadSize); j.pending < spoolBytes {
		return false
	}
	j.pending = 0
	return true
}

// runJournal writes and syncs what was committed, in the background: twice in the
// flush interval, so that nothing gets older than that before it is on disk.
func (sp *Space) runJournal() {
	defer sp.Done.Done()
	interval := sp.options.FlushInterval
	if interval == 0 {
		interval = DefaultFlushInterval
	}
	ticker := time.NewTicker(max(interval/2, time.Millisecond))
	defer ticker.Stop()
	var retry time.Time
	for {
		write := sp.flushSoon
		select {
		case <-sp.Quit:
			return
		case <-sp.journal.wish:
			write = sp.spool
		case <-ticker.C:
		}
		if !sp.inBackground(write, &retry) {
			return
		}
	}
}

// inBackground writes the journal, unless that has failed a moment ago. It reports false in a
// fork, whose runtime runs what waits for the parent's timers.
func (sp *Space) inBackground(write func() error, retry *time.Time) bool {
	if sp.Forked() {
		return false
	}
	if time.Now().Before(*retry) {
		return true
	}
	if err := write(); err != nil {
		sp.Note(err)
		*retry = time.Now().Add(time.Second)
	}
	return true
}

// flushSoon makes the newest version durable, unless the space is closed
// meanwhile: then closing does it.
func (sp *Space) flushSoon() (err error) {
	defer sp.EndGuard(debug.SetPanicOnFault(true), &err)
	w := sp.Live.Words()
	version, err := sp.NewestVersion()
	if err != nil {
		return err
	}
	return sp.lead(false, func() bool {
		return w.Durable.Load() >= uint64(version) || w.Failed.Load() != 0 || sp.Quitting()
	})
}

// spool writes what was committed to the file, without a sync, unless somebody is
// at it.
func (sp *Space) spool() (err error) {
	defer sp.EndGuard(debug.SetPanicOnFault(true), &err)
	if sp.Live.Words().Failed.Load() != 0 || !sp.Live.TryLeadJournal() {
		return nil
	}
	defer sp.Live.UnleadJournal()
	return sp.write()
}

// Spool writes what was committed to the journal, without a sync, as is done from
// time to time.
func (sp *Space) Spool() error { return sp.Within(sp.spool) }

// spoolTo writes at least the versions up to the state's, which is held. It does
// not wait for whoever leads, and may be syncing: writing twice does no harm.
func (sp *Space) spoolTo(h live.Hold) error {
	state, err := sp.StateOf(h)
	if err != nil {
		return err
	}
	w, version := sp.Live.Words(), state.Version
	for w.Written.Load() < version {
		if err := sp.refused(); err != nil {
			return err
		}
		if err := sp.write(); err != nil {
			return err
		}
	}
	return nil
}

// awaitDurable returns when the version survives power loss.
func (sp *Space) awaitDurable(version format.Version) (err error) {
	defer sp.EndGuard(debug.SetPanicOnFault(true), &err)
	w := sp.Live.Words()
	w.Wishes.Add(1)
	err = sp.lead(true, func() bool { return w.Durable.Load() >= uint64(version) || w.Failed.Load() != 0 })
	if err == nil && w.Durable.Load() < uint64(version) {
		return sp.whyFailed()
	}
	if lost := sp.told(); err == nil {
		err = lost
	}
	if err == nil {
		sp.Live.Assure() // X3
	}
	return err
}

// lead makes versions durable until done: by leading a round, or by waiting for
// the one that another goroutine or another process leads. gather says that a
// commit waits for it.
func (sp *Space) lead(gather bool, done func() bool) error {
	r := &sp.journal.round
	for !done() {
		r.Lock()
		if running := r.done; running != nil {
			r.Unlock()
			<-running
			continue
		}
		mine := make(chan struct{})
		r.done = mine
		r.Unlock()
		if err := sp.leadMine(mine, gather, done); err != nil {
			return err
		}
	}
	return nil
}

// leadMine leads a round of this process, and ends it.
func (sp *Space) leadMine(mine chan struct{}, gather bool, done func() bool) error {
	r := &sp.journal.round
	defer func() { // after a panic, too
		r.Lock()
		r.done = nil
		r.Unlock()
		close(mine)
	}()
	return sp.leadRound(gather, done)
}

// leadRound makes everything that is committed durable, once this process leads;
// if it is done before, there is nothing to do.
func (sp *Space) leadRound(gather bool, done func() bool) error {
	if !sp.Live.LeadJournal(done) {
		return nil
	}
	defer sp.Live.UnleadJournal()
	if done() {
		return nil
	}
	if gather {
		sp.gather()
	}
	w := sp.Live.Words()
	wishes := w.Wishes.Load()
	if err := sp.write(); err != nil {
		return err
	}
	began := time.Now()
	err := sp.syncJournal()
	sp.journal.syncTime = time.Since(began)
	w.Group.Store(uint32(w.Wishes.Load() - w.Served.Swap(wishes)))
	return err
}

// gather waits until as many commits want to be durable as the last sync has served
// and kept waiting: those that it served are about to commit again, and would just
// miss this one. So all that commit one after the other share each sync, and not
// every other one. It waits for a fraction of what a sync takes, no longer: those
// others may never come. Who commits alone waits for nothing.
func (sp *Space) gather() {
	w := sp.Live.Words()
	for began := time.Now(); w.Wishes.Load()-w.Served.Load() < uint64(w.Group.Load()) && time.Since(began) < sp.journal.syncTime/2; {
		runtime.Gosched()
		oslock.Yield()
	}
}
