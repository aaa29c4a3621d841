package layout

import (
	"reflect"
	"unsafe"
)

// Only the accessors below read and write memory untyped.

// header is a slice header, and in its first two words a string header. Storing
// one into Go memory is a typed store of its pointer.
type header struct {
	data unsafe.Pointer
	len  uintptr
	cap  uintptr
}

// zero is the target of empty non-nil slices, and of pointers to values of size zero, in the Go heap.
var zero [1]uint64

// pointerAt returns the address as a pointer. The memory is outside the Go heap,
// or the caller keeps the Go object alive.
func pointerAt(addr uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), addr) }

func word(p unsafe.Pointer, off uintptr) uintptr { return *(*uintptr)(unsafe.Add(p, off)) }

func setWord(p unsafe.Pointer, off, v uintptr) { *(*uintptr)(unsafe.Add(p, off)) = v }

// loadPointer reads a pointer whose word was checked. It reads the slot again instead of converting
// the word: so the runtime sees the pointer, which may point into a stack.
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

// never is false. The compiler does not know.
var never bool

//lint:ignore U1000 a value that is stored here escapes; nothing reads it
var sink unsafe.Pointer

// NoEscape passes a value to Measure, Flatten, CopyOut, Hash or Equal without making it
// escape: v may stay on the stack. That is sound because no callee retains the address of v itself.
// The memory that v refers to does escape, since the identity table holds addresses, and these would
// not follow a moving stack (LY7); for keys see NoEscapeKey. The caller keeps v alive.
//
//go:nocheckptr
func NoEscape[T any](v *T) unsafe.Pointer {
	if never {
		c := new(T)
		*c = *v
		sink = unsafe.Pointer(c)
	}
	return unsafe.Add(unsafe.Pointer(nil), uintptr(unsafe.Pointer(v))) // see NoEscapeKey
}

// NoEscapeKey is NoEscape for values without pointers, such as keys, and for destinations:
// strings that they refer to may stay on the stack too. Escape analysis does not
// follow numbers, and does not see that the result is v.
//
//go:nocheckptr
func NoEscapeKey[T any](v *T) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), uintptr(unsafe.Pointer(v)))
}

// NoEscapeSlice is NoEscape for the elements of a slice, which begin at the result.
//
//go:nocheckptr
func NoEscapeSlice[T any](v []T) unsafe.Pointer {
	if len(v) == 0 {
		return nil
	}
	return NoEscape(unsafe.SliceData(v))
}

// Cast returns p as a pointer to a value of type T.
func Cast[T any](p unsafe.Pointer) *T { return (*T)(p) }

// Identity tells Go types apart, as fast as two words are compared.
type Identity struct{ p unsafe.Pointer }

// IdentityOf returns the identity of T: the address of the runtime's type of *T.
func IdentityOf[T any]() Identity {
	var v any = (*T)(nil)
	return Identity{*(*unsafe.Pointer)(unsafe.Pointer(&v))}
}

// IdentityOfPointer returns the identity of T for a *T in an interface, nil or not. Such an interface
// is the cheapest argument.
func IdentityOfPointer(v any) Identity { return Identity{*(*unsafe.Pointer)(unsafe.Pointer(&v))} }

// Word is the identity as a number, for hashing.
func (id Identity) Word() uintptr { return uintptr(id.p) }

// GoType returns the Go type with this identity.
func (id Identity) GoType() reflect.Type {
	var v any
	*(*unsafe.Pointer)(unsafe.Pointer(&v)) = id.p
	return reflect.TypeOf(v).Elem()
}
