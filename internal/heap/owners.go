package heap

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
)

// A transaction's reports to the ledger of owners, in builds with the tag invariants.

// restoredIn returns the newest version that a held version pins for a restore; 0: none.
func (h *Heap) restoredIn(base format.Addr) (newest format.Version) {
	list := format.Addr((*format.State)(at(uintptr(base) + format.HeaderSize)).Pins)
	if r := h.Reader(false); list == 0 || !r.Plausible(list) || r.Kind(list) != format.KindPins {
		return 0
	}
	pins := at(uintptr(list) + format.HeaderSize)
	for i := range min((*format.Pins)(pins).Count, format.MaxPins) {
		p := (*format.Pin)(unsafe.Add(pins, format.PinsHeadSize+int(i)*format.PinSize))
		if p.Restore != 0 {
			newest = max(newest, format.Version(p.Version))
		}
	}
	return newest
}

// noteFreed reports the blocks that the version has freed.
func (t *Txn) noteFreed() {
	for _, list := range [][]freed{t.freed, t.unlogged} {
		for _, f := range list {
			t.heap.ledger.Freed(f.addr, f.size, f.birth, t.restored)
		}
	}
}
