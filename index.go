package everheap

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
)

// IndexOption says what an index is like.
type IndexOption uint8

// Unique makes an index one in which no two entries have the same value: the second one is
// refused with ErrDuplicate. Of a slice, no two entries may share an element.
const Unique IndexOption = 1

// WithIndex gives a Map or a Sorted an index when it is opened, unless it has it already: on a field
// of the values ("Email"), a nested one ("Address.City"), the elements of a slice ("Tags", or
// "Lines.Product" of structs in one), or several fields in this order ("City,Name"). A tag does the
// same, and names the index after the field: everheap:"index", everheap:"unique", and
// everheap:"index=City,Name" at any field of the struct. Tags of structs in the struct count, by
// value and in slices, and not those behind pointers.
//
// An index belongs to the collection: from now on every writer keeps it, in the transaction that
// changes an entry, whatever options and tags it has; DropIndex ends that. A change that leaves the
// fields alone costs one comparison. The index is built in one transaction, in which nobody else
// can write, and in memory for all its values; WithProgress tells how far it is. A View, and a
// space that is open WithReadOnly, open the collection as it is.
//
// A nil pointer on the way to a field, and an empty slice, put the entry into no place of the index;
// every other value, zero as well, has one. Errors: ErrUnstorable if the field is missing or has
// no order, ErrDuplicate if entries share a value that is to be unique, and ErrExists if there is
// another index with the name, unless Evolve replaces it. Then nothing has changed.
func WithIndex(name, path string, opts ...IndexOption) TypeOption {
	spec := index.Spec{Name: name, Paths: index.SplitPath(path)}
	for _, o := range opts {
		spec.Unique = spec.Unique || o == Unique
	}
	return typeOption(func(s *typeSettings) { s.wish.Indexes = append(s.wish.Indexes, spec) })
}

// declare gives a collection, with handles of a type, what the type and options ask for.
func declare(s *Space, tx *Tx, id format.ID, handle *layout.Type, set *typeSettings) error {
	wish := set.wish
	wish.Replace, wish.Tell = set.change.Evolve, set.change.Progress
	if err := wish.Tags(handle); err != nil || wish.IsNone() {
		return err
	}
	if tx != nil {
		if tx.engine.Write == nil {
			return nil
		}
		return wish.Declare(&tx.engine.Editor, id)
	}
	var missing indexing.Wish
	err := s.View(func(tx *Tx) (err error) { missing, err = wish.Missing(&tx.engine.Editor, id); return err })
	if err != nil || missing.IsNone() || s.engine.ReadOnly {
		return err
	}
	return s.engine.Change(s.durability == Durable, func(in *engine.Tx) error { return wish.Declare(&in.Editor, id) })
}

// CreateIndex gives the collection with a name an index, as WithIndex does, in a program without its
// Go types.
func CreateIndex(sc Scope, collection, name, path string, opts ...IndexOption) error {
	var set typeSettings
	WithIndex(name, path, opts...).applyType(&set)
	return onCollection(sc, "indexing ", collection, func(tx *engine.Tx, id format.ID) error {
		return indexing.Declare(&tx.Editor, id, set.wish.Indexes[0], nil)
	})
}

// DropIndex removes an index of the collection with a name, and reports whether there was one. A
// program that still has its tag or option declares it again when it opens the collection.
func DropIndex(sc Scope, collection, name string) (removed bool, err error) {
	err = onCollection(sc, "dropping the index "+name+" of ", collection, func(tx *engine.Tx, id format.ID) (err error) {
		removed, err = indexing.Drop(&tx.Editor, id, name)
		return err
	})
	return removed, err
}

// IndexInfo is an index of a collection.
type IndexInfo struct {
	Name   string
	Path   string // fields, with commas in between
	Unique bool
	Len    uint64 // of an index on elements, more or fewer than the collection has entries
}

// indexes lists those of a collection, by name.
func (tx *Tx) indexes(id format.ID) (list []IndexInfo, err error) {
	if kind := tx.engine.KindOf(id); kind != format.KindMap && kind != format.KindSorted {
		return nil, nil
	}
	infos, err := indexing.List(&tx.engine.Editor, id)
	for _, i := range infos {
		list = append(list, IndexInfo{i.Name, i.Path(), i.Unique, i.Count})
	}
	return list, err
}

// Indexes lists the indexes of the collection, by name.
func (c *Collection) Indexes(sc Scope) (list []IndexInfo, err error) {
	s, tx := sc.scope()
	if tx == nil {
		err = s.View(func(tx *Tx) (err error) { list, err = tx.indexes(c.id); return err })
	} else {
		list, err = tx.indexes(c.id)
	}
	return list, s.wrap("indexes of "+c.name, err)
}

// Indexed returns the entries that an index leads to, as they are when the loop starts, in its
// order: those whose first fields have the values in equal, and whose next one lies between two
// bounds. name is that of the index, or its fields as WithIndex has them. With fewer values and
// bounds than fields, an entry comes as often as it has values.
func (e Encoded) Indexed(tx *Tx, name string, equal [][]byte, from, to Bound[[]byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		st, err := e.c.bind(tx)
		var l indexing.Lookup
		if err == nil {
			l, err = indexing.OpenStored(&tx.engine.Editor, e.c.id, name)
		}
		var lo, hi []byte
		if err == nil {
			lo, hi, err = e.indexEnds(&l, equal, from, to)
		}
		if err == nil && (hi == nil || string(lo) < string(hi)) {
			var failed error
			err = l.Walk(lo, hi, false, func(form string, at int) bool {
				var entry unsafe.Pointer
				if entry, failed = l.Entry(form, at); failed != nil {
					return false
				}
				key, value := l.Parts(entry)
				var k, v []byte
				if k, failed = e.appendPart(nil, st.Key, key); failed == nil {
					v, failed = e.appendPart(nil, st.Value, value)
				}
				return failed == nil && yield(k, v)
			})
			err = errors.Join(failed, err)
		}
		if err != nil {
			tx.raise("indexed", err)
		}
	}
}

// indexEnds is Index.ends for encoded values.
func (e Encoded) indexEnds(l *indexing.Lookup, equal [][]byte, from, to Bound[[]byte]) (lo, hi []byte, err error) {
	add := func(dst []byte, i int, b []byte) ([]byte, error) {
		if i >= l.Fields() {
			return nil, fmt.Errorf("the index %s is on %d fields, and not on more", l.Name, l.Fields())
		}
		v, err := e.parse("value", l.FieldType(i), b)
		if err != nil {
			return nil, err
		}
		dst, err = l.AppendField(dst, i, v.Pointer())
		runtime.KeepAlive(v)
		return dst, err
	}
	var head []byte
	for i, b := range equal {
		if head, err = add(head, i, b); err != nil {
			return nil, nil, err
		}
	}
	lo, hi = slices.Clone(head), index.After(slices.Clone(head))
	if from.kind != unbounded {
		if lo, err = add(lo, len(equal), from.key); err == nil && from.kind == excluding {
			lo = index.After(lo)
		}
	}
	if to.kind != unbounded && err == nil {
		if hi, err = add(slices.Clone(head), len(equal), to.key); err == nil && to.kind == including {
			hi = index.After(hi)
		}
	}
	if lo == nil && (from.kind != unbounded) { // nothing is greater
		return []byte{1}, []byte{0}, err
	}
	return lo, hi, err
}

// Index is an index of a Map or a Sorted as a program looks into it, by a type F of its values: that
// of the field, or for several fields a struct of as many, of the same types in the same order; a
// struct of the first ones, or the type of the first alone, will do. Values are ordered as keys of a
// Sorted are, NaN below all numbers; entries with the same value by their keys.
//
// Methods of a Tx see its version, and what it has changed. The zero Index is of nothing.
type Index[K comparable, V, F any] struct {
	of   edit.MapOf
	name string
	last *atomic.Pointer[index.View]
}

// Indexed is a Map or a Sorted.
type Indexed[K comparable, V any] interface {
	Get(sc Scope, key K) (V, error)

	of() edit.MapOf
}

// IndexOf returns an index of a map by its name, or by its fields as WithIndex has them. Whether
// there is one, its methods find out: the error is ErrNotFound, or ErrTypeChanged if its values
// are not of type F.
//
//	byEmail := everheap.IndexOf[User, string](users, "by_email")
func IndexOf[V, F any, K comparable](m Indexed[K, V], name string) Index[K, V, F] {
	return Index[K, V, F]{m.of(), name, new(atomic.Pointer[index.View])}
}

// open finds the index in the version of a transaction.
func (x Index[K, V, F]) open(tx *Tx) (indexing.Lookup, error) {
	if x.last == nil {
		return indexing.Lookup{}, ErrNilHandle
	}
	return indexing.Open(&tx.engine.Editor, x.of, x.name, layout.IdentityOf[F](), x.last)
}

// first returns the first entry with a value; nil if there is none.
func (x Index[K, V, F]) first(tx *Tx, f *F) (l indexing.Lookup, e unsafe.Pointer, err error) {
	if l, err = x.open(tx); err != nil {
		return l, nil, err
	}
	var room [64]byte
	b, err := l.Append(room[:0], layout.NoEscapeKey(f), false)
	if err != nil {
		return l, nil, err
	}
	form, at, ok, err := l.First(b)
	if err == nil && ok {
		e, err = l.Entry(form, at)
	}
	return l, e, err
}

// Get returns a private copy of the first entry with a value, or ErrNotFound.
func (x Index[K, V, F]) Get(sc Scope, f F) (v V, err error) {
	s, tx := sc.scope()
	get := func(tx *Tx) error {
		l, e, err := x.first(tx, &f)
		if err == nil && e == nil {
			err = fmt.Errorf("index %s, value %v: %w", x.name, f, ErrNotFound)
		}
		if err == nil {
			err = l.CopyOut(e, layout.NoEscapeKey(&v))
		}
		return err
	}
	if tx != nil {
		return v, s.wrap("get", get(tx))
	}
	return v, s.wrap("get", s.View(get))
}

// Peek returns the first entry with a value: its key, and the stored value itself, borrowed; nil if
// there is none.
func (x Index[K, V, F]) Peek(tx *Tx, f F) (key K, v *V) {
	l, e, err := x.first(tx, &f)
	var p unsafe.Pointer
	if err == nil && e != nil {
		p, err = l.HandOut(e, layout.NoEscapeKey(&key))
	}
	if err != nil {
		tx.raise("peek", err)
	}
	return key, layout.Cast[V](p)
}

// All returns the entries in the order of the index, as they are when the loop starts. The keys are
// the caller's own; the values are borrowed. An entry comes as often as it has values.
func (x Index[K, V, F]) All(tx *Tx) iter.Seq2[K, *V] { return x.Range(tx, Bound[F]{}, Bound[F]{}) }

// Each is All for the entries with a value.
func (x Index[K, V, F]) Each(tx *Tx, f F) iter.Seq2[K, *V] {
	return x.Range(tx, Including(f), Including(f))
}

// Range is All for the values between two bounds. Finding the first takes logarithmic time.
func (x Index[K, V, F]) Range(tx *Tx, from, to Bound[F]) iter.Seq2[K, *V] {
	return x.walk(tx, from, to, false, false)
}

// Backward is Range from the last entry to the first. from is still the lower bound.
func (x Index[K, V, F]) Backward(tx *Tx, from, to Bound[F]) iter.Seq2[K, *V] {
	return x.walk(tx, from, to, false, true)
}

// Prefix is All for the values that begin with p, which is a string, or a struct of which the last
// field is one: the others are equal then.
func (x Index[K, V, F]) Prefix(tx *Tx, p F) iter.Seq2[K, *V] {
	return x.walk(tx, Including(p), Including(p), true, false)
}

// walk returns the entries between two bounds.
func (x Index[K, V, F]) walk(tx *Tx, from, to Bound[F], prefix, back bool) iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		l, lo, hi, err := x.ends(tx, from, to, prefix)
		if err == nil && (lo == nil || hi == nil || string(lo) < string(hi)) {
			var failed error
			err = l.Walk(lo, hi, back, func(form string, at int) bool {
				var e, p unsafe.Pointer
				var key K
				if e, failed = l.Entry(form, at); failed == nil {
					p, failed = l.HandOut(e, layout.NoEscapeKey(&key))
				}
				return failed == nil && yield(key, layout.Cast[V](p))
			})
			err = errors.Join(failed, err)
		}
		if err != nil {
			tx.raise("range", err)
		}
	}
}

// Values returns the values between two bounds in order, each with the key of its entry, and does
// not touch the entries themselves.
func (x Index[K, V, F]) Values(tx *Tx, from, to Bound[F]) iter.Seq2[F, K] {
	return func(yield func(F, K) bool) {
		l, lo, hi, err := x.ends(tx, from, to, false)
		if err == nil && (lo == nil || hi == nil || string(lo) < string(hi)) {
			var failed error
			err = l.Walk(lo, hi, false, func(form string, at int) bool {
				var f F
				var key K
				if failed = l.Read([]byte(form), layout.NoEscapeKey(&f)); failed == nil {
					failed = l.CopyKey(form, at, layout.NoEscapeKey(&key))
				}
				return failed == nil && yield(f, key)
			})
			err = errors.Join(failed, err)
		}
		if err != nil {
			tx.raise("values", err)
		}
	}
}

// ends returns the form that a range begins with, and that before which it ends; nil for no end. A
// range of nothing has ends in the wrong order.
func (x Index[K, V, F]) ends(tx *Tx, from, to Bound[F], prefix bool) (l indexing.Lookup, lo, hi []byte, err error) {
	if l, err = x.open(tx); err != nil {
		return l, nil, nil, err
	}
	if from.kind != unbounded {
		if lo, err = l.Append(nil, layout.NoEscapeKey(&from.key), prefix); err != nil {
			return l, nil, nil, err
		}
		if from.kind == excluding {
			if lo = index.After(lo); lo == nil {
				return l, []byte{1}, []byte{0}, nil
			}
		}
	}
	if to.kind != unbounded {
		if hi, err = l.Append(nil, layout.NoEscapeKey(&to.key), prefix); err == nil && to.kind == including {
			hi = index.After(hi)
		}
	}
	return l, lo, hi, err
}

// Len returns the number of values in the index.
func (x Index[K, V, F]) Len(tx *Tx) int { return x.Count(tx, Bound[F]{}, Bound[F]{}) }

// Rank returns how many values are less than f.
func (x Index[K, V, F]) Rank(tx *Tx, f F) int { return x.Count(tx, Bound[F]{}, Excluding(f)) }

// Count returns how many values lie between two bounds, in logarithmic time. One that several
// entries have counts as often.
func (x Index[K, V, F]) Count(tx *Tx, from, to Bound[F]) int {
	l, lo, hi, err := x.ends(tx, from, to, false)
	var first, last uint64
	if err == nil && lo != nil {
		first, err = l.Rank(lo)
	}
	if err == nil {
		last, err = l.Rank(hi)
	}
	if err != nil {
		tx.raise("count", err)
	}
	return int(max(last, first) - first)
}
