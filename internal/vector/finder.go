package vector

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Finder searches vectors, in the case that matters: the word is there. In any
// other case it says that it does not know, and Get decides. It does what Get does
// with fewer instructions: only the offset is taken from a link, so a damaged one
// cannot lead out of the window of the space; and the levels that a link says must
// go down by one, so it cannot lead in circles.
type Finder struct {
	base   uint64 // of the window
	offset uint64 // mask of an offset in it
}

// NewFinder returns a finder; ok is false if the reader verifies what it reads.
func NewFinder(r *heap.Reader) (f Finder, ok bool) {
	base, window, trusting := r.Window()
	return Finder{base, window - 1}, trusting
}

// Word returns the word at index i; 0 if it did not find one.
func (f Finder) Word(root format.Link, i uint64) uint64 {
	link := uint64(root)
	levels := link >> 52
	shift := levels * fanBits
	if levels-1 >= maxLevels || i>>(shift&63) != 0 {
		return 0
	}
	for {
		shift -= fanBits
		slot := i >> (shift & 63) & (1<<fanBits - 1)
		if link>>52 != levels || slot>>(link>>48&0xf) != 0 {
			return 0
		}
		link = *(*uint64)(unsafe.Add(unsafe.Pointer(nil), f.base+link&f.offset+format.HeaderSize+slot*8))
		if levels--; levels == 0 {
			return link
		}
	}
}

// Pointer returns the payload of the block that a word refers to.
func (f Finder) Pointer(word uint64) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), f.base+word&f.offset+format.HeaderSize)
}
