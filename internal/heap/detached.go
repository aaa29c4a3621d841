package heap

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// Detached returns the heap of a mapped file that is not open as a space, and that has that
// many bytes. The caller may use only its readers.
func Detached(region *mapping.Region, bytes uint64) *Heap {
	lv := live.Detached(func(w *format.Live) { w.Carved.Store(bytes) })
	return &Heap{region: region, live: lv, base: region.Base(), window: region.Size(), first: format.FirstExtent(region.Size())}
}

// VerifyAlone verifies a block only by its own contents: that it is whole, at a place that
// fits its header, and of the kind; and its checksum. Unlike Verify it does not use the
// extent table, which may be damaged. It returns the version that wrote the block.
func (r *Reader) VerifyAlone(a format.Addr, kind format.Kind) (birth format.Version, err error) {
	h := r.heap
	off, end := uint64(a)-h.base, h.live.Words().Carved.Load()
	if uint64(a)-r.lo >= r.span || a&15 != 0 || off+format.HeaderSize > end {
		return 0, r.bad(a, kind)
	}
	hd := h.header(a)
	if hd.Kind() != kind {
		return 0, h.damage(a, "a %s block was expected, this is of kind %s", kind, hd.Kind())
	}
	class, size, within := hd.Class(), format.ByteCount(hd.Size), uint64(a)%format.ExtentSize
	fits := within == 0
	if class != format.ClassRun {
		room := uint64(class.BlockSize())
		fits = room != 0 && within%room == 0 && within+room <= format.ExtentSize
	}
	if class != format.ClassFor(size) || !fits {
		return 0, h.damage(a, "the header of a %s block has a wrong size or class", kind)
	}
	if off+format.HeaderSize+uint64(size) > end {
		return 0, h.damage(a, "a %s block of %d bytes is cut off by the end of the file", kind, size)
	}
	if h.sum(a, hd) != hd.Sum {
		return 0, h.damage(a, "the checksum of the %s block does not match", kind)
	}
	return hd.Birth(), nil
}
