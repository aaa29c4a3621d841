//go:build invariants && linux

package heap

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// The changes of hands, as the rest of the package tells them: see ledger.

// openLedger begins the use of the ledger, if it has not begun: what sweeps have made others
// forget so far is forgotten.
func (h *Heap) openLedger() {
	if h.ledger.floor == 0 {
		h.ledger.floor = format.Addr(h.base + h.live.Words().SweepFloor.Load())
	}
}

// forgets says that the process has forgotten what it had below the floor, because of the epoch
// that it knows now (O3).
func (h *Heap) forgets(floor format.Addr) {
	h.ledger.floor = floor
	h.live.Record().Note(invariant.Forgot, 0, h.epoch, uint64(floor)-h.base)
}

// assertFree asserts that a piece is in this process's lists of free space.
func (h *Heap) assertFree(e invariant.Event, a format.Addr, size format.ByteCount) {
	for done := format.ByteCount(0); done < size; done += format.ExtentSize {
		at := a + format.Addr(done)
		if o := h.owner(at, size); !h.permits(fromFree, at, o) {
			h.doubt(e, at, size, o, fromFree.String())
		}
	}
}

// assertFreeExtents is the same for extents.
func (h *Heap) assertFreeExtents(e invariant.Event, extent, n uint64) {
	h.assertFree(e, h.extentAddr(extent), format.ByteCount(n)<<format.ExtentShift)
}

// handExtents is hand for extents.
func (h *Heap) handExtents(e invariant.Event, extent, n uint64, from rule, to invariant.OwnerKind) {
	h.hand(e, h.extentAddr(extent), format.ByteCount(n)<<format.ExtentShift, from, to)
}

// listed says that a piece is put into this process's lists of free space: once (O5).
func (h *Heap) listed(a format.Addr, size format.ByteCount) {
	h.change(invariant.Listed, a, size, fromLoose, h.me(invariant.Free))
}

// took says that a transaction has taken a block (O5).
func (h *Heap) took(a format.Addr, size format.ByteCount) {
	h.hand(invariant.Took, a, size, fromFree, invariant.Taken)
}

// tookRun is the same for extents.
func (h *Heap) tookRun(extent, n uint64) {
	h.handExtents(invariant.Took, extent, n, fromFree, invariant.Taken)
}

// unused says that a transaction gives back what is no part of its version (O5).
func (h *Heap) unused(a format.Addr, size format.ByteCount) {
	h.hand(invariant.Returned, a, size, fromTaken, invariant.Loose)
}

// aborted says that a transaction gives back what it has written, sealed or not (O5).
func (h *Heap) aborted(a format.Addr, size format.ByteCount) {
	h.hand(invariant.Returned, a, size, fromTxn, invariant.Loose)
}

// settled says that nobody can see a block any more (O8).
func (h *Heap) settled(a format.Addr, size format.ByteCount) {
	h.hand(invariant.Settled, a, size, fromWaiting, invariant.Loose)
}

// lent says that an extent is about to be put into a cell of the reserve (O10).
func (h *Heap) lent(extent uint64) {
	h.handExtents(invariant.Lent, extent, 1, fromFree, invariant.Reserve)
}

// unlent says that extents were taken out of cells, or have not got into one (O10).
func (h *Heap) unlent(extent, n uint64) {
	h.handExtents(invariant.Unlent, extent, n, fromReserve, invariant.Free)
}

// reservedAnew says that extents are this process's that nobody ever had (O11).
func (h *Heap) reservedAnew(extent, n uint64) {
	h.handExtents(invariant.Carved, extent, n, fromNobody, invariant.Free)
}

// cutOff says that extents are nobody's again (O11).
func (h *Heap) cutOff(extent, n uint64) {
	h.handExtents(invariant.CutOff, extent, n, fromFree, invariant.Unknown)
}

// joined says that all blocks of an extent are free, and that it is one again (O12).
func (h *Heap) joined(extent uint64) {
	h.handExtents(invariant.Joined, extent, 1, fromBlocks, invariant.Free)
}

// cutUp says that an extent has become blocks of a class (O12).
func (h *Heap) cutUp(extent uint64, c format.Class) {
	a, size := h.extentAddr(extent), c.BlockSize()
	blocks := invariant.MakeOwner(invariant.Blocks, uint64(c), h.epoch)
	old := h.change(invariant.Cut, a, format.ExtentSize, fromFree, blocks)
	h.live.Record().Note(invariant.Cut, uint64(a), invariant.Change(old, blocks), format.ExtentSize)
	for off := format.ByteCount(0); off+size <= format.ExtentSize; off += size {
		h.change(invariant.Cut, a+format.Addr(off), size, fromAnybody, h.me(invariant.Free))
	}
}

// sealed says that a version is about to have a block (O6). The swap is the event.
func (h *Heap) sealed(a format.Addr, size format.ByteCount) {
	h.change(invariant.Sealed, a, size, fromTaken, h.me(invariant.Version))
}

// begin notes what a transaction must know of its base, which is held.
func (t *txnLedger) begin(h *Heap, base format.Addr) {
	t.restored = 0
	list := format.Addr((*format.State)(at(uintptr(base) + format.HeaderSize)).Pins)
	if r := h.Reader(false); list == 0 || !r.Plausible(list) || r.Kind(list) != format.KindPins {
		return
	}
	pins := at(uintptr(list) + format.HeaderSize)
	for i := range min((*format.Pins)(pins).Count, format.MaxPins) {
		p := (*format.Pin)(unsafe.Add(pins, format.PinsHeadSize+int(i)*format.PinSize))
		if p.Restore != 0 {
			t.restored = max(t.restored, format.Version(p.Version))
		}
	}
}

// noteFreed says what the version has freed.
func (t *Txn) noteFreed() {
	for _, list := range [][]freed{t.freed, t.unlogged} {
		for _, f := range list {
			t.heap.freedOfBase(f, &t.ledger)
		}
	}
}

// freedOfBase says that a version has freed a block of its base (O7).
func (h *Heap) freedOfBase(f freed, t *txnLedger) {
	from, to := fromVersion, invariant.Waiting
	switch o := h.owner(f.addr, f.size); o.Kind() {
	case invariant.Waiting, invariant.Freeing, invariant.Several:
		if h.forgotten(f.addr, o) {
			from = fromAnybody
		} else if f.birth <= t.restored {
			from, to = fromAnybody, invariant.Several
		}
	}
	h.hand(invariant.Freed, f.addr, f.size, from, to)
}

// packed says that items are in a batch, which the block at a is, and which is about to be
// pushed on a stack (O9).
func (h *Heap) packed(stack int, a format.Addr, items []format.ParcelItem) {
	h.handOne(invariant.Pushed, a, format.ClassFor(carrierBytes).BlockSize(), fromTaken|fromFree, invariant.Parcel)
	for _, item := range items {
		at := format.Addr(item.Addr)
		switch stack {
		case format.StackExtents:
			h.handExtents(invariant.Pushed, h.extentOf(at), item.Birth, fromFree, invariant.Parcel)
		case format.StackPending:
			size := h.BlockBytes(at)
			to := invariant.Freeing
			if h.owner(at, size).Kind() == invariant.Several {
				to = invariant.Several
			}
			h.handOne(invariant.Pushed, at, size, fromListed, to)
		default:
			h.handOne(invariant.Pushed, at, format.Class(stack).BlockSize(), fromFree, invariant.Parcel)
		}
	}
}

// unpacked says that a batch is this process's, as the block that it is.
func (h *Heap) unpacked(a format.Addr) {
	h.handOne(invariant.Accepted, a, format.ClassFor(carrierBytes).BlockSize(), fromBatch, invariant.Loose)
}

// acceptedBlock says that a block that was in a batch is this process's.
func (h *Heap) acceptedBlock(a format.Addr, size format.ByteCount) {
	h.handOne(invariant.Accepted, a, size, fromBatch, invariant.Free)
}

// acceptedExtents is the same for extents.
func (h *Heap) acceptedExtents(extent, n uint64) {
	h.handExtents(invariant.Accepted, extent, n, fromBatch, invariant.Free)
}

// acceptedWaiting is the same for a block that waits.
func (h *Heap) acceptedWaiting(a format.Addr, size format.ByteCount) {
	to := invariant.Waiting
	if h.owner(a, size).Kind() == invariant.Several {
		to = invariant.Several
	}
	h.handOne(invariant.Accepted, a, size, fromFreeing, to)
}

// sparedBatch says that a batch of extents is left in the stack by the sweep that begins:
// it is pushed again, under its epoch (O9).
func (h *Heap) sparedBatch(a format.Addr, items []format.ParcelItem) {
	h.handOne(invariant.Spared, a, format.ClassFor(carrierBytes).BlockSize(), fromAnybody, invariant.Parcel)
	for _, item := range items {
		h.handExtents(invariant.Spared, h.extentOf(format.Addr(item.Addr)), item.Birth, fromAnybody, invariant.Parcel)
	}
}

// swept says that a sweep has found a block (O4).
func (h *Heap) swept(a format.Addr, size format.ByteCount) {
	h.sweptTo(a, size, invariant.Loose)
}

// sweptTo says that a sweep has found a piece.
func (h *Heap) sweptTo(a format.Addr, size format.ByteCount, to invariant.OwnerKind) {
	if o := h.owner(a, size); o.Kind() != invariant.Unknown && o.Under(h.epoch) {
		h.doubt(invariant.Found, a, size, o, "as they were before the sweep")
	}
	h.handOne(invariant.Found, a, size, fromAnybody, to)
}

// sweptExtents is the same for extents: nobody has had a block of them either.
func (h *Heap) sweptExtents(r run) {
	for extent := r.extent; extent < r.extent+r.n; extent++ {
		a := h.extentAddr(extent)
		if o := h.owner(a, format.ExtentSize); o.Kind() == invariant.Blocks {
			size := format.Class(o.Who()).BlockSize()
			for off := format.ByteCount(0); size > 0 && off+size <= format.ExtentSize; off += size {
				if b := h.owner(a+format.Addr(off), size); b.Kind() != invariant.Unknown && b.Under(h.epoch) {
					h.doubt(invariant.Found, a+format.Addr(off), size, b, "as they were before the sweep")
				}
			}
		}
		h.sweptTo(a, format.ExtentSize, invariant.Free)
	}
}

// misfit panics if the ledger knows who has a piece that is about to be leaked since it does
// not fit its place: that takes a file that was damaged, or a piece that has two owners. The
// tests that damage files say so (invariant.Distrust).
func (h *Heap) misfit(a format.Addr, size format.ByteCount, what string) {
	off := uint64(a) - h.base
	if off < h.first || off >= h.live.Carved() {
		h.doubt(invariant.Leaked, a, size, 0, what)
		return
	}
	if size == 0 || size > format.MaxSmall {
		size = format.ExtentSize
	}
	o := h.owner(a, size)
	h.live.Record().Note(invariant.Leaked, uint64(a), invariant.Change(o, 0), uint64(size))
	if o.Kind() != invariant.Unknown {
		h.doubt(invariant.Leaked, a, size, o, what)
	}
}

// refused says that an item of a batch cannot be what it says, and is left to a sweep.
func (h *Heap) refused(stack int, item format.ParcelItem) {
	size := format.ByteCount(format.ExtentSize)
	if stack < format.NumClasses {
		size = format.Class(stack).BlockSize()
	}
	h.misfit(format.Addr(item.Addr), size, "what comes out of a batch fits its place")
}
