package edit

import (
	"fmt"
	"runtime"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// This file changes names, and makes collections whose types are given as data.

// Create makes a collection with a name for handles of a type; a single value is zero. If the name
// is taken, the error is ErrExists. With open set, Create then returns the ID of the collection
// that has the name, or ErrTypeChanged if that one has other types.
func (ed *Editor) Create(name string, handle *layout.Type, open bool) (format.ID, error) {
	return ed.OpenNamed(name, func(id format.ID) error {
		st, err := ed.Stored(id)
		if err != nil {
			return err
		}
		if !open {
			return fmt.Errorf("%w: a collection %q, which is a %s of %s; drop or rename it first, or take another name", failure.ErrExists, name, object.Called(st.kind), st.Value)
		}
		return st.compare(handle)
	}, func() (format.ID, error) { return ed.newStored(handle) })
}

// compare returns ErrTypeChanged unless handles of the type can refer to the object.
func (s *Stored) compare(handle *layout.Type) error {
	if kind := object.OfHandle(handle.Kind()); kind != s.kind {
		return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{
			"  stored:  a " + object.Called(s.kind),
			"  program: a " + object.Called(kind)}}
	}
	if layout.Same(s.Value, handle.Elem()) && (handle.Key() == nil || layout.Same(s.Key, handle.Key())) {
		return nil
	}
	key := s.Key
	if handle.Key() == nil {
		key = nil
	}
	var keys *layout.Conversion
	if key != nil {
		keys = layout.NewConversion(key, handle.Key(), nil)
	}
	return TypesDiffer(s.kind, keys, layout.NewConversion(s.Value, handle.Elem(), nil), false)
}

// NewStored makes a collection for handles of a type, without a name.
func (ed *Editor) NewStored(handle *layout.Type) (format.ID, error) {
	if err := ed.writable(); err != nil {
		return 0, err
	}
	defer ed.EndChange()
	return ed.newStored(handle)
}

// newStored makes a collection for handles of a type.
func (ed *Editor) newStored(handle *layout.Type) (format.ID, error) {
	kind := object.OfHandle(handle.Kind())
	var key, index uint64
	var err error
	if handle.Key() != nil {
		if err := entry.CheckKeys(handle.Key(), kind); err != nil {
			return 0, err
		}
		if key, err = ed.TypeIndex(handle.Key()); err != nil {
			return 0, err
		}
	}
	value, err := ed.TypeIndex(handle.Elem())
	if err != nil {
		return 0, err
	}
	switch kind {
	case format.KindMap, format.KindSorted:
		index, err = ed.newMap(kind, key, value)
	case format.KindList:
		index, err = ed.newList(value)
	default:
		var zero *layout.Detached
		if zero, err = handle.Elem().Attach(make([]byte, (handle.Elem().Size()+7)&^7)); err != nil {
			return 0, err
		}
		index, err = ed.newValue(entry.NewValue(handle.Elem(), ed.store.CheckHandle), value, zero.Pointer())
		runtime.KeepAlive(zero)
	}
	return format.MakeID(ed.store.header.Tag, index), err
}

// RemoveName removes a name, and reports whether an object had it. A collection removes the object
// later unless something else refers to it.
func (ed *Editor) RemoveName(name string) (bool, error) {
	index, found, err := ed.Named(name)
	if err != nil || !found {
		return false, err
	}
	if err := ed.writable(); err != nil {
		return false, err
	}
	defer ed.EndChange()
	removed, err := ed.ownMap(ed.State.Catalog).remove(ed, layout.NoEscape(&name))
	if err == nil {
		ed.unlinked += ed.weight(index)
	}
	return removed, err
}

// weight returns how many objects and entries an object counts for, as far as its own block tells.
func (ed *Editor) weight(index uint64) uint64 {
	if st, err := ed.Stored(format.MakeID(ed.store.header.Tag, index)); err == nil {
		return 1 + st.Count
	}
	return 1
}

// ownMap returns one of the space's own maps.
func (ed *Editor) ownMap(index uint64) *Map {
	return &Map{index: index, kind: format.KindMap, shape: ed.store.Catalog}
}

// Rename gives an object another name. The error is ErrNotFound if no object has the name from, and
// ErrExists if one has the name to.
func (ed *Editor) Rename(from, to string) error {
	index, found, err := ed.Named(from)
	if err == nil && !found {
		err = fmt.Errorf("%w: the space has nothing named %q", failure.ErrNotFound, from)
	}
	if err != nil {
		return err
	}
	if _, found, err = ed.Named(to); err == nil && (found || to == registryName) {
		err = fmt.Errorf("%w: a collection %q; drop or rename it first, or take another name", failure.ErrExists, to)
	}
	if err != nil {
		return err
	}
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	if _, err := ed.ownMap(ed.State.Catalog).remove(ed, layout.NoEscape(&from)); err != nil {
		return err
	}
	return ed.putWord(ed.State.Catalog, to, index)
}
