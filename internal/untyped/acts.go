package untyped

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/layout"
)

// find returns the value of a key, or ErrNotFound.
func (f *Form) find(st *edit.Stored, k Key) (edit.StoredPart, error) {
	part, err := st.Get(k.pointer())
	runtime.KeepAlive(k.value)
	if err == nil && part.Pointer == nil {
		err = f.Missing(k.text)
	}
	return part, err
}

// Missing is the error for a key that is not there.
func (f *Form) Missing(key []byte) error {
	text := string(key)
	if f.Binary {
		text = fmt.Sprintf("%x", key)
	}
	return fmt.Errorf("key %s in %s: %w", text, f.Name, failure.ErrNotFound)
}

// Peek returns the stored bytes of a value that is a string or a byte slice, without copying them, or
// ErrNotFound.
func (f *Form) Peek(st *edit.Stored, key []byte) ([]byte, error) {
	k, err := f.Key(key)
	if err != nil {
		return nil, err
	}
	part, err := f.find(st, k)
	if err != nil {
		return nil, err
	}
	st.Borrow(part)
	return st.Value.BytesIn(part.Pointer, part.Bounds)
}

// GetAll puts the values of keys into values; nil for a missing key.
func (f *Form) GetAll(st *edit.Stored, keys, values [][]byte) error {
	for i, key := range keys {
		k, err := f.Key(key)
		if err != nil {
			return err
		}
		part, err := st.Get(k.pointer())
		runtime.KeepAlive(k.value)
		if err == nil && part.Pointer != nil {
			values[i], err = f.appendPart(nil, st.Value, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Has reports whether the collection has a key.
func (f *Form) Has(st *edit.Stored, k Key) (bool, error) {
	part, err := st.Get(k.pointer())
	runtime.KeepAlive(k.value)
	return part.Pointer != nil, err
}

// Rank returns how many keys are less than a key.
func (f *Form) Rank(st *edit.Stored, key []byte) (uint64, error) {
	k, err := f.Key(key)
	if err != nil {
		return 0, err
	}
	n, err := st.Rank(k.pointer())
	runtime.KeepAlive(k.value)
	return n, err
}

// Delete removes a key and reports whether the collection had it.
func (f *Form) Delete(st *edit.Stored, key []byte) (bool, error) {
	k, err := f.Key(key)
	if err != nil {
		return false, err
	}
	removed, err := st.Delete(k.pointer())
	runtime.KeepAlive(k.value)
	return removed, err
}

// Nth returns the entry with i keys before it, or ErrNotFound.
func (f *Form) Nth(st *edit.Stored, i int) (key, value []byte, err error) {
	k, v, err := st.Nth(uint64(i))
	if err == nil && v.Pointer == nil {
		err = fmt.Errorf("entry %d of %s: %w", i, f.Name, failure.ErrNotFound)
	}
	if err != nil {
		return nil, nil, err
	}
	return f.appendEntry(nil, st, k, v)
}

// Yield receives an encoded entry, and returns false to end the walk.
type Yield = func(key, value []byte) bool

// each runs walk, and passes the encoded entries to yield.
func (f *Form) each(st *edit.Stored, yield Yield, walk func(yield func(key, value edit.StoredPart) bool) error) error {
	var failed error
	var on sheet
	err := walk(func(key, value edit.StoredPart) bool {
		var k, v []byte
		k, v, failed = f.appendEntry(&on, st, key, value)
		return failed == nil && yield(k, v)
	})
	return errors.Join(failed, err)
}

// All walks the entries.
func (f *Form) All(st *edit.Stored, yield Yield) error { return f.each(st, yield, st.All) }

// Keys walks the keys; a single value has none.
func (f *Form) Keys(st *edit.Stored, yield func(key []byte) bool) error {
	if st.Key == nil {
		return nil
	}
	var failed error
	var on sheet
	err := st.All(func(key, _ edit.StoredPart) bool {
		var k []byte
		k, failed = f.partOn(&on, st.Key, key)
		return failed == nil && yield(k)
	})
	return errors.Join(failed, err)
}

// Bound is an end of a range of keys, or of the values of an index.
type Bound struct {
	Text []byte
	Kind edit.BoundKind
}

// Range walks the entries between two bounds, in order, or in reverse order if back is set.
func (f *Form) Range(st *edit.Stored, from, to Bound, back bool, yield Yield) error {
	lo, lower, err := f.bound(from, edit.Excluding)
	if err != nil {
		return err
	}
	hi, upper, err := f.bound(to, edit.Including)
	if err != nil {
		return err
	}
	err = f.between(st, lower, upper, back, yield)
	runtime.KeepAlive(lo)
	runtime.KeepAlive(hi)
	return err
}

// bound parses a bound. It lies behind its key if its kind is after, else before it. The caller keeps
// the returned key alive while it uses the bound.
func (f *Form) bound(b Bound, after edit.BoundKind) (*layout.Detached, edit.Bound, error) {
	if b.Kind == edit.Unbounded {
		return nil, edit.Bound{}, nil
	}
	k, err := f.Key(b.Text)
	return k.value, edit.Bound{Key: k.pointer(), After: b.Kind == after}, err
}

// Prefix is Range for the keys that begin with p. p is plain text in every encoding.
func (f *Form) Prefix(st *edit.Stored, p string, yield Yield) error {
	if st.Key == nil || !st.Key.IsString() {
		return fmt.Errorf("the keys of %s are not strings: they have no prefixes", f.Name)
	}
	var upper edit.Bound
	end, ends := edit.PrefixEnd(p)
	if ends {
		upper.Key = layout.NoEscapeKey(&end)
	}
	err := f.between(st, edit.Bound{Key: layout.NoEscapeKey(&p)}, upper, false, yield)
	runtime.KeepAlive(&p)
	runtime.KeepAlive(&end)
	return err
}

// between is Range between two parsed bounds.
func (f *Form) between(st *edit.Stored, from, to edit.Bound, back bool, yield Yield) error {
	return f.each(st, yield, func(yield func(key, value edit.StoredPart) bool) error {
		return st.Range(from, to, back, yield)
	})
}
