package heap

import (
	"iter"
	"math/bits"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Support for emptying sparse extents and for cutting off the end of the file: how full
// extents are, and which of them a sweep leaves out.

// An ExtentSet is a set of extents.
type ExtentSet struct{ words []uint64 }

// Has reports whether the extent is in the set.
func (s *ExtentSet) Has(extent uint64) bool {
	return extent/64 < uint64(len(s.words)) && s.words[extent/64]&(1<<(extent%64)) != 0
}

// Add adds an extent.
func (s *ExtentSet) Add(extent uint64) {
	for extent/64 >= uint64(len(s.words)) {
		s.words = append(s.words, 0)
	}
	s.words[extent/64] |= 1 << (extent % 64)
}

// Occupied is an extent with marked blocks, or a marked run.
type Occupied struct {
	Extent uint64
	Run    bool
	Count  uint64           // how many extents it has: 1, unless it is a run
	Blocks int              // how many blocks are marked
	Used   format.ByteCount // the bytes of the marked blocks
}

// Occupied lists the extents with blocks of the set, in ascending order.
func (m *Marks) Occupied() iter.Seq[Occupied] {
	return func(yield func(Occupied) bool) {
		h := m.heap
		for extent := h.first >> format.ExtentShift; extent < uint64(len(m.extents)); extent++ {
			marks := m.extents[extent]
			if marks == nil {
				continue
			}
			o := Occupied{Extent: extent, Count: 1}
			if class := h.extentClass(extent); class == format.ClassRun {
				o.Run, o.Blocks, o.Used = true, 1, blockSize(h.header(h.extentAddr(extent)))
				o.Count = uint64(o.Used) >> format.ExtentShift
			} else {
				for _, w := range marks {
					o.Blocks += bits.OnesCount64(w)
				}
				o.Used = format.ByteCount(o.Blocks) * class.BlockSize()
			}
			if !yield(o) {
				return
			}
			extent += o.Count - 1
		}
	}
}

// First returns the number of the first extent of blocks.
func (h *Heap) First() uint64 { return h.first >> format.ExtentShift }

// ExtentOf returns the number of the extent that an address lies in.
func (h *Heap) ExtentOf(a format.Addr) uint64 { return h.extentOf(a) }

// Withhold excludes extents from the result of Unmarked: no process owns them until the next
// sweep, so none writes there.
func (m *Marks) Withhold(s *ExtentSet) { m.withheld = s }

// Avoid makes this process leave blocks that become free in these extents to the next sweep,
// so that it writes nothing there, and take the lowest free extents. nil ends that. The
// caller has entered the heap.
func (h *Heap) Avoid(s *ExtentSet) {
	h.avoided = s
	h.runs.low, h.holes.low = s != nil, s != nil
}

// holesAreLower reports whether to take n consecutive holes, since they are lower than any n
// consecutive free extents with disk space.
func (h *Heap) holesAreLower(n uint64) bool {
	if !h.holes.low {
		return false
	}
	hole, free := h.holes.best(n), h.runs.best(n)
	return hole >= 0 && (free < 0 || h.holes.list[hole].extent < h.runs.list[free].extent)
}

// SortExtents puts all free extents of this process and of the stack on the stack, those
// below the limit on top, where they are taken first. The caller has entered the heap.
func (h *Heap) SortExtents(limit uint64) {
	h.adoptAll(format.StackExtents)
	var below [2]runList
	for i, list := range []*runList{&h.holes, &h.runs} {
		for _, r := range list.cut(limit) {
			if r.n > 0 {
				below[i].add(r.extent, r.n)
			}
		}
		h.pushRuns(list)
	}
	for i, list := range []*runList{&h.holes, &h.runs} {
		for _, r := range below[i].list {
			list.add(r.extent, r.n)
		}
		h.pushRuns(list)
	}
}

// Gather takes the free and the pending blocks from all stacks into the lists of this
// process: so the blocks of wholly free extents come together. The caller has entered the
// heap.
func (h *Heap) Gather() {
	h.adoptAll(format.StackPending)
	for again := true; again; again = len(h.released.chunks) > 0 {
		h.Reclaim()
	}
	h.adoptAll(format.StackExtents)
	for c := format.Class(1); int(c) < format.NumClasses; c++ {
		h.adoptAll(int(c))
	}
	h.cool()
}

// tailKept is how many free extents stay below the new end: for the batches that list the
// others.
const tailKept = 4

// CutTail takes the free extents below the high-water mark out of the lists, for good, and
// returns the offset at which they begin, which is the end of the file from now on. No other
// process has the space open, the caller has entered the heap, and the lists have all free
// space.
func (h *Heap) CutTail() (below uint64) {
	end := h.live.Words().Carved.Load() >> format.ExtentShift
	first := end
	for list := h.endingAt(first); list != nil; list = h.endingAt(first) {
		first = list.list[len(list.list)-1].extent
		list.cutLast()
	}
	if kept := min(end-first, tailKept); kept > 0 {
		h.putFree(first, kept) // this process owns them; they were in no list meanwhile
		first += kept
	}
	if invariant.Enabled {
		h.ledger.CutOff(first, end-first)
	}
	below = first << format.ExtentShift
	h.live.Words().Carved.Store(below)
	h.live.Words().End.Store(below)
	return below
}

// endingAt returns the list whose last run ends where an extent begins; nil if there is
// none.
func (h *Heap) endingAt(extent uint64) *runList {
	for _, r := range []*runList{&h.runs, &h.holes} {
		if n := len(r.list); n > 0 && r.list[n-1].extent+r.list[n-1].n == extent {
			return r
		}
	}
	return nil
}

// cutLast takes the last run out of the list.
func (r *runList) cutLast() {
	n := len(r.list) - 1
	r.extents -= r.list[n].n
	r.list = r.list[:n]
}
