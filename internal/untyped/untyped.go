// Package untyped is a collection for programs without its Go types. It works by the types that the
// space has stored; keys and values are bytes of an encoding.
//
// Start reading at Collection, then Form.
package untyped

import (
	"fmt"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Collection is a collection, with its types at the time of the lookup.
type Collection struct{ edit.StoredOf }

// Find returns the collection with a name, or ErrNotFound.
func Find(ed *edit.Editor, name string) (Collection, error) {
	index, found, err := ed.Named(name)
	if err == nil && !found {
		err = fmt.Errorf("%w: the space has nothing named %q", failure.ErrNotFound, name)
	}
	if err != nil {
		return Collection{}, err
	}
	return Of(ed, name, format.MakeID(ed.Tag(), index))
}

// Of returns the collection with an ID.
func Of(ed *edit.Editor, name string, id format.ID) (Collection, error) {
	st, err := ed.Stored(id)
	if err != nil {
		return Collection{}, err
	}
	return Collection{edit.StoredOf{Name: name, Kind: st.Kind, ID: id, Key: st.Key, Value: st.Value}}, nil
}

// Made returns the collection behind a handle of a type.
func Made(name string, id format.ID, handle *layout.Type) (c Collection, err error) {
	c = Collection{edit.StoredOf{Name: name, Kind: kindOf(handle), ID: id, Key: handle.Key(), Value: handle.Elem()}}
	if c.Kind == "list" {
		c.Key, err = layout.For[int]()
	}
	return c, err
}

// kindOf returns the kind of the collections that handles of a type refer to.
func kindOf(handle *layout.Type) string {
	return map[layout.Kind]string{layout.Map: "map", layout.Sorted: "sorted", layout.List: "list", layout.Ref: "ref"}[handle.Kind()]
}

// Bind finds the collection in a transaction. It fails if the stored types have changed since the
// lookup: keys and values parsed for the old types are invalid then.
func (c *Collection) Bind(ed *edit.Editor) (*edit.Stored, error) { return ed.StoredAs(&c.StoredOf) }

// Differences returns how the types of the collection differ from those that a handle type declares,
// one line each; see layout.Diff.
func (c *Collection) Differences(handle *layout.Type) (lines []string, err error) {
	if c.Kind != kindOf(handle) {
		return nil, fmt.Errorf("%w: %s is a %s, and not a %s", failure.ErrTypeChanged, c.Name, c.Kind, kindOf(handle))
	}
	if handle.Key() != nil {
		for _, l := range layout.Diff(c.Key, handle.Key()) {
			lines = append(lines, l+", in the keys")
		}
	}
	return append(lines, layout.Diff(c.Value, handle.Elem())...), nil
}
