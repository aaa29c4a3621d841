package everheap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
)

// Encoding is how a program passes keys and values that it has no Go types for.
type Encoding uint8

// The encodings.
const (
	JSON   Encoding = iota // text; see Collection
	Binary                 // compact bytes; VALUES.md says which
)

// BinaryError says why bytes are not the binary form of a key or a value of a collection.
type BinaryError struct {
	Part   string // "key" or "value"
	Type   string // that it should be, in Go syntax
	Offset int    // of the byte
	What   string // is wrong
}

// Error implements error.
func (e *BinaryError) Error() string {
	return fmt.Sprintf("the %s is no %s: at byte %d: %s", e.Part, e.Type, e.Offset, e.What)
}

// Encoded is a collection whose keys and values are passed in an encoding: all that can be
// done with a Map, a Sorted, a List and a Ref, without their Go types. What it returns is the
// caller's own. A key or value that does not fit the stored type is a *JSONError or a
// *BinaryError, and then nothing has changed.
type Encoded struct {
	c        *Collection
	encoding Encoding
}

// As returns the collection with keys and values in an encoding.
func (c *Collection) As(e Encoding) Encoded { return Encoded{c, e} }

// Get returns the value of a key, or ErrNotFound. The key of a single value is nil.
func (e Encoded) Get(sc Scope, key []byte) (value []byte, err error) {
	err = e.lookUp(sc, "get", key, func(st *edit.Stored, k unsafe.Pointer) error {
		part, err := st.Get(k)
		if err == nil && part.Pointer == nil {
			err = fmt.Errorf("key %s in %s: %w", e.text(key), e.c.name, ErrNotFound)
		}
		if err == nil {
			value, err = e.appendPart(nil, st.Value, part)
		}
		return err
	})
	return value, err
}

// Peek returns the bytes of a value that is a string or a slice of bytes, without a copy;
// ErrNotFound if there is none. They are read-only, and valid until tx ends.
func (c *Collection) Peek(tx *Tx, e Encoding, key []byte) (b []byte, err error) {
	err = c.As(e).lookUp(tx, "peek", key, func(st *edit.Stored, k unsafe.Pointer) error {
		part, err := st.Get(k)
		if err == nil && part.Pointer == nil {
			err = fmt.Errorf("key %s in %s: %w", c.As(e).text(key), c.name, ErrNotFound)
		}
		if err == nil {
			tx.engine.BorrowPart(part)
			b, err = st.Value.BytesIn(part.Pointer, part.Bounds)
		}
		return err
	})
	return b, err
}

// lookUp runs fn with a key, in a transaction that reads.
func (e Encoded) lookUp(sc Scope, op string, key []byte, fn func(st *edit.Stored, k unsafe.Pointer) error) error {
	k, err := e.key(key)
	if err != nil {
		return e.c.space.wrap(op, err)
	}
	err = e.c.read(sc, op, func(st *edit.Stored) error { return fn(st, k.pointer()) })
	runtime.KeepAlive(k)
	return err
}

// text returns a key as an error shows it.
func (e Encoded) text(key []byte) string {
	if e.encoding == Binary {
		return fmt.Sprintf("%x", key)
	}
	return string(key)
}

// GetAll returns the values of keys, in one version: nil for a key that is not there.
func (e Encoded) GetAll(sc Scope, keys ...[]byte) (values [][]byte, err error) {
	values = make([][]byte, len(keys))
	err = e.c.read(sc, "get", func(st *edit.Stored) error {
		for i, key := range keys {
			k, err := e.key(key)
			if err != nil {
				return err
			}
			part, err := st.Get(k.pointer())
			runtime.KeepAlive(k)
			if err != nil {
				return err
			}
			if part.Pointer == nil {
				continue
			}
			if values[i], err = e.appendPart(nil, st.Value, part); err != nil {
				return err
			}
		}
		return nil
	})
	return values, err
}

// Has reports whether there is a key.
func (e Encoded) Has(sc Scope, key []byte) (has bool, err error) {
	err = e.lookUp(sc, "has", key, func(st *edit.Stored, k unsafe.Pointer) error {
		part, err := st.Get(k)
		has = part.Pointer != nil
		return err
	})
	return has, err
}

// Rank returns how many keys of a sorted map are less than the key, which need not be there.
func (e Encoded) Rank(sc Scope, key []byte) (n uint64, err error) {
	err = e.lookUp(sc, "rank", key, func(st *edit.Stored, k unsafe.Pointer) (err error) {
		n, err = st.Rank(k)
		return err
	})
	return n, err
}

// Nth returns the entry of a sorted map or a list with i keys before it, or ErrNotFound.
func (e Encoded) Nth(sc Scope, i int) (key, value []byte, err error) {
	err = e.c.read(sc, "nth", func(st *edit.Stored) error {
		k, v, err := st.Nth(uint64(i))
		if err == nil && v.Pointer == nil {
			err = fmt.Errorf("entry %d of %s: %w", i, e.c.name, ErrNotFound)
		}
		if err == nil {
			key, err = e.appendPart(nil, st.Key, k)
		}
		if err == nil {
			value, err = e.appendPart(nil, st.Value, v)
		}
		return err
	})
	return key, value, err
}

// EncodedChange is a Change whose key and values are encoded; nil where there are none.
type EncodedChange struct {
	Version       Version
	Key, Old, New []byte
	More          bool
}

// Watch returns the changes of the collection, of any kind; see Map.Watch. A single value has
// no key. If its types change, the loop ends with ErrTypeChanged, and the program looks the
// collection up again.
func (e Encoded) Watch(ctx context.Context, opts ...WatchOption) iter.Seq2[EncodedChange, error] {
	c := e.c
	of := edit.StoredOf{ID: c.id, Kind: c.kind, Key: c.key, Value: c.value}
	return follow(ctx, c.space, of, opts, func(d *edit.Difference) (ch EncodedChange, err error) {
		ch.Version, ch.More = Version(d.Version), d.More
		ch.Key, ch.Old, ch.New, err = d.Encoded(e.encoding == Binary)
		return ch, err
	})
}

// Set stores a value under a key. In JSON, fields that the text lacks are zero, and an unknown
// field is an error.
func (e Encoded) Set(sc Scope, key, value []byte) error {
	c := e.c
	k, err := e.key(key)
	if err != nil {
		return c.space.wrap("set", err)
	}
	v, err := e.parse("value", c.value, value)
	if err != nil {
		return c.space.wrap("set", err)
	}
	err = c.write(sc, "set", func(st *edit.Stored) error { return st.Set(k.pointer(), v.Pointer()) })
	runtime.KeepAlive(k)
	runtime.KeepAlive(v)
	return err
}

// SetAll stores entries, in one transaction: all of them or none.
func (e Encoded) SetAll(sc Scope, entries iter.Seq2[[]byte, []byte]) error {
	return e.c.write(sc, "set", func(st *edit.Stored) error {
		for key, value := range entries {
			k, err := e.key(key)
			if err != nil {
				return err
			}
			v, err := e.parse("value", e.c.value, value)
			if err != nil {
				return err
			}
			err = st.Set(k.pointer(), v.Pointer())
			runtime.KeepAlive(k)
			runtime.KeepAlive(v)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Entry is a key and a value of a collection, read and judged: Store stores it.
type Entry struct {
	key   key
	end   bool // of a list: behind the last element
	value *layout.Detached
}

// Parse reads an entry, in no transaction and by any goroutine. So programs that load much
// parse on several processors, know before they write what does not fit, and write for a
// shorter time. Without a key it is an element to be appended to a list. Errors: *JSONError,
// *BinaryError.
func (e Encoded) Parse(key, value []byte) (entry Entry, err error) {
	if entry.end = key == nil && e.c.kind == "list"; !entry.end {
		if entry.key, err = e.key(key); err != nil {
			return Entry{}, err
		}
	}
	entry.value, err = e.parse("value", e.c.value, value)
	return entry, err
}

// Store stores entries in order, up to the first that cannot be stored, and returns how many
// it has stored. With a Space all are stored or none. With a Tx those before the error are;
// the program may go on with the one after it.
func (c *Collection) Store(sc Scope, entries ...Entry) (stored int, err error) {
	err = c.write(sc, "store", func(st *edit.Stored) error {
		for stored = 0; stored < len(entries); stored++ {
			e := &entries[stored]
			if e.value == nil {
				return errors.New("an entry is none that Parse has returned")
			}
			var err error
			if e.end {
				err = st.Append(e.value.Pointer())
			} else {
				err = st.Set(e.key.pointer(), e.value.Pointer())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	runtime.KeepAlive(entries)
	return stored, err
}

// Append adds values at the end of a list, in one transaction.
func (e Encoded) Append(sc Scope, values ...[]byte) error {
	return e.c.write(sc, "append", func(st *edit.Stored) error {
		for _, value := range values {
			v, err := e.parse("value", e.c.value, value)
			if err != nil {
				return err
			}
			err = st.Append(v.Pointer())
			runtime.KeepAlive(v)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Delete removes a key and reports whether it was there. Of a list only the last element can
// be removed.
func (e Encoded) Delete(sc Scope, key []byte) (removed bool, err error) {
	k, err := e.key(key)
	if err != nil {
		return false, e.c.space.wrap("delete", err)
	}
	err = e.c.write(sc, "delete", func(st *edit.Stored) (err error) {
		removed, err = st.Delete(k.pointer())
		return err
	})
	runtime.KeepAlive(k)
	return removed, err
}

// All returns the entries, as they are when the loop starts: those of a map in no order, those
// of a sorted map by key, those of a list by index.
func (e Encoded) All(tx *Tx) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "all", func(st *edit.Stored, yield func(key, value edit.StoredPart) bool) error {
		return st.All(yield)
	})
}

// Keys is All for the keys alone.
func (e Encoded) Keys(tx *Tx) iter.Seq[[]byte] {
	return func(yield func(key []byte) bool) {
		err := e.c.all(tx, func(st *edit.Stored, key, _ edit.StoredPart) (bool, error) {
			if st.Key == nil {
				return false, nil
			}
			k, err := e.appendPart(nil, st.Key, key)
			return err == nil && yield(k), err
		})
		if err != nil {
			tx.raise("keys", err)
		}
	}
}

// Range is All for the keys between two bounds, of a sorted map or a list.
func (e Encoded) Range(tx *Tx, from, to Bound[[]byte]) iter.Seq2[[]byte, []byte] {
	return e.between(tx, from, to, false)
}

// Backward is Range from the last key to the first. from is still the lower bound.
func (e Encoded) Backward(tx *Tx, from, to Bound[[]byte]) iter.Seq2[[]byte, []byte] {
	return e.between(tx, from, to, true)
}

// Prefix is Range for the keys of a sorted map of strings that begin with p, which is the text
// itself in any encoding.
func (e Encoded) Prefix(tx *Tx, p string) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "prefix", func(st *edit.Stored, yield func(key, value edit.StoredPart) bool) error {
		if st.Key == nil || !st.Key.IsString() {
			return fmt.Errorf("the keys of %s are no strings: they have no prefixes", e.c.name)
		}
		from, to := Prefix(p)
		err := st.Range(from.lower(), to.upper(), false, yield)
		runtime.KeepAlive(&from)
		runtime.KeepAlive(&to)
		return err
	})
}

// between returns the entries between two bounds.
func (e Encoded) between(tx *Tx, from, to Bound[[]byte], back bool) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "range", func(st *edit.Stored, yield func(key, value edit.StoredPart) bool) error {
		lo, lower, err := e.bound(from, excluding)
		if err != nil {
			return err
		}
		hi, upper, err := e.bound(to, including)
		if err != nil {
			return err
		}
		err = st.Range(lower, upper, back, yield)
		runtime.KeepAlive(lo)
		runtime.KeepAlive(hi)
		return err
	})
}

// bound reads the key of a bound that lies behind its key if the kind is after. The key is to
// be kept alive.
func (e Encoded) bound(b Bound[[]byte], after boundKind) (key, edit.Bound, error) {
	if b.kind == unbounded {
		return key{}, edit.Bound{}, nil
	}
	k, err := e.key(b.key)
	return k, edit.Bound{Key: k.pointer(), After: b.kind == after}, err
}

// entries encodes what a walk comes to.
func (e Encoded) entries(tx *Tx, op string, walk func(st *edit.Stored, yield func(key, value edit.StoredPart) bool) error) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		st, err := e.c.bind(tx)
		if err == nil {
			var failed error
			err = walk(st, func(key, value edit.StoredPart) bool {
				var k, v []byte
				if st.Key != nil {
					k, failed = e.appendPart(nil, st.Key, key)
				}
				if failed == nil {
					v, failed = e.appendPart(nil, st.Value, value)
				}
				return failed == nil && yield(k, v)
			})
			err = errors.Join(failed, err)
		}
		if err != nil {
			tx.raise(op, err)
		}
	}
}

// appendPart encodes a key or a value.
func (e Encoded) appendPart(dst []byte, t *layout.Type, p edit.StoredPart) ([]byte, error) {
	if e.encoding == Binary {
		return t.AppendCompact(dst, p.Pointer, p.Bounds)
	}
	return t.AppendJSON(dst, p.Pointer, p.Bounds)
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

// key reads a key.
func (e Encoded) key(b []byte) (key, error) {
	c := e.c
	if c.key == nil {
		if b != nil {
			return key{}, fmt.Errorf("%s is a single value: it has no keys", c.name)
		}
		return key{}, nil
	}
	v, err := e.parse("key", c.key, b)
	return key{v}, err
}

// parse reads a value of a stored type.
func (e Encoded) parse(part string, t *layout.Type, b []byte) (*layout.Detached, error) {
	if e.encoding == Binary {
		v, err := t.ParseCompact(b)
		if c := (*layout.CompactError)(nil); errors.As(err, &c) {
			return nil, &BinaryError{Part: part, Type: t.String(), Offset: c.Offset, What: c.What}
		}
		return v, err
	}
	v, err := t.ParseJSON(b)
	if j := (*layout.JSONError)(nil); errors.As(err, &j) {
		return nil, &JSONError{Part: part, Type: t.String(), Path: j.Path, What: j.What}
	}
	return v, err
}
