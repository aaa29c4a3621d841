package everheap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Collection is a collection that is accessed without its Go types, by what the
// space knows of them; keys and values are JSON. Struct fields have their Go
// names, byte slices are base64, times RFC 3339. What JSON lacks is an object with
// one name that starts with a dollar sign, such as {"$bytes": "…"} for a string
// that is not UTF-8, and {"$map": "…"} for a handle.
type Collection struct {
	space      *Space
	name       string
	id         format.ID
	key, value *layout.Type
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

// Collection returns the collection with a name; ErrNotFound if there is none.
func (s *Space) Collection(name string) (*Collection, error) {
	c := &Collection{space: s, name: name}
	err := s.View(func(tx *Tx) error {
		index, found, err := tx.engine.Named(name)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: the space has nothing named %q", ErrNotFound, name)
		}
		c.id = format.MakeID(s.engine.Tag(), index)
		m, _, err := tx.engine.StoredMap(c.id)
		if err == nil {
			c.key, c.value = m.Shape().Key, m.Shape().Value
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Name returns the name by which the collection was found.
func (c *Collection) Name() string { return c.name }

// ID returns the identity of the collection.
func (c *Collection) ID() ID { return ID(c.id) }

// KeyType returns the type of the keys in Go syntax.
func (c *Collection) KeyType() string { return c.key.String() }

// ValueType returns the type of the values in Go syntax.
func (c *Collection) ValueType() string { return c.value.String() }

// StringKeys reports whether the keys are strings, of whatever named type.
func (c *Collection) StringKeys() bool { return c.key.IsString() }

// StringValues reports whether the values are strings, of whatever named type.
func (c *Collection) StringValues() bool { return c.value.IsString() }

// GetJSON returns the value of a key; ErrNotFound if there is none.
func (c *Collection) GetJSON(sc Scope, key []byte) (value []byte, err error) {
	k, err := parse("key", c.key, key)
	if err != nil {
		return nil, c.space.wrap("get", err)
	}
	err = c.read(sc, "get", func(tx *engine.Tx, m *engine.Map, object *format.MapObject) error {
		entry, err := tx.Get(m, object, k.Pointer())
		if err != nil {
			return err
		}
		if entry == nil {
			return fmt.Errorf("key %s in %s: %w", key, c.name, ErrNotFound)
		}
		value, err = m.Shape().Value.AppendJSON(nil, m.Shape().ValueOf(entry), tx.Bounds(entry))
		return err
	})
	runtime.KeepAlive(k)
	return value, err
}

// SetJSON stores a value under a key. Fields that the text lacks are zero;
// unknown ones are an error, a *JSONError.
func (c *Collection) SetJSON(sc Scope, key, value []byte) error {
	k, err := parse("key", c.key, key)
	if err != nil {
		return c.space.wrap("set", err)
	}
	v, err := parse("value", c.value, value)
	if err != nil {
		return c.space.wrap("set", err)
	}
	err = c.write(sc, "set", func(tx *engine.Tx, m *engine.Map) error {
		return tx.Set(m, k.Pointer(), v.Pointer())
	})
	runtime.KeepAlive(k)
	runtime.KeepAlive(v)
	return err
}

// DeleteJSON removes a key and reports whether it was there.
func (c *Collection) DeleteJSON(sc Scope, key []byte) (removed bool, err error) {
	k, err := parse("key", c.key, key)
	if err != nil {
		return false, c.space.wrap("delete", err)
	}
	err = c.write(sc, "delete", func(tx *engine.Tx, m *engine.Map) (err error) {
		removed, err = tx.Delete(m, k.Pointer())
		return err
	})
	runtime.KeepAlive(k)
	return removed, err
}

// Len returns the number of entries.
func (c *Collection) Len(sc Scope) (n int, err error) {
	err = c.read(sc, "len", func(_ *engine.Tx, _ *engine.Map, object *format.MapObject) error {
		n = int(object.Count)
		return nil
	})
	return n, err
}

// AllJSON returns the entries, in no order, as they are when the loop starts. Both
// slices are the caller's own.
func (c *Collection) AllJSON(tx *Tx) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		err := c.all(tx, func(m *engine.Map, entry unsafe.Pointer) (bool, error) {
			key, err := c.keyOf(tx, m, entry)
			if err != nil {
				return false, err
			}
			value, err := m.Shape().Value.AppendJSON(nil, m.Shape().ValueOf(entry), tx.engine.Bounds(entry))
			return err == nil && yield(key, value), err
		})
		if err != nil {
			tx.raise("all", err)
		}
	}
}

// KeysJSON is AllJSON for the keys alone.
func (c *Collection) KeysJSON(tx *Tx) iter.Seq[[]byte] {
	return func(yield func(key []byte) bool) {
		err := c.all(tx, func(m *engine.Map, entry unsafe.Pointer) (bool, error) {
			key, err := c.keyOf(tx, m, entry)
			return err == nil && yield(key), err
		})
		if err != nil {
			tx.raise("keys", err)
		}
	}
}

// keyOf renders the key of an entry.
func (c *Collection) keyOf(tx *Tx, m *engine.Map, entry unsafe.Pointer) ([]byte, error) {
	return m.Shape().Key.AppendJSON(nil, m.Shape().KeyOf(entry), tx.engine.Bounds(entry))
}

// all walks the entries until each wants no more or fails.
func (c *Collection) all(tx *Tx, each func(m *engine.Map, entry unsafe.Pointer) (bool, error)) error {
	m, object, err := c.bind(tx)
	if err != nil {
		return err
	}
	var failed error
	err = tx.engine.All(object, func(entry unsafe.Pointer) bool {
		more, err := each(m, entry)
		failed = err
		return more && err == nil
	})
	return errors.Join(failed, err)
}

// bind finds the collection in a transaction. The stored types of a collection
// can change, and what was parsed for one type is nothing to another.
func (c *Collection) bind(tx *Tx) (*engine.Map, *format.MapObject, error) {
	if tx.space.engine.Tag() != c.id.Tag() {
		return nil, nil, ErrDangling
	}
	m, object, err := tx.engine.StoredMap(c.id)
	if err == nil && !(layout.Same(m.Shape().Key, c.key) && layout.Same(m.Shape().Value, c.value)) {
		err = fmt.Errorf("%w: the types of %s have changed since it was looked up; look it up again", ErrTypeChanged, c.name)
	}
	return m, object, err
}

// read runs fn in the scope: in its transaction, or in a View of its own.
func (c *Collection) read(sc Scope, op string, fn func(*engine.Tx, *engine.Map, *format.MapObject) error) error {
	do := func(tx *Tx) error {
		m, object, err := c.bind(tx)
		if err == nil {
			err = fn(tx.engine, m, object)
		}
		return tx.space.wrap(op, err)
	}
	s, tx := sc.scope()
	if tx != nil {
		return do(tx)
	}
	return s.View(do)
}

// write runs fn in the scope: in its transaction, or in an Update of its own.
func (c *Collection) write(sc Scope, op string, fn func(*engine.Tx, *engine.Map) error) error {
	do := func(tx *Tx) error {
		m, _, err := c.bind(tx)
		if err == nil {
			err = fn(tx.engine, m)
		}
		return tx.space.wrap(op, err)
	}
	s, tx := sc.scope()
	if tx != nil {
		return do(tx)
	}
	return s.Update(context.Background(), do)
}

// parse reads a JSON text as a value of a stored type.
func parse(part string, t *layout.Type, text []byte) (*layout.Detached, error) {
	v, err := t.ParseJSON(text)
	if e := (*layout.JSONError)(nil); errors.As(err, &e) {
		return nil, &JSONError{Part: part, Type: t.String(), Path: e.Path, What: e.What}
	}
	return v, err
}
