package heap

import (
	"cmp"
	"errors"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
)

// A hole is a free extent whose space may have been given back to the file system.
// The byte of the extent table is all that says so; this is why that is enough (I8).
//
// To make holes: own the extents; say ClassHole; sync; own them, and find them to be
// ClassHole still; punch. To use one: own it; allocate it; say what it is now. Only
// the sweeper makes holes, hence one process at a time: so what is marked after its
// sync has been so since before it, whichever process had the extent meanwhile. A process
// that dies in between leaves ClassHole behind, with or without the space, and a free
// extent that the next sweep finds. A process that has only entered owns what it lists
// (I7): no sweep begins while it punches.
//
// A power loss takes the table back to what was written of it. An extent with
// ClassHole and with space does no harm. One without space had ClassHole on disk
// before the space went. Since then it may have been allocated and used, the table
// written, and the allocation lost with the power: but not if anything in it was
// synced, hence not if a version that is recovered can reach it. So it is free, a
// sweep finds it, or a clean anchor lists it; and until a sweep has ended under this
// live file, every free extent counts as a hole. A version that is recovered can lie
// below the holes, too, if both anchors are lost that were written before they were
// punched: therefore what is reserved anew is looked at as well.

const (
	holeBatch           = minGrowth >> format.ExtentShift // extents that are allocated at once, if they lie in a row
	holesPerBatchExtent = batchExtents * 16               // a batch takes a sixteenth of an extent
	punchMost           = 1 << 10                         // extents that are punched in one call
	punchesMost         = 4                               // calls while others wait for what was taken aside
)

// holeBytes returns the bytes of the holes in the lists.
func (h *Heap) holeBytes() format.ByteCount {
	return format.ByteCount(h.holes.extents) << format.ExtentShift
}

// putFree gives extents, which were free for somebody else before, to the lists.
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

// errNoHoles says that there are no holes in a row of the length.
var errNoHoles = errors.New("no holes")

// takeHoles takes n holes in a row, and allocates them; and some more, if they lie
// there, so that the file is in few pieces. An error leaves them as they were.
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

// allocateHoles makes free extents of holes that this process owns.
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

// fillHoles allocates the holes among extents that this process owns and that are
// in no list. If that fails, they go to the lists.
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

// takeAny takes n extents in a row from wherever there are some still, when the file
// cannot grow because of err: from the stack, from those that were to be punched,
// from a row of which some are holes.
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

// TakeTail reserves what the file has and nobody ever used, so that it can be
// punched like all that is free. The heap is entered.
func (h *Heap) TakeTail() {
	w := h.live.Words()
	for {
		carved, end := w.Carved.Load(), w.End.Load()
		if carved >= end {
			return
		}
		if w.Carved.CompareAndSwap(carved, end) {
			h.live.Assure() // nobody else has it (L16)
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
// have their space. They go to the stack, because the marks must be synced now, and the
// space would grow by all that others need meanwhile. The offset is not above what the
// usable anchors say is in use: otherwise a recovery could treat extents beyond it as never
// punched. The heap is entered, and the process is the sweeper; when the marks are on disk,
// TakeAside follows.
func (h *Heap) MarkHoles(below uint64) format.ByteCount {
	h.adoptAll(format.StackExtents)
	free := h.runs.cut(below >> format.ExtentShift)
	if len(free) > 0 { // some stay for the batches, which else would need holes at once: low ones, since they are used
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

// TakeAside takes what is free and was marked out of the lists and the stack. The heap
// is entered; PunchAside follows at once.
func (h *Heap) TakeAside(below uint64) {
	h.adoptAll(format.StackExtents)
	for _, r := range h.holes.cut(below >> format.ExtentShift) {
		h.aside.add(r.extent, r.n)
	}
}

// PunchAside gives the space of some of the extents that were taken aside back to the
// file system, as far as they still are this process's, and the extents to the stack:
// the heap is entered. It reports whether there are more.
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

// ReturnAside puts what was taken aside, and is not punched, back into the lists. The
// heap is entered.
func (h *Heap) ReturnAside() {
	for _, r := range h.aside.list {
		h.holes.add(r.extent, r.n)
	}
	h.aside = runList{}
}

// takeUpTo takes extents in a row from the best run that has n of them: most at the most.
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

// takeLast takes extents in a row from the end of the list: most at the most.
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

// remove takes those of the n extents from extent on that are in the list out of it.
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
