package untyped

import (
	"fmt"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/table"
)

// This file is for programs that show entries to people: they ask for the size of a value before they
// encode it, and whether they must read a collection again.

// Bounded is Get for values of at most most bytes. For a larger value it returns only the size, which
// is the size of its block's payload.
func (f *Form) Bounded(st *edit.Stored, k Key, most uint64) (value []byte, size uint64, err error) {
	part, err := f.find(st, k)
	if err != nil {
		return nil, 0, err
	}
	return f.bounded(st, part, most)
}

// BoundedNth is Nth with the same bound; it always returns the key.
func (f *Form) BoundedNth(st *edit.Stored, i int, most uint64) (key, value []byte, size uint64, err error) {
	k, v, err := st.Nth(uint64(i))
	if err == nil && v.Pointer == nil {
		err = fmt.Errorf("entry %d of %s: %w", i, f.Name, failure.ErrNotFound)
	}
	if err == nil {
		key, err = f.appendPart(nil, st.Key, k)
	}
	if err == nil {
		value, size, err = f.bounded(st, v, most)
	}
	return key, value, size, err
}

// bounded encodes a value unless it is too large.
func (f *Form) bounded(st *edit.Stored, part edit.StoredPart, most uint64) (value []byte, size uint64, err error) {
	size = uint64(part.Bounds.Hi - part.Bounds.Lo)
	if size <= most {
		value, err = f.appendPart(nil, st.Value, part)
	}
	return value, size, err
}

// ChangedSince reports whether the collection has changed since a version. Each change rewrites the
// object's block; so if that block is older, nothing has changed.
func (c *Collection) ChangedSince(ed *edit.Editor, version format.Version) (bool, error) {
	_, p, err := table.Any(ed.Reader, format.Link(ed.State.Table), c.ID.Index())
	if err != nil {
		return false, ed.ObjectError(c.ID, err)
	}
	return ed.Reader.Birth(format.Addr(uintptr(p)-format.HeaderSize)) > version, nil
}
