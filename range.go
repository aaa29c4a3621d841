package everheap

import (
	"iter"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
)

// Bound is an end of a range of keys: it includes its key, excludes it, or has none. The
// zero Bound is Unbounded.
type Bound[K any] struct {
	key  K
	kind edit.BoundKind
}

// Including returns a bound that includes the key.
func Including[K any](key K) Bound[K] { return Bound[K]{key, edit.Including} }

// Excluding returns a bound that excludes the key: the range ends just before it, or begins
// just after it.
func Excluding[K any](key K) Bound[K] { return Bound[K]{key, edit.Excluding} }

// Unbounded returns a bound without a key: the range begins with the first key, or ends with
// the last.
func Unbounded[K any]() Bound[K] { return Bound[K]{} }

// Prefix returns the bounds of the range of all strings that begin with p:
//
//	from, to := everheap.Prefix("user:")
//	for name, u := range users.Range(tx, from, to) {
func Prefix[K ~string](p K) (from, to Bound[K]) {
	if end, ok := edit.PrefixEnd(p); ok {
		return Including(p), Excluding(end)
	}
	return Including(p), Unbounded[K]()
}

// lower returns the bound as the lower end of a range.
func (b *Bound[K]) lower() edit.Bound { return b.end(edit.Excluding) }

// upper returns the bound as the upper end of a range.
func (b *Bound[K]) upper() edit.Bound { return b.end(edit.Including) }

// end returns the bound as an end. It lies behind the key if the kind is after.
func (b *Bound[K]) end(after edit.BoundKind) edit.Bound {
	if b.kind == edit.Unbounded {
		return edit.Bound{}
	}
	return edit.Bound{Key: layout.NoEscapeKey(&b.key), After: b.kind == after}
}

// All returns the entries in order, as they are when the loop starts, even if its body
// changes the map. The keys are the caller's own; the values are borrowed: read-only, and
// valid until tx ends.
func (m Sorted[K, V]) All(tx *Tx) iter.Seq2[K, *V] {
	return m.walk(tx, Bound[K]{}, Bound[K]{}, false)
}

// Copies is All with private copies of the values; see Map.Copies.
func (m Sorted[K, V]) Copies(tx *Tx) iter.Seq2[K, V] { return copies[K, V](tx, m.of()) }

// Range is All for the keys between two bounds. Finding the first key takes logarithmic
// time; each further step takes a time that does not depend on the size of the map.
func (m Sorted[K, V]) Range(tx *Tx, from, to Bound[K]) iter.Seq2[K, *V] {
	return m.walk(tx, from, to, false)
}

// Backward is Range from the last key to the first. from is still the lower bound.
func (m Sorted[K, V]) Backward(tx *Tx, from, to Bound[K]) iter.Seq2[K, *V] {
	return m.walk(tx, from, to, true)
}

// walk returns the entries between two bounds.
func (m Sorted[K, V]) walk(tx *Tx, from, to Bound[K], back bool) iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		var key K
		err := tx.engine.Range(m.of(), from.lower(), to.upper(), back,
			func() unsafe.Pointer { key = *new(K); return layout.NoEscapeKey(&key) },
			func(v unsafe.Pointer) bool { return yield(key, layout.Cast[V](v)) })
		tx.raise("range", err)
	}
}

// First returns the entry with the least key; ok is false if the map is empty. The value is
// borrowed.
func (m Sorted[K, V]) First(tx *Tx) (key K, v *V, ok bool) { return m.nth(tx, "first", 0, false) }

// Last returns the entry with the greatest key; ok is false if the map is empty. The value
// is borrowed.
func (m Sorted[K, V]) Last(tx *Tx) (key K, v *V, ok bool) { return m.nth(tx, "last", 0, true) }

// Nth returns the entry with i smaller keys; ok is false if there is none. The value is
// borrowed.
func (m Sorted[K, V]) Nth(tx *Tx, i int) (key K, v *V, ok bool) { return m.nth(tx, "nth", i, false) }

// nth returns the entry with i keys before it, or behind it.
func (m Sorted[K, V]) nth(tx *Tx, op string, i int, back bool) (key K, v *V, ok bool) {
	p, err := tx.engine.Nth(m.of(), i, back, layout.NoEscapeKey(&key))
	tx.raise(op, err)
	return key, layout.Cast[V](p), p != nil
}

// Rank returns how many keys are smaller than the key, which need not be in the map.
func (m Sorted[K, V]) Rank(tx *Tx, key K) int {
	n, err := tx.engine.Rank(m.of(), layout.NoEscapeKey(&key))
	tx.raise("rank", err)
	return int(n)
}
