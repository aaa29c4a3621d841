package durable

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// WriteAnchor is writeAnchor for a caller that does not lead the journal: if there are
// subscriptions, it first makes the version durable in the journal.
func (d *Writer) WriteAnchor(stacks *[format.NumStacks]uint64, again bool) error {
	return d.writeAnchor(stacks, again, true)
}

// AnchorTwice is coverTwice for a caller that does not lead the journal.
func (d *Writer) AnchorTwice() error { return d.cover(true) }

// writeAnchor writes an anchor of the newest version, in the order of E4. stacks lists the free
// space at a clean close, and is nil otherwise. If the version has a confirmed anchor already and
// stacks is nil, writeAnchor does nothing unless again is set. tell says that the caller does not
// lead the journal. Then, if there are subscriptions, the journal has all versions up to that one
// on disk before the anchor is written (CH6).
func (d *Writer) writeAnchor(stacks *[format.NumStacks]uint64, again, tell bool) (err error) {
	defer d.EndGuard(debug.SetPanicOnFault(true), &err)
	d.Own.Add()
	defer d.Own.Done()
	hold := d.Live.HoldCurrent()
	defer d.Live.Release(&hold)
	state, err := d.StateOf(hold)
	if err != nil {
		return err
	}
	version := format.Version(state.Version)
	tell = tell && !d.options.NoJournal && d.Live.Subscribed()
	if tell { // before the lock: the leader of the journal may have to write anchors for it
		tell = d.Await(version) == nil // on an error the anchor is still better than nothing
	}
	d.anchor.Lock()
	defer d.anchor.Unlock()
	if err := d.Refused(); err != nil {
		return err
	}
	began := time.Now()
	if !again && stacks == nil && d.Live.NewestAnchor() >= version && d.Live.Words().Clean.Load() == 0 {
		return nil
	}
	if m := d.Files.ExamineHeap(d.Live.Words()); m != nil { // a file that is missing cannot be made durable
		return d.stop(m)
	}
	invariant.Assert(!tell || d.Live.Words().Durable.Load() >= uint64(version), "an anchor of a version that the journal may lose (CH6)")
	claim, err := d.claimAnchor(again || stacks != nil)
	if err != nil {
		return err
	}
	if err := d.syncAnchor(d.Files.Heap, claim, hold.State, version, stacks); err != nil {
		d.Live.AbandonAnchor(claim)
		return err
	}
	d.Live.ConfirmAnchor(claim)
	d.anchor.last, d.anchor.duration = time.Now(), time.Since(began)
	return nil
}

const (
	anchorPatience = 2 * time.Second      // how long to wait for a slot that another process writes
	anchorLook     = 2 * time.Millisecond // how often to look
)

// claimAnchor claims a slot. Processes that write anchors at the same moment can have all slots. If
// the anchor is needed, claimAnchor waits a while, since a process has a slot only as long as a
// sync takes, unless it is suspended.
func (d *Writer) claimAnchor(needed bool) (live.AnchorClaim, error) {
	for began := time.Now(); ; time.Sleep(anchorLook) {
		claim, ok := d.Live.ClaimAnchor()
		if ok {
			return claim, nil
		}
		if !needed || time.Since(began) > anchorPatience {
			return claim, fmt.Errorf("%w: every anchor slot is being written; are those processes suspended?", failure.ErrBusy)
		}
	}
}

// syncAnchor fills and syncs the claimed slot, and does what every sync must do (L13, E7). If the
// disk has no room to begin with, nothing is lost and the space does not fail.
func (d *Writer) syncAnchor(file mapping.File, claim live.AnchorClaim, state format.Addr, version format.Version, stacks *[format.NumStacks]uint64) error {
	doubt := unresolved(&d.doubt.heap)
	if doubt != nil {
		if err := d.makeGood(state); err != nil {
			return err
		}
	}
	d.Live.BeginSync(live.HeapFile)
	err := d.fillAnchor(file, claim, state, version, stacks)
	if err != nil && (errors.Is(err, mapping.ErrIO) || !errors.Is(err, mapping.ErrNoSpace)) {
		err = d.Fail(err)
	}
	d.Live.EndSync(live.HeapFile)
	if err == nil {
		err = d.Refused()
	}
	if err == nil {
		if m := d.Files.ExamineHeap(d.Live.Words()); m != nil { // F1
			err = d.stop(m)
		}
	}
	if err == nil && doubt != nil {
		doubt.MadeGood()
		d.doubt.heap = nil
	}
	return err
}

// fillAnchor writes and syncs the claimed slot.
func (d *Writer) fillAnchor(file mapping.File, claim live.AnchorClaim, state format.Addr, version format.Version, stacks *[format.NumStacks]uint64) error {
	off := format.AnchorOffset + int64(claim.Slot)*format.PageSize
	if claim.Doubtful { // the disk may have a dead writer's anchor, which must go before its version does
		if err := writeAndSync(file, make([]byte, format.PageSize), off); err != nil {
			return err
		}
		d.Live.WipedAnchor(claim)
	}
	d.Live.NameAnchor(claim, state, version)
	limit := d.Live.Words().Limit.Load()
	a := &format.Anchor{
		SpaceID: d.Head.SpaceID, Sequence: claim.Sequence, Version: uint64(version), State: uint64(state),
		Carved: d.Live.Carved(), Limit: limit, UnixNano: uint64(time.Now().UnixNano()),
	}
	if stacks != nil {
		a.Clean, a.Stacks = 1, *stacks
	}
	if err := d.Region.Sync(a.Carved); err != nil {
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

// AnchorDue reports whether the last anchor of this process is at least interval old, and load
// times as old as it took to write.
func (d *Writer) AnchorDue(interval time.Duration, load time.Duration) bool {
	d.anchor.Lock()
	defer d.anchor.Unlock()
	return interval == 0 || time.Since(d.anchor.last) >= max(interval, load*d.anchor.duration)
}

// coverTwice makes the newest version durable by two anchors: then a recovery from either usable
// anchor needs no record of a version up to that one (J1).
func (d *Writer) coverTwice() error { return d.cover(false) }

// cover is coverTwice; tell is as for writeAnchor.
func (d *Writer) cover(tell bool) error {
	version, err := d.NewestVersion()
	if err == nil {
		err = d.anchorTwice(tell)
	}
	if err != nil {
		return err
	}
	d.Live.RaiseWritten(version)
	d.Live.RaiseDurable(version)
	return nil
}

// anchorTwice writes two anchors of the newest version at that time.
func (d *Writer) anchorTwice(tell bool) error {
	for range 2 {
		if err := d.writeAnchor(nil, true, tell); err != nil {
			return err
		}
	}
	return nil
}

// MakeUnclean puts an anchor without free space on disk before the first
// allocation after a clean close (E5). The caller is the writer.
func (d *Writer) MakeUnclean() error {
	defer d.Live.Holding()()
	if err := d.writeAnchor(nil, false, false); err != nil {
		return err
	}
	d.Live.Words().Clean.Store(0)
	return nil
}

// LastAnchor writes the anchor of the last process that closes the space: a clean one, if the free
// space is known. With again it writes one in any case.
func (d *Writer) LastAnchor(again bool) error {
	w := d.Live.Words()
	// The stacks may lack some free space, or may list batches that are not surely on disk: then
	// the next opener sweeps.
	if w.SweepWish.Load() != 0 || w.BatchDoubt.Load() != 0 {
		return d.writeAnchor(nil, again, false)
	}
	var stacks [format.NumStacks]uint64
	for i := range stacks {
		stacks[i] = d.Live.StackHead(i)
	}
	if invariant.Enabled {
		reserved := uint64(0)
		for i := range w.Reserve {
			reserved |= w.Reserve[i].Load()
		}
		d.Live.Assure() // L16
		invariant.Assert(reserved == 0, "the anchor of a closed space lists what lies in the reserve, too (RV6)")
	}
	w.Clean.Store(1) // E5: before the anchor is written
	return d.writeAnchor(&stacks, false, false)
}
