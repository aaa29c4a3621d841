package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// writeAnchor writes an anchor of the newest version, in the order of E4. stacks
// lists the free space, at a clean close; nil otherwise. If a confirmed anchor of
// the version is there already and stacks is nil, there is nothing to do, but for
// one that is wanted again.
func (sp *Space) writeAnchor(stacks *[format.NumStacks]uint64, again bool) (err error) {
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
	sp.anchor.Lock()
	defer sp.anchor.Unlock()
	if err := sp.refused(); err != nil {
		return err
	}
	began := time.Now()
	hold := sp.live.HoldCurrent()
	defer sp.live.Release(&hold)
	state, err := sp.stateOf(hold)
	if err != nil {
		return err
	}
	version := format.Version(state.Version)
	if !again && stacks == nil && sp.live.NewestAnchor() >= version && sp.live.Words().Clean.Load() == 0 {
		return nil
	}
	if m := sp.dir.ExamineHeap(sp.live.Words()); m != nil { // what is not there cannot be made durable
		return sp.stop(m)
	}
	claim, err := sp.claimAnchor(again || stacks != nil)
	if err != nil {
		return err
	}
	if err := sp.syncAnchor(sp.dir.Heap, claim, hold.State, version, stacks); err != nil {
		sp.live.AbandonAnchor(claim)
		return err
	}
	sp.live.ConfirmAnchor(claim)
	sp.anchor.last, sp.anchor.duration = time.Now(), time.Since(began)
	return nil
}

const (
	anchorPatience = 2 * time.Second      // for a slot that another process writes
	anchorLook     = 2 * time.Millisecond // how often is looked
)

// claimAnchor claims a slot. Processes that write anchors at the same moment can have them
// all: who needs one waits for a moment, since each has it for no longer than a sync takes,
// unless its process stands still.
func (sp *Space) claimAnchor(needed bool) (live.AnchorClaim, error) {
	for began := time.Now(); ; time.Sleep(anchorLook) {
		claim, ok := sp.live.ClaimAnchor()
		if ok {
			return claim, nil
		}
		if !needed || time.Since(began) > anchorPatience {
			return claim, fmt.Errorf("%w: every anchor slot is being written; are those processes suspended?", ErrBusy)
		}
	}
}

// syncAnchor fills the claimed slot, and sees to what must be true of every sync
// (L13, E7). Only where the disk has no room to begin with, nothing is lost.
func (sp *Space) syncAnchor(file mapping.File, claim live.AnchorClaim, state format.Addr, version format.Version, stacks *[format.NumStacks]uint64) error {
	doubt := unresolved(&sp.doubt.heap)
	if doubt != nil {
		if err := sp.makeGood(state); err != nil {
			return err
		}
	}
	sp.live.BeginSync(live.HeapFile)
	err := sp.fillAnchor(file, claim, state, version, stacks)
	if err != nil && (errors.Is(err, mapping.ErrIO) || !errors.Is(err, mapping.ErrNoSpace)) {
		err = sp.fail(err)
	}
	sp.live.EndSync(live.HeapFile)
	if err == nil {
		err = sp.refused()
	}
	if err == nil {
		if m := sp.dir.ExamineHeap(sp.live.Words()); m != nil { // F1
			err = sp.stop(m)
		}
	}
	if err == nil && doubt != nil {
		doubt.MadeGood()
		sp.doubt.heap = nil
	}
	return err
}

// fillAnchor writes and syncs the claimed slot.
func (sp *Space) fillAnchor(file mapping.File, claim live.AnchorClaim, state format.Addr, version format.Version, stacks *[format.NumStacks]uint64) error {
	off := format.AnchorOffset + int64(claim.Slot)*format.PageSize
	if claim.Doubtful { // the disk may hold a dead writer's anchor: gone before its version is
		if err := writeAndSync(file, make([]byte, format.PageSize), off); err != nil {
			return err
		}
		sp.live.WipedAnchor(claim)
	}
	sp.live.NameAnchor(claim, state, version)
	limit := sp.live.Words().Limit.Load()
	a := &format.Anchor{
		SpaceID: sp.header.SpaceID, Sequence: claim.Sequence, Version: uint64(version), State: uint64(state),
		Carved: sp.live.Carved(), Limit: limit, UnixNano: uint64(time.Now().UnixNano()),
	}
	if stacks != nil {
		a.Clean, a.Stacks = 1, *stacks
	}
	if err := sp.region.Sync(a.Carved); err != nil {
		return err
	}
	invariant.Point("anchor.synced")
	if err := writeAndSync(file, a.Encode(), off); err != nil {
		return err
	}
	invariant.Point("anchor.written")
	return nil
}

// writeAndSync writes bytes of the heap file and waits for the disk.
func writeAndSync(f mapping.File, b []byte, off int64) error {
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	return f.Datasync()
}

// Anchor writes an anchor of the newest version, as the background does from time to
// time; twice: two, so that no record of the journal is needed any more.
func (sp *Space) Anchor(twice bool) error {
	return sp.within(func() error {
		if twice {
			return sp.anchorTwice()
		}
		return sp.writeAnchor(nil, false)
	})
}

// anchorTwice makes the newest version durable by two anchors, so that whichever
// of the usable anchors a recovery starts from, it needs no record of a version
// up to that one (J1).
func (sp *Space) anchorTwice() error {
	version, err := sp.newestVersion()
	if err != nil {
		return err
	}
	for range 2 {
		if err := sp.writeAnchor(nil, true); err != nil {
			return err
		}
	}
	sp.live.RaiseWritten(version)
	sp.live.RaiseDurable(version)
	return nil
}

// makeUnclean puts an anchor without free space on disk before the first
// allocation after a clean close (E5). The caller is the writer.
func (sp *Space) makeUnclean() error {
	defer sp.live.Holding()()
	if err := sp.writeAnchor(nil, false); err != nil {
		return err
	}
	sp.live.Words().Clean.Store(0)
	return nil
}
