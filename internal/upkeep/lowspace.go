package upkeep

import (
	"context"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// What is done within a transaction that finds no space left, besides the heap's own
// reserve (heap.Txn): nothing of it needs space itself. Anchors are written into slots
// that are there; a sweep only reads; the journal is replaced by anchors where it cannot
// grow.

const (
	lowSpacePause = time.Second           // between sweeps for the sake of what others have set aside
	lowSpaceWait  = time.Second           // for another process that is sweeping
	lowSpaceLook  = 5 * time.Millisecond  // how often is looked
	worthAsking   = 4 * format.ExtentSize // bytes that others have set aside
)

// OnLowSpace lets go of what the dead, the journal and the old anchors keep from reuse. The
// caller is the writer, who has no space left; what fails here leaves the space as
// full as it is.
func (u *Upkeep) OnLowSpace() {
	u.Live.Reap()
	version, err := u.NewestVersion()
	if err == nil && u.durable.Spool() == nil && u.Live.JournalFloor() < version { // the older usable anchor keeps something, too
		_ = u.durable.AnchorTwice()
	}
}

// SweepWithin is Sweep in the middle of a transaction that has no space left, if a sweep
// may find some: what the dead had reserved, what was pinned, what processes have set
// aside, all of which forget that. It reports whether there was one.
//
// Why that is right in the middle of a transaction: the caller is the writer, and its base
// is the current version; so what Sweep says of the version it holds is true of the base.
// What the transaction has written is in nobody's lists, and is marked besides; what it
// has freed is of the base, hence marked, and becomes pending when it commits, as ever.
// The lists of this process are forgotten below the floor, as if it had just entered. A
// sweep that this very process has in progress finds another epoch and decides nothing.
func (u *Upkeep) SweepWithin() bool {
	t := &u.Txn
	if !u.maySweepFind() {
		return false
	}
	w := u.Live.Words()
	release, swept := u.replaceSweeper()
	if release == nil {
		return swept
	}
	defer release()
	invariant.Point("lowspace.sweeper")
	u.relieved = time.Now()
	begun := u.beginSweep()
	if begun.epoch == 0 {
		return false
	}
	if begun.hold.State != t.Base() { // this process stood still, and others have gone on
		u.Live.Release(&begun.hold)
		w.SweepWish.Store(1)
		return false
	}
	u.awaitOwnHolds() // of the sweep that has just been passed, too
	_, version, err := u.endSweep(context.Background(), begun, t)
	u.Note(err)
	return err == nil && version != 0
}

// replaceSweeper makes this process the sweeper, whatever other goroutines of it do, until
// release; nil if another process was, and did not end its sweep in lowSpaceWait, or has ended it
// (swept). One that ended without a sweep, since somebody writes, is no reason not to make one.
func (u *Upkeep) replaceSweeper() (release func(), swept bool) {
	w, me := u.Live.Words(), uint64(u.Live.Incarnation())
	before := w.Swept.Load()
	for began := time.Now(); time.Since(began) < lowSpaceWait; time.Sleep(lowSpaceLook) {
		if w.Swept.Load() != before { // what it found is on the stacks
			return nil, true
		}
		release, ok := u.beSweeper()
		switch {
		case ok:
			return release, false
		case w.Sweeper.Load() == me: // by another goroutine of this process
			return func() {}, false
		case w.Sweeper.CompareAndSwap(0, me): // which is about to begin, or has just ended
			return func() { w.Sweeper.CompareAndSwap(me, 0) }, false
		}
	}
	return nil, false
}

// maySweepFind reports whether a sweep is due for certain, is in progress, so that nobody
// has in his lists what it will find, was never made since the live file is there, or would
// make others give what they have set aside.
func (u *Upkeep) maySweepFind() bool {
	w := u.Live.Words()
	if w.SweepWish.Load() == 1 || w.Sweeper.Load() != 0 || w.Leaked.Load() != 0 || w.Swept.Load() == 0 {
		return true
	}
	if time.Since(u.relieved) < lowSpacePause {
		return false
	}
	var aside format.ByteCount
	for _, p := range u.Live.Processes() {
		if !p.Self {
			aside += p.Reserved
		}
	}
	return aside >= worthAsking
}

// awaitOwnHolds waits until no hold of the space itself keeps an old version, but at most for
// lowSpaceWait (RV7). The caller is the writer.
func (u *Upkeep) awaitOwnHolds() {
	for began := time.Now(); time.Since(began) < lowSpaceWait; time.Sleep(lowSpaceLook) {
		if u.Own.CancelLong() == 0 && !slices.ContainsFunc(u.Live.AnchorWriters(), u.Moves) {
			return
		}
	}
}
