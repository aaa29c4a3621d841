package untyped

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
)

// Form is a collection in an encoding: JSON, or compact bytes.
type Form struct {
	*Collection
	Binary bool
	// Explain returns the error for bytes that are not a key or value of a type, from the error of
	// package layout.
	Explain func(part string, t *layout.Type, err error) error
	// Stored runs fn with the stored collection, in a transaction of its own.
	Stored func(fn func(st *edit.Stored) error) error
}

// Key is a parsed key. It has no value if the collection has no keys.
type Key struct {
	value *layout.Detached
	text  []byte
}

// pointer returns the address of the key. The caller keeps k.value alive while it uses it.
func (k Key) pointer() unsafe.Pointer {
	if k.value == nil {
		return nil
	}
	return k.value.Pointer()
}

// Key parses a key.
func (f *Form) Key(b []byte) (Key, error) {
	if f.Collection.Key == nil {
		if b != nil {
			return Key{}, fmt.Errorf("%s is a single value: it has no keys", f.Name)
		}
		return Key{}, nil
	}
	v, err := f.parse("key", f.Collection.Key, b)
	return Key{v, b}, err
}

// parse reads a value of a stored type.
func (f *Form) parse(part string, t *layout.Type, b []byte) (v *layout.Detached, err error) {
	parse := t.ParseJSON
	if f.Binary {
		parse = t.ParseCompact
	}
	for {
		if v, err = parse(b); err == nil {
			return v, nil
		}
		if name := layout.UnknownConcrete(err); name == "" || !f.learn(name) {
			return nil, f.Explain(part, t, err)
		}
	}
}

// learn looks for a stored value with a concrete type of a name, and reports whether it found one.
func (f *Form) learn(name string) (found bool) {
	err := f.Stored(func(st *edit.Stored) error {
		var failed error
		err := st.All(func(_, value edit.StoredPart) bool {
			failed = st.Value.Learn(value.Pointer, value.Bounds)
			found = layout.KnowsConcrete(name)
			return failed == nil && !found
		})
		return errors.Join(failed, err)
	})
	return found && err == nil
}

// appendPart encodes a key or a value.
func (f *Form) appendPart(dst []byte, t *layout.Type, p edit.StoredPart) ([]byte, error) {
	if f.Binary {
		return t.AppendCompact(dst, p.Pointer, p.Bounds)
	}
	return t.AppendJSON(dst, p.Pointer, p.Bounds)
}

// appendEntry encodes a key, if there are keys, and a value.
func (f *Form) appendEntry(st *edit.Stored, key, value edit.StoredPart) (k, v []byte, err error) {
	if st.Key != nil {
		k, err = f.appendPart(nil, st.Key, key)
	}
	if err == nil {
		v, err = f.appendPart(nil, st.Value, value)
	}
	return k, v, err
}

// text returns a key as text for errors.
func (f *Form) text(k Key) string {
	if f.Binary {
		return fmt.Sprintf("%x", k.text)
	}
	return string(k.text)
}

// Entry is a parsed key and value.
type Entry struct {
	key   Key
	end   bool // append it to the list
	value *layout.Detached
}

// Entry parses an entry.
func (f *Form) Entry(key, value []byte) (e Entry, err error) {
	if e.key, err = f.Key(key); err == nil {
		e.value, err = f.parse("value", f.Value, value)
	}
	return e, err
}

// Element parses a value that is to be appended to a list.
func (f *Form) Element(value []byte) (e Entry, err error) {
	e.end = true
	e.value, err = f.parse("value", f.Value, value)
	return e, err
}

// Parse is Entry, or without a key Element if the collection is a list.
func (f *Form) Parse(key, value []byte) (Entry, error) {
	if key == nil && f.Kind == "list" {
		return f.Element(value)
	}
	return f.Entry(key, value)
}

// Store stores the entry.
func (e *Entry) Store(st *edit.Stored) (err error) {
	switch {
	case e.value == nil:
		return errors.New("the entry was not returned by Parse")
	case e.end:
		err = st.Append(e.value.Pointer())
	default:
		err = st.Set(e.key.pointer(), e.value.Pointer())
	}
	runtime.KeepAlive(e.key.value)
	runtime.KeepAlive(e.value)
	return err
}

// SetAll parses and stores entries. It stops at the first error.
func (f *Form) SetAll(st *edit.Stored, entries iter.Seq2[[]byte, []byte]) error {
	for key, value := range entries {
		e, err := f.Entry(key, value)
		if err == nil {
			err = e.Store(st)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Append parses values, and appends them to a list.
func (f *Form) Append(st *edit.Stored, values [][]byte) error {
	for _, value := range values {
		e, err := f.Element(value)
		if err == nil {
			err = e.Store(st)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
