package everheap

import (
	"cmp"
	"context"
	"iter"
	"runtime"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/untyped"
	"github.com/everheap/everheap/internal/watch"
)

// Encoding is how a program passes keys and values that it has no Go types for.
type Encoding uint8

// The encodings.
const (
	JSON   Encoding = iota // text; see Collection
	Binary                 // compact bytes; VALUES.md says which
)

// Encoded is a collection whose keys and values are passed in an encoding: all that can be
// done with a Map, a Sorted, a List and a Ref, without their Go types. What it returns is the
// caller's own. A key or value that does not fit the stored type is a *JSONError or a
// *BinaryError, and then nothing has changed.
type Encoded struct {
	c    *Collection
	form *untyped.Form // made once, for all operations
}

// As returns the collection with keys and values in an encoding.
func (c *Collection) As(e Encoding) Encoded {
	return Encoded{c, &untyped.Form{Collection: &c.of, Binary: e == Binary, Stored: func(fn func(*edit.Stored) error) error {
		return c.read(c.space, "looking for a type", fn)
	}}}
}

// Get returns the value of a key, or ErrNotFound. The key of a single value is nil.
func (e Encoded) Get(sc Scope, key []byte) (value []byte, err error) {
	value, found, err := e.GetTo(sc, nil, key)
	if err == nil && !found {
		err = e.c.space.wrap("get", e.form.Missing(key))
	}
	return value, err
}

// GetTo appends the value of a key to dst, and reports whether the key has one. Its caller can use the memory of dst again.
func (e Encoded) GetTo(sc Scope, dst, key []byte) (value []byte, found bool, err error) {
	return e.look(sc, "get", key, e.form.Encode(), dst)
}

// look appends the value of a key to dst, unless encode is nil, and reports whether there is one.
func (e Encoded) look(sc Scope, op string, key []byte, encode edit.Encode, dst []byte) (value []byte, found bool, err error) {
	var room layout.Room
	s, in, err := sc.on()
	k, invalid := e.form.KeyIn(&room, key)
	if err = cmp.Or(invalid, err); err == nil {
		dst, found, err = in.AppendValue(&e.c.of.StoredOf, k, encode, dst)
		runtime.KeepAlive(&room)
	}
	return dst, found, s.wrap(op, err)
}

// Peek returns the bytes of a value that is a string or a slice of bytes, without a copy;
// ErrNotFound if there is none. They are read-only, and valid until tx ends.
func (c *Collection) Peek(tx *Tx, e Encoding, key []byte) (b []byte, err error) {
	err = c.read(tx, "peek", func(st *edit.Stored) (err error) { b, err = c.As(e).form.Peek(st, key); return err })
	return b, err
}

// GetAll returns the values of keys, in one version: nil for a key that is not there.
func (e Encoded) GetAll(sc Scope, keys ...[]byte) (values [][]byte, err error) {
	values = make([][]byte, len(keys))
	return values, e.c.read(sc, "get", func(st *edit.Stored) error { return e.form.GetAll(st, keys, values) })
}

// Has reports whether there is a key.
func (e Encoded) Has(sc Scope, key []byte) (has bool, err error) {
	_, has, err = e.look(sc, "has", key, nil, nil)
	return has, err
}

// Rank returns how many keys of a sorted map are less than the key, which need not be there.
func (e Encoded) Rank(sc Scope, key []byte) (n uint64, err error) {
	err = e.c.read(sc, "rank", func(st *edit.Stored) (err error) { n, err = e.form.Rank(st, key); return err })
	return n, err
}

// Nth returns the entry of a sorted map or a list with i keys before it, or ErrNotFound.
func (e Encoded) Nth(sc Scope, i int) (key, value []byte, err error) {
	err = e.c.read(sc, "nth", func(st *edit.Stored) (err error) {
		key, value, err = e.form.Nth(st, i)
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
	return follow(ctx, c.space, c.of.StoredOf, opts, func(d *watch.Difference) (ch EncodedChange, err error) {
		ch.Version, ch.More = Version(d.Version), d.More
		ch.Key, ch.Old, ch.New, err = d.Encoded(e.form.Binary)
		return ch, err
	})
}

// Set stores a value under a key. In JSON, fields that the text lacks are zero, and an unknown
// field is an error.
func (e Encoded) Set(sc Scope, key, value []byte) error {
	h, err := e.form.Hold(key, value)
	if err != nil {
		return e.c.space.wrap("set", err)
	}
	err = editIn(sc, "set", func(tx *engine.Tx) error { return h.Store(&tx.Editor) })
	h.Release()
	return err
}

// SetAll stores entries, in one transaction: all of them or none.
func (e Encoded) SetAll(sc Scope, entries iter.Seq2[[]byte, []byte]) error {
	return e.c.write(sc, "set", func(st *edit.Stored) error { return e.form.SetAll(st, entries) })
}

// Entry is a key and a value of a collection, read and judged: Store stores it.
type Entry struct{ of untyped.Entry }

// Parse reads an entry, in no transaction and by any goroutine. So programs that load much
// parse on several processors, know before they write what does not fit, and write for a
// shorter time. Without a key it is an element to be appended to a list. Errors: *JSONError,
// *BinaryError.
func (e Encoded) Parse(key, value []byte) (entry Entry, err error) {
	entry.of, err = e.form.Parse(key, value)
	return entry, err
}

// Store stores entries in order, up to the first that cannot be stored, and returns how many
// it has stored. With a Space all are stored or none. With a Tx those before the error are;
// the program may go on with the one after it.
func (c *Collection) Store(sc Scope, entries ...Entry) (stored int, err error) {
	err = c.write(sc, "store", func(st *edit.Stored) error {
		for stored = 0; stored < len(entries); stored++ {
			if err := entries[stored].of.Store(st); err != nil {
				return err
			}
		}
		return nil
	})
	return stored, err
}

// Append adds values at the end of a list, in one transaction.
func (e Encoded) Append(sc Scope, values ...[]byte) error {
	return e.c.write(sc, "append", func(st *edit.Stored) error { return e.form.Append(st, values) })
}

// Delete removes a key and reports whether it was there. Of a list only the last element can
// be removed.
func (e Encoded) Delete(sc Scope, key []byte) (removed bool, err error) {
	err = e.c.write(sc, "delete", func(st *edit.Stored) (err error) { removed, err = e.form.Delete(st, key); return err })
	return removed, err
}

// All returns the entries, as they are when the loop starts: those of a map in no order, those
// of a sorted map by key, those of a list by index.
func (e Encoded) All(tx *Tx) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "all", (*untyped.Form).All)
}

// Keys is All for the keys alone.
func (e Encoded) Keys(tx *Tx) iter.Seq[[]byte] {
	return func(yield func(key []byte) bool) {
		st, err := e.c.of.Bind(&tx.engine.Editor)
		if err == nil {
			err = e.form.Keys(st, yield)
		}
		tx.raise("keys", err)
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
	return e.entries(tx, "prefix", func(f *untyped.Form, st *edit.Stored, yield untyped.Yield) error { return f.Prefix(st, p, yield) })
}

// between returns the entries between two bounds.
func (e Encoded) between(tx *Tx, from, to Bound[[]byte], back bool) iter.Seq2[[]byte, []byte] {
	return e.entries(tx, "range", func(f *untyped.Form, st *edit.Stored, yield untyped.Yield) error {
		return f.Range(st, encodedBound(from), encodedBound(to), back, yield)
	})
}

// encodedBound converts a bound of encoded values.
func encodedBound(b Bound[[]byte]) untyped.Bound { return untyped.Bound{Text: b.key, Kind: b.kind} }

// entries returns the entries of a walk.
func (e Encoded) entries(tx *Tx, op string, walk func(f *untyped.Form, st *edit.Stored, yield untyped.Yield) error) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		st, err := e.c.of.Bind(&tx.engine.Editor)
		if err == nil {
			err = walk(e.form, st, yield)
		}
		tx.raise(op, err)
	}
}
