package engine

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/recast"
)

// This file opens objects by their names, in transactions of their own.

// Open runs open, which opens an object by its name or makes it. Alone, it runs it in a transaction
// of its own: a reading one if the object exists.
func (a Scope) Open(open func(tx *Tx) (format.ID, error)) (id format.ID, err error) {
	if a.tx != nil {
		return open(a.tx)
	}
	do := func(tx *Tx) (err error) {
		id, err = open(tx)
		return err
	}
	err = a.sp.look(do)
	if errors.Is(err, failure.ErrNotFound) && !a.sp.ReadOnly {
		a.durable = false
		err = a.change(do)
	}
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Look runs fn, which changes nothing.
func (a Scope) Look(fn func(tx *Tx) error) error {
	if a.tx != nil {
		return fn(a.tx)
	}
	return a.sp.look(fn)
}

// Ensure runs do, unless has reports that there is nothing to do, or the scope cannot write. In a
// writing transaction it calls do without has: do finds out itself.
func (a Scope) Ensure(has func(tx *Tx) (bool, error), do func(tx *Tx) error) error {
	if a.tx != nil {
		if a.tx.Write == nil {
			return nil
		}
		return do(a.tx)
	}
	done := false
	err := a.sp.look(func(tx *Tx) (err error) { done, err = has(tx); return err })
	if err != nil || done || a.sp.ReadOnly {
		return err
	}
	return a.change(do)
}

// OpenMap is Tx.OpenMap in a transaction of its own: a reading one if the map exists.
func (sp *Space) OpenMap(name string, of edit.MapOf) (format.ID, error) {
	return sp.Alone(false).Open(func(tx *Tx) (format.ID, error) { return tx.OpenMap(name, of) })
}

// OpenList is Tx.OpenList in a transaction of its own: a reading one if the list exists.
func (sp *Space) OpenList(name string, of layout.Identity) (format.ID, error) {
	return sp.Alone(false).Open(func(tx *Tx) (format.ID, error) { return tx.OpenList(name, of) })
}

// OpenValue is Tx.OpenValue in a transaction of its own: a reading one if the value exists.
func (sp *Space) OpenValue(name string, of layout.Identity, initial unsafe.Pointer) (format.ID, error) {
	return sp.Alone(false).Open(func(tx *Tx) (format.ID, error) { return tx.OpenValue(name, of, initial) })
}

// ChangeTypes gives the object with a name the types of a program: see package recast. Alone, it
// does so in a transaction of its own: a reading one if there is nothing to do, or it cannot be
// done.
func (a Scope) ChangeTypes(name string, handle *layout.Type, how *recast.TypeChange) error {
	change := func(tx *Tx) error { return recast.ChangeTypes(&tx.Editor, name, handle, how) }
	if a.tx != nil {
		return change(a.tx)
	}
	err := a.sp.look(change)
	if !errors.Is(err, failure.ErrReadOnly) || a.sp.ReadOnly {
		return err
	}
	return a.change(change)
}

// IDOf returns the ID of the object with a name, or ErrNotFound.
func (tx *Tx) IDOf(name string) (format.ID, error) {
	index, found, err := tx.Named(name)
	if err == nil && !found {
		err = fmt.Errorf("%w: the space has nothing named %q", failure.ErrNotFound, name)
	}
	return format.MakeID(tx.Tag(), index), err
}
