package engine

import (
	"fmt"
	"runtime"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// What is done to names, and to collections whose types are given as data.

// Create makes a collection with a name for handles of a type; a single value is zero. If
// there is one, the error is ErrExists, unless open is set: then it is ErrTypeChanged if that
// one has other types, and else the ID of that one is returned.
func (tx *Tx) Create(name string, handle *layout.Type, open bool) (format.ID, error) {
	return tx.openNamed(name, func(id format.ID) error {
		st, err := tx.Stored(id)
		if err != nil {
			return err
		}
		if !open {
			return fmt.Errorf("%w: a collection %q, which is a %s of %s; drop or rename it first, or take another name", ErrExists, name, object.Called(st.kind), st.Value)
		}
		return st.compare(handle)
	}, func() (format.ID, error) { return tx.newStored(handle) })
}

// Create is the same in a transaction of its own: a reading one if the collection is there.
func (sp *Space) Create(name string, handle *layout.Type, open bool) (format.ID, error) {
	return sp.openNamed(func(tx *Tx) (format.ID, error) { return tx.Create(name, handle, open) })
}

// compare returns ErrTypeChanged unless an object is one that handles of the type lead to.
func (s *Stored) compare(handle *layout.Type) error {
	if kind := object.OfHandle(handle.Kind()); kind != s.kind {
		return &TypeError{Kind: ErrTypeChanged, Lines: []string{
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
	return newPlan(s.kind, key, s.Value, handle.Key(), handle.Elem(), nil).err(nil)
}

// newStored makes a collection for handles of a type.
func (tx *Tx) newStored(handle *layout.Type) (format.ID, error) {
	kind := object.OfHandle(handle.Kind())
	var key, index uint64
	var err error
	if handle.Key() != nil {
		if err := entry.CheckKeys(handle.Key(), kind); err != nil {
			return 0, err
		}
		if key, err = tx.typeIndex(handle.Key()); err != nil {
			return 0, err
		}
	}
	value, err := tx.typeIndex(handle.Elem())
	if err != nil {
		return 0, err
	}
	switch kind {
	case format.KindMap, format.KindSorted:
		index, err = tx.newMap(kind, key, value)
	case format.KindList:
		index, err = tx.newList(value)
	default:
		var zero *layout.Detached
		if zero, err = handle.Elem().Attach(make([]byte, (handle.Elem().Size()+7)&^7)); err != nil {
			return 0, err
		}
		index, err = tx.newValue(entry.NewValue(handle.Elem(), tx.sp.judge), value, zero.Pointer())
		runtime.KeepAlive(zero)
	}
	return format.MakeID(tx.sp.header.Tag, index), err
}

// RemoveName makes an object one that no name leads to, and reports whether there was one
// with the name. What nothing else leads to is collected.
func (tx *Tx) RemoveName(name string) (bool, error) {
	index, found, err := tx.Named(name)
	if err != nil || !found {
		return false, err
	}
	if err := tx.writable(); err != nil {
		return false, err
	}
	defer tx.endChange()
	removed, err := tx.ownMap(tx.state.Catalog).remove(tx, layout.NoEscape(&name))
	if err == nil {
		tx.unlinked += tx.weight(index)
	}
	return removed, err
}

// weight returns how many objects and entries go with an object, as far as its own block tells.
func (tx *Tx) weight(index uint64) uint64 {
	if st, err := tx.Stored(format.MakeID(tx.sp.header.Tag, index)); err == nil {
		return 1 + st.Count
	}
	return 1
}

// ownMap returns one of the space's own maps.
func (tx *Tx) ownMap(index uint64) *Map {
	return &Map{index: index, kind: format.KindMap, shape: tx.sp.catalog}
}

// Rename gives an object another name. The error is ErrNotFound if there is none with the
// name, and ErrExists if the other name leads to one.
func (tx *Tx) Rename(from, to string) error {
	index, found, err := tx.Named(from)
	if err == nil && !found {
		err = fmt.Errorf("%w: the space has nothing named %q", ErrNotFound, from)
	}
	if err != nil {
		return err
	}
	if _, found, err = tx.Named(to); err == nil && found {
		err = fmt.Errorf("%w: a collection %q; drop or rename it first, or take another name", ErrExists, to)
	}
	if err != nil {
		return err
	}
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	if _, err := tx.ownMap(tx.state.Catalog).remove(tx, layout.NoEscape(&from)); err != nil {
		return err
	}
	return tx.enroll(tx.state.Catalog, to, index)
}
