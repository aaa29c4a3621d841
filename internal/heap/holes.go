package heap

import (
	"cmp"
	"errors"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
)

// A hole is a free extent whose space may have been given back to the file system. Only its
// byte in the extent table says so; this is why that is enough (I8).
//
// To make holes, a process owns the extents; marks them ClassHole; syncs; owns them again,
// and finds them still marked ClassHole; and punches. To use a hole, a process owns it;
// allocates it; and writes its new class. Only the sweeper makes holes, so one process at a
// time does: an extent that is marked after its sync was marked before it, too, whichever
// process had the extent meanwhile. A process that dies in between leaves the mark
// ClassHole, with or without the space, and a free extent that the next sweep finds. A
// process that has entered owns its lists (I7): no sweep begins while it punches.
//
// A power loss takes the table back to the contents that were written. An extent that is
// marked ClassHole and has its space does no harm. An extent without space had ClassHole on
// disk before it lost the space. Since then a process may have allocated and used it and
// written the table, and the power loss may have undone the allocation. But that cannot
// happen if anything in the extent was synced, so no version that a recovery finds can reach
// it. So the extent is free: a sweep finds it, or a clean anchor lists it. Until a sweep has
// ended under this live file, every free extent counts as a hole. A recovered version can
// have a high-water mark below the holes, too, if both anchors are lost that were written
// before the punching: so newly reserved extents are checked as well.

const (
	holeBatch           = minGrowth >> format.ExtentShift // how many consecutive extents are allocated at once
	holesPerBatchExtent = batchExtents * 16               // a batch takes a sixteenth of an extent
	punchMost           = 1 << 10                         // how many extents one call punches
	punchesMost         = 4                               // how many calls are made while other processes wait for the extents taken aside
)

// holeBytes returns the bytes of the holes in the lists.
func (h *Heap) holeBytes() format.ByteCount {
	return format.ByteCount(h.holes.extents) << format.ExtentShift
}

// putFree puts extents into the lists that another process had as free before.
func (h *Heap) putFree(extent, n uint64) {
	doubtful := h.live.Words().Swept.Load() == 0
	for end := extent + n; extent < end; {
		hole := doubtful || h.extentClass(extent) == format.ClassHole
		first := extent
		for ; extent < end && (doubtful || (h.extentClass(extent) == format.ClassHole) == hole); extent++ {
			class := format.ClassFree
			if hole {
				class = format.ClassHole
			}
			h.setExtentClass(extent, class)
		}
		if hole {
			h.holes.add(first, extent-first)
		} else {
			h.runs.add(first, extent-first)
		}
	}
}

// errNoHoles says that there are not enough consecutive holes.
var errNoHoles = errors.New("no holes")

// takeHoles takes n consecutive holes, and allocates them. It also allocates some that
// follow, so that the file has few fragments. After an error all of them are holes as
// before.
func (h *Heap) takeHoles(n uint64) (uint64, error) {
	extent, got, ok := h.holes.takeUpTo(n, max(n, holeBatch))
	if !ok {
		return 0, errNoHoles
	}
	err := h.allocateHoles(extent, got)
	if errors.Is(err, mapping.ErrNoSpace) && got > n {
		h.holes.add(extent+n, got-n)
		got = n
		err = h.allocateHoles(extent, n)
	}
	if err != nil {
		h.holes.add(extent, got)
		return 0, err
	}
	if got > n {
		h.runs.add(extent+n, got-n)
	}
	return extent, nil
}

// allocateHoles turns holes that this process owns into free extents.
func (h *Heap) allocateHoles(extent, n uint64) error {
	if invariant.Enabled {
		h.ledger.AssertFreeExtents(invariant.Grew, extent, n)
	}
	if err := h.uncut(); err != nil {
		return err
	}
	if err := h.region.Allocate(int64(extent<<format.ExtentShift), int64(n<<format.ExtentShift)); err != nil {
		if errors.Is(err, mapping.ErrIO) { // as when the file grows
			h.live.Words().Failed.Store(1)
		}
		return err
	}
	invariant.Point("hole.allocated")
	for i := range n {
		h.setExtentClass(extent+i, format.ClassFree)
	}
	return nil
}

// fillHoles allocates the holes among extents that this process owns and that are in no
// list. If that fails, it puts the extents into the lists.
func (h *Heap) fillHoles(extent, n uint64) error {
	for i := range n {
		if h.extentClass(extent+i) != format.ClassHole {
			continue
		}
		if err := h.allocateHoles(extent+i, 1); err != nil {
			h.putFree(extent, n)
			return err
		}
	}
	return nil
}

// takeAny takes n consecutive extents from anywhere, when the file cannot grow because of
// err: from the stack, from the extents that were to be punched, or from a run with some
// holes in it.
func (h *Heap) takeAny(n uint64, err error) (uint64, error) {
	h.adoptAll(format.StackExtents)
	h.ReturnAside()
	if extent, ok := h.runs.take(n); ok {
		return extent, nil
	}
	if extent, err := h.takeHoles(n); err == nil {
		return extent, nil
	}
	if n == 1 {
		return 0, err
	}
	var all runList
	for _, r := range append(slices.Clone(h.runs.list), h.holes.list...) {
		all.add(r.extent, r.n)
	}
	extent, ok := all.take(n)
	if !ok {
		return 0, err
	}
	h.runs.remove(extent, n)
	h.holes.remove(extent, n)
	if holeErr := h.fillHoles(extent, n); holeErr != nil {
		return 0, err
	}
	return extent, nil
}

// TakeTail reserves the part of the file above the high-water mark, so that it can be
// punched like other free extents. The caller has entered the heap.
func (h *Heap) TakeTail() {
	w := h.live.Words()
	for {
		carved, end := w.Carved.Load(), w.End.Load()
		if carved >= end {
			return
		}
		if w.Carved.CompareAndSwap(carved, end) {
			h.live.Assure() // no other process has it (L16)
			if invariant.Enabled {
				h.ledger.ReservedAnew(carved>>format.ExtentShift, (end-carved)>>format.ExtentShift)
			}
			h.putFree(carved>>format.ExtentShift, (end-carved)>>format.ExtentShift)
			return
		}
	}
}

// MarkHoles marks the free extents below an offset, including those of the stack, as holes,
// and returns their bytes. It counts extents that are marked already, since they may still
// have their space. It puts them on the stack: the caller must sync the marks now, and
// meanwhile the space would grow by everything that other processes need. The offset is not
// above the high-water marks of the usable anchors: otherwise a recovery could treat extents
// beyond it as never punched. The caller has entered the heap and is the sweeper. When the
// marks are on disk it calls TakeAside.
func (h *Heap) MarkHoles(below uint64) format.ByteCount {
	h.adoptAll(format.StackExtents)
	free := h.runs.cut(below >> format.ExtentShift)
	if len(free) > 0 { // some stay for the batches, which would otherwise need holes at once: low ones, since they are used first
		kept := min(free[0].n, 1+(h.runs.extents+h.holes.extents)/holesPerBatchExtent)
		h.runs.add(free[0].extent, kept)
		free[0].extent, free[0].n = free[0].extent+kept, free[0].n-kept
	}
	for _, r := range free {
		for i := range r.n {
			h.setExtentClass(r.extent+i, format.ClassHole)
			if r.extent+i < uint64(len(h.fresh)) {
				h.fresh[r.extent+i] = 0
			}
		}
		if r.n > 0 {
			h.holes.add(r.extent, r.n)
			if invariant.Enabled {
				h.live.Record().Note(invariant.Marked, uint64(h.extentAddr(r.extent)), 0, r.n<<format.ExtentShift)
			}
		}
	}
	invariant.Point("punch.marked")
	bytes := h.holeBytes()
	h.pushRuns(&h.holes)
	return bytes
}

// TakeAside takes the free and marked extents out of the lists and the stack. The caller has
// entered the heap, and calls PunchAside at once.
func (h *Heap) TakeAside(below uint64) {
	h.adoptAll(format.StackExtents)
	for _, r := range h.holes.cut(below >> format.ExtentShift) {
		h.aside.add(r.extent, r.n)
	}
}

// PunchAside gives the space of some of the extents taken aside back to the file system, if
// this process still owns them, and puts them on the stack. It reports whether there are
// more. The caller has entered the heap.
func (h *Heap) PunchAside() (more bool, err error) {
	for range punchesMost {
		if len(h.aside.list) == 0 {
			break
		}
		extent, n := h.aside.takeLast(punchMost)
		if invariant.Enabled {
			h.ledger.AssertFreeExtents(invariant.Punched, extent, n)
		}
		err := h.region.PunchHole(int64(extent<<format.ExtentShift), int64(n<<format.ExtentShift))
		h.holes.add(extent, n)
		if err != nil {
			h.ReturnAside()
			return false, err
		}
		if invariant.Enabled {
			h.live.Record().Note(invariant.Punched, uint64(h.extentAddr(extent)), 0, n<<format.ExtentShift)
		}
		invariant.Point("punch.punched")
	}
	h.pushRuns(&h.holes)
	return len(h.aside.list) > 0, nil
}

// ReturnAside puts the extents that were taken aside and not punched back into the lists.
// The caller has entered the heap.
func (h *Heap) ReturnAside() {
	for _, r := range h.aside.list {
		h.holes.add(r.extent, r.n)
	}
	h.aside = runList{}
}

// takeUpTo takes consecutive extents from the best run that has n of them, at most most.
func (r *runList) takeUpTo(n, most uint64) (extent, got uint64, ok bool) {
	best := r.best(n)
	if best < 0 {
		return 0, 0, false
	}
	a := r.list[best]
	got = min(a.n, most)
	r.remove(a.extent, got)
	return a.extent, got, true
}

// takeLast takes consecutive extents from the end of the list, at most most.
func (r *runList) takeLast(most uint64) (extent, n uint64) {
	last := len(r.list) - 1
	a := &r.list[last]
	n = min(a.n, most)
	a.n -= n
	r.extents -= n
	extent = a.extent + a.n
	if a.n == 0 {
		r.list = r.list[:last]
	}
	return extent, n
}

// cut takes all extents below a limit out of the list.
func (r *runList) cut(limit uint64) []run {
	i, _ := slices.BinarySearchFunc(r.list, limit, func(a run, e uint64) int { return cmp.Compare(a.extent, e) })
	below := slices.Clone(r.list[:i])
	rest := slices.Clone(r.list[i:])
	if i > 0 && below[i-1].extent+below[i-1].n > limit {
		a := &below[i-1]
		rest = slices.Insert(rest, 0, run{limit, a.extent + a.n - limit})
		a.n = limit - a.extent
	}
	r.list, r.extents = rest, 0
	for _, a := range rest {
		r.extents += a.n
	}
	return below
}

// remove removes those of the n extents from extent on that are in the list.
func (r *runList) remove(extent, n uint64) {
	end := extent + n
	i, _ := slices.BinarySearchFunc(r.list, extent, func(a run, e uint64) int { return cmp.Compare(a.extent+a.n, e+1) })
	for i < len(r.list) && r.list[i].extent < end {
		a := r.list[i]
		from, to := max(a.extent, extent), min(a.extent+a.n, end)
		r.extents -= to - from
		var rest []run
		if a.extent < from {
			rest = append(rest, run{a.extent, from - a.extent})
		}
		if to < a.extent+a.n {
			rest = append(rest, run{to, a.extent + a.n - to})
		}
		r.list = slices.Replace(r.list, i, i+1, rest...)
		i += len(rest)
	}
}
