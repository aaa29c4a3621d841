package upkeep

import (
	"context"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// This file finds space for a transaction that has none left, besides the heap's own reserve
// (heap.Txn). None of it needs space itself: anchors are written into existing slots, a sweep only
// reads, and anchors replace the journal if the journal cannot grow.

const (
	lowSpacePause = time.Second           // between two sweeps that make other processes give up their lists
	lowSpaceWait  = time.Second           // how long to wait for another process that sweeps
	lowSpaceLook  = 5 * time.Millisecond  // how often to look
	worthAsking   = 4 * format.ExtentSize // how many bytes others must have in their lists
)

// OnLowSpace frees what dead processes, the journal and old anchors keep from reuse. The caller is
// the writer, and has no space left. If a step fails, the space stays as full as it is.
func (u *Upkeep) OnLowSpace() {
	u.Live.Reap()
	version, err := u.NewestVersion()
	if err == nil && u.durable.Spool() == nil && u.Live.JournalFloor() < version { // the older usable anchor keeps blocks, too
		_ = u.durable.AnchorTwice()
	}
}

// SweepWithin is Sweep in the middle of a transaction that has no space left, if a sweep may find
// some: space that dead processes had reserved, that was pinned, or that processes have in their
// lists, which they forget. It reports whether a sweep has ended.
//
// Why this is right in the middle of a transaction. The caller is the writer, and its base is the
// current version: so what Sweep says of the version that it holds is true of the base. The blocks
// that the transaction has written are in no list, and SweepWithin marks them. The blocks that it
// has freed belong to the base, so they are marked, and become pending at its commit as usual. The
// lists of this process are forgotten below the floor, as if it had just entered. If another
// goroutine of this process has a sweep in progress, that sweep finds another epoch and decides
// nothing.
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
	if begun.hold.State != t.Base() { // this process was suspended, and others have published
		u.Live.Release(&begun.hold)
		w.SweepWish.Store(1)
		return false
	}
	u.awaitOwnHolds() // also those of the sweep that this one has replaced
	_, version, err := u.endSweep(context.Background(), begun, t)
	u.Note(err)
	return err == nil && version != 0
}

// replaceSweeper makes this process the sweeper until release, whatever its other goroutines do. It
// returns nil if another process was sweeping, and did not end its sweep within lowSpaceWait, or
// has ended it (swept). If the other sweeper gave up because a process was writing, this one still
// sweeps.
func (u *Upkeep) replaceSweeper() (release func(), swept bool) {
	w, me := u.Live.Words(), uint64(u.Live.Incarnation())
	before := w.Swept.Load()
	for began := time.Now(); time.Since(began) < lowSpaceWait; time.Sleep(lowSpaceLook) {
		if w.Swept.Load() != before { // what the sweep found is on the stacks
			return nil, true
		}
		release, ok := u.beSweeper()
		switch {
		case ok:
			return release, false
		case w.Sweeper.Load() == me: // another goroutine of this process is
			return func() {}, false
		case w.Sweeper.CompareAndSwap(0, me): // that goroutine is about to begin, or has just ended
			return func() { w.Sweeper.CompareAndSwap(me, 0) }, false
		}
	}
	return nil, false
}

// maySweepFind reports whether a sweep may find space: because one is due; because one is in
// progress, so that no list has yet what it will find; because none was made since the live file
// exists; or because it would make others give up what they have in their lists.
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

// awaitOwnHolds waits at most lowSpaceWait until no hold of the space's own work keeps an old
// version (RV7). The caller is the writer.
func (u *Upkeep) awaitOwnHolds() {
	for began := time.Now(); time.Since(began) < lowSpaceWait; time.Sleep(lowSpaceLook) {
		if u.Own.CancelLong() == 0 && !slices.ContainsFunc(u.Live.AnchorWriters(), u.Moves) {
			return
		}
	}
}
