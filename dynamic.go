package everheap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Collection is a collection that a program uses without its Go types, by the types that the
// space has stored; keys and values are JSON. Struct fields have their Go names, byte slices
// are base64, times RFC 3339. What JSON lacks is an object with one name that starts with a
// dollar sign, such as {"$bytes": "…"} for a string that is not UTF-8, and {"$map": "…"} for
// a handle.
//
// The keys of a list are the indexes of its elements: setting the index after the last
// appends, and only the last element can be deleted. A single value has no keys: its key is
// nil.
type Collection struct {
	space      *Space
	name       string
	kind       string
	id         format.ID
	key, value *layout.Type // key is nil if there are no keys
}

// JSONError says why a JSON text is not a key or a value of a collection.
type JSONError struct {
	Part string // "key" or "value"
	Type string // that it should be, in Go syntax
	Path string // of the field; "" for the whole
	What string // is wrong
}

// Error implements error.
func (e *JSONError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("the %s is no %s: %s", e.Part, e.Type, e.What)
	}
	return fmt.Sprintf("the %s is no %s: field %s: %s", e.Part, e.Type, e.Path, e.What)
}

// Collection returns the collection with a name, or ErrNotFound.
func (s *Space) Collection(name string) (c *Collection, err error) {
	err = s.View(func(tx *Tx) (err error) {
		c, err = tx.Collection(name)
		return err
	})
	return c, err
}

// Collection returns the collection with a name in the version of the transaction, with the
// types that it has there, or ErrNotFound.
func (tx *Tx) Collection(name string) (*Collection, error) {
	index, found, err := tx.engine.Named(name)
	if err == nil && !found {
		err = fmt.Errorf("%w: the space has nothing named %q", ErrNotFound, name)
	}
	if err != nil {
		return nil, tx.space.wrap("collection", err)
	}
	c := &Collection{space: tx.space, name: name, id: format.MakeID(tx.space.engine.Tag(), index)}
	st, err := tx.engine.Stored(c.id)
	if err != nil {
		return nil, tx.space.wrap("collection", err)
	}
	c.kind, c.key, c.value = st.Kind, st.Key, st.Value
	return c, nil
}

// Name returns the name by which Collection found it.
func (c *Collection) Name() string { return c.name }

// ID returns the identity of the collection.
func (c *Collection) ID() ID { return ID(c.id) }

// Kind returns what the collection is: map, sorted, list, or ref for a single value.
func (c *Collection) Kind() string { return c.kind }

// Ordered reports whether the entries come in an order: those of a sorted map by key,
// those of a list by index.
func (c *Collection) Ordered() bool { return c.kind == "sorted" || c.kind == "list" }

// KeyType returns the type of the keys in Go syntax; "" if there are no keys.
func (c *Collection) KeyType() string { return typeText(c.key) }

// ValueType returns the type of the values in Go syntax.
func (c *Collection) ValueType() string { return c.value.String() }

// StringKeys reports whether the keys are strings, of whatever named type.
func (c *Collection) StringKeys() bool { return c.key != nil && c.key.IsString() }

// StringValues reports whether the values are strings, of whatever named type.
func (c *Collection) StringValues() bool { return c.value.IsString() }

// GetJSON returns the value of a key, or ErrNotFound.
func (c *Collection) GetJSON(sc Scope, key []byte) (value []byte, err error) {
	k, err := c.parseKey(key)
	if err != nil {
		return nil, c.space.wrap("get", err)
	}
	err = c.read(sc, "get", func(st *edit.Stored) error {
		part, err := st.Get(k.pointer())
		if err == nil && part.Pointer == nil {
			err = fmt.Errorf("key %s in %s: %w", key, c.name, ErrNotFound)
		}
		if err == nil {
			value, err = appendJSON(st.Value, part)
		}
		return err
	})
	runtime.KeepAlive(k)
	return value, err
}

// SetJSON stores a value under a key. Fields that the text lacks are zero; an unknown field
// is a *JSONError.
func (c *Collection) SetJSON(sc Scope, key, value []byte) error {
	k, err := c.parseKey(key)
	if err != nil {
		return c.space.wrap("set", err)
	}
	v, err := parse("value", c.value, value)
	if err != nil {
		return c.space.wrap("set", err)
	}
	err = c.write(sc, "set", func(st *edit.Stored) error { return st.Set(k.pointer(), v.Pointer()) })
	runtime.KeepAlive(k)
	runtime.KeepAlive(v)
	return err
}

// DeleteJSON removes a key and reports whether it was there.
func (c *Collection) DeleteJSON(sc Scope, key []byte) (removed bool, err error) {
	k, err := c.parseKey(key)
	if err != nil {
		return false, c.space.wrap("delete", err)
	}
	err = c.write(sc, "delete", func(st *edit.Stored) (err error) {
		removed, err = st.Delete(k.pointer())
		return err
	})
	runtime.KeepAlive(k)
	return removed, err
}

// Len returns the number of entries.
func (c *Collection) Len(sc Scope) (n int, err error) {
	err = c.read(sc, "len", func(st *edit.Stored) error {
		n = int(st.Count)
		return nil
	})
	return n, err
}

// AllJSON returns the entries, as they are when the loop starts: those of a map in no
// order, those of a sorted map by key, those of a list by index. Both slices are the caller's own.
func (c *Collection) AllJSON(tx *Tx) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		err := c.all(tx, func(st *edit.Stored, key, value edit.StoredPart) (bool, error) {
			k, err := keyText(st, key)
			if err != nil {
				return false, err
			}
			v, err := appendJSON(st.Value, value)
			return err == nil && yield(k, v), err
		})
		if err != nil {
			tx.raise("all", err)
		}
	}
}

// KeysJSON is AllJSON for the keys alone.
func (c *Collection) KeysJSON(tx *Tx) iter.Seq[[]byte] {
	return func(yield func(key []byte) bool) {
		err := c.all(tx, func(st *edit.Stored, key, _ edit.StoredPart) (bool, error) {
			if st.Key == nil {
				return false, nil
			}
			k, err := keyText(st, key)
			return err == nil && yield(k), err
		})
		if err != nil {
			tx.raise("keys", err)
		}
	}
}

// keyText renders a key; nil if there are none.
func keyText(st *edit.Stored, key edit.StoredPart) ([]byte, error) {
	if st.Key == nil {
		return nil, nil
	}
	return appendJSON(st.Key, key)
}

// appendJSON renders a key or a value.
func appendJSON(t *layout.Type, p edit.StoredPart) ([]byte, error) {
	return t.AppendJSON(nil, p.Pointer, p.Bounds)
}

// all walks the entries until each wants no more or fails.
func (c *Collection) all(tx *Tx, each func(st *edit.Stored, key, value edit.StoredPart) (bool, error)) error {
	st, err := c.bind(tx)
	if err != nil {
		return err
	}
	var failed error
	err = st.All(func(key, value edit.StoredPart) bool {
		more, err := each(st, key, value)
		failed = err
		return more && err == nil
	})
	return errors.Join(failed, err)
}

// bind finds the collection in a transaction. The stored types of a collection
// can change, and what was parsed for one type is nothing to another.
func (c *Collection) bind(tx *Tx) (*edit.Stored, error) {
	st, err := tx.engine.Stored(c.id)
	if err != nil {
		return nil, err
	}
	if st.Kind != c.kind || !sameTypes(st.Key, c.key) || !sameTypes(st.Value, c.value) {
		return nil, fmt.Errorf("%w: the types of %s have changed since it was looked up; look it up again", ErrTypeChanged, c.name)
	}
	return st, nil
}

// sameTypes compares types of which both may be missing.
func sameTypes(a, b *layout.Type) bool {
	return a == b || a != nil && b != nil && layout.Same(a, b)
}

// typeText returns a type in Go syntax; "" for none.
func typeText(t *layout.Type) string {
	if t == nil {
		return ""
	}
	return t.String()
}

// read runs fn in the scope: in its transaction, or in a View of its own.
func (c *Collection) read(sc Scope, op string, fn func(*edit.Stored) error) error {
	s, tx := sc.scope()
	if tx != nil {
		return c.do(tx, op, fn)
	}
	return s.View(func(tx *Tx) error { return c.do(tx, op, fn) })
}

// write runs fn in the scope: in its transaction, or in an Update of its own.
func (c *Collection) write(sc Scope, op string, fn func(*edit.Stored) error) error {
	s, tx := sc.scope()
	if tx != nil {
		return c.do(tx, op, fn)
	}
	return s.Update(context.Background(), func(tx *Tx) error { return c.do(tx, op, fn) })
}

// do runs fn with the collection in a transaction.
func (c *Collection) do(tx *Tx, op string, fn func(*edit.Stored) error) error {
	st, err := c.bind(tx)
	if err == nil {
		err = fn(st)
	}
	return tx.space.wrap(op, err)
}

// key is one that was parsed; nil if the collection has none.
type key struct{ value *layout.Detached }

// pointer returns the key; who uses it keeps it alive.
func (k key) pointer() unsafe.Pointer {
	if k.value == nil {
		return nil
	}
	return k.value.Pointer()
}

// parseKey reads a key.
func (c *Collection) parseKey(text []byte) (key, error) {
	if c.key == nil {
		if text != nil {
			return key{}, fmt.Errorf("%s is a single value: it has no keys", c.name)
		}
		return key{}, nil
	}
	v, err := parse("key", c.key, text)
	return key{v}, err
}

// parse reads a JSON text as a value of a stored type.
func parse(part string, t *layout.Type, text []byte) (*layout.Detached, error) {
	v, err := t.ParseJSON(text)
	if e := (*layout.JSONError)(nil); errors.As(err, &e) {
		return nil, &JSONError{Part: part, Type: t.String(), Path: e.Path, What: e.What}
	}
	return v, err
}
