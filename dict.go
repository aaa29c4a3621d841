package everheap

import (
	"fmt"
	"iter"
	"maps"

	"github.com/everheap/everheap/internal/layout"
)

// Dict is a map that a value owns, as one of its fields or elements: unlike a Map it has no
// identity, and unlike a built-in map it can be read where it is stored, by Peek, without a
// copy. It never changes: With and Without return another one, and to store that is to change
// the value that has it. The zero Dict is the empty one.
//
// Keys are those of a Map, complex numbers included, and values are anything that can be
// stored. Both zeroes of a float are one key, and so are times of one instant; no key is NaN.
// The entries are in the order of their keys, which is that of a Sorted.
//
// A lookup takes about as long as that of a built-in map, however large the Dict is. With and
// Without take time in proportion to the number of entries: for many changes use Map and
// DictOf, and for maps that grow without bounds a Map or Sorted field.
//
// What the methods of a borrowed Dict return is borrowed as well: valid until its transaction
// ends. Clone copies a Dict whole.
type Dict[K comparable, V any] struct {
	_       layout.DictOf[K, V]
	index   []uint32
	entries []layout.DictEntry[K, V]
}

// DictOf returns a Dict with the entries of a map, which may be nil. The values are as in the
// map: what they refer to is shared until the Dict is stored. It panics with a *TypeError if
// K cannot be a key in a space, and with ErrNaN if a key is or contains NaN.
func DictOf[K comparable, V any](m map[K]V) (d Dict[K, V]) {
	defer explainDict()
	d.index, d.entries = layout.MakeDict(m)
	return d
}

// Get returns the value of a key, and whether it is there; else the zero value.
func (d Dict[K, V]) Get(key K) (v V, ok bool) {
	if i := layout.FindDict(d.index, d.entries, key); i >= 0 {
		return d.entries[i].Value, true
	}
	return v, false
}

// Has reports whether the key is there.
func (d Dict[K, V]) Has(key K) bool { return layout.FindDict(d.index, d.entries, key) >= 0 }

// Len returns the number of entries.
func (d Dict[K, V]) Len() int { return len(d.entries) }

// All returns the entries in the order of their keys.
func (d Dict[K, V]) All() iter.Seq2[K, V] {
	return layout.AllOfDict(d.entries)
}

// Map returns a new map with the entries, which is never nil.
func (d Dict[K, V]) Map() map[K]V {
	m := make(map[K]V, len(d.entries))
	maps.Insert(m, d.All())
	return m
}

// With returns a Dict that has the value under the key, and the other entries of d. It panics
// as DictOf does.
func (d Dict[K, V]) With(key K, v V) Dict[K, V] {
	defer explainDict()
	d.index, d.entries = layout.WithDict(d.entries, key, v)
	return d
}

// Without returns a Dict that lacks the key, and has the other entries of d.
func (d Dict[K, V]) Without(key K) Dict[K, V] {
	if i := layout.FindDict(d.index, d.entries, key); i >= 0 {
		d.index, d.entries = layout.WithoutDict(d.entries, i)
	}
	return d
}

// String returns the entries as fmt prints those of a map.
func (d Dict[K, V]) String() string { return fmt.Sprint(d.Map()) }

// explainDict turns the panic of a type that cannot be a key into one with a *TypeError.
func explainDict() {
	switch err := recover().(type) {
	case nil:
	case *layout.UnstorableError, *layout.KeyError:
		panic(&TypeError{Kind: ErrUnstorable, Lines: []string{err.(error).Error()}})
	default:
		panic(err)
	}
}
