//go:build invariants && linux

package ledger

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// The changes of owner, which package heap reports here.

// Open begins the use of the ledger, unless it has begun: all floors of earlier sweeps apply
// to this process.
func (l *Ledger) Open() {
	if l.floor == 0 {
		l.floor = format.Addr(l.base + l.live.Words().SweepFloor.Load())
	}
}

// Forgets says that the process has forgotten its lists below the floor, because of the
// epoch that it knows now (O3).
func (l *Ledger) Forgets(floor format.Addr) {
	l.floor = floor
	l.live.Record().Note(invariant.Forgot, 0, *l.epoch, uint64(floor)-l.base)
}

// assertFree asserts that a piece is in this process's lists of free space.
func (l *Ledger) assertFree(e invariant.Event, a format.Addr, size format.ByteCount) {
	for done := format.ByteCount(0); done < size; done += format.ExtentSize {
		at := a + format.Addr(done)
		if o := l.owner(at, size); !l.permits(fromFree, at, o) {
			l.doubt(e, at, size, o, fromFree.String())
		}
	}
}

// AssertFreeExtents asserts that extents are in this process's lists of free space.
func (l *Ledger) AssertFreeExtents(e invariant.Event, extent, n uint64) {
	l.assertFree(e, l.extentAddr(extent), format.ByteCount(n)<<format.ExtentShift)
}

// handExtents is hand for extents.
func (l *Ledger) handExtents(e invariant.Event, extent, n uint64, from rule, to invariant.OwnerKind) {
	l.hand(e, l.extentAddr(extent), format.ByteCount(n)<<format.ExtentShift, from, to)
}

// Listed says that this process puts a piece into its lists of free space, once (O5).
func (l *Ledger) Listed(a format.Addr, size format.ByteCount) {
	l.change(invariant.Listed, a, size, fromLoose, l.me(invariant.Free))
}

// Took says that a transaction has taken a block (O5).
func (l *Ledger) Took(a format.Addr, size format.ByteCount) {
	l.hand(invariant.Took, a, size, fromFree, invariant.Taken)
}

// TookRun says that a transaction has taken the extents of a run (O5).
func (l *Ledger) TookRun(extent, n uint64) {
	l.handExtents(invariant.Took, extent, n, fromFree, invariant.Taken)
}

// Unused says that a transaction gives back a block that its version does not use (O5).
func (l *Ledger) Unused(a format.Addr, size format.ByteCount) {
	l.hand(invariant.Returned, a, size, fromTaken, invariant.Loose)
}

// Aborted says that a transaction gives back a block that it has written, sealed or not (O5).
func (l *Ledger) Aborted(a format.Addr, size format.ByteCount) {
	l.hand(invariant.Returned, a, size, fromTxn, invariant.Loose)
}

// Settled says that no held version uses a block any longer (O8).
func (l *Ledger) Settled(a format.Addr, size format.ByteCount) {
	l.hand(invariant.Settled, a, size, fromWaiting, invariant.Loose)
}

// Lent says that this process is about to put an extent into a cell of the reserve (O10).
func (l *Ledger) Lent(extent uint64) {
	l.handExtents(invariant.Lent, extent, 1, fromFree, invariant.Reserve)
}

// Unlent says that this process has taken extents out of cells, or failed to put them into cells (O10).
func (l *Ledger) Unlent(extent, n uint64) {
	l.handExtents(invariant.Unlent, extent, n, fromReserve, invariant.Free)
}

// ReservedAnew says that this process has taken extents that no process ever had (O11).
func (l *Ledger) ReservedAnew(extent, n uint64) {
	l.handExtents(invariant.Carved, extent, n, fromNobody, invariant.Free)
}

// CutOff says that this process cuts extents off the end of the file (O11).
func (l *Ledger) CutOff(extent, n uint64) {
	l.handExtents(invariant.CutOff, extent, n, fromFree, invariant.Unknown)
}

// Joined says that all blocks of an extent are free, and that this process joins them (O12).
func (l *Ledger) Joined(extent uint64) {
	l.handExtents(invariant.Joined, extent, 1, fromBlocks, invariant.Free)
}

// CutUp says that this process has cut an extent into blocks of a class (O12).
func (l *Ledger) CutUp(extent uint64, c format.Class) {
	a, size := l.extentAddr(extent), c.BlockSize()
	blocks := invariant.MakeOwner(invariant.Blocks, uint64(c), *l.epoch)
	old := l.change(invariant.Cut, a, format.ExtentSize, fromFree, blocks)
	l.live.Record().Note(invariant.Cut, uint64(a), invariant.Change(old, blocks), format.ExtentSize)
	for off := format.ByteCount(0); off+size <= format.ExtentSize; off += size {
		l.change(invariant.Cut, a+format.Addr(off), size, fromAnybody, l.me(invariant.Free))
	}
}

// Sealed says that a version is about to own a block (O6). It notes no event: the swap does.
func (l *Ledger) Sealed(a format.Addr, size format.ByteCount) {
	l.change(invariant.Sealed, a, size, fromTaken, l.me(invariant.Version))
}

// Freed says that a version has freed a block of its base (O7), written by the version birth.
// restored is the newest version that the base pins for a restore; 0: none.
func (l *Ledger) Freed(a format.Addr, size format.ByteCount, birth, restored format.Version) {
	from, to := fromVersion, invariant.Waiting
	switch o := l.owner(a, size); o.Kind() {
	case invariant.Waiting, invariant.Freeing, invariant.Several:
		if l.forgotten(a, o) {
			from = fromAnybody
		} else if birth <= restored {
			from, to = fromAnybody, invariant.Several
		}
	}
	l.hand(invariant.Freed, a, size, from, to)
}

// Packed says that this process has put items into the batch in the block at a, and is about
// to push it on a stack (O9). sizeOf returns the size of a block.
func (l *Ledger) Packed(stack int, a format.Addr, items []format.BatchItem, sizeOf func(format.Addr) format.ByteCount) {
	l.handOne(invariant.Pushed, a, l.batch, fromTaken|fromFree, invariant.Batch)
	for _, item := range items {
		at := format.Addr(item.Addr)
		switch stack {
		case format.StackExtents:
			l.handExtents(invariant.Pushed, l.extentOf(at), item.Birth, fromFree, invariant.Batch)
		case format.StackPending:
			size := sizeOf(at)
			to := invariant.Freeing
			if l.owner(at, size).Kind() == invariant.Several {
				to = invariant.Several
			}
			l.handOne(invariant.Pushed, at, size, fromListed, to)
		default:
			l.handOne(invariant.Pushed, at, format.Class(stack).BlockSize(), fromFree, invariant.Batch)
		}
	}
}

// Unpacked says that this process has taken a batch: it owns the batch's block.
func (l *Ledger) Unpacked(a format.Addr) {
	l.handOne(invariant.Accepted, a, l.batch, fromBatch, invariant.Loose)
}

// AcceptedBlock says that this process has accepted a free block from a batch.
func (l *Ledger) AcceptedBlock(a format.Addr, size format.ByteCount) {
	l.handOne(invariant.Accepted, a, size, fromBatch, invariant.Free)
}

// AcceptedExtents says that this process has accepted free extents from a batch.
func (l *Ledger) AcceptedExtents(extent, n uint64) {
	l.handExtents(invariant.Accepted, extent, n, fromBatch, invariant.Free)
}

// AcceptedWaiting says that this process has accepted a waiting block from a batch.
func (l *Ledger) AcceptedWaiting(a format.Addr, size format.ByteCount) {
	to := invariant.Waiting
	if l.owner(a, size).Kind() == invariant.Several {
		to = invariant.Several
	}
	l.handOne(invariant.Accepted, a, size, fromFreeing, to)
}

// SparedBatch says that the sweep that begins leaves a batch of extents in the stack: it
// pushes the batch again, under its epoch (O9).
func (l *Ledger) SparedBatch(a format.Addr, items []format.BatchItem) {
	l.handOne(invariant.Spared, a, l.batch, fromAnybody, invariant.Batch)
	for _, item := range items {
		l.handExtents(invariant.Spared, l.extentOf(format.Addr(item.Addr)), item.Birth, fromAnybody, invariant.Batch)
	}
}

// Swept says that a sweep has found a block (O4).
func (l *Ledger) Swept(a format.Addr, size format.ByteCount) {
	l.sweptTo(a, size, invariant.Loose)
}

// sweptTo says that a sweep has found a piece.
func (l *Ledger) sweptTo(a format.Addr, size format.ByteCount, to invariant.OwnerKind) {
	if o := l.owner(a, size); o.Kind() != invariant.Unknown && o.Under(*l.epoch) {
		l.doubt(invariant.Found, a, size, o, "as they were before the sweep")
	}
	l.handOne(invariant.Found, a, size, fromAnybody, to)
}

// SweptExtents says that a sweep has found extents (O4): no process has had a block of them either.
func (l *Ledger) SweptExtents(first, n uint64) {
	for extent := first; extent < first+n; extent++ {
		a := l.extentAddr(extent)
		if o := l.owner(a, format.ExtentSize); o.Kind() == invariant.Blocks {
			size := format.Class(o.Who()).BlockSize()
			for off := format.ByteCount(0); size > 0 && off+size <= format.ExtentSize; off += size {
				if b := l.owner(a+format.Addr(off), size); b.Kind() != invariant.Unknown && b.Under(*l.epoch) {
					l.doubt(invariant.Found, a+format.Addr(off), size, b, "as they were before the sweep")
				}
			}
		}
		l.sweptTo(a, format.ExtentSize, invariant.Free)
	}
}

// Misfit panics if the ledger knows the owner of a piece that this process is about to leak
// because the piece does not fit where it lies. Only a damaged file, or a piece with two
// owners, can cause that. Tests that damage files call invariant.Distrust.
func (l *Ledger) Misfit(a format.Addr, size format.ByteCount, what string) {
	off := uint64(a) - l.base
	if off < l.first || off >= l.live.Carved() {
		l.doubt(invariant.Leaked, a, size, 0, what)
		return
	}
	if size == 0 || size > format.MaxSmall {
		size = format.ExtentSize
	}
	o := l.owner(a, size)
	l.live.Record().Note(invariant.Leaked, uint64(a), invariant.Change(o, 0), uint64(size))
	if o.Kind() != invariant.Unknown {
		l.doubt(invariant.Leaked, a, size, o, what)
	}
}

// Refused says that an item of a batch is impossible, and that this process leaves it to a sweep.
func (l *Ledger) Refused(stack int, item format.BatchItem) {
	size := format.ByteCount(format.ExtentSize)
	if stack < format.NumClasses {
		size = format.Class(stack).BlockSize()
	}
	l.Misfit(format.Addr(item.Addr), size, "what comes out of a batch fits its place")
}
