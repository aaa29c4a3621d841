package layout

import "reflect"

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

// marker is what the four have in common.
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

// String returns the name of a kind; for a handle that of its type in the public package.
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
