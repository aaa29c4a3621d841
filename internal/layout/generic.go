package layout

import (
	"reflect"
	"unsafe"
)

// never is false. The compiler does not know.
var never bool

//lint:ignore U1000 what is stored here escapes, and nothing reads it
var sink unsafe.Pointer

// NoEscape passes a value to Measure, Flatten, CopyOut, Hash or Equal without making it
// escape: v may stay on the stack. That is sound because no callee retains the
// address of v itself. What v refers to does escape, since the identity table
// holds addresses that would not follow a moving stack (LY7); for keys see NoEscapeKey.
// The caller keeps v alive.
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

// NoEscapeSlice is NoEscape for the elements of a slice: they lie in a row from the result on.
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

// IdentityOfPointer returns the identity of T for a *T, nil or not, in an interface:
// what is cheapest to pass on.
func IdentityOfPointer(v any) Identity { return Identity{*(*unsafe.Pointer)(unsafe.Pointer(&v))} }

// Word is the identity as a number, for hashing.
func (id Identity) Word() uintptr { return uintptr(id.p) }

// GoType returns the type that the identity is of.
func (id Identity) GoType() reflect.Type {
	var v any
	*(*unsafe.Pointer)(unsafe.Pointer(&v)) = id.p
	return reflect.TypeOf(v).Elem()
}
