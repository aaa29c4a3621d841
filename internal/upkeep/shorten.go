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

// The length of the heap file is what processes rely on that have it mapped: what
// lies below the end can be touched. One who stands still on the way to making it shorter
// would do it late. So only the last user does it, when he closes the space, and nobody
// can join meanwhile (K4).
//
// Invariants (U for the last user):
//
//	U1  What is cut off is free, in nobody's lists, and beyond what both usable anchors say
//	    is reserved: they are written before. So whatever a recovery finds, it goes on above
//	    those marks, and takes what was cut off for what was never there: it is allocated
//	    before it is used, as holes are.
//	U2  It is beyond what live says is reserved, and the end of the file, from the moment
//	    it is taken out of the lists, before any of that. So who dies on the way has lost
//	    track of nothing: the next user goes on from there, in a file that is longer than it
//	    need be; and the last one cuts off what is beyond that end, whoever has set it.
//	U3  What nobody ever used is in no list and beyond what any anchor says is reserved: so
//	    the end is set to where that begins, or little after it, in one write.

// lengthDue reports whether the heap file is much longer than what it holds, and it may
// help to do something about it (H2).
func (u *Upkeep) lengthDue() bool {
	w := u.Live.Words()
	_, bytes, _, err := u.measure()
	length := w.Carved.Load() - u.Heap.First()<<format.ExtentShift
	return err == nil && u.outgrown(length, bytes, w.ShrunkLong.Load())
}

// lastTries is how often the last user tries to be the sweeper: the background may be at it.
const lastTries = 20

// shrinkLast is shrink for the last user, before he closes the space.
func (u *Upkeep) shrinkLast() (err error) {
	if err := u.Enter(); err != nil {
		return err
	}
	defer u.Exit()
	defer u.EndGuard(debug.SetPanicOnFault(true), &err)
	return u.shrinkAll(context.Background(), lastTries, lastTries)
}

// Shorten prepares to cut the end of the heap file off, if the file is much longer than what it
// holds, and gives the space of free extents back if it takes much more of the disk. It
// reports whether it did so: then it has written one anchor. The caller is the last one
// who has the space open, and has given all back.
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

// punchLast gives the space of the free extents below the end back to the file system,
// whose marks are on disk.
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

// lastLists runs fn while the last user uses the lists.
func (u *Upkeep) lastLists(fn func(h *heap.Heap)) error {
	return u.UsingLists(func() error {
		u.Heap.Enter()
		fn(u.Heap)
		return nil
	})
}

// endRoom is how much of what nobody ever used stays in the file: a program that comes,
// changes little and goes need not make the file longer each time.
const endRoom = 1 << 20

// CutHeap cuts the heap file off at the end that live tells of, when both usable anchors
// know of it: one that is missing it writes (U1). The file has grown in large steps; what
// is left of the last one it cuts off, too (U3).
func (u *Upkeep) CutHeap() error {
	if w := u.Live.Words(); w.End.Load() > w.Carved.Load()+endRoom {
		w.End.Store(w.Carved.Load() + endRoom)
	}
	status, err := mapping.StatusOfFile(u.Files.Heap)
	if err != nil {
		return err
	}
	end := u.Live.Words().End.Load()
	u.Live.Assure() // that is the end
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
	return nil // it cannot be known, and stays as it is
}
