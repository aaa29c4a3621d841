package durable

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/failure"
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

// OpenJournal opens the journal file.
func (d *Writer) OpenJournal() (err error) {
	if d.Guest {
		return d.openGuestJournal()
	}
	mode, created := os.O_RDWR, false
	if d.ReadOnly {
		mode = os.O_RDONLY
	}
	d.journal.file, err = d.Files.OpenFile(journal.FileName, mode, 0)
	if errors.Is(err, os.ErrNotExist) {
		if alone, aloneErr := d.Files.Alone(); !d.ReadOnly && (aloneErr != nil || !alone) { // F4
			return errors.Join(fmt.Errorf("%w: %s is not there, and other processes have the space open; close it there first", failure.ErrReplaced, d.Files.Join(journal.FileName)), aloneErr)
		}
		if w := d.Live.Words(); w.Recovering.Load() != 0 && w.Clean.Load() == 0 {
			return spacefile.ErrNoJournal
		}
		if d.journal.file, err = d.Files.OpenFile(journal.FileName, os.O_RDWR|os.O_CREATE, d.Files.Perm()); err == nil {
			err = d.Files.SyncNames()
		}
		created = err == nil && !d.ReadOnly
	}
	if err != nil {
		return err
	}
	d.journal.writer = journal.NewWriter(d.journal.file, d.Live, d.Head.SpaceID)
	d.journal.writer.Beside = d.Beside
	d.lookForDoubt()
	return d.settleJournal(created)
}

// openGuestJournal opens the journal for a guest, which only looks whether there is
// something to recover. Nothing can be missing from where it was closed in order.
func (d *Writer) openGuestJournal() (err error) {
	d.journal.file, err = d.Files.OpenFile(journal.FileName, os.O_RDONLY, 0)
	if w := d.Live.Words(); errors.Is(err, os.ErrNotExist) {
		if w.Recovering.Load() != 0 && w.Clean.Load() == 0 {
			return spacefile.ErrNoJournal
		}
		d.Live.Recovered(w.Written.Load())
		return nil
	}
	return err
}

// Release gives up the segment of the journal that this process writes.
func (d *Writer) Release() {
	d.journal.Lock()
	defer d.journal.Unlock()
	d.journal.writer.Release()
}

// NoteLogged counts what a commit has logged, and reports whether it is so much
// that it should be written. The caller has the queue.
func (d *Writer) NoteLogged(bytes uint64) bool {
	j := &d.journal
	if j.pending += bytes + uint64(format.RecordHeadSize); j.pending < spoolBytes {
		return false
	}
	j.pending = 0
	return true
}

// RunJournal writes and syncs what was committed, in the background: twice in the
// flush interval, so that nothing gets older than that before it is on disk.
func (d *Writer) RunJournal() {
	defer d.Done.Done()
	interval := d.options.FlushInterval
	if interval == 0 {
		interval = DefaultFlushInterval
	}
	ticker := time.NewTicker(max(interval/2, time.Millisecond))
	defer ticker.Stop()
	var retry time.Time
	for {
		write := d.flushSoon
		select {
		case <-d.Quit:
			return
		case <-d.journal.wish:
			write = d.Spool
		case <-ticker.C:
		}
		if !d.inBackground(write, &retry) {
			return
		}
	}
}

// inBackground writes the journal, unless that has failed a moment ago. It reports false in a
// fork, whose runtime runs what waits for the parent's timers.
func (d *Writer) inBackground(write func() error, retry *time.Time) bool {
	if d.Forked() {
		return false
	}
	if time.Now().Before(*retry) {
		return true
	}
	if err := write(); err != nil {
		d.Note(err)
		*retry = time.Now().Add(time.Second)
	}
	return true
}

// flushSoon makes the newest version durable, unless the space is closed
// meanwhile: then closing does it.
func (d *Writer) flushSoon() (err error) {
	defer d.EndGuard(debug.SetPanicOnFault(true), &err)
	w := d.Live.Words()
	version, err := d.NewestVersion()
	if err != nil {
		return err
	}
	return d.lead(false, func() bool {
		return w.Durable.Load() >= uint64(version) || w.Failed.Load() != 0 || d.Quitting()
	})
}

// Spool writes what was committed to the file, without a sync, unless somebody is
// at it.
func (d *Writer) Spool() (err error) {
	defer d.EndGuard(debug.SetPanicOnFault(true), &err)
	if d.Live.Words().Failed.Load() != 0 || !d.Live.TryLeadJournal() {
		return nil
	}
	defer d.Live.UnleadJournal()
	return d.write()
}

// SpoolTo writes at least the versions up to the state's, which is held. It does
// not wait for whoever leads, and may be syncing: writing twice does no harm.
func (d *Writer) SpoolTo(h live.Hold) error {
	state, err := d.StateOf(h)
	if err != nil {
		return err
	}
	w, version := d.Live.Words(), state.Version
	for w.Written.Load() < version {
		if err := d.Refused(); err != nil {
			return err
		}
		if err := d.write(); err != nil {
			return err
		}
	}
	return nil
}

// Await returns when the version survives power loss.
func (d *Writer) Await(version format.Version) (err error) {
	defer d.EndGuard(debug.SetPanicOnFault(true), &err)
	w := d.Live.Words()
	w.Wishes.Add(1)
	err = d.lead(true, func() bool { return w.Durable.Load() >= uint64(version) || w.Failed.Load() != 0 })
	if err == nil && w.Durable.Load() < uint64(version) {
		return d.whyFailed()
	}
	if lost := d.told(); err == nil {
		err = lost
	}
	if err == nil {
		d.Live.Assure() // X3
	}
	return err
}

// lead makes versions durable until done: by leading a round, or by waiting for
// the one that another goroutine or another process leads. gather says that a
// commit waits for it.
func (d *Writer) lead(gather bool, done func() bool) error {
	r := &d.journal.round
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
		if err := d.leadMine(mine, gather, done); err != nil {
			return err
		}
	}
	return nil
}

// leadMine leads a round of this process, and ends it.
func (d *Writer) leadMine(mine chan struct{}, gather bool, done func() bool) error {
	r := &d.journal.round
	defer func() { // after a panic, too
		r.Lock()
		r.done = nil
		r.Unlock()
		close(mine)
	}()
	return d.leadRound(gather, done)
}

// leadRound makes everything that is committed durable, once this process leads;
// if it is done before, there is nothing to do.
func (d *Writer) leadRound(gather bool, done func() bool) error {
	if !d.Live.LeadJournal(done) {
		return nil
	}
	defer d.Live.UnleadJournal()
	if done() {
		return nil
	}
	if gather {
		d.gather()
	}
	w := d.Live.Words()
	wishes := w.Wishes.Load()
	if err := d.write(); err != nil {
		return err
	}
	began := time.Now()
	err := d.syncJournal()
	d.journal.syncTime = time.Since(began)
	w.Group.Store(uint32(w.Wishes.Load() - w.Served.Swap(wishes)))
	return err
}

// gather waits until as many commits want to be durable as the last sync has served
// and kept waiting: those that it served are about to commit again, and would just
// miss this one. So all that commit one after the other share each sync, and not
// every other one. It waits for a fraction of what a sync takes, no longer: those
// others may never come. Who commits alone waits for nothing.
func (d *Writer) gather() {
	w := d.Live.Words()
	for began := time.Now(); w.Wishes.Load()-w.Served.Load() < uint64(w.Group.Load()) && time.Since(began) < d.journal.syncTime/2; {
		runtime.Gosched()
		oslock.Yield()
	}
}
