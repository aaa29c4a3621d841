package everheap

import (
	"fmt"
	"iter"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// ID names an object of a space. A space never uses an ID twice.
type ID uint64

// Map is a handle on a hash map of a space: 8 bytes, without a pointer, valid in every
// process, and itself storable. The zero Map refers to nothing.
//
// Keys are strings, numbers, time.Time, and arrays and structs of those. Strings compare
// byte by byte; a key cannot be NaN.
type Map[K comparable, V any] struct {
	_  layout.MapOf[K, V]
	id ID
}

// OpenMap returns the map with a name. It creates an empty one if there is none and sc can
// write; otherwise the error is ErrNotFound. A map of other types is ErrTypeChanged, unless
// an option converts it; a type that cannot be stored is ErrUnstorable.
func OpenMap[K comparable, V any](sc Scope, name string, opts ...TypeOption) (Map[K, V], error) {
	id, err := openTyped[Map[K, V]](sc, "the map ", name, opts, func(tx *engine.Tx) (format.ID, error) {
		return tx.OpenMap(name, Map[K, V]{}.of())
	})
	return Map[K, V]{id: ID(id)}, err
}

// NewMap creates an empty map without a name. It lives while something refers to it; if
// nothing does when its transaction ends, it may vanish.
func NewMap[K comparable, V any](tx *Tx) (Map[K, V], error) {
	id, err := tx.engine.NewMap(Map[K, V]{}.of())
	return Map[K, V]{id: ID(id)}, tx.space.wrap("creating a map", err)
}

// ID returns the identity of the map; 0 for the zero Map.
func (m Map[K, V]) ID() ID { return m.id }

// IsNil reports whether the handle refers to no map.
func (m Map[K, V]) IsNil() bool { return m.id == 0 }

// of names the map and its types to the engine.
func (m Map[K, V]) of() edit.MapOf {
	return edit.MapOf{ID: format.ID(m.id), Key: layout.IdentityOf[K](), Value: layout.IdentityOf[V]()}
}

// Set stores a copy of v, with everything it owns, under the key.
func (m Map[K, V]) Set(sc Scope, key K, v V) error { return setEntry(sc, m.of(), key, v) }

// Get returns a private copy of the value of the key, or ErrNotFound.
func (m Map[K, V]) Get(sc Scope, key K) (v V, err error) {
	err = getEntry(sc, m.of(), key, layout.NoEscapeKey(&v))
	return v, err
}

// Has reports whether the map has the key.
func (m Map[K, V]) Has(sc Scope, key K) (bool, error) { return hasEntry(sc, m.of(), key) }

// Peek returns the stored value itself without a copy, or nil if the key is missing. The
// value is read-only, and valid until tx ends.
func (m Map[K, V]) Peek(tx *Tx, key K) *V {
	p, err := tx.engine.Peek(m.of(), layout.NoEscapeKey(&key))
	tx.raise("peek", err)
	return layout.Cast[V](p)
}

// Modify passes a private copy of the value to fn and stores what fn made of it. It returns
// ErrNotFound if the key is missing, and any error of fn; then nothing has changed.
func (m Map[K, V]) Modify(sc Scope, key K, fn func(v *V) error) error {
	return modifyEntry(sc, m.of(), key, fn)
}

// Upsert is Modify for a key that may be missing: then fn gets a zero value.
func (m Map[K, V]) Upsert(sc Scope, key K, fn func(v *V, found bool) error) error {
	return changeEntry(sc, m.of(), "upsert", key, fn)
}

// Delete removes the key and reports whether the map had it.
func (m Map[K, V]) Delete(sc Scope, key K) (removed bool, err error) {
	return deleteEntry(sc, m.of(), key)
}

// Len returns the number of entries.
func (m Map[K, V]) Len(sc Scope) (n int, err error) { return countEntries(sc, m.of()) }

// All returns the entries in no order, as they are when the loop starts, even if its body
// changes the map. The keys are the caller's own; the values are borrowed: read-only, and
// valid until tx ends.
func (m Map[K, V]) All(tx *Tx) iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		var key K
		err := tx.engine.Entries(m.of(), func() unsafe.Pointer { key = *new(K); return layout.NoEscapeKey(&key) },
			func(v unsafe.Pointer) bool { return yield(key, layout.Cast[V](v)) })
		tx.raise("all", err)
	}
}

// Copies is All with private copies of the values, for which it takes longer. It is there for
// values that cannot be borrowed, since there are built-in maps or interfaces in them.
func (m Map[K, V]) Copies(tx *Tx) iter.Seq2[K, V] { return copies[K, V](tx, m.of()) }

// copies returns the entries of a map with copies of the values.
func copies[K comparable, V any](tx *Tx, of edit.MapOf) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		var key K
		err := tx.engine.Copies(of, func() unsafe.Pointer { key = *new(K); return layout.NoEscapeKey(&key) },
			func(v unsafe.Pointer) bool { return yield(key, *layout.Cast[V](v)) })
		tx.raise("copies", err)
	}
}

// Clone returns a private copy of a borrowed value, with everything it owns. It panics with
// a *TypeError if the type cannot be stored, since nothing of that type can be borrowed.
func Clone[T any](p *T) *T {
	c, err := layout.Clone(p)
	if err != nil {
		panic(&TypeError{Kind: ErrUnstorable, Lines: []string{err.Error()}})
	}
	return c
}

// The operations of both Map and Sorted; of has the kind and the types.

// setEntry stores a copy of v under the key.
func setEntry[K comparable, V any](sc Scope, of edit.MapOf, key K, v V) error {
	s, in, err := sc.on()
	if err == nil {
		err = in.Set(of, layout.NoEscapeKey(&key), layout.NoEscape(&v))
	}
	return s.wrap("set", err)
}

// getEntry copies the value of the key to dst, which is a *V that does not escape.
func getEntry[K comparable](sc Scope, of edit.MapOf, key K, dst unsafe.Pointer) error {
	s, in, err := sc.on()
	if err == nil {
		var found bool
		if found, err = in.Get(of, layout.NoEscapeKey(&key), dst); err == nil && !found {
			return fmt.Errorf("everheap: key %v: %w", key, ErrNotFound)
		}
	}
	return s.wrap("get", err)
}

// hasEntry reports whether the map has the key.
func hasEntry[K comparable](sc Scope, of edit.MapOf, key K) (found bool, err error) {
	s, in, err := sc.on()
	if err == nil {
		found, err = in.Get(of, layout.NoEscapeKey(&key), nil)
	}
	return found, s.wrap("get", err)
}

// modifyEntry is changeEntry for a key that must be there.
func modifyEntry[K comparable, V any](sc Scope, of edit.MapOf, key K, fn func(v *V) error) error {
	return changeEntry(sc, of, "modify", key, func(v *V, found bool) error {
		if !found {
			return fmt.Errorf("key %v: %w", key, ErrNotFound)
		}
		return fn(v)
	})
}

// changeEntry reads, lets fn change, and writes one entry, in one transaction.
func changeEntry[K comparable, V any](sc Scope, of edit.MapOf, op string, key K, fn func(v *V, found bool) error) error {
	return editIn(sc, op, func(tx *engine.Tx) error {
		var v V
		found, err := tx.Get(of, layout.NoEscapeKey(&key), layout.NoEscapeKey(&v))
		if err != nil {
			return err
		}
		if err := fn(&v, found); err != nil {
			return err
		}
		return tx.Set(of, layout.NoEscapeKey(&key), layout.NoEscape(&v))
	})
}

// deleteEntry removes the key.
func deleteEntry[K comparable](sc Scope, of edit.MapOf, key K) (removed bool, err error) {
	s, in, err := sc.on()
	if err == nil {
		removed, err = in.Delete(of, layout.NoEscapeKey(&key))
	}
	return removed, s.wrap("delete", err)
}

// countEntries returns the number of entries.
func countEntries(sc Scope, of edit.MapOf) (n int, err error) {
	s, in, err := sc.on()
	if err == nil {
		n, err = in.Len(of)
	}
	return n, s.wrap("len", err)
}
