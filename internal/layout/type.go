// Package layout turns Go values into the bytes of blocks and back.
//
// A type is compiled once, by reflection, into a descriptor (Type). Everything
// else works from descriptors alone, so that recovery, the command and programs
// that do not know the Go type can copy, check, walk, compare and print values.
//
// Terms:
//
//   - fixed part: the bytes of the type itself, exactly as Go lays them out.
//   - owned part: what the fixed part refers to: bytes of strings, backing
//     arrays of slices, targets of pointers. It lies in the same block.
//   - program: the list of the offsets in a fixed part that hold more than bytes (headers, pointers,
//     times, padding), with all nesting by value unrolled.
//   - raw: said of a type whose program is empty; one move of bytes copies it.
//   - graph: said of a type that reaches pointers or slices of itself; only its
//     values can be shared or cyclic, and only they pay for an identity table.
//   - detached: the position-independent form; addresses are offset+1, 0 is nil.
//   - conversion: the program that turns stored values into values of another type; a step of it can
//     be a function of the user's program.
//   - coded: said of a value that is stored as the bytes of its marshaled form.
//   - envelope: the stored form of a value in an interface, with its concrete type.
//   - handle: 8 bytes that name an object by its ID; never followed here.
//
// Invariants:
//
//	LY1 Every address in a stored value is nil or lies in the value's own block.
//	LY2 Code writes a block as bytes and words through its write view only; no typed
//	    pointer store ever reaches it.
//	LY3 Flatten writes nothing outside the fixed and owned parts that it was given,
//	    whatever happens to the source meanwhile.
//	LY4 Padding, blank fields and alignment gaps are zero; times are UTC without
//	    a monotonic reading; cap equals len. So equal values have equal bytes.
//	LY5 The owned parts of a value do not overlap, except that pointers and
//	    recursive slices may refer to one part more than once. Readers count the bytes of owned parts
//	    against a budget, so that damage cannot make them run on.
//	LY6 Reading checks each address against the bounds of the block before use.
//	LY7 Code keeps addresses of the caller's value outside the stack only if NoEscape made sure that
//	    they belong to the heap.
//
//	LY8 A conversion reads only values that Check has accepted. Its result may refer to the block of
//	    the stored value, to the converter's memory and to Go values that steps made; the caller
//	    flattens the result before any of these is released.
//
//	LY9 A coded value has another form in the program than in the space. Stored turns the program's
//	    form into the stored form, CopyOut does the reverse, and Clone reads the program's form; all
//	    other code works on the stored form. So a value of the program goes through Stored first, and
//	    the program never gets the stored value itself.
//	LY10 A pointer points to the beginning of a part or of the fixed part, and never into the middle
//	     of one.
//	LY11 The keys of a Dict's entries are distinct, are not NaN, and are in the order of Compare; the
//	     index follows from them.
//	LY12 A stored value in Go memory has its addresses in words. A word does not keep its target
//	     alive, and does not follow a moving stack. So the whole value lies in one object, or an owner
//	     in the Go heap refers to all of its memory; the reader keeps that object or owner alive until
//	     it has read the last word of the value.
//
// Start reading at Type in type.go, then program.go, flatten.go and copyout.go; for
// conversions at matcher.pair in match.go, then convert.go.
package layout

import (
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"unsafe"
)

// Kind is the kind of a type. Its numbers are part of the stored form.
type Kind uint8

// The kinds. Int, Uint and all addresses have 8 bytes.
const (
	Invalid Kind = iota
	Bool
	Int
	Int8
	Int16
	Int32
	Int64
	Uint
	Uint8
	Uint16
	Uint32
	Uint64
	Float32
	Float64
	Complex64
	Complex128
	String
	Time
	Struct
	Array
	Slice
	Pointer
	Map    // handle of a hash map
	Sorted // handle of a sorted map
	List   // handle of a list
	Ref    // handle of one object

	Addr     // netip.Addr, coded
	AddrPort // netip.AddrPort, coded
	Prefix   // netip.Prefix, coded
	Binary   // coded by the type's MarshalBinary
	Text     // coded by the type's MarshalText

	Dict  // owned map that can be read in place
	Table // built-in map, stored as a table

	Interface // coded as an envelope: with the concrete type
	kindEnd
)

// Stored values have the layout of Go on 64-bit little-endian machines.
var _ [8]byte = [unsafe.Sizeof(uintptr(0))]byte{}

var scalarKinds = [kindEnd]struct {
	name string
	size uintptr // 0: depends on the type
	algn uintptr
}{
	Bool: {"bool", 1, 1},
	Int:  {"int", 8, 8}, Int8: {"int8", 1, 1}, Int16: {"int16", 2, 2}, Int32: {"int32", 4, 4}, Int64: {"int64", 8, 8},
	Uint: {"uint", 8, 8}, Uint8: {"uint8", 1, 1}, Uint16: {"uint16", 2, 2}, Uint32: {"uint32", 4, 4}, Uint64: {"uint64", 8, 8},
	Float32: {"float32", 4, 4}, Float64: {"float64", 8, 8},
	Complex64: {"complex64", 8, 4}, Complex128: {"complex128", 16, 8},
	String: {"string", 16, 8}, Time: {"time.Time", 24, 8},
	Slice: {"slice", 24, 8}, Pointer: {"pointer", 8, 8},
	Map: {"map", 8, 8}, Sorted: {"sorted", 8, 8}, List: {"list", 8, 8}, Ref: {"ref", 8, 8},
	Addr: {"netip.Addr", 24, 8}, AddrPort: {"netip.AddrPort", 32, 8}, Prefix: {"netip.Prefix", 32, 8},
	Binary: {"binary", 0, 8}, Text: {"text", 0, 8},
	Dict: {"everheap.Dict", dictSize, 8}, Table: {"built-in map", 8, 8},
	Interface: {"interface", 16, 8},
}

// Field is a field of a struct. Blank fields are not listed: they are padding.
type Field struct {
	Name   string
	Tag    string // the value of the struct tag "everheap"
	Offset uintptr
	Type   *Type
}

// Type is the compiled descriptor of a type. It is immutable and may be used concurrently.
type Type struct {
	kind   Kind
	name   string // package-qualified, as in forum.User; empty for types without a name
	size   uintptr
	align  uintptr
	length uintptr // of an array
	elem   *Type   // of an array, slice or pointer; value type of a handle or Dict
	key    *Type   // key type of a Map or Sorted handle, or of a Dict
	fields []Field
	rt     reflect.Type // nil if decoded

	index   *Type // of a Dict: the type of the index
	entries *Type // of a Dict: the type of the entries
	table   *Type // of a built-in map: the Dict that it is stored as

	// Derived by finish; see program.go.
	done    bool
	ops     []op   // the program; empty if raw
	moves   []span // the ranges of bytes between headers, pointers and times
	owns    bool   // values may own memory
	graph   bool   // reaches pointers or recursive slices
	ident   bool   // a slice type that can reach itself: its slices go through the identity table
	handles bool   // reaches handles
	coded   bool   // reaches coded values: the stored form differs from the program's form
	loops   bool   // a built-in map that can reach itself
	copies  bool   // reaches built-in maps or interfaces: values are not lent
	checked bool   // some patterns of bytes are not values
	flat    bool   // numbers, strings, times, and structs, arrays and slices of those
	weight  uintptr

	hashBytes bool    // equal values have equal bytes
	floats    bool    // values hold floats by value
	ordered   uintptr // bytes of the ordered form; see order.go
	encloses  atomic.Pointer[enclosing]
	encoded   atomic.Pointer[[]byte]
	identity  atomic.Pointer[[]byte]
}

// Bounds are the addresses of a block's payload in the read view: [Lo, Hi).
type Bounds struct{ Lo, Hi uintptr }

// everywhere marks values of the program, in the Go heap, whose addresses need no check.
var everywhere = Bounds{0, ^uintptr(0)}

// holds reports whether n bytes at addr lie inside b.
func (b Bounds) holds(addr, n uintptr) bool {
	return addr >= b.Lo && addr <= b.Hi && n <= b.Hi-addr
}

// Size returns the bytes of the fixed part.
func (t *Type) Size() uintptr { return t.size }

// Name returns the package-qualified name, or "" for a type without one.
func (t *Type) Name() string { return t.name }

// Owns reports whether values can own memory beyond the fixed part.
func (t *Type) Owns() bool { return t.owns }

// IsString reports whether the type is a string type.
func (t *Type) IsString() bool { return t.kind == String }

// HasHandles reports whether values can hold handles.
func (t *Type) HasHandles() bool { return t.handles }

// Kind returns the kind of the type.
func (t *Type) Kind() Kind { return t.kind }

// Elem returns the element type of an array, slice or pointer and the value type of a handle, Dict or built-in map, else nil.
func (t *Type) Elem() *Type { return t.elem }

// Key returns the key type of a Map or Sorted handle, Dict or built-in map, else nil.
func (t *Type) Key() *Type { return t.key }

// Len returns the length of an array type, else 0.
func (t *Type) Len() uintptr { return t.length }

// Fields returns the fields of a struct type, which the caller must not change.
func (t *Type) Fields() []Field { return t.fields }

func (t *Type) isHandle() bool { return t.kind >= Map && t.kind <= Ref }

// isBytes reports whether the type is a slice or array of bytes.
func (t *Type) isBytes() bool {
	return (t.kind == Slice || t.kind == Array) && t.elem.kind == Uint8
}

// String returns the type in Go syntax.
func (t *Type) String() string {
	if t.name != "" {
		return t.name
	}
	switch t.kind {
	case Struct:
		return t.structString()
	case Array:
		return fmt.Sprintf("[%d]%s", t.length, t.elem)
	case Slice:
		return "[]" + t.elem.String()
	case Pointer:
		return "*" + t.elem.String()
	case Map, Sorted, Dict:
		return fmt.Sprintf("everheap.%s[%s, %s]", HandleKind(t.kind), t.key, t.elem)
	case Table:
		return fmt.Sprintf("map[%s]%s", t.key, t.elem)
	case Interface:
		return "any"
	case List, Ref:
		return fmt.Sprintf("everheap.%s[%s]", HandleKind(t.kind), t.elem)
	default:
		return scalarKinds[t.kind].name
	}
}

func (t *Type) structString() string {
	if len(t.fields) == 0 {
		return "struct {}"
	}
	var s strings.Builder
	s.WriteString("struct { ")
	for i, f := range t.fields {
		if i > 0 {
			s.WriteString("; ")
		}
		s.WriteString(f.Name + " " + f.Type.String())
	}
	s.WriteString(" }")
	return s.String()
}

// byValue calls fn for the types that t contains by value.
func (t *Type) byValue(fn func(*Type)) {
	switch t.kind {
	case Struct:
		for i := range t.fields {
			fn(t.fields[i].Type)
		}
	case Array:
		fn(t.elem)
	case Dict:
		if t.entries != nil {
			fn(t.index)
			fn(t.entries)
		}
	}
}

// reach calls fn for the types whose values lie in the block of a value of t.
func (t *Type) reach(fn func(*Type)) {
	if t.kind == Slice || t.kind == Pointer {
		fn(t.elem)
		return
	}
	if t.kind == Table {
		fn(t.table)
		return
	}
	t.byValue(fn)
}

// refs calls fn for every type that t mentions, in a fixed order.
func (t *Type) refs(fn func(*Type)) {
	if t.isHandle() || t.kind == Dict || t.kind == Table {
		if t.key != nil {
			fn(t.key)
		}
		fn(t.elem)
		return
	}
	t.reach(fn)
}

// HandleKind says what a handle refers to. It is the Kind of the handle type.
type HandleKind = Kind

// MapOf marks a struct as the handle of a hash map: it is the type of its first,
// blank field. The handle is 8 bytes, the ID of the object.
type MapOf[K, V any] struct{}

// SortedOf marks a struct as the handle of a sorted map.
type SortedOf[K, V any] struct{}

// ListOf marks a struct as the handle of a list.
type ListOf[T any] struct{}

// RefOf marks a struct as the handle of one object.
type RefOf[T any] struct{}

// marker is the interface of these four.
type marker interface {
	handleOf() (kind HandleKind, key, value reflect.Type)
}

func (MapOf[K, V]) handleOf() (HandleKind, reflect.Type, reflect.Type) {
	return Map, reflect.TypeFor[K](), reflect.TypeFor[V]()
}

func (SortedOf[K, V]) handleOf() (HandleKind, reflect.Type, reflect.Type) {
	return Sorted, reflect.TypeFor[K](), reflect.TypeFor[V]()
}

func (ListOf[T]) handleOf() (HandleKind, reflect.Type, reflect.Type) {
	return List, nil, reflect.TypeFor[T]()
}

func (RefOf[T]) handleOf() (HandleKind, reflect.Type, reflect.Type) {
	return Ref, nil, reflect.TypeFor[T]()
}

var markerType = reflect.TypeFor[marker]()

// handleMarker returns the marker of a handle type, or nil.
func handleMarker(rt reflect.Type) marker {
	if rt.Kind() != reflect.Struct || rt.NumField() < 2 || rt.Size() != 8 {
		return nil
	}
	f := rt.Field(0)
	if f.Name != "_" || f.Type.Size() != 0 || !f.Type.Implements(markerType) {
		return nil
	}
	return reflect.Zero(f.Type).Interface().(marker)
}

// String returns the name of a kind; for a handle, the name of its type in the public package.
func (k Kind) String() string {
	switch k {
	case Map:
		return "Map"
	case Sorted:
		return "Sorted"
	case List:
		return "List"
	case Ref:
		return "Ref"
	case Dict:
		return "Dict"
	case Struct:
		return "struct"
	case Array:
		return "array"
	}
	if k < kindEnd && scalarKinds[k].name != "" {
		return scalarKinds[k].name
	}
	return "invalid"
}
