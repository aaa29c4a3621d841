package layout

import "unsafe"

// The accessors below are the only places that read and write memory untyped.

// header is a slice header, and in its first two words a string header. Storing
// one into Go memory is a typed store of its pointer.
type header struct {
	data unsafe.Pointer
	len  uintptr
	cap  uintptr
}

// zero is what empty but non-nil slices and pointers to nothing refer to in the Go heap.
var zero [1]uint64

// pointerAt returns the address as a pointer. The memory is outside the Go heap,
// or the caller keeps the Go object alive.
func pointerAt(addr uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), addr) }

func word(p unsafe.Pointer, off uintptr) uintptr { return *(*uintptr)(unsafe.Add(p, off)) }

func setWord(p unsafe.Pointer, off, v uintptr) { *(*uintptr)(unsafe.Add(p, off)) = v }

// loadPointer reads a pointer whose word was checked. Reading the slot again,
// rather than converting the word, lets the runtime see a pointer into a stack.
func loadPointer(p unsafe.Pointer) unsafe.Pointer { return *(*unsafe.Pointer)(p) }

func storePointer(p, v unsafe.Pointer) { *(*unsafe.Pointer)(p) = v }

func bytesAt(p unsafe.Pointer, n uintptr) []byte { return unsafe.Slice((*byte)(p), n) }

func move(dst, src unsafe.Pointer, n uintptr) {
	if n == 8 {
		*(*uint64)(dst) = *(*uint64)(src)
		return
	}
	copy(bytesAt(dst, n), bytesAt(src, n))
}

func clearBytes(p unsafe.Pointer, n uintptr) { clear(bytesAt(p, n)) }

func alignUp(n, align uintptr) uintptr { return (n + align - 1) &^ (align - 1) }

// equalBytes compares without a call for each byte.
func equalBytes(a, b unsafe.Pointer, n uintptr) bool {
	return unsafe.String((*byte)(a), n) == unsafe.String((*byte)(b), n)
}
