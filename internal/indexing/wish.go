package indexing

import (
	"errors"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

// A Wish is what a program that opens a map wants it to have: the indexes, and how its entries expire.
type Wish struct {
	Indexes []index.Spec
	Expiry  index.Expiry
	Replace bool // what is declared otherwise
	Tell    Progress
}

// IsNone reports whether nothing is wished.
func (w *Wish) IsNone() bool { return len(w.Indexes) == 0 && w.Expiry == index.Expiry{} }

// Tags adds what the tags ask for in the values of a collection that handles of a type lead to. The error is
// ErrUnstorable if such a collection cannot have what is wished.
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
		return &failure.TypeError{Kind: failure.ErrUnstorable, Lines: []string{"the entries expire " + x.String() + ", by a tag: they cannot have a time to live as well"}}
	case x != index.Expiry{}:
		w.Expiry = x
	}
	return nil
}

// Missing returns what is wished of a map that it has not. The error is ErrExists if it has something
// else, which is not to be replaced.
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

// Declare gives a map what it lacks. How entries expire comes first: what has expired is in the way of
// no index.
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
