package everheap

import (
	"context"
	"encoding/json"
	"iter"
	"path/filepath"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/untyped"
)

// Collection is a collection that a program uses without its Go types, by the types that the
// space has stored. It passes keys and values as JSON, or in another encoding (As). In JSON,
// struct fields have their Go names, byte slices are base64, times RFC 3339. What JSON lacks is
// an object with one name that starts with a dollar sign, such as {"$bytes": "…"} for a string
// that is not UTF-8, and {"$map": "…"} for a handle.
//
// The keys of a list are the indexes of its elements: setting the index after the last
// appends, and only the last element can be deleted. A single value has no keys: its key is
// nil.
type Collection struct {
	space *Space
	of    untyped.Collection
}

// Collection returns the collection with a name, or ErrNotFound.
func (s *Space) Collection(name string) (c *Collection, err error) {
	err = s.View(func(tx *Tx) (err error) { c, err = tx.Collection(name); return err })
	return c, err
}

// Collection returns the collection with a name in the version of the transaction, with the
// types that it has there, or ErrNotFound.
func (tx *Tx) Collection(name string) (*Collection, error) {
	of, err := untyped.Find(&tx.engine.Editor, name)
	return tx.collection(of, err)
}

// CollectionOf returns the collection that a handle with the ID leads to, with the types that
// it has in the version of the transaction. It has no name. Errors: ErrNotFound, ErrDangling.
func (tx *Tx) CollectionOf(id ID) (*Collection, error) {
	of, err := untyped.Of(&tx.engine.Editor, "", format.ID(id))
	return tx.collection(of, err)
}

// collection returns the collection of a lookup.
func (tx *Tx) collection(of untyped.Collection, err error) (*Collection, error) {
	if err != nil {
		return nil, tx.space.wrap("collection", err)
	}
	return &Collection{tx.space, of}, nil
}

// Name returns the name by which Collection found it; "" if it was found by its ID.
func (c *Collection) Name() string { return c.of.Name }

// ID returns the identity of the collection.
func (c *Collection) ID() ID { return ID(c.of.ID) }

// Kind returns what the collection is: map, sorted, list, or ref for a single value.
func (c *Collection) Kind() string { return c.of.Kind }

// Ordered reports whether the entries come in an order: those of a sorted map by key,
// those of a list by index.
func (c *Collection) Ordered() bool { return c.of.Kind == "sorted" || c.of.Kind == "list" }

// KeyType returns the type of the keys in Go syntax; "" if there are no keys.
func (c *Collection) KeyType() string { return layout.TextOf(c.of.Key) }

// ValueType returns the type of the values in Go syntax.
func (c *Collection) ValueType() string { return c.of.Value.String() }

// StringKeys reports whether the keys are strings, of whatever named type.
func (c *Collection) StringKeys() bool { return c.of.Key != nil && c.of.Key.IsString() }

// StringValues reports whether the values are strings, of whatever named type.
func (c *Collection) StringValues() bool { return c.of.Value.IsString() }

// GetJSON is Encoded.Get in JSON.
func (c *Collection) GetJSON(sc Scope, key []byte) (value []byte, err error) {
	return c.As(JSON).Get(sc, key)
}

// SetJSON is Encoded.Set in JSON.
func (c *Collection) SetJSON(sc Scope, key, value []byte) error {
	return c.As(JSON).Set(sc, key, value)
}

// DeleteJSON is Encoded.Delete in JSON.
func (c *Collection) DeleteJSON(sc Scope, key []byte) (removed bool, err error) {
	return c.As(JSON).Delete(sc, key)
}

// Len returns the number of entries.
func (c *Collection) Len(sc Scope) (n int, err error) {
	err = c.read(sc, "len", func(st *edit.Stored) error { n = int(st.Count); return nil })
	return n, err
}

// AllJSON is Encoded.All in JSON.
func (c *Collection) AllJSON(tx *Tx) iter.Seq2[[]byte, []byte] { return c.As(JSON).All(tx) }

// KeysJSON is Encoded.Keys in JSON.
func (c *Collection) KeysJSON(tx *Tx) iter.Seq[[]byte] { return c.As(JSON).Keys(tx) }

// read runs fn in the scope: in its transaction, or in a View of its own.
func (c *Collection) read(sc Scope, op string, fn func(*edit.Stored) error) error {
	return lookIn(sc, func(tx *Tx) error {
		st, err := c.of.Bind(&tx.engine.Editor)
		if err == nil {
			err = fn(st)
		}
		return tx.space.wrap(op, err)
	})
}

// write runs fn in the scope: in its transaction, or in one of its own.
func (c *Collection) write(sc Scope, op string, fn func(*edit.Stored) error) error {
	return editIn(sc, op, func(tx *engine.Tx) error {
		st, err := c.of.Bind(&tx.Editor)
		if err == nil {
			err = fn(st)
		}
		return err
	})
}

// ChangeJSON is a Change without Go types: key and values are JSON, nil where there
// are none.
type ChangeJSON struct {
	Version Version         `json:"version"`
	Kind    ChangeKind      `json:"change"`
	Key     json.RawMessage `json:"key,omitempty"`
	Old     json.RawMessage `json:"old,omitempty"`
	New     json.RawMessage `json:"new,omitempty"`
	More    bool            `json:"more,omitempty"`
}

// MarshalText writes the kind as String does, also in JSON.
func (k ChangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// WatchJSON returns the changes of the collection, of any kind; see Map.Watch. A single
// value has no key. If its types change, the loop ends with ErrTypeChanged, and the program
// looks the collection up again.
func (c *Collection) WatchJSON(ctx context.Context, opts ...WatchOption) iter.Seq2[ChangeJSON, error] {
	return func(yield func(ChangeJSON, error) bool) {
		for ch, err := range c.As(JSON).Watch(ctx, opts...) {
			j := ChangeJSON{ch.Version, kindOf(ch.Old != nil, ch.New != nil), ch.Key, ch.Old, ch.New, ch.More}
			if !yield(j, err) {
				return
			}
		}
	}
}

// library is the import path of this package.
const library = "github.com/everheap/everheap"

// TypeSource returns a Go source file that declares the stored types of the named
// collections, or of all collections that have names; the file is not formatted by gofmt.
// The package is called stored, and its comment says which collection has which types. The
// declarations have the stored layout, tags included, and can serve as the former types of
// Migrate. Different types of the same name get a number. Errors: ErrNotFound.
func (s *Space) TypeSource(names ...string) ([]byte, error) {
	var list []untyped.NamedObject
	err := s.View(func(tx *Tx) (err error) { list, err = untyped.Names(&tx.engine.Editor); return err })
	if err != nil {
		return nil, err
	}
	source, err := untyped.Source(list, filepath.Base(s.name), library, names)
	return source, s.wrap("types", err)
}

// TypeInfo describes a stored type to programs that do not have it. A type that contains
// itself is a cycle.
type TypeInfo = layout.Info

// FieldInfo is a field of a struct.
type FieldInfo = layout.FieldInfo

// KeyInfo describes the type of the keys; nil if there are none.
func (c *Collection) KeyInfo() *TypeInfo { return layout.InfoOf(c.of.Key) }

// ValueInfo describes the type of the values.
func (c *Collection) ValueInfo() *TypeInfo { return layout.InfoOf(c.of.Value) }
