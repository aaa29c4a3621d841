package heap

import (
	"sync"

	"github.com/everheap/everheap/internal/format"
)

// Making the pages of an extent present takes as long as ten small transactions. So that no
// transaction waits for that, the heap tells another goroutine from which extents it will
// probably take blocks next, and that goroutine populates them meanwhile. It does not matter
// which process owns an extent by then, or whether any uses it: at worst its pages are
// written to the disk for nothing. The goroutine also extends the file before its end is
// reached, which takes even longer. If that fails, the transaction that needs the space
// tries again and gets the error.

const (
	aheadExtents = 16  // how many extents are populated ahead, at most
	aheadPart    = 8   // in a small space: one of this many of its extents, at most
	aheadGroups  = 8   // how many groups of free blocks of each class
	aheadReady   = 256 // after this many extents were populated and not taken, they are forgotten
	aheadRoom    = 4   // the next growth begins when one part in this many of the last one is left

	aheadGrowth = 64 << 20 // a file with fewer bytes grows in a moment, and should stay small
)

// ahead has the messages between the goroutine that uses the heap and the one that populates.
type ahead struct {
	wish chan struct{} // signals that there is something to populate

	waits int // how many extents were not populated when they were needed; for the goroutine that uses the heap

	mu     sync.Mutex
	grow   bool                      // the file should grow
	wanted []uint64                  // extents to populate
	as     format.Version            // the value of heap.fresh for them
	ready  map[uint64]format.Version // populated extents, with their values of heap.fresh
}

// Ahead returns a channel that signals when PopulateAhead has something to do.
func (h *Heap) Ahead() <-chan struct{} { return h.ahead.wish }

// PopulateAhead populates the extents that the heap will need soon. It may run concurrently
// with all other methods, in one goroutine, until the region is closed.
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
		if len(a.ready) >= aheadReady { // the heap has not taken them
			clear(a.ready)
		}
		a.ready[extent] = as
		a.mu.Unlock()
	}
}

// growAhead extends the file, if there is little room left in it.
func (h *Heap) growAhead() {
	w := h.live.Words()
	if end := w.End.Load(); h.roomIsScarce(w.Carved.Load(), end) && end+format.ExtentSize <= h.limit() {
		_ = h.grow(end + format.ExtentSize) // a transaction that needs the space tries again, and reports the error
	}
}

// roomIsScarce reports whether the file has so little room above the mark that it should grow.
func (h *Heap) roomIsScarce(carved, end uint64) bool {
	return end >= aheadGrowth && end-min(carved, end) < h.growth(end)/aheadRoom
}

// wantGrowth asks for a growth of the file, if there is little room left above the mark.
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

// tell wakes the goroutine that populates.
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

// want asks for populating the extents of a list, if at least half of them are not populated.
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

// lookAhead asks for populating the extents that will probably be cut next: those at the
// beginning of the run from which the next one is taken, or extents above the high-water
// mark.
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
