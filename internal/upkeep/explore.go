//go:build explore

package upkeep

import (
	"fmt"

	"github.com/everheap/everheap/internal/format"
)

// Listed describes a block of an emptied extent that a process had in its lists (P3); "" if there
// was none.
var Listed string

// emptied sets Listed if this process has a free block of a chosen extent in its lists.
func (e *evacuation) emptied() {
	h := e.u.Heap
	h.Census(func(a format.Addr, size format.ByteCount, free bool) {
		if extent := h.ExtentOf(a); free && e.chosen.Has(extent) && Listed == "" && e.u.Live.Words().Epoch.Load() == h.Epoch() {
			Listed = fmt.Sprintf("the block of %d bytes at %#x in the lists of a process that empties extent %d", size, uint64(a), extent)
		}
	})
}
