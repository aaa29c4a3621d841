package indexing

import (
	"errors"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

// A Wish has what a program that opens a map wants it to have: its indexes, and how its entries
// expire.
type Wish struct {
	Indexes []index.Spec
	Expiry  index.Expiry
	Replace bool // replace different declarations
	Tell    Progress
}

// IsNone reports whether the wish is empty.
func (w *Wish) IsNone() bool { return len(w.Indexes) == 0 && w.Expiry == index.Expiry{} }

// Tags adds the indexes and the expiry that the tags ask for in the values of collections that
// handles of the type refer to. The error is ErrUnstorable if such a collection cannot have them.
func (w *Wish) Tags(handle *layout.Type) error {
	if kind := handle.Kind(); kind != layout.Map && kind != layout.Sorted {
		if w.IsNone() {
			return nil
		}
		return &failure.TypeError{Kind: failure.ErrUnstorable, Lines: []string{"a list and a single value have no indexes, and do not expire; use a Map or a Sorted"}}
	}
	w.Indexes = append(w.Indexes[:len(w.Indexes):len(w.Indexes)], index.OfTags(handle.Elem())...)
	x, err := index.ExpiryOfTags(handle.Elem())
	switch {
	case err != nil:
		return unstorable(err)
	case x != index.Expiry{} && w.Expiry != index.Expiry{}:
		return &failure.TypeError{Kind: failure.ErrUnstorable, Lines: []string{"a tag makes the entries expire " + x.String() + ": they cannot have a time to live as well"}}
	case x != index.Expiry{}:
		w.Expiry = x
	}
	return nil
}

// Missing returns the part of the wish that a map lacks. The error is ErrExists if the map has a
// different index or expiry that is not to be replaced.
func (w *Wish) Missing(ed *edit.Editor, id format.ID) (Wish, error) {
	missing := Wish{Replace: w.Replace, Tell: w.Tell}
	var err error
	if missing.Indexes, err = Missing(ed, id.Index(), w.Indexes, w.Replace); err != nil {
		return missing, err
	}
	if w.Expiry == (index.Expiry{}) {
		return missing, nil
	}
	has, err := HasExpiry(ed, id, w.Expiry)
	if errors.Is(err, failure.ErrExists) && w.Replace {
		err = nil
	}
	if err == nil && !has {
		missing.Expiry = w.Expiry
	}
	return missing, err
}

// Declare gives a map the parts of the wish that it lacks. The expiry comes first: then expired
// entries conflict with no unique index.
func (w *Wish) Declare(ed *edit.Editor, id format.ID) error {
	missing, err := w.Missing(ed, id)
	if err == nil && missing.Expiry != (index.Expiry{}) {
		err = DeclareExpiry(ed, id, missing.Expiry, w.Tell)
	}
	if err != nil {
		return err
	}
	return DeclareMissing(ed, id, w.Indexes, w.Replace, w.Tell)
}
