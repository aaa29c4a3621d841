package engine

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/everheap/everheap/internal/check"
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
//     all that is in use once more, and has synced it: see heal.

// errFailed is what one gets who wants to write after the disk has failed.
var errFailed = fmt.Errorf("%w: the space takes no more writes until all processes have closed it and it is opened again", ErrIO)

// Sync returns when everything that was committed before the call is on disk.
func (sp *Space) Sync() error { return sp.Within(sp.sync) }

// sync is Sync.
func (sp *Space) sync() error {
	if sp.ReadOnly {
		return ErrReadOnly
	}
	if err := sp.refused(); err != nil { // also if all is durable already: who asks is to know
		return err
	}
	version, err := sp.NewestVersion()
	if err == nil {
		err = sp.awaitDurable(version)
	}
	if err == nil {
		err = sp.assured() // F1: also if others have made it durable, a while ago
		_ = sp.told()
	}
	if err == nil {
		sp.Live.Assure() // X3
	}
	return err
}

// fail marks the space as one whose disk has failed: nothing is written any more
// until it is healed.
func (sp *Space) fail(err error) error {
	sp.Live.Words().Failed.Store(1)
	if errors.Is(err, errFailed) {
		return err
	}
	return fmt.Errorf("%w: %w", errFailed, err)
}

// refused returns an error if nothing may be written because the disk has failed.
func (sp *Space) refused() error {
	if sp.Live.Words().Failed.Load() != 0 && !sp.healing {
		return sp.whyFailed()
	}
	return nil
}

// lookForDoubt finds out whether there were syncs of which this process will not be
// told that they failed. It has joined and opened all files.
func (sp *Space) lookForDoubt() {
	if !sp.ReadOnly {
		sp.doubt.heap, sp.doubt.journal = sp.Live.Doubt(live.HeapFile), sp.Live.Doubt(live.JournalFile)
	}
}

// unresolved returns the doubt, or nil if there is none any more.
func unresolved(d **live.Doubt) *live.Doubt {
	if *d != nil && (*d).Resolved() {
		*d = nil
	}
	return *d
}

// syncJournal makes what is in the journal file durable (J1): what Written says
// before the sync.
func (sp *Space) syncJournal() error {
	w := sp.Live.Words()
	doubt := unresolved(&sp.doubt.journal)
	if doubt != nil && w.Written.Load() > w.Durable.Load() {
		if again, err := sp.repeatJournal(); err != nil || !again {
			return err
		}
	}
	written := w.Written.Load()
	if written <= w.Durable.Load() {
		return nil
	}
	sp.Live.BeginSync(live.JournalFile)
	err := sp.journal.writer.Sync()
	if err != nil {
		err = sp.fail(err)
	}
	sp.Live.EndSync(live.JournalFile)
	if err == nil {
		err = sp.refused()
	}
	if err == nil {
		err = sp.assured() // F1
	}
	if err != nil {
		return err
	}
	invariant.Point("journal.synced")
	sp.Live.RaiseDurable(format.Version(written))
	if doubt != nil {
		doubt.MadeGood()
		sp.doubt.journal = nil
	}
	return nil
}

// repeatJournal writes the records that are not durable once more. If there is no
// room for that, two anchors take their place; then it reports false.
func (sp *Space) repeatJournal() (bool, error) {
	sp.journal.Lock()
	defer sp.journal.Unlock()
	err := sp.journal.writer.Repeat(format.Version(sp.Live.Words().Durable.Load()))
	switch {
	case errors.Is(err, journal.ErrFull), errors.Is(err, mapping.ErrNoSpace):
		return false, sp.anchorTwice()
	case err != nil:
		return false, sp.fail(err)
	}
	return true, nil
}

// makeGood marks as changed what may not be on disk although it was synced: all that
// the state, which is held, can reach and that the newest confirmed anchor could not.
// Older blocks were synced by a process that would have been told, and do not
// change. What parcels hold is not found by that, and is not listed in an anchor any
// more.
func (sp *Space) makeGood(state format.Addr) error {
	w := sp.Live.Words()
	w.ParcelDoubt.Store(1)
	since := sp.Live.NewestAnchor()
	r := sp.Heap.Reader(true)
	err := sp.Guarded(func() error {
		return check.Newer(&r, state, since, func(a format.Addr, size format.ByteCount) {
			sp.Region.Redirty(int64(uint64(a)-sp.Head.Base), int64(size))
		})
	})
	if err != nil { // damage hides what lies behind it
		return sp.Guarded(func() error { sp.Heap.Rewrite(); return nil })
	}
	return sp.Guarded(func() error {
		sp.Region.Redirty(format.TableOffset, int64(sp.Live.Carved()>>format.ExtentShift))
		return nil
	})
}

// heal makes a space writable again after a write or a sync had failed. The kernel
// may have dropped the marks of dirty pages then, so every page in use is written
// anew before a sync counts, and two anchors make the journal needless. Only when
// all that is on disk is the mark taken away: who dies before leaves it to the next.
// It needs the space for itself; while others have it open, writing stays refused.
func (sp *Space) heal() error {
	w := sp.Live.Words()
	if w.Failed.Load() == 0 || sp.ReadOnly {
		return nil
	}
	alone, err := oslock.TryLock(sp.Files.Locks, format.LockPresence, false)
	if err != nil || !alone {
		return err
	}
	sp.healing = true
	defer func() { sp.healing = false }()
	sp.Heap.Rewrite()
	if err := sp.anchorTwice(); err != nil {
		return err
	}
	for _, word := range []*atomic.Uint64{&w.HeapDoubt, &w.JournalDoubt, &w.ParcelDoubt} {
		word.Store(0)
	}
	sp.doubt.heap, sp.doubt.journal = nil, nil
	w.Failed.Store(0)
	_, err = oslock.TryLock(sp.Files.Locks, format.LockPresence, true)
	return err
}
