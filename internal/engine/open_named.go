package engine

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/recast"
)

// What opens an object by its name, in a transaction of its own.

// openNamed opens in a transaction of its own: a reading one if the object is there.
func (sp *Space) openNamed(open func(tx *Tx) (format.ID, error)) (id format.ID, err error) {
	do := func(tx *Tx) (err error) {
		id, err = open(tx)
		return err
	}
	err = sp.look(do)
	if errors.Is(err, failure.ErrNotFound) && !sp.ReadOnly {
		if r := sp.Resumption(); r != nil {
			err = r.join(false, do)
		} else {
			_, err = sp.change(context.Background(), do)
		}
	}
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Create is Tx.Create in a transaction of its own: a reading one if the collection is there.
func (sp *Space) Create(name string, handle *layout.Type, open bool) (format.ID, error) {
	return sp.openNamed(func(tx *Tx) (format.ID, error) { return tx.Create(name, handle, open) })
}

// OpenMap is Tx.OpenMap in a transaction of its own: a reading one if the map is there.
func (sp *Space) OpenMap(name string, of edit.MapOf) (format.ID, error) {
	return sp.openNamed(func(tx *Tx) (format.ID, error) { return tx.OpenMap(name, of) })
}

// OpenList is Tx.OpenList in a transaction of its own: a reading one if the list is there.
func (sp *Space) OpenList(name string, of layout.Identity) (format.ID, error) {
	return sp.openNamed(func(tx *Tx) (format.ID, error) { return tx.OpenList(name, of) })
}

// OpenValue is Tx.OpenValue in a transaction of its own: a reading one if the value is there.
func (sp *Space) OpenValue(name string, of layout.Identity, initial unsafe.Pointer) (format.ID, error) {
	return sp.openNamed(func(tx *Tx) (format.ID, error) { return tx.OpenValue(name, of, initial) })
}

// ChangeTypes gives the object with a name the types of a program: see package recast.
func (tx *Tx) ChangeTypes(name string, handle *layout.Type, how *recast.TypeChange) error {
	return recast.ChangeTypes(&tx.Editor, name, handle, how)
}

// ChangeTypes is Tx.ChangeTypes in a transaction of its own: a reading one if there is
// nothing to be done, or it cannot be done. See Change for durable.
func (sp *Space) ChangeTypes(name string, handle *layout.Type, how *recast.TypeChange, durable bool) error {
	err := sp.look(func(tx *Tx) error { return tx.ChangeTypes(name, handle, how) })
	if !errors.Is(err, failure.ErrReadOnly) || sp.ReadOnly {
		return err
	}
	return sp.Change(durable, func(tx *Tx) error { return tx.ChangeTypes(name, handle, how) })
}

// IDOf returns the ID of the object with a name, or ErrNotFound.
func (tx *Tx) IDOf(name string) (format.ID, error) {
	index, found, err := tx.Named(name)
	if err == nil && !found {
		err = fmt.Errorf("%w: the space has nothing named %q", failure.ErrNotFound, name)
	}
	return format.MakeID(tx.Tag(), index), err
}

// IDOf is Tx.IDOf in a transaction of its own.
func (sp *Space) IDOf(name string) (id format.ID, err error) {
	err = sp.look(func(tx *Tx) (err error) { id, err = tx.IDOf(name); return err })
	return id, err
}
