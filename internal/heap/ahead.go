package heap

import (
	"sync"

	"github.com/everheap/everheap/internal/format"
)

// To make the pages of an extent present takes as long as ten small transactions. So that
// none of them has to wait for that, the heap tells which extents it will probably take
// blocks from next, and another goroutine populates them meanwhile. It does not matter who
// owns an extent by then, nor whether it is used at all: its pages are written to the disk
// for nothing then, no more. It also makes the file longer before its end is reached, which
// takes longer still; if that fails, whoever needs the space finds out why.

const (
	aheadExtents = 16  // that are populated ahead, at the most
	aheadPart    = 8   // of a space that has less than so many times that: one of so many that it has
	aheadGroups  = 8   // of free blocks, of each class
	aheadReady   = 256 // extents that were populated and not taken: then they are forgotten
	aheadRoom    = 4   // of a growth: when so small a part of it is left, the next one begins

	aheadGrowth = 64 << 20 // bytes of a file: a smaller one grows in a moment, and is to stay small
)

// ahead is what the goroutine that has the heap and the one that populates tell each other.
type ahead struct {
	wish chan struct{} // there is something to be populated

	waits int // extents that were not populated when they were needed; of whoever has the heap

	mu     sync.Mutex
	grow   bool                      // the file is to grow
	wanted []uint64                  // extents
	as     format.Version            // what heap.fresh will be for them
	ready  map[uint64]format.Version // that were populated: what heap.fresh is for them
}

// Ahead returns a channel that says when PopulateAhead has something to do.
func (h *Heap) Ahead() <-chan struct{} { return h.ahead.wish }

// PopulateAhead populates the extents that will be needed soon. It may run beside all other
// methods, in one goroutine, until the region is closed.
func (h *Heap) PopulateAhead() {
	a := &h.ahead
	for {
		a.mu.Lock()
		if a.grow {
			a.grow = false
			a.mu.Unlock()
			h.growAhead()
			continue
		}
		if len(a.wanted) == 0 {
			a.mu.Unlock()
			return
		}
		extent, as := a.wanted[0], a.as
		a.wanted = a.wanted[1:]
		a.mu.Unlock()
		h.region.Populate(int64(extent<<format.ExtentShift), format.ExtentSize)
		a.mu.Lock()
		if len(a.ready) >= aheadReady { // they were not taken
			clear(a.ready)
		}
		a.ready[extent] = as
		a.mu.Unlock()
	}
}

// growAhead makes the file longer, if there is little room left in it.
func (h *Heap) growAhead() {
	w := h.live.Words()
	if end := w.End.Load(); h.roomIsScarce(w.Carved.Load(), end) && end+format.ExtentSize <= h.limit() {
		_ = h.grow(end + format.ExtentSize) // who needs it tries again, and tells
	}
}

// roomIsScarce reports whether so little of the file lies above the mark that it should grow.
func (h *Heap) roomIsScarce(carved, end uint64) bool {
	return end >= aheadGrowth && end-min(carved, end) < h.growth(end)/aheadRoom
}

// wantGrowth tells that the file is to grow, if there is little room left above the mark.
func (h *Heap) wantGrowth(carved, end uint64) {
	if !h.roomIsScarce(carved, end) {
		return
	}
	a := &h.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grow = true
	a.tell()
}

// tell wakes the one who populates.
func (a *ahead) tell() {
	select {
	case a.wish <- struct{}{}:
	default:
	}
}

// populated reports whether the extent was populated ahead since the newest anchor.
func (h *Heap) populated(extent uint64) bool {
	a := &h.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	as, ok := a.ready[extent]
	delete(a.ready, extent)
	return ok && as == h.anchored+1
}

// want tells which extents are to be populated, if at least half of them are not.
func (h *Heap) want(list []uint64) {
	a := &h.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	missing := list[:0:len(list)]
	n := len(list)
	for _, e := range list {
		if !h.isFresh(e) && a.ready[e] != h.anchored+1 {
			missing = append(missing, e)
		}
	}
	if len(missing) <= n/2 {
		return
	}
	a.wanted, a.as = append(a.wanted[:0:0], missing...), h.anchored+1
	a.tell()
}

// lookAhead tells which extents are probably cut next: those at the beginning of the run
// that the next one is taken from, or such as nobody ever had.
func (h *Heap) lookAhead() {
	w := h.live.Words()
	extent, end := w.Carved.Load()>>format.ExtentShift, w.End.Load()>>format.ExtentShift
	if i := h.runs.best(1); i >= 0 {
		extent, end = h.runs.list[i].extent, h.runs.list[i].extent+h.runs.list[i].n
	}
	var list [aheadExtents]uint64
	n, most := 0, min(uint64(len(list)), (w.Carved.Load()-h.first)>>format.ExtentShift/aheadPart)
	for ; n < int(most) && extent < end; extent++ {
		list[n] = extent
		n++
	}
	h.want(list[:n])
}

// lookAheadIn is lookAhead for the groups of a class.
func (h *Heap) lookAheadIn(c format.Class) {
	l := &h.lists[c]
	var list [aheadGroups]uint64
	n := 0
	for i := len(l.bySize) - 1; i >= 0 && 1<<i >= populateBlocks && n < len(list); i-- {
		for k := len(l.bySize[i]) - 1; k >= 0 && n < len(list); k-- {
			if extent := l.bySize[i][k]; len(h.groups[extent]) >= 1<<i {
				list[n] = extent
				n++
			}
		}
	}
	h.want(list[:n])
}

// isFresh reports whether the extent was populated since the newest anchor.
func (h *Heap) isFresh(extent uint64) bool {
	return extent < uint64(len(h.fresh)) && h.fresh[extent] == h.anchored+1
}
