//go:build invariants && linux

package heap

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Blind ends the ledger's assertions for this process.
func (h *Heap) Blind() { h.ledger.Blind(true) }

// See resumes the ledger's assertions.
func (h *Heap) See() { h.ledger.Blind(false) }

// Beside returns the heap of another process, which shares the mapping.
func (h *Heap) Beside(lv *live.Live) *Heap { return New(h.region, lv) }

// List puts a block into the lists, free or not.
func (h *Heap) List(a format.Addr, size format.ByteCount) {
	c := &h.lists[format.ClassFor(size-format.HeaderSize)]
	c.hot = append(c.hot, a)
}

// Settle settles a block that a version has freed.
func (h *Heap) Settle(a format.Addr, size format.ByteCount, birth, version format.Version) {
	h.live.Protected(&h.prot, h)
	h.freeOrHold(freed{a, birth, version, size})
}

// AdoptFrom takes the batches of a stack.
func (h *Heap) AdoptFrom(stack int) { h.adoptAll(stack) }

// Keep makes the process know the epoch without forgetting its lists.
func (h *Heap) Keep(epoch uint64) { h.epoch = epoch }

// Carve reserves an extent above the high-water mark.
func (h *Heap) Carve() (format.Addr, error) {
	extent, err := h.reserve(1)
	return h.extentAddr(extent), err
}

// TakeCell takes an extent out of the reserve.
func (h *Heap) TakeCell() (ok bool) {
	_, ok = h.takeCells(1, true)
	return ok
}

// FillReserve fills the reserve.
func (h *Heap) FillReserve() error { return h.fillReserve(false) }

// Punch punches an extent, free or not.
func (h *Heap) Punch(a format.Addr) error {
	h.aside.add(h.extentOf(a), 1)
	_, err := h.PunchAside()
	return err
}

// SetClass sets the class of an extent in the extent table.
func (h *Heap) SetClass(a format.Addr, c format.Class) { h.setExtentClass(h.extentOf(a), c) }
