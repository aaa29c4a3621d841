package everheap

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Sorted is a handle on a sorted map of a space: a map whose entries are in the order of
// their keys. It is 8 bytes, without a pointer, valid in every process, and itself storable.
// The zero Sorted refers to nothing.
//
// Keys are strings, integers, floats, bools, time.Time, handles, and arrays and structs of
// those. Strings are ordered byte by byte, numbers by <, false before true, times by
// instant, handles by ID; in arrays and structs the first different part decides. Both
// zeroes of a float are one key; a key cannot be NaN.
//
// Searches, insertions and all methods that return one entry or a number take time
// proportional to the logarithm of the number of entries.
type Sorted[K comparable, V any] struct {
	_  layout.SortedOf[K, V]
	id ID
}

// OpenSorted returns the sorted map with a name. It creates an empty one if there is none
// and sc can write; otherwise the error is ErrNotFound. A map that is not sorted, or has
// other types and no option converts it, is ErrTypeChanged. A type that cannot be stored, or
// keys without an order, are ErrUnstorable.
func OpenSorted[K comparable, V any](sc Scope, name string, opts ...TypeOption) (Sorted[K, V], error) {
	id, err := openTyped[Sorted[K, V]](sc, "the sorted map ", name, opts, func(tx *engine.Tx) (format.ID, error) {
		return tx.OpenMap(name, Sorted[K, V]{}.of())
	})
	return Sorted[K, V]{id: ID(id)}, err
}

// NewSorted creates an empty sorted map without a name. It lives while something refers to
// it; if nothing does when its transaction ends, it may vanish.
func NewSorted[K comparable, V any](tx *Tx) (Sorted[K, V], error) {
	id, err := tx.engine.NewMap(Sorted[K, V]{}.of())
	return Sorted[K, V]{id: ID(id)}, tx.space.wrap("creating a sorted map", err)
}

// ID returns the identity of the sorted map; 0 for the zero Sorted.
func (m Sorted[K, V]) ID() ID { return m.id }

// IsNil reports whether the handle refers to no sorted map.
func (m Sorted[K, V]) IsNil() bool { return m.id == 0 }

// of names the sorted map and its types to the engine.
func (m Sorted[K, V]) of() edit.MapOf {
	return edit.MapOf{ID: format.ID(m.id), Key: layout.IdentityOf[K](), Value: layout.IdentityOf[V](), Sorted: true}
}

// Set stores a copy of v, with everything it owns, under the key.
func (m Sorted[K, V]) Set(sc Scope, key K, v V) error { return setEntry(sc, m.of(), key, v) }

// Get returns a private copy of the value of the key, or ErrNotFound.
func (m Sorted[K, V]) Get(sc Scope, key K) (v V, err error) {
	err = getEntry(sc, m.of(), key, layout.NoEscapeKey(&v))
	return v, err
}

// Has reports whether the map has the key.
func (m Sorted[K, V]) Has(sc Scope, key K) (bool, error) { return hasEntry(sc, m.of(), key) }

// Peek returns the stored value itself without a copy, or nil if the key is missing. The
// value is read-only, and valid until tx ends.
func (m Sorted[K, V]) Peek(tx *Tx, key K) *V {
	p, err := tx.engine.Peek(m.of(), layout.NoEscapeKey(&key))
	tx.raise("peek", err)
	return layout.Cast[V](p)
}

// Modify passes a private copy of the value to fn and stores what fn made of it. It returns
// ErrNotFound if the key is missing, and any error of fn; then nothing has changed.
func (m Sorted[K, V]) Modify(sc Scope, key K, fn func(v *V) error) error {
	return modifyEntry(sc, m.of(), key, fn)
}

// Upsert is Modify for a key that may be missing: then fn gets a zero value.
func (m Sorted[K, V]) Upsert(sc Scope, key K, fn func(v *V, found bool) error) error {
	return changeEntry(sc, m.of(), "upsert", key, fn)
}

// Delete removes the key and reports whether the map had it.
func (m Sorted[K, V]) Delete(sc Scope, key K) (removed bool, err error) {
	return deleteEntry(sc, m.of(), key)
}

// Len returns the number of entries.
func (m Sorted[K, V]) Len(sc Scope) (n int, err error) { return countEntries(sc, m.of()) }
