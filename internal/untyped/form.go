package untyped

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/layout"
)

// Form is a collection in an encoding: JSON, or compact bytes.
type Form struct {
	*Collection
	Binary bool
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

// KeyIn is Key into a room; the key is valid for as long as the result of Room.ReadCompact.
func (f *Form) KeyIn(r *layout.Room, b []byte) (unsafe.Pointer, error) {
	if f.Collection.Key == nil {
		_, err := f.Key(b)
		return nil, err
	}
	return f.readIn(r, "key", f.Collection.Key, b)
}

// readIn is parse into a room.
func (f *Form) readIn(r *layout.Room, part string, t *layout.Type, b []byte) (unsafe.Pointer, error) {
	if f.Binary {
		if p := r.ReadCompact(t, b); p != nil {
			return p, nil
		}
	}
	v, err := f.parse(part, t, b)
	if err != nil {
		return nil, err
	}
	return r.Hold(v), nil
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
			return nil, failure.Unfit(part, t, err)
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

// Encode returns the function that appends a value in the encoding.
func (f *Form) Encode() edit.Encode {
	if f.Binary {
		return (*layout.Type).AppendCompact
	}
	return (*layout.Type).AppendJSON
}

// appendPart encodes a key or a value.
func (f *Form) appendPart(dst []byte, t *layout.Type, p edit.StoredPart) ([]byte, error) {
	if f.Binary {
		return t.AppendCompact(dst, p.Pointer, p.Bounds)
	}
	return t.AppendJSON(dst, p.Pointer, p.Bounds)
}

// appendEntry encodes a key, if there are keys, and a value, on a sheet or, if that is nil, each in
// memory of its own.
func (f *Form) appendEntry(on *sheet, st *edit.Stored, key, value edit.StoredPart) (k, v []byte, err error) {
	if st.Key != nil {
		k, err = f.partOn(on, st.Key, key)
	}
	if err == nil {
		v, err = f.partOn(on, st.Value, value)
	}
	return k, v, err
}

// sheet is memory for several small parts in a row: allocating each part alone would take most of the
// time of a walk. A program that keeps one part keeps the whole sheet.
type sheet struct{ free []byte }

// sheetSize is how many bytes a sheet has.
const sheetSize = 512

// partOn is appendPart on a sheet. A part that is too long for what is left has memory of its own.
func (f *Form) partOn(on *sheet, t *layout.Type, p edit.StoredPart) ([]byte, error) {
	if on == nil {
		return f.appendPart(nil, t, p)
	}
	if cap(on.free) < sheetSize/8 {
		on.free = make([]byte, 0, sheetSize)
	}
	b, err := f.appendPart(on.free, t, p)
	if n := len(b); n <= cap(on.free) {
		on.free = on.free[n:n]
	}
	return b[:len(b):len(b)], err
}

// Held is an entry in memory that the next entry reuses: its reader stores it, and then releases it.
type Held struct {
	form             *Form
	keyRoom, valRoom layout.Room
	key, value       unsafe.Pointer
}

// unheld keeps the released ones.
var unheld = sync.Pool{New: func() any { return new(Held) }}

// Hold reads an entry. The bytes must stay as they are until Release, which must follow unless there
// is an error.
func (f *Form) Hold(key, value []byte) (*Held, error) {
	h := unheld.Get().(*Held)
	h.form = f
	if err := h.read(key, value); err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

// read reads an entry.
func (h *Held) read(key, value []byte) (err error) {
	if h.key, err = h.form.KeyIn(&h.keyRoom, key); err == nil {
		h.value, err = h.form.readIn(&h.valRoom, "value", h.form.Value, value)
	}
	return err
}

// Store stores the entry.
func (h *Held) Store(ed *edit.Editor) error {
	err := ed.SetValue(&h.form.StoredOf, h.key, h.value)
	runtime.KeepAlive(h)
	return err
}

// Release drops the entry.
func (h *Held) Release() {
	h.keyRoom.Empty()
	h.valRoom.Empty()
	h.form, h.key, h.value = nil, nil, nil
	unheld.Put(h)
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
	h := unheld.Get().(*Held)
	h.form = f
	for key, value := range entries {
		err := h.read(key, value)
		if err == nil {
			err = st.Set(h.key, h.value)
		}
		if err != nil {
			return err
		}
	}
	h.Release()
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
