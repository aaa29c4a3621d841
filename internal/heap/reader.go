package heap

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
)

// Reader reads blocks. The zero Reader reads none. Several goroutines may use a Reader while
// a slot holds the version that it reads.
type Reader struct {
	heap  *Heap
	lo    uint64 // address of the first extent
	span  uint64 // bytes of the window from there on
	limit uint64 // span, or 0 to verify everything
	own   format.Version
	state format.Addr // state of the held version that it reads; 0: unknown
}

// Reader returns a reader of the heap. If verify is set it checks kind, size and checksum of
// every block that it reads.
func (h *Heap) Reader(verify bool) Reader {
	r := Reader{heap: h, lo: h.base + h.first, span: h.window - h.first}
	if !verify {
		r.limit = r.span
	}
	return r
}

// Of returns a reader that, if it verifies, accepts no block with a later birth than the
// version of the state at a: such a block has replaced the version's own. The caller holds
// the version.
func (r Reader) Of(a format.Addr) Reader {
	r.state = a
	return r
}

// Verifies reports whether the reader verifies every block.
func (r *Reader) Verifies() bool { return r.limit == 0 }

// Verifying returns a reader of the same blocks that verifies them.
func (r Reader) Verifying() Reader {
	r.limit = 0
	return r
}

// Payload returns the payload of the block at a, which must be of the kind.
//
// A link from a damaged block may be any number. Without verification Payload only checks
// that the block can lie where the link says, inside the window: what it reads there may be
// nonsense, but never foreign memory. A page beyond the end of the file faults, and the
// caller of the transaction gets an error.
func (r *Reader) Payload(a format.Addr, kind format.Kind) (unsafe.Pointer, error) {
	if uint64(a)-r.lo >= r.limit {
		return r.payload(a, kind)
	}
	return at(uintptr(a) + format.HeaderSize), nil
}

// payload is Payload for a reader that verifies, whose limit is 0, and for
// impossible addresses. It is apart so that Payload is inlined.
func (r *Reader) payload(a format.Addr, kind format.Kind) (unsafe.Pointer, error) {
	if uint64(a)-r.lo >= r.span || a&15 != 0 {
		return nil, r.bad(a, kind)
	}
	if err := r.Verify(a, kind); err != nil {
		return nil, err
	}
	return at(uintptr(a) + format.HeaderSize), nil
}

// Size returns the payload size of a block that Payload has accepted, cut to
// what fits in the window.
func (r *Reader) Size(a format.Addr) format.ByteCount {
	rest := r.lo + r.span - uint64(a) - format.HeaderSize
	return min(format.ByteCount(r.heap.header(a).Size), format.ByteCount(rest))
}

// BlockBytes returns the bytes that a block takes which Payload has accepted, header
// and rounding included.
func (r *Reader) BlockBytes(a format.Addr) format.ByteCount { return r.heap.BlockBytes(a) }

// Offset returns the offset of an address in the file.
func (r *Reader) Offset(a format.Addr) int64 { return int64(uint64(a) - r.heap.base) }

// Window returns the window of the space, and whether the reader trusts blocks without
// verifying them.
func (r *Reader) Window() (base, size uint64, trusting bool) {
	return r.heap.base, r.heap.window, r.limit != 0
}

// bad returns the error for an impossible link.
func (r *Reader) bad(a format.Addr, kind format.Kind) error {
	if r.heap == nil {
		return &format.DamageError{File: "heap", What: "no heap"}
	}
	return r.heap.damage(a, "a link to a block of kind %s leads to an impossible address %#x", kind, uint64(a))
}

// Verify checks that a block can begin at a and is of the kind, and its checksum. A block of
// the reader's own transaction has no checksum yet.
func (r *Reader) Verify(a format.Addr, kind format.Kind) error {
	if uint64(a)-r.lo >= r.span || a&15 != 0 {
		return r.bad(a, kind)
	}
	h := r.heap
	carved := h.live.Words().Carved.Load()
	if off := uint64(a) - h.base; off >= carved {
		return h.damage(a, "a %s block lies beyond the end of what is in use", kind)
	}
	extent := h.extentOf(a)
	hd := h.header(a)
	class := h.extentClass(extent)
	room := class.BlockSize()
	within := uint64(a) - uint64(h.extentAddr(extent))
	switch {
	case class == format.ClassRun:
		room = format.ByteCount(format.RunExtents(format.ByteCount(hd.Size))) << format.ExtentShift
		if within != 0 || uint64(a)-h.base+uint64(room) > carved {
			return h.damage(a, "a %s block of %d bytes does not fit where it is", kind, hd.Size)
		}
	case room == 0 || within%uint64(room) != 0 || within+uint64(room) > format.ExtentSize:
		return h.damage(a, "no block begins here (a %s was expected, the extent is of class %d)", kind, class)
	}
	if hd.Class() != class || format.ByteCount(hd.Size)+format.HeaderSize > room {
		return h.damage(a, "the header of a %s block has a wrong size or class", kind)
	}
	if hd.Kind() != kind {
		return h.damage(a, "a %s block was expected, this is of kind %s", kind, hd.Kind())
	}
	birth := hd.Birth()
	if r.own != 0 && birth == r.own {
		return nil // it has no checksum yet
	}
	if h.sum(a, hd) != hd.Sum {
		return h.damage(a, "the checksum of the %s block does not match", kind)
	}
	if r.state != 0 {
		if version := format.Version((*format.State)(at(uintptr(r.state) + format.HeaderSize)).Version); birth > version {
			return r.Young(a, birth, version)
		}
	}
	return nil
}

// Kind returns the kind of a block that Payload has accepted.
func (r *Reader) Kind(a format.Addr) format.Kind { return r.heap.header(a).Kind() }

// Unreadable returns the error for a block that the disk cannot deliver, because of the page
// at the faulting address.
func (r *Reader) Unreadable(a format.Addr, at uint64) error {
	return r.heap.damage(a, "the disk cannot deliver the page at offset %d", (at-r.heap.base)&^(format.PageSize-1))
}

// Young returns the error for a block with a later birth than the version that refers to it.
func (r *Reader) Young(a format.Addr, birth, version format.Version) error {
	return r.heap.damage(a, "the block was written by version %d, and version %d leads to it", birth, version)
}

// Birth returns the version that wrote a verified block.
func (r *Reader) Birth(a format.Addr) format.Version { return r.heap.header(a).Birth() }

// PayloadSize returns the payload size of the block at a, as its header says; 0 if
// no such block can lie in what is in use. The bytes may be changing.
func (r *Reader) PayloadSize(a format.Addr) format.ByteCount {
	if !r.Plausible(a) {
		return 0
	}
	size := format.ByteCount(r.heap.header(a).Size)
	if uint64(a)-r.heap.base+format.HeaderSize+uint64(size) > r.heap.live.Words().Carved.Load() {
		return 0
	}
	return size
}

// Plausible reports whether a block can begin at a, so that its header may be read.
func (r *Reader) Plausible(a format.Addr) bool {
	return uint64(a)-r.lo < r.span && a&15 == 0 && uint64(a)-r.heap.base < r.heap.live.Words().Carved.Load()
}
