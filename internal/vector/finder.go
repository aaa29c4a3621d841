package vector

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Finder searches vectors in the usual case: the vector has the word. In any other case it
// reports that it did not find the word, and the caller calls Get. It searches as Get does,
// with fewer instructions. It takes only the offset from a link, so a damaged link cannot
// take the search out of the window of the space. The levels in the links must decrease by
// one, so the search cannot go in cycles.
type Finder struct {
	base   uint64 // base of the window
	offset uint64 // mask for offsets in the window
}

// NewFinder returns a finder; ok is false if the reader verifies blocks.
func NewFinder(r *heap.Reader) (f Finder, ok bool) {
	base, window, trusting := r.Window()
	return Finder{base, window - 1}, trusting
}

// Word returns the word at index i; 0 if it did not find the word.
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

// Prepared searches one vector, whose root Prepare has read. A reading transaction has a
// Prepared for the object table, which it searches for each reference that it follows. Like
// a Finder, it searches only in the usual case. The zero Prepared finds nothing.
//
// It needs fewer instructions for a level than Finder.Word: one comparison verifies that the
// node is full and on the expected level, and most nodes are full.
type Prepared struct {
	finder Finder
	words  uint64 // indexes below this are below the root's slots (V1)
	slots  uint64 // address of the root's slots
	shift  uint64 // shifts an index to its slot in the root
	root   format.Link
}

// Prepare returns a Prepared for the vector with a root.
func (f Finder) Prepare(root format.Link) Prepared {
	levels := root.VectorLevels()
	if levels == 0 || levels > maxLevels || !valid(root, levels) {
		return Prepared{finder: f}
	}
	return Prepared{
		finder: f,
		words:  1 << capacityBits(root),
		slots:  f.base + uint64(root)&f.offset + format.HeaderSize,
		shift:  uint64(fanBits * (levels - 1)),
		root:   root,
	}
}

// Word returns the word at index i; 0 if it did not find the word: then the caller calls
// Other. Each level has its own code, with constants.
func (p *Prepared) Word(i uint64) uint64 {
	if i >= p.words {
		return 0
	}
	link := *(*uint64)(unsafe.Add(unsafe.Pointer(nil), p.slots+i>>(p.shift&63)*8))
	switch p.shift {
	case 4 * fanBits:
		if link>>48 != 4<<4|fanBits {
			break
		}
		link = *(*uint64)(unsafe.Add(unsafe.Pointer(nil), p.finder.base+link&p.finder.offset+format.HeaderSize+(i>>(3*fanBits)&(1<<fanBits-1))*8))
		fallthrough
	case 3 * fanBits:
		if link>>48 != 3<<4|fanBits {
			break
		}
		link = *(*uint64)(unsafe.Add(unsafe.Pointer(nil), p.finder.base+link&p.finder.offset+format.HeaderSize+(i>>(2*fanBits)&(1<<fanBits-1))*8))
		fallthrough
	case 2 * fanBits:
		if link>>48 != 2<<4|fanBits {
			break
		}
		link = *(*uint64)(unsafe.Add(unsafe.Pointer(nil), p.finder.base+link&p.finder.offset+format.HeaderSize+(i>>fanBits&(1<<fanBits-1))*8))
		fallthrough
	case fanBits:
		if link>>48 != 1<<4|fanBits {
			break
		}
		link = *(*uint64)(unsafe.Add(unsafe.Pointer(nil), p.finder.base+link&p.finder.offset+format.HeaderSize+(i&(1<<fanBits-1))*8))
		fallthrough
	case 0:
		return link
	}
	return 0
}

// Other is Word for the indexes that Word does not find: those below a node that is not
// full, or in a very large vector.
func (p *Prepared) Other(i uint64) uint64 { return p.finder.Word(p.root, i) }

// Pointer returns the payload of the block that a word refers to.
func (p *Prepared) Pointer(word uint64) unsafe.Pointer { return p.finder.Pointer(word) }
