package heap

import (
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// reclaimBatch is how many pending blocks make a scan worth while: it costs a
// look at every reader slot that is in use.
const reclaimBatch = 512

// Reclaim makes the pending blocks that no protected version can see free (I2).
// A block that one can see is put aside under that version and is looked at again
// only when the version is no longer protected: an old reader costs nothing per
// scan, and pins nothing but what it can see.
func (h *Heap) Reclaim() {
	h.live.Protected(&h.prot, h.VersionOf)
	if newest := h.live.NewestAnchor(); newest != h.anchored {
		h.anchored = newest
		h.cool()
	}
	invariant.Point("reclaim.scanned")
	for v, list := range h.held {
		if _, protected := slices.BinarySearch(h.prot.Versions, v); !protected {
			delete(h.held, v)
			for _, f := range list {
				h.settle(f)
			}
		}
	}
	later := h.pending[:0]
	for _, f := range h.pending {
		if f.freed > h.prot.Current {
			later = append(later, f)
			continue
		}
		h.settle(f)
	}
	h.pending = later
	h.live.Entry().Reserved.Store(uint64(h.waiting + h.freeBytes()))
}

// settle frees a block or puts it aside.
func (h *Heap) settle(f freed) {
	if v, covered := h.prot.Covers(f.birth, f.freed); covered {
		h.held[v] = append(h.held[v], f)
		return
	}
	h.waiting -= f.size
	if !h.fits(f) {
		return // damaged: what it was is not known; it leaks until a sweep
	}
	// What was written after the newest anchor lies on a page that is dirty.
	h.put(f.addr, f.size, f.birth > h.anchored)
}

// fits reports whether a block of that size can lie there. The size is from the
// block's own header, which may be damaged: the extent table must agree, or the
// block would overlap others when it is used again.
func (h *Heap) fits(f freed) bool {
	within := uint64(f.addr) & (format.ExtentSize - 1)
	class := h.extentClass(h.extentOf(f.addr))
	if class == format.ClassRun {
		return within == 0 && f.size > format.MaxSmall
	}
	return f.size > 0 && class.BlockSize() == f.size && within%uint64(f.size) == 0
}
