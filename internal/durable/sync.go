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

// A sync that failed has lost data, and the next one would not say so: the kernel
// takes the pages for clean (M6). Nothing is acknowledged after that, in whatever
// process:
//
//   - Who is told marks the space as failed before anything else. Writing is refused
//     from then on; who waits for a version to be durable is told as well; and a
//     sync that succeeds while the mark is there acknowledges nothing.
//   - Every process that had the file open when the data were lost is told by the
//     kernel itself, at its own next sync.
//   - One that opens the file later is not told. It sees the mark; or it sees that
//     the sync has been announced and has no known outcome (L13), and then writes
//     again what that sync may have lost, before it relies on it: see makeGood.
//   - The mark goes away when one that has the space for itself opens it, writes
//     all that is in use once more, and has synced it: see Heal.

// ErrFailed is what one gets who wants to write after the disk has failed.
var ErrFailed = fmt.Errorf("%w: the space takes no more writes until all processes have closed it and it is opened again", failure.ErrIO)

// Sync returns when everything that was committed before the call is on disk.
func (d *Writer) Sync() error {
	if d.ReadOnly {
		return failure.ErrReadOnly
	}
	if err := d.Refused(); err != nil { // also if all is durable already: who asks is to know
		return err
	}
	version, err := d.NewestVersion()
	if err == nil {
		err = d.Await(version)
	}
	if err == nil {
		err = d.Assured() // F1: also if others have made it durable, a while ago
		_ = d.told()
	}
	if err == nil {
		d.Live.Assure() // X3
	}
	return err
}

// Fail marks the space as one whose disk has failed: nothing is written any more
// until it is healed.
func (d *Writer) Fail(err error) error {
	d.Live.Words().Failed.Store(1)
	if errors.Is(err, ErrFailed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// Refused returns an error if nothing may be written because the disk has failed.
func (d *Writer) Refused() error {
	if d.Live.Words().Failed.Load() != 0 && !d.healing {
		return d.whyFailed()
	}
	return nil
}

// lookForDoubt finds out whether there were syncs of which this process will not be
// told that they failed. It has joined and opened all files.
func (d *Writer) lookForDoubt() {
	if !d.ReadOnly {
		d.doubt.heap, d.doubt.journal = d.Live.Doubt(live.HeapFile), d.Live.Doubt(live.JournalFile)
	}
}

// HeapInDoubt reports whether a sync of the heap may have failed of which this process
// was not told.
func (d *Writer) HeapInDoubt() bool { return unresolved(&d.doubt.heap) != nil }

// unresolved returns the doubt, or nil if there is none any more.
func unresolved(of **live.Doubt) *live.Doubt {
	if *of != nil && (*of).Resolved() {
		*of = nil
	}
	return *of
}

// syncJournal makes what is in the journal file durable (J1): what Written says
// before the sync.
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

// repeatJournal writes the records that are not durable once more. If there is no
// room for that, two anchors take their place; then it reports false.
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

// makeGood marks as changed what may not be on disk although it was synced: all that
// the state, which is held, can reach and that the newest confirmed anchor could not.
// Older blocks were synced by a process that would have been told, and do not
// change. What batches hold is not found by that, and is not listed in an anchor any
// more.
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
	if err != nil { // damage hides what lies behind it
		return d.Guarded(func() error { d.Heap.Rewrite(); return nil })
	}
	return d.Guarded(func() error {
		d.Region.Redirty(format.TableOffset, int64(d.Live.Carved()>>format.ExtentShift))
		return nil
	})
}

// Heal makes a space writable again after a write or a sync had failed. The kernel
// may have dropped the marks of dirty pages then, so every page in use is written
// anew before a sync counts, and two anchors make the journal needless. Only when
// all that is on disk is the mark taken away: who dies before leaves it to the next.
// It needs the space for itself; while others have it open, writing stays refused.
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
