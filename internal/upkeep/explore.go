//go:build explore

package upkeep

import (
	"fmt"

	"github.com/everheap/everheap/internal/format"
)

// Listed is what a process had in its lists of extents that it has emptied (P3); "": nothing.
var Listed string

// emptied looks whether what is free in the extents that were to be emptied is in the lists of
// this process.
func (e *evacuation) emptied() {
	h := e.u.Heap
	h.Census(func(a format.Addr, size format.ByteCount, free bool) {
		if extent := h.ExtentOf(a); free && e.chosen.Has(extent) && Listed == "" && e.u.Live.Words().Epoch.Load() == h.Epoch() {
			Listed = fmt.Sprintf("the block of %d bytes at %#x in the lists of one who empties extent %d", size, uint64(a), extent)
		}
	})
}
