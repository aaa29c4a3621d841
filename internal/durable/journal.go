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
	spoolBytes = 128 << 10 // after so many bytes of changes this process writes the journal, without a sync
	pieceBytes = 1 << 20   // so many bytes are copied and then written
)

// journaling is this process's part in writing the journal.
//
// A commit only names its changes (heap.Txn.Log). The leader of the journal, in any process, copies
// the changes of all versions that are not in the journal yet, and writes them to the file. It does
// so soon, so that the blocks that they name can be reused while they are in the caches. It syncs
// when a commit waits for that, or after the flush interval. One sync serves all that wait.
type journaling struct {
	sync.Mutex // held while one goroutine of the process writes
	file       mapping.File
	id         mapping.FileID
	losses     atomic.Uint64 // how many losses of the journal this process has reported, or knew at its start
	writer     *journal.Writer
	states     []format.Addr // states of the versions to be written, newest first
	ops        []byte        // the changes of one record

	wish    chan struct{} // asks the background to spool
	pending uint64        // bytes logged since the last wish; used under the queue

	syncTime time.Duration // duration of the last sync; used by the leader

	round struct {
		sync.Mutex
		done chan struct{} // closed when the round that a goroutine of this process leads has ended; nil: none
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

// openGuestJournal opens the journal for a guest, which only looks whether there is something to
// recover. After a clean close the file may be missing.
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

// Release gives up the segment that this process writes.
func (d *Writer) Release() {
	d.journal.Lock()
	defer d.journal.Unlock()
	d.journal.writer.Release()
}

// NoteLogged counts the bytes that a commit has logged, and reports whether the committer should
// spool now. The caller has the queue.
func (d *Writer) NoteLogged(bytes uint64) bool {
	j := &d.journal
	if j.pending += bytes + uint64(format.RecordHeadSize); j.pending < spoolBytes {
		return false
	}
	j.pending = 0
	return true
}

// RunJournal writes and syncs the journal in the background, twice in each flush interval: so no
// commit is older than the interval before it is on disk.
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

// inBackground writes the journal, unless that has failed a moment ago. It reports false in a fork,
// whose runtime fires the parent's timers.
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

// flushSoon makes the newest version durable, unless the space is closed meanwhile: then Close does
// so.
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

// Spool writes everything committed to the file, without a sync, unless another goroutine or
// process leads the journal.
func (d *Writer) Spool() (err error) {
	defer d.EndGuard(debug.SetPanicOnFault(true), &err)
	if d.Live.Words().Failed.Load() != 0 || !d.Live.TryLeadJournal() {
		return nil
	}
	defer d.Live.UnleadJournal()
	return d.write()
}

// SpoolTo writes at least the versions up to that of the held state. It does not wait for the
// leader, which may be syncing: writing twice does no harm.
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

// lead makes versions durable until done reports true: it leads a round, or waits for the one that
// another goroutine or process leads. gather says that a commit waits for it.
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

// leadRound makes everything committed durable once this process leads; if done reports true before
// that, it does nothing.
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

// gather waits until as many commits want to be durable as the last sync has served and kept
// waiting. The commits that it served are about to commit again, and would just miss this sync: so
// processes that commit in a row share each sync, and not every other one. gather waits no longer
// than a part of the time of a sync, since those commits may never come. A process that commits
// alone does not wait at all.
func (d *Writer) gather() {
	w := d.Live.Words()
	for began := time.Now(); w.Wishes.Load()-w.Served.Load() < uint64(w.Group.Load()) && time.Since(began) < d.journal.syncTime/2; {
		runtime.Gosched()
		oslock.Yield()
	}
}
