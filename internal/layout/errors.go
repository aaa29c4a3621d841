package layout

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
)

var (
	// ErrTooLarge: a value owns more than one block can hold.
	ErrTooLarge = errors.New("everheap: value is too large for one block (the limit is 2 GiB less one byte, and 1,048,576 elements of size zero); split it into several objects")

	// ErrChanged: the value changed while it was being copied into the space.
	ErrChanged = errors.New("everheap: value changed while it was being stored; do not modify a value during Set")

	// ErrNaN: a key holds a floating-point NaN, which equals nothing.
	ErrNaN = errors.New("everheap: NaN cannot be used as a key; use a number")

	// ErrTooDeep: a value nests too deeply to be written as JSON.
	ErrTooDeep = errors.New("everheap: value nests deeper than 9,000 levels and cannot be written as JSON; use a List instead of a linked list")

	// ErrTooShared: Dicts of a value share entries, which are written in full for each Dict, and the
	// result would be too long.
	ErrTooShared = errors.New("everheap: value has Dicts that share entries so often that it would be written as more than 64 times its size; use pointers to what is shared")
)

// UnstorableError says that a type cannot be stored, or cannot be used in a role, and what to use
// instead.
type UnstorableError struct {
	Type   string // the type that was asked for
	Path   string // the path of the offending field in it; empty if it is the type itself
	Field  string // the type of that field
	Advice string // what to do, as an imperative
	final  bool   // methods of a containing type do not make it storable
}

// Error returns the path of the field, its type and the advice.
func (e *UnstorableError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("everheap: type %s cannot be stored; %s", e.Type, e.Advice)
	}
	return fmt.Sprintf("everheap: type %s: field %s (%s) cannot be stored; %s", e.Type, e.Path, e.Field, e.Advice)
}

// KeyError says that a type cannot be the key of a map.
type KeyError struct {
	Type  string // the key type
	Path  string // the path of the offending field in it; empty if it is the type itself
	Field string // the type of that field
	Role  string // "a key", or orderedRole
	Open  bool   // the field is an interface
}

// Error returns the path of the field and what keys are made of.
func (e *KeyError) Error() string {
	at := ""
	if e.Path != "" {
		at = fmt.Sprintf(": field %s (%s)", e.Path, e.Field)
	}
	if e.Open && e.Role != orderedRole {
		return fmt.Sprintf("everheap: type %s%s cannot be %s, as the concrete type of an interface is known only with each value; use strings, numbers, time.Time, and arrays and structs of those, and put the interface into the value", e.Type, at, e.Role)
	}
	numbers := "numbers"
	if e.Role == orderedRole {
		numbers = "integers, floats, bools"
	}
	return fmt.Sprintf("everheap: type %s%s cannot be %s; use strings, %s, time.Time, and arrays and structs of those", e.Type, at, e.Role, numbers)
}

// DamageError says that stored bytes are not a value of their type.
type DamageError struct {
	Type   string  // the type that was expected; may be empty
	Offset uintptr // where, counted from the start of the block or of the bytes
	What   string
}

// Error returns what is wrong and where.
func (e *DamageError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("everheap: damaged type descriptor at byte %d: %s; run everheap check", e.Offset, e.What)
	}
	return fmt.Sprintf("everheap: damaged value of type %s at byte %d: %s; run everheap check", e.Type, e.Offset, e.What)
}

// JSONError says why a JSON text is not a valid value of a type.
type JSONError struct {
	Type string // the type that was expected
	Path string // the path of the field; empty for the value itself
	What string // "want a number, got a string"

	Unknown string // set if the error is an unknown concrete type: its name
}

// Error returns the path and what was wanted.
func (e *JSONError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("everheap: JSON for %s: %s", e.Type, e.What)
	}
	return fmt.Sprintf("everheap: JSON for %s: field %s: %s", e.Type, e.Path, e.What)
}

// What is stored of a pointer is what it points at. That is right where pointers are
// followed, and wrong where they are compared: with the one variable of the program
// that stands for something, with the variable that holds them, or with what another
// package keeps to itself. Types of the standard library that do so are refused, by
// name if there is something to say about them, and else if they have hidden pointers;
// types of other modules with hidden pointers where a struct uses them, unless its tag
// says that their content counts. What a program does with pointers of its own is its
// own affair: a pointer in its types is followed. Any type with hidden pointers, and any
// that is refused, is coded if it has methods for that: they know what it means.

// denied are types that are refused by name, generic ones without their arguments, with
// the advice.
var denied = map[string]string{
	"reflect.Value":     "store the value itself",
	"time.Location":     "store the name of the location",
	"unique.Handle":     "it is equal in one process only: store its Value, and make a handle of that again",
	"weak.Pointer":      "store what it points at, or a Ref",
	"strings.Builder":   "it points at itself: store its String, or a []byte",
	"hash/maphash.Seed": "it is worth something in one process only: hash with a function that has no seed",
	"hash/maphash.Hash": "it is worth something in one process only: hash with a function that has no seed",
	"runtime.Func":      "store its Name",
	"runtime.Frame":     "store the Function, File and Line",
	"runtime.Cleanup":   "keep it in the program",
	"runtime.Pinner":    "keep it in the program",
}

// refusal returns the advice for types that are refused as such, else "". final says
// that methods of a type that contains it do not make it good.
func refusal(rt reflect.Type) (advice string, final bool) {
	switch rt.PkgPath() {
	case "":
	case "sync", "sync/atomic", "internal/sync":
		return "keep it outside the stored type, or use Space.Mutex", true
	default:
		name, _, _ := strings.Cut(rt.Name(), "[")
		if advice, ok := denied[rt.PkgPath()+"."+name]; ok {
			return advice, false
		}
	}
	if rt.Size() > maxFixed {
		return "use a slice or a List: the type is larger than 2 GiB", true
	}
	switch rt.Kind() {
	case reflect.Chan:
		return "keep channels in the program, and use Watch to learn of changes", false
	case reflect.Func:
		return "store the data that selects the function", false
	case reflect.Uintptr:
		return "use uint64", false
	case reflect.UnsafePointer:
		return "use a pointer to a concrete type", false
	}
	return "", false
}

// isStandard reports whether a package is one of the standard library: the first part of
// its path is no host, and no module of a program.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != "main" && standardRoots[first]
}

// standardRoots are the first parts of the paths of the standard library.
var standardRoots = func() map[string]bool {
	m := map[string]bool{}
	for _, root := range strings.Fields(`archive arena bufio bytes cmp compress container context crypto database debug
		embed encoding errors expvar flag fmt go hash html image index internal io iter log maps math mime net os path plugin
		reflect regexp runtime slices sort strconv strings structs sync syscall testing text time unicode unique unsafe
		vendor weak`) {
		m[root] = true
	}
	return m
}()

// hidden returns the path of an unexported field of a struct that is a pointer or holds
// one by value, also in a slice; "" if there is none.
func hidden(rt reflect.Type) string {
	if rt.Kind() != reflect.Struct || handleMarker(rt) != nil || dictMarkerOf(rt) != nil || rt.ConvertibleTo(timeType) || addressKind(rt) != Invalid {
		return ""
	}
	for i := range rt.NumField() {
		f := rt.Field(i)
		if f.Name == "_" || f.PkgPath == "" {
			continue
		}
		if holdsPointer(f.Type) {
			return f.Name
		}
	}
	return ""
}

// holdsPointer reports whether values of a type hold pointers by value or in slices.
func holdsPointer(rt reflect.Type) bool {
	switch rt.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Interface:
		return true
	case reflect.Slice, reflect.Array:
		return holdsPointer(rt.Elem())
	case reflect.Struct:
		if m := dictMarkerOf(rt); m != nil {
			_, value := m.dictOf()
			return holdsPointer(value)
		}
		if handleMarker(rt) != nil || rt.ConvertibleTo(timeType) || addressKind(rt) != Invalid {
			return false
		}
		for i := range rt.NumField() {
			if f := rt.Field(i); f.Name != "_" && holdsPointer(f.Type) {
				return true
			}
		}
	}
	return false
}

// stranger returns the struct type that a field of a struct has, or points at, or is a
// slice of, if it is one of another module with hidden pointers that would be followed;
// else nil.
func stranger(outer, field reflect.Type) reflect.Type {
	for field.Name() == "" && (field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice || field.Kind() == reflect.Array) {
		field = field.Elem()
	}
	if field.PkgPath() == "" || outer.PkgPath() == "" || sameModule(outer.PkgPath(), field.PkgPath()) {
		return nil
	}
	if hidden(field) == "" || marshalerKind(field) != Invalid {
		return nil
	}
	return field
}

// mainModule is the path of the module of the program; "" if it is not known.
var mainModule = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Path
})

// sameModule reports whether two packages are likely to be of one module. Modules are
// not known at run time, but what they are called begins with a host, an owner and a
// name; a path without a host is of a module that is called by its first part.
func sameModule(a, b string) bool {
	if a == b {
		return true
	}
	for _, p := range [2]*string{&a, &b} {
		if *p != "main" {
			continue
		}
		if *p = mainModule(); *p == "" {
			return !isStandard(a) && !isStandard(b)
		}
	}
	return moduleOf(a) == moduleOf(b)
}

// moduleOf returns the beginning of the path of a package that tells its module.
func moduleOf(path string) string {
	parts := strings.SplitN(strings.TrimSuffix(path, "_test"), "/", 4)
	if !strings.Contains(parts[0], ".") {
		return parts[0]
	}
	return strings.Join(parts[:min(len(parts), 3)], "/")
}
