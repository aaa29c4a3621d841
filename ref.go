package everheap

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Ref is a reference to one value that has an identity: 8 bytes, without a pointer, valid in
// every process, comparable, and itself storable. Values may refer to each other and to
// themselves; every reference to a value sees its changes. The zero Ref refers to nothing.
type Ref[T any] struct {
	_  layout.RefOf[T]
	id ID
}

// New stores a copy of v, with everything it owns, as a new object. It lives while something
// refers to it; if nothing does when its transaction ends, it may vanish.
func New[T any](tx *Tx, v T) (Ref[T], error) {
	id, err := tx.engine.NewValue(layout.IdentityOf[T](), layout.NoEscape(&v))
	return Ref[T]{id: ID(id)}, tx.space.wrap("creating a value", err)
}

// OpenRef returns the reference to the value with a name. It stores a copy of initial if
// there is none and sc can write; otherwise the error is ErrNotFound. A value of another
// type is ErrTypeChanged, unless an option converts it; a type that cannot be stored is
// ErrUnstorable.
func OpenRef[T any](sc Scope, name string, initial T, opts ...TypeOption) (Ref[T], error) {
	id, err := openTyped[Ref[T]](sc, "the value ", name, opts, func(tx *engine.Tx) (format.ID, error) {
		return tx.OpenValue(name, layout.IdentityOf[T](), layout.NoEscape(&initial))
	})
	return Ref[T]{id: ID(id)}, err
}

// ID returns the identity of the value; 0 for the zero Ref.
func (r Ref[T]) ID() ID { return r.id }

// IsNil reports whether the reference refers to nothing.
func (r Ref[T]) IsNil() bool { return r.id == 0 }

// of names the value and its type to the engine.
func (r Ref[T]) of() edit.RefOf {
	return edit.RefOf{ID: format.ID(r.id), Value: layout.IdentityOf[T]()}
}

// Get returns a private copy of the value, or ErrNotFound if it no longer exists.
func (r Ref[T]) Get(sc Scope) (v T, err error) {
	s, in, err := sc.on()
	if err == nil {
		err = in.ReadValue(r.of(), layout.NoEscapeKey(&v))
	}
	return v, s.wrap("get", err)
}

// Peek returns the stored value itself, without a copy. It is read-only, and valid until tx
// ends.
func (r Ref[T]) Peek(tx *Tx) *T {
	return layout.Cast[T](tx.engine.PeekValue(format.ID(r.id), (*T)(nil))) // short, so that the compiler inlines it
}

// Set replaces the value by a copy of v, with everything it owns.
func (r Ref[T]) Set(sc Scope, v T) error {
	return editIn(sc, "set", func(tx *engine.Tx) error { return tx.WriteValue(r.of(), layout.NoEscape(&v)) })
}

// Modify passes a private copy of the value to fn and stores what fn made of it. It returns
// any error of fn; then nothing has changed.
func (r Ref[T]) Modify(sc Scope, fn func(v *T) error) error {
	return editIn(sc, "modify", func(tx *engine.Tx) error {
		var v T
		if err := tx.ReadValue(r.of(), layout.NoEscapeKey(&v)); err != nil {
			return err
		}
		if err := fn(&v); err != nil {
			return err
		}
		return tx.WriteValue(r.of(), layout.NoEscape(&v))
	})
}
