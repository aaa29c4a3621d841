package heap

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Abandon drops all lists of this process: after a memory fault in the middle of their use,
// their contents are unknown. The space leaks until a sweep (I4). The caller may use the
// lists.
func (h *Heap) Abandon() {
	w := h.live.Words()
	w.Leaked.Add(uint64(h.waiting + h.freeBytes() + h.holeBytes()))
	w.SweepWish.Store(1)
	if invariant.Enabled {
		h.live.Record().Note(invariant.Abandoned, 0, 0, 0)
	}
	h.lists = [format.NumClasses]classList{}
	h.reserved = reserve{}
	h.groups, h.runs, h.holes, h.aside = nil, runList{}, runList{}, runList{}
	h.pending, h.ripe, h.logged, h.released = nil, nil, nil, freedList{}
	clear(h.held)
	h.cold, h.waiting = 0, 0
	h.pinned.Store(0)
	h.live.Entry().Reserved.Store(0)
}

// Forget ends a transaction whose memory cannot be read, without touching blocks that it
// wrote or freed. Abandon must follow.
func (t *Txn) Forget() {
	for c := range t.spare {
		t.spare[c] = nil
	}
	t.spares, t.dropped = 0, 0
	t.written, t.freed, t.unlogged, t.lookedAt, t.unused = nil, nil, nil, nil, nil
	t.log.ops, t.log.dropped = nil, nil
}

// Rewrite marks every page in use as dirty, so that the next sync writes it.
func (h *Heap) Rewrite() {
	carved := h.live.Carved()
	h.region.Redirty(0, int64(format.TableOffset+carved>>format.ExtentShift)) // of the extent table what is in use
	for extent := h.first >> format.ExtentShift; extent < carved>>format.ExtentShift; extent++ {
		if h.ExtentInUse(extent << format.ExtentShift) { // nothing lies in a free one, and a hole must not be written to
			h.region.Redirty(int64(extent<<format.ExtentShift), format.ExtentSize)
		}
	}
}

// ExtentInUse reports whether blocks lie in the extent at an offset of the file.
func (h *Heap) ExtentInUse(off uint64) bool {
	class := h.extentClass(off >> format.ExtentShift)
	return class != format.ClassFree && class != format.ClassHole
}
