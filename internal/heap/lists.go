package heap

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// A classList has the free blocks of one class that this process owns, ordered by how cheap
// they are to write. Hot blocks lie on pages that are dirty already. Cold blocks are grouped
// by extent: populating an extent at once costs little per block if many of its blocks are
// free, while a lone block on a clean page costs a page fault, which is as much as several
// transactions.
type classList struct {
	hot    []format.Addr
	bySize [13][]uint64 // extents whose group has about 2^i blocks; stale ones are skipped
	blocks int          // in groups
}

// addCold puts a free block into the group of its extent. A group that has all blocks of its
// extent becomes a free extent: no other process owns any part of it.
func (h *Heap) addCold(c format.Class, a format.Addr) {
	l := &h.lists[c]
	extent := h.extentOf(a)
	for uint64(len(h.groups)) <= extent {
		h.groups = append(h.groups, make([][]format.Addr, extent/4+64)...)
	}
	group := append(h.groups[extent], a)
	if len(group) == int(format.ExtentSize/c.BlockSize()) {
		if invariant.Enabled {
			h.ledger.Joined(extent)
		}
		h.groups[extent] = nil
		h.cold -= format.ByteCount(len(group)-1) * c.BlockSize()
		l.blocks -= len(group) - 1
		h.runs.add(extent, 1)
		return
	}
	h.groups[extent] = group
	l.blocks++
	h.cold += c.BlockSize()
	if n := len(group); n&(n-1) == 0 {
		i := bits.Len(uint(n)) - 1
		l.bySize[i] = append(l.bySize[i], extent)
	}
}

// takeGroup makes one of the largest groups hot, if it has at least least blocks, a power of
// two, and reports whether it did.
func (h *Heap) takeGroup(c format.Class, least int) bool {
	l := &h.lists[c]
	for i := len(l.bySize) - 1; i >= 0 && 1<<i >= least && l.blocks > 0; i-- {
		for n := len(l.bySize[i]); n > 0; n = len(l.bySize[i]) {
			extent := l.bySize[i][n-1]
			l.bySize[i] = l.bySize[i][:n-1]
			if h.extentClass(extent) != c {
				continue // it became free as a whole, and another class has it now
			}
			group := h.groups[extent]
			if len(group) < 1<<i { // the group was used since; what it has now is smaller
				if len(group) > 0 {
					l.requeue(extent, len(group))
				}
				continue
			}
			h.groups[extent] = group[:0]
			l.blocks -= len(group)
			h.cold -= format.ByteCount(len(group)) * c.BlockSize()
			l.hot = append(l.hot, group...)
			if len(group) >= populateBlocks {
				h.populate(extent, 1)
				h.lookAheadIn(c)
			} else {
				h.populateBlocksOf(extent, group)
			}
			return true
		}
	}
	return false
}

// cool moves the hot blocks of all classes into groups: an anchor has made their pages
// clean. The process populates them again group by group, which costs a tenth of a page
// fault for each page.
func (h *Heap) cool() {
	for c := range h.lists {
		hot := h.lists[c].hot
		h.lists[c].hot = nil
		for _, a := range hot {
			h.addCold(format.Class(c), a)
		}
	}
}

// requeue puts an extent into the list of its group's size.
func (l *classList) requeue(extent uint64, n int) {
	i := bits.Len(uint(n)) - 1
	l.bySize[i] = append(l.bySize[i], extent)
}

// forget drops the blocks below the floor.
func (l *classList) forget(floor format.Addr) {
	below := func(a format.Addr) bool { return a < floor }
	l.hot = slices.DeleteFunc(l.hot, below)
	l.bySize = [13][]uint64{}
	l.blocks = 0
}

// forgetGroups drops the groups below the floor, and puts the others into their lists again.
func (h *Heap) forgetGroups(floor format.Addr) {
	for extent, group := range h.groups {
		if h.extentAddr(uint64(extent)) < floor || len(group) == 0 {
			h.groups[extent] = nil
			continue
		}
		c := h.extentClass(uint64(extent))
		l := &h.lists[c]
		l.blocks += len(group)
		h.cold += format.ByteCount(len(group)) * c.BlockSize()
		l.requeue(uint64(extent), len(group))
	}
}

// A runList has whole free extents that this process owns, in ascending order; adjacent ones
// form a run.
type runList struct {
	list    []run
	extents uint64
	low     bool // take the lowest extents, and not those of the shortest run: see Avoid
}

// run is a number of consecutive free extents.
type run struct{ extent, n uint64 }

// add adds n extents from extent on to the list.
func (r *runList) add(extent, n uint64) {
	i, _ := slices.BinarySearchFunc(r.list, extent, func(a run, e uint64) int { return cmp.Compare(a.extent, e) })
	r.extents += n
	r.list = slices.Insert(r.list, i, run{extent, n})
	if i+1 < len(r.list) && r.list[i].extent+r.list[i].n == r.list[i+1].extent {
		r.list[i].n += r.list[i+1].n
		r.list = slices.Delete(r.list, i+1, i+2)
	}
	if i > 0 && r.list[i-1].extent+r.list[i-1].n == r.list[i].extent {
		r.list[i-1].n += r.list[i].n
		r.list = slices.Delete(r.list, i, i+1)
	}
}

// best returns the index of the smallest run with at least n extents, or of the lowest one
// if low is set; -1 if there is none.
func (r *runList) best(n uint64) int {
	best := -1
	for i, a := range r.list {
		if a.n >= n && (best < 0 || a.n < r.list[best].n) {
			best = i
			if r.low {
				break
			}
		}
	}
	return best
}

// take removes n consecutive extents from the best run.
func (r *runList) take(n uint64) (extent uint64, ok bool) {
	best := r.best(n)
	if best < 0 {
		return 0, false
	}
	extent = r.list[best].extent
	r.extents -= n
	r.list[best].extent += n
	r.list[best].n -= n
	if r.list[best].n == 0 {
		r.list = slices.Delete(r.list, best, best+1)
	}
	return extent, true
}

// forget drops the extents below the floor.
func (r *runList) forget(floor uint64) {
	r.extents = 0
	r.list = slices.DeleteFunc(r.list, func(a run) bool { return a.extent < floor })
	for _, a := range r.list {
		r.extents += a.n
	}
}
