package untyped

import (
	"fmt"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/table"
)

// What is in this file is for who shows entries to people: it wants to know how large a value
// is before it has the text of it, and whether it has to look again.

// Bounded is Get for who has room for values of so many bytes: of a larger one there is only the
// size, which is what its block holds.
func (f *Form) Bounded(st *edit.Stored, k Key, most uint64) (value []byte, size uint64, err error) {
	part, err := f.find(st, k)
	if err != nil {
		return nil, 0, err
	}
	return f.bounded(st, part, most)
}

// BoundedNth is Nth in the same way; the key is always there.
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

// ChangedSince reports whether the collection has changed since a version: each change writes
// the block of the object anew, so that block is older if there was none.
func (c *Collection) ChangedSince(ed *edit.Editor, version format.Version) (bool, error) {
	_, p, err := table.Any(ed.Reader, format.Link(ed.State.Table), c.ID.Index())
	if err != nil {
		return false, ed.ObjectError(c.ID, err)
	}
	return ed.Reader.Birth(format.Addr(uintptr(p)-format.HeaderSize)) > version, nil
}
