// Package typed opens collections with the types of a program: it finds or makes the collection,
// converts it if its types are others and the program says how, and declares the indexes and the
// expiry that the types and options of the program ask for.
//
// Start reading at Open.
package typed

import (
	"errors"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/recast"
)

// Options are what a program asks for when it opens a collection.
type Options struct {
	Given  bool // there were any: a difference of types is looked into
	Change recast.TypeChange
	Wish   indexing.Wish
	Err    error // why one of them cannot be
}

// Open opens the collection with a name by a function that finds or makes it. If its types differ,
// Open changes them first, provided that the options allow it. handle returns the type of its handles.
func (o *Options) Open(in engine.Scope, name string, handle func() (*layout.Type, error), open func(tx *engine.Tx) (format.ID, error)) (format.ID, error) {
	id, err := in.Open(open)
	if o.Given && errors.Is(err, failure.ErrTypeChanged) {
		id, err = o.reopen(in, name, handle, open)
	}
	if err != nil {
		return id, err
	}
	of, err := handle()
	if err == nil {
		err = o.Declare(in, id, of)
	}
	return id, err
}

// reopen changes the types of a collection, and opens it.
func (o *Options) reopen(in engine.Scope, name string, handle func() (*layout.Type, error), open func(tx *engine.Tx) (format.ID, error)) (format.ID, error) {
	of, err := handle()
	if err == nil {
		err = in.ChangeTypes(name, of, &o.Change)
	}
	if err != nil {
		return 0, err
	}
	return in.Open(open)
}

// Evolve gives a collection the types that handles of a type have.
func (o *Options) Evolve(in engine.Scope, name string, handle *layout.Type) error {
	if err := in.ChangeTypes(name, handle, &o.Change); err != nil {
		return err
	}
	var id format.ID
	err := in.Look(func(tx *engine.Tx) (err error) { id, err = tx.IDOf(name); return err })
	if err == nil {
		err = o.Declare(in, id, handle)
	}
	return err
}

// Declare gives a collection, with handles of a type, the indexes and the expiry that the type and the
// options ask for.
func (o *Options) Declare(in engine.Scope, id format.ID, handle *layout.Type) error {
	wish := o.Wish
	wish.Replace, wish.Tell = o.Change.Evolve, o.Change.Progress
	if err := wish.Tags(handle); err != nil || wish.IsNone() {
		return err
	}
	has := func(tx *engine.Tx) (bool, error) {
		missing, err := wish.Missing(&tx.Editor, id)
		return missing.IsNone(), err
	}
	return in.Ensure(has, func(tx *engine.Tx) error { return wish.Declare(&tx.Editor, id) })
}
