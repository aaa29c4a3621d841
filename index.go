package everheap

import (
	"fmt"
	"iter"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/typed"
	"github.com/everheap/everheap/internal/untyped"
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
	return typeOption(func(s *typed.Options) { s.Wish.Indexes = append(s.Wish.Indexes, spec) })
}

// CreateIndex gives the collection with a name an index, as WithIndex does, in a program without its
// Go types.
func CreateIndex(sc Scope, collection, name, path string, opts ...IndexOption) error {
	var set typed.Options
	WithIndex(name, path, opts...).applyType(&set)
	return onCollection(sc, "indexing ", collection, func(ed *edit.Editor, id format.ID) error {
		return indexing.Declare(ed, id, set.Wish.Indexes[0], nil)
	})
}

// DropIndex removes an index of the collection with a name, and reports whether there was one. A
// program that still has its tag or option declares it again when it opens the collection.
func DropIndex(sc Scope, collection, name string) (removed bool, err error) {
	err = onCollection(sc, "dropping the index "+name+" of ", collection, func(ed *edit.Editor, id format.ID) (err error) {
		removed, err = indexing.Drop(ed, id, name)
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

// indexInfos describes indexes.
func indexInfos(list []indexing.Info) (infos []IndexInfo) {
	for _, i := range list {
		infos = append(infos, IndexInfo{i.Name, i.Path(), i.Unique, i.Count})
	}
	return infos
}

// Indexes lists the indexes of the collection, by name.
func (c *Collection) Indexes(sc Scope) (list []IndexInfo, err error) {
	var found []indexing.Info
	s, _ := sc.scope()
	err = lookIn(sc, func(tx *Tx) (err error) { found, err = untyped.Indexes(&tx.engine.Editor, c.of.ID); return err })
	return indexInfos(found), s.wrap("indexes of "+c.of.Name, err)
}

// Indexed returns the entries that an index leads to, as they are when the loop starts, in its
// order: those whose first fields have the values in equal, and whose next one lies between two
// bounds. name is that of the index, or its fields as WithIndex has them. With fewer values and
// bounds than fields, an entry comes as often as it has values.
func (e Encoded) Indexed(tx *Tx, name string, equal [][]byte, from, to Bound[[]byte]) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "indexed", func(f *untyped.Form, st *edit.Stored, yield untyped.Yield) error {
		return f.Indexed(&tx.engine.Editor, st, name, equal, encodedBound(from), encodedBound(to), false, yield)
	})
}

// IndexedBackward is Indexed from the last entry to the first.
func (e Encoded) IndexedBackward(tx *Tx, name string, equal [][]byte, from, to Bound[[]byte]) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "indexed", func(f *untyped.Form, st *edit.Stored, yield untyped.Yield) error {
		return f.Indexed(&tx.engine.Editor, st, name, equal, encodedBound(from), encodedBound(to), true, yield)
	})
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
	e, err = l.FirstEntry(layout.NoEscapeKey(f))
	return l, e, err
}

// Get returns a private copy of the first entry with a value, or ErrNotFound.
func (x Index[K, V, F]) Get(sc Scope, f F) (v V, err error) {
	s, _ := sc.scope()
	err = lookIn(sc, func(tx *Tx) error {
		l, e, err := x.first(tx, &f)
		if err == nil && e == nil {
			err = fmt.Errorf("index %s, value %v: %w", x.name, f, ErrNotFound)
		}
		if err == nil {
			err = l.CopyOut(e, layout.NoEscapeKey(&v))
		}
		return err
	})
	return v, s.wrap("get", err)
}

// Peek returns the first entry with a value: its key, and the stored value itself, borrowed; nil if
// there is none.
func (x Index[K, V, F]) Peek(tx *Tx, f F) (key K, v *V) {
	l, e, err := x.first(tx, &f)
	var p unsafe.Pointer
	if err == nil && e != nil {
		p, err = l.HandOut(e, layout.NoEscapeKey(&key))
	}
	tx.raise("peek", err)
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
		if err == nil {
			var key K
			err = l.Entries(lo, hi, back, func() unsafe.Pointer { key = *new(K); return layout.NoEscapeKey(&key) },
				func(v unsafe.Pointer) bool { return yield(key, layout.Cast[V](v)) })
		}
		tx.raise("range", err)
	}
}

// Values returns the values between two bounds in order, each with the key of its entry, and does
// not touch the entries themselves.
func (x Index[K, V, F]) Values(tx *Tx, from, to Bound[F]) iter.Seq2[F, K] {
	return func(yield func(F, K) bool) {
		l, lo, hi, err := x.ends(tx, from, to, false)
		if err == nil {
			err = l.Between(lo, hi, false, func(form string, at int) (bool, error) {
				var f F
				var key K
				err := l.Read([]byte(form), layout.NoEscapeKey(&f))
				if err == nil {
					err = l.CopyKey(form, at, layout.NoEscapeKey(&key))
				}
				return err == nil && yield(f, key), err
			})
		}
		tx.raise("values", err)
	}
}

// ends returns where a range begins and ends; see indexing.Lookup.Ends.
func (x Index[K, V, F]) ends(tx *Tx, from, to Bound[F], prefix bool) (l indexing.Lookup, lo, hi []byte, err error) {
	if l, err = x.open(tx); err == nil {
		lo, hi, err = l.Ends(from.value(), to.value(), prefix)
		runtime.KeepAlive(&from)
		runtime.KeepAlive(&to)
	}
	return l, lo, hi, err
}

// value converts a bound of values.
func (b *Bound[K]) value() indexing.Bound {
	return indexing.Bound{Value: layout.NoEscapeKey(&b.key), Kind: b.kind}
}

// Len returns the number of values in the index.
func (x Index[K, V, F]) Len(tx *Tx) int { return x.Count(tx, Bound[F]{}, Bound[F]{}) }

// Rank returns how many values are less than f.
func (x Index[K, V, F]) Rank(tx *Tx, f F) int { return x.Count(tx, Bound[F]{}, Excluding(f)) }

// Count returns how many values lie between two bounds, in logarithmic time. One that several
// entries have counts as often.
func (x Index[K, V, F]) Count(tx *Tx, from, to Bound[F]) int {
	l, lo, hi, err := x.ends(tx, from, to, false)
	var n uint64
	if err == nil {
		n, err = l.Count(lo, hi)
	}
	tx.raise("count", err)
	return int(n)
}
