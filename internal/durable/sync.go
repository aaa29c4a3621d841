package durable

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

// A failed sync has lost data, and the next sync would not say so: the kernel treats the pages as
// clean (M6). After it no process acknowledges anything:
//
//   - The process whose sync failed marks the space as failed before anything else. From then on
//     writes are refused, commits that wait to be durable get the error too, and a sync that
//     succeeds while the mark is there acknowledges nothing.
//   - The kernel tells every process that had the file open when the data were lost, at its own
//     next sync.
//   - The kernel does not tell a process that opens the file later. That process sees the mark; or
//     it sees that a sync was announced and has no known outcome (L13). In the second case it
//     rewrites what that sync may have lost before it relies on it: see makeGood.
//   - A process that has the space for itself opens it, rewrites everything in use and syncs that:
//     then it removes the mark. See Heal.

// ErrFailed is the error for a writer after the disk has failed.
var ErrFailed = fmt.Errorf("%w: the space takes no more writes until all processes have closed it and it is opened again", failure.ErrIO)

// Sync returns when everything committed before the call is on disk.
func (d *Writer) Sync() error {
	if d.ReadOnly {
		return failure.ErrReadOnly
	}
	if err := d.Refused(); err != nil { // also if all is durable already: the caller wants to know
		return err
	}
	version, err := d.NewestVersion()
	if err == nil {
		err = d.Await(version)
	}
	if err == nil {
		err = d.Assured() // F1: also if another process made it durable a while ago
		_ = d.told()
	}
	if err == nil {
		d.Live.Assure() // X3
	}
	return err
}

// Fail marks the space as one whose disk has failed: it refuses writes until it is healed.
func (d *Writer) Fail(err error) error {
	d.Live.Words().Failed.Store(1)
	if errors.Is(err, ErrFailed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// Refused returns an error if the space refuses writes because the disk has failed.
func (d *Writer) Refused() error {
	if d.Live.Words().Failed.Load() != 0 && !d.healing {
		return d.whyFailed()
	}
	return nil
}

// lookForDoubt finds out whether there were syncs whose failure the kernel will not report to this
// process. The process has joined and opened all files.
func (d *Writer) lookForDoubt() {
	if !d.ReadOnly {
		d.doubt.heap, d.doubt.journal = d.Live.Doubt(live.HeapFile), d.Live.Doubt(live.JournalFile)
	}
}

// HeapInDoubt reports whether a sync of the heap may have failed without this process being told.
func (d *Writer) HeapInDoubt() bool { return unresolved(&d.doubt.heap) != nil }

// unresolved returns the doubt, or nil if it is resolved.
func unresolved(of **live.Doubt) *live.Doubt {
	if *of != nil && (*of).Resolved() {
		*of = nil
	}
	return *of
}

// syncJournal makes the journal file durable: every version up to the value of Written before the
// sync (J1).
func (d *Writer) syncJournal() error {
	w := d.Live.Words()
	doubt := unresolved(&d.doubt.journal)
	if doubt != nil && w.Written.Load() > w.Durable.Load() {
		if again, err := d.repeatJournal(); err != nil || !again {
			return err
		}
	}
	written := w.Written.Load()
	if written <= w.Durable.Load() {
		return nil
	}
	d.Live.BeginSync(live.JournalFile)
	err := d.journal.writer.Sync()
	if err != nil {
		err = d.Fail(err)
	}
	d.Live.EndSync(live.JournalFile)
	if err == nil {
		err = d.Refused()
	}
	if err == nil {
		err = d.Assured() // F1
	}
	if err != nil {
		return err
	}
	invariant.Point("journal.synced")
	d.Live.RaiseDurable(format.Version(written))
	if doubt != nil {
		doubt.MadeGood()
		d.doubt.journal = nil
	}
	return nil
}

// repeatJournal writes the records that are not durable once more. If there is no room for them,
// two anchors take their place, and it reports false.
func (d *Writer) repeatJournal() (bool, error) {
	d.journal.Lock()
	defer d.journal.Unlock()
	err := d.journal.writer.Repeat(format.Version(d.Live.Words().Durable.Load()))
	switch {
	case errors.Is(err, journal.ErrFull), errors.Is(err, mapping.ErrNoSpace):
		return false, d.coverTwice()
	case err != nil:
		return false, d.Fail(err)
	}
	return true, nil
}

// makeGood marks as changed what may be missing on disk although it was synced: everything that the
// held state can reach and that the newest confirmed anchor could not. Older blocks were synced by
// a process that would have got the error, and they do not change. makeGood does not find the
// blocks that hold free-block batches: no anchor lists those any more.
func (d *Writer) makeGood(state format.Addr) error {
	w := d.Live.Words()
	w.BatchDoubt.Store(1)
	since := d.Live.NewestAnchor()
	r := d.Heap.Reader(true)
	err := d.Guarded(func() error {
		return check.Newer(&r, state, since, func(a format.Addr, size format.ByteCount) {
			d.Region.Redirty(int64(uint64(a)-d.Head.Base), int64(size))
		})
	})
	if err != nil { // damage hides everything below it
		return d.Guarded(func() error { d.Heap.Rewrite(); return nil })
	}
	return d.Guarded(func() error {
		d.Region.Redirty(format.TableOffset, int64(d.Live.Carved()>>format.ExtentShift))
		return nil
	})
}

// Heal makes a space writable again after a write or a sync has failed. The kernel may have dropped
// the marks of dirty pages then, so Heal writes every page in use again before a sync counts, and
// two anchors make the journal unnecessary. It removes the failure mark only once everything is on
// disk: a process that dies before leaves that to the next. Heal needs the space for itself; while
// other processes have it open, writes stay refused.
func (d *Writer) Heal() error {
	w := d.Live.Words()
	if w.Failed.Load() == 0 || d.ReadOnly {
		return nil
	}
	alone, err := oslock.TryLock(d.Files.Locks, format.LockPresence, false)
	if err != nil || !alone {
		return err
	}
	d.healing = true
	defer func() { d.healing = false }()
	d.Heap.Rewrite()
	if err := d.coverTwice(); err != nil {
		return err
	}
	for _, word := range []*atomic.Uint64{&w.HeapDoubt, &w.JournalDoubt, &w.BatchDoubt} {
		word.Store(0)
	}
	d.doubt.heap, d.doubt.journal = nil, nil
	w.Failed.Store(0)
	_, err = oslock.TryLock(d.Files.Locks, format.LockPresence, true)
	return err
}
