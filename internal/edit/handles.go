package edit

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// CheckHandle returns an error unless the handle may be stored: the object that it refers to must
// exist, and have the handle's kind and types. The transaction that has the queue asks while it
// writes a value, before it changes any tree.
//
// Changes from a journal or a backup were checked when they were made, and their handles may refer
// to objects that come later. While types change, handles may refer to objects whose types are
// about to change (R5).
func (ed *Editor) CheckHandle(handle *layout.Type, id uint64) error {
	if ed.role == applying || ed.role == recasting {
		return nil
	}
	return ed.checkHandle(handle, format.ID(id))
}

// handleError is an error that checkHandle found in the handle itself.
type handleError struct{ err error }

// Error implements error.
func (e *handleError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *handleError) Unwrap() error { return e.err }

// isHandleError reports whether a value could not be stored because of one of its handles.
func isHandleError(err error) bool {
	e := (*handleError)(nil)
	return errors.As(err, &e)
}

// fitting remembers, for one type of handles, the stored types of the last object that fitted it:
// descriptors never change. Only the transaction that has the queue uses it.
type fitting struct {
	handle     *layout.Type
	kind       format.Kind
	of         object.Kind // nil if no handle can refer to objects of the kind
	key, value uint64      // indexes of descriptors, as of object.Contents
}

// fits returns the place of the fitting of a type of handles: many values have handles of the same
// few types.
func (s *Store) fits(handle *layout.Type) *fitting {
	return &s.fitting[uintptr(unsafe.Pointer(handle))>>6%uintptr(len(s.fitting))]
}

// checkHandle is CheckHandle for changes of the program.
func (ed *Editor) checkHandle(handle *layout.Type, id format.ID) error {
	if id.Tag() != ed.store.header.Tag {
		return &handleError{fmt.Errorf("%w: the %s %016x in the value is of another space", failure.ErrDangling, handle, uint64(id))}
	}
	fits := ed.store.fits(handle)
	if fits.handle != handle {
		kind := object.OfHandle(handle.Kind())
		*fits = fitting{handle: handle, kind: kind, of: object.Of(kind)}
	}
	p, err := ed.object(id.Index(), fits.kind)
	other := (*table.KindError)(nil)
	switch {
	case errors.Is(err, table.ErrNoObject):
		return &handleError{fmt.Errorf("%w: the %s %016x in the value refers to an object that does not exist", failure.ErrDangling, handle, uint64(id))}
	case errors.As(err, &other):
		return &handleError{&failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{
			"  stored:  a " + object.Called(other.Got),
			fmt.Sprintf("  program: the %s %016x in the value", handle, uint64(id))}}}
	case err != nil:
		return err
	}
	key, value, _ := fits.of.Contents(p)
	if fits.value == value && fits.key == key && value != 0 {
		return nil
	}
	if err = ed.checkTypes(handle, id, fits.kind, key, value); err == nil && ed.published(key) && ed.published(value) {
		fits.key, fits.value = key, value
	}
	return err
}

// checkTypes compares the types that a handle names with the stored types of its object.
func (ed *Editor) checkTypes(handle *layout.Type, id format.ID, kind format.Kind, key, value uint64) error {
	for _, part := range [2]struct {
		name   string
		index  uint64
		handle *layout.Type
	}{{"keys", key, handle.Key()}, {"values", value, handle.Elem()}} {
		if part.handle == nil {
			continue
		}
		if part.index == 0 {
			return &handleError{fmt.Errorf("%w: the %s %016x in the value refers to an object of the space itself", failure.ErrDangling, handle, uint64(id))}
		}
		stored, err := ed.StoredType(part.index)
		if err != nil {
			return err
		}
		if !layout.Same(stored, part.handle) {
			return &handleError{&failure.TypeError{Kind: failure.ErrTypeChanged, Lines: append([]string{
				fmt.Sprintf("  stored:  a %s with %s of type %s", object.Called(kind), part.name, stored),
				fmt.Sprintf("  program: the %s %016x in the value", handle, uint64(id))},
				layout.Diff(stored, part.handle)...)}}
		}
	}
	return nil
}

// usable returns an error if the transaction has ended, or if the handle is not of this space.
func (ed *Editor) usable(id format.ID) error {
	if err := ed.Err(); err != nil {
		return err
	}
	switch {
	case id.Tag() == ed.store.header.Tag:
		return nil
	case id == 0:
		return failure.ErrNilHandle
	}
	return otherSpace(id)
}

// ObjectError turns the error of a lookup in the object table into the public error for the handle.
func (ed *Editor) ObjectError(id format.ID, err error) error {
	var kind *table.KindError
	switch {
	case errors.Is(err, table.ErrNoObject):
		return fmt.Errorf("%w: the object %016x does not exist (any more)", failure.ErrNotFound, uint64(id))
	case errors.As(err, &kind):
		return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{
			"  stored:  a " + object.Called(kind.Got),
			"  program: a " + object.Called(kind.Want)}}
	}
	return err
}

// otherSpace is the error for a handle of another space.
func otherSpace(id format.ID) error {
	return fmt.Errorf("%w: the object %016x is of another space", failure.ErrDangling, uint64(id))
}
