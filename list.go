package everheap

import (
	"iter"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// List is a handle on a list of a space: 8 bytes, without a pointer, valid in every process,
// and itself storable. Indexes start at 0; the list grows and shrinks at its end. The zero
// List refers to nothing.
type List[T any] struct {
	_  layout.ListOf[T]
	id ID
}

// OpenList returns the list with a name. It creates an empty one if there is none and sc can
// write; otherwise the error is ErrNotFound. A list of another type is ErrTypeChanged,
// unless an option converts it; a type that cannot be stored is ErrUnstorable.
func OpenList[T any](sc Scope, name string, opts ...TypeOption) (List[T], error) {
	id, err := openTyped[List[T]](sc, "the list ", name, opts, func(tx *engine.Tx) (format.ID, error) {
		return tx.OpenList(name, layout.IdentityOf[T]())
	})
	return List[T]{id: ID(id)}, err
}

// NewList creates an empty list without a name. It lives while something refers to it; if
// nothing does when its transaction ends, it may vanish.
func NewList[T any](tx *Tx) (List[T], error) {
	id, err := tx.engine.NewList(layout.IdentityOf[T]())
	return List[T]{id: ID(id)}, tx.space.wrap("creating a list", err)
}

// ID returns the identity of the list; 0 for the zero List.
func (l List[T]) ID() ID { return l.id }

// IsNil reports whether the handle refers to no list.
func (l List[T]) IsNil() bool { return l.id == 0 }

// of names the list and its type to the engine.
func (l List[T]) of() edit.ListOf {
	return edit.ListOf{ID: format.ID(l.id), Value: layout.IdentityOf[T]()}
}

// Append adds copies of the values, with everything they own, at the end: all or none.
func (l List[T]) Append(sc Scope, v ...T) error {
	return editIn(sc, "append", func(tx *engine.Tx) error { return tx.Append(l.of(), layout.NoEscapeSlice(v), len(v)) })
}

// Get returns a private copy of the element at an index, or ErrNotFound.
func (l List[T]) Get(sc Scope, i int) (v T, err error) {
	s, in, err := sc.on()
	if err == nil {
		err = in.ReadItem(l.of(), i, layout.NoEscapeKey(&v))
	}
	return v, s.wrap("get", err)
}

// Peek returns the stored element at an index without a copy, or nil. It is read-only, and
// valid until tx ends.
func (l List[T]) Peek(tx *Tx, i int) *T {
	p, err := tx.engine.PeekItem(l.of(), i)
	tx.raise("peek", err)
	return layout.Cast[T](p)
}

// Set replaces the element at an index by a copy of v, with everything it owns; ErrNotFound
// if there is none.
func (l List[T]) Set(sc Scope, i int, v T) error {
	return editIn(sc, "set", func(tx *engine.Tx) error { return tx.WriteItem(l.of(), i, layout.NoEscape(&v)) })
}

// Modify passes a private copy of the element at an index to fn and stores what fn made of
// it. It returns ErrNotFound if there is none, and any error of fn; then nothing has
// changed.
func (l List[T]) Modify(sc Scope, i int, fn func(v *T) error) error {
	return editIn(sc, "modify", func(tx *engine.Tx) error {
		var v T
		if err := tx.ReadItem(l.of(), i, layout.NoEscapeKey(&v)); err != nil {
			return err
		}
		if err := fn(&v); err != nil {
			return err
		}
		return tx.WriteItem(l.of(), i, layout.NoEscape(&v))
	})
}

// Truncate drops all elements after the first n; ErrNotFound if there are fewer.
func (l List[T]) Truncate(sc Scope, n int) error {
	return editIn(sc, "truncate", func(tx *engine.Tx) error { return tx.Truncate(l.of(), n) })
}

// Pop drops the last element and returns a private copy of it; ErrNotFound if the list is
// empty.
func (l List[T]) Pop(sc Scope) (v T, err error) {
	err = editIn(sc, "pop", func(tx *engine.Tx) error { return tx.Pop(l.of(), layout.NoEscapeKey(&v)) })
	return v, err
}

// Len returns the number of elements.
func (l List[T]) Len(sc Scope) (n int, err error) {
	s, in, err := sc.on()
	if err == nil {
		n, err = in.ListLen(l.of())
	}
	return n, s.wrap("len", err)
}

// All returns the elements from first to last, as they are when the loop starts, even if its
// body changes the list. They are borrowed: read-only, and valid until tx ends.
func (l List[T]) All(tx *Tx) iter.Seq2[int, *T] { return l.items(tx, "all", false) }

// Backward is All from last to first.
func (l List[T]) Backward(tx *Tx) iter.Seq2[int, *T] { return l.items(tx, "backward", true) }

func (l List[T]) items(tx *Tx, op string, back bool) iter.Seq2[int, *T] {
	return func(yield func(int, *T) bool) {
		err := tx.engine.Items(l.of(), back, func(i int, v unsafe.Pointer) bool { return yield(i, layout.Cast[T](v)) })
		tx.raise(op, err)
	}
}

// Copies is All with private copies of the elements; see Map.Copies.
func (l List[T]) Copies(tx *Tx) iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		err := tx.engine.ItemCopies(l.of(), func(i int, v unsafe.Pointer) bool { return yield(i, *layout.Cast[T](v)) })
		tx.raise("copies", err)
	}
}
