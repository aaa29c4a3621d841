package upkeep

import (
	"context"
	"runtime/debug"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// Processes that have mapped the heap file rely on its length: they can touch everything below the
// end. A process that is suspended on the way to making the file shorter would do it later, under
// the feet of others. So only the last user shortens the file, when it closes the space: no process
// can join meanwhile (K4).
//
// Invariants (U for the last user):
//
//	U1  The space that is cut off is free, in no list, and beyond the reserved space of both
//	    usable anchors, which are written before. So a recovery continues above the marks of its
//	    anchor, and treats the space that was cut off as space that was never there: like a hole,
//	    it is allocated before it is used.
//	U2  Live has the smaller reserved space, and the new end of the file, from the moment that the
//	    space is taken out of the lists, before any other step. So if the process dies on the way,
//	    nothing is lost track of: the next user continues with a file that is longer than
//	    necessary, and the last one cuts off everything beyond that end, whichever process has set
//	    it.
//	U3  Space that was never used is in no list and beyond the reserved space of every anchor: so
//	    one write sets the end to where it begins, or a little later.

// lengthDue reports whether the heap file is much longer than its contents, and shortening it may
// help (H2).
func (u *Upkeep) lengthDue() bool {
	w := u.Live.Words()
	_, bytes, _, err := u.measure()
	length := w.Carved.Load() - u.Heap.First()<<format.ExtentShift
	return err == nil && u.outgrown(length, bytes, w.ShrunkLong.Load())
}

// lastTries is how often the last user tries to become the sweeper: the background may be sweeping.
const lastTries = 20

// shrinkLast is shrink for the last user, before it closes the space.
func (u *Upkeep) shrinkLast() (err error) {
	if err := u.Enter(); err != nil {
		return err
	}
	defer u.Exit()
	defer u.EndGuard(debug.SetPanicOnFault(true), &err)
	return u.shrinkAll(context.Background(), lastTries, lastTries)
}

// Shorten prepares the heap file for CutHeap, if it is much longer than its contents, and gives the
// space of free extents back if the file takes much more of the disk. It reports whether it did so:
// then it has written one anchor. The caller is the last process that has the space open, and has
// given everything back.
func (u *Upkeep) Shorten() (done bool, err error) {
	w := u.Live.Words()
	disk, bytes, _, err := u.measure()
	large := u.outgrown(disk, bytes, w.ShrunkDisk.Load())
	if err != nil || !large && !u.lengthDue() {
		return false, err
	}
	below := uint64(0)
	if err := u.lastLists(func(h *heap.Heap) {
		h.TakeTail()
		h.Gather()
		below = h.CutTail()
		invariant.Point("shorten.told")
		h.MarkHoles(below)
		h.GiveBack(true)
	}); err != nil {
		return false, err
	}
	if err := u.durable.WriteAnchor(nil, true); err != nil {
		return false, err
	}
	invariant.Point("shorten.synced")
	if large {
		if err := u.punchLast(below); err != nil {
			return false, err
		}
	}
	w.ShrunkLong.Store(w.Carved.Load() - u.Heap.First()<<format.ExtentShift)
	w.ShrunkLive.Store(bytes)
	if disk, _, _, err = u.measure(); err == nil {
		w.ShrunkDisk.Store(disk)
	}
	return true, err
}

// punchLast gives the space of the free extents below the end back to the file system. Their marks
// are on disk.
func (u *Upkeep) punchLast(below uint64) error {
	var failed error
	err := u.lastLists(func(h *heap.Heap) {
		h.TakeAside(below)
		for more := true; more && failed == nil; {
			more, failed = h.PunchAside()
		}
		h.ReturnAside()
		h.GiveBack(true)
	})
	if err == nil {
		err = failed
	}
	return err
}

// lastLists runs fn while the last user uses its lists.
func (u *Upkeep) lastLists(fn func(h *heap.Heap)) error {
	return u.UsingLists(func() error {
		u.Heap.Enter()
		fn(u.Heap)
		return nil
	})
}

// endRoom is how much never-used space stays at the end of the file: a program that opens the
// space, changes little and closes it need not make the file longer each time.
const endRoom = 1 << 20

// CutHeap cuts the heap file off at the end that live has, once both usable anchors have it: if one
// lacks it, CutHeap writes another (U1). The file grows in large steps; CutHeap also cuts off the
// rest of the last step (U3).
func (u *Upkeep) CutHeap() error {
	if w := u.Live.Words(); w.End.Load() > w.Carved.Load()+endRoom {
		w.End.Store(w.Carved.Load() + endRoom)
	}
	status, err := mapping.StatusOfFile(u.Files.Heap)
	if err != nil {
		return err
	}
	end := u.Live.Words().End.Load()
	u.Live.Assure() // the end comes from live (L16)
	if uint64(status.Size) <= end {
		return nil
	}
	for range 2 {
		if anchors, _, err := u.Files.Anchors(); err != nil || !spacefile.ReachBeyond(anchors, end) {
			if err != nil {
				return err
			}
			invariant.Point("shorten.cut")
			return u.Files.Heap.Truncate(int64(end))
		}
		if err := u.durable.LastAnchor(true); err != nil {
			return err
		}
	}
	return nil // the end is unknown, so the file stays as it is
}
