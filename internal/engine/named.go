package engine

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
)

// openNamed returns the ID of the object with a name. If it is there, bind compares
// it with what the program expects; else create makes it, if the transaction writes.
func (tx *Editor) openNamed(name string, bind func(id format.ID) error, create func() (format.ID, error)) (format.ID, error) {
	if err := tx.Err(); err != nil {
		return 0, err
	}
	index, found, err := tx.Named(name)
	if err != nil {
		return 0, err
	}
	if found {
		id := format.MakeID(tx.store.header.Tag, index)
		err := bind(id)
		if e := (*TypeError)(nil); errors.As(err, &e) {
			e.Name = name
		}
		return id, err
	}
	if tx.write == nil {
		return 0, fmt.Errorf("%w: the space has nothing named %q, and nothing may be created here", ErrNotFound, name)
	}
	if err := tx.beginChange(); err != nil {
		return 0, err
	}
	defer tx.endChange()
	id, err := create()
	if err != nil {
		return 0, err
	}
	return id, tx.enroll(tx.state.Catalog, name, id.Index())
}

// lookup reads a word from one of the space's own maps.
func (tx *Editor) lookup(index uint64, key string) (uint64, bool, error) {
	m, err := tx.mapObject(index)
	if err != nil {
		return 0, false, err
	}
	sh := tx.store.catalog
	hash, err := sh.Hash(layout.NoEscape(&key))
	if err != nil {
		return 0, false, err
	}
	entry, err := trie.Get(tx.reader, format.Link(m.Root), sh, hash, layout.NoEscape(&key))
	if err != nil || entry == nil {
		return 0, false, err
	}
	return *layout.Cast[uint64](sh.ValueOf(entry)), true, nil
}

// enroll stores a word in one of the space's own maps.
func (tx *Editor) enroll(index uint64, key string, word uint64) error {
	m, err := tx.editEntries(index, format.KindMap)
	if err != nil {
		return err
	}
	sh := tx.store.catalog
	hash, err := sh.Hash(layout.NoEscape(&key))
	if err != nil {
		return err
	}
	root, entry, old, err := trie.Set(tx.write, format.Link(m.Root), sh, hash, layout.NoEscape(&key), layout.NoEscape(&word))
	if err != nil {
		return tx.fail(err)
	}
	m.Root = uint64(root)
	if old == nil {
		m.Count++
	}
	tx.write.LogSet(index, entry, blockAt(old))
	return nil
}

// Named returns the index of the object with a name.
func (tx *Editor) Named(name string) (uint64, bool, error) {
	return tx.lookup(tx.state.Catalog, name)
}

// NamedObject is an entry of the catalog.
type NamedObject struct {
	Name  string
	ID    format.ID
	Kind  string
	Key   *layout.Type // nil: it has no keys
	Value *layout.Type
	Count uint64
}

// Names lists the catalog, in no order.
func (tx *Editor) Names() ([]NamedObject, error) {
	m, err := tx.mapObject(tx.state.Catalog)
	if err != nil {
		return nil, err
	}
	var list []NamedObject
	sh := tx.store.catalog
	_, walkErr := trie.All(tx.reader, format.Link(m.Root), m.Count, func(entry unsafe.Pointer) bool {
		var name string
		if err = sh.Key.CopyOut(unsafe.Pointer(&name), sh.KeyOf(entry), tx.Bounds(entry)); err != nil {
			return false
		}
		var o NamedObject
		if o, err = tx.describe(name, *layout.Cast[uint64](sh.ValueOf(entry))); err != nil {
			return false
		}
		list = append(list, o)
		return true
	})
	if err == nil {
		err = walkErr
	}
	return list, err
}

// describe reads what a named object is.
func (tx *Editor) describe(name string, index uint64) (NamedObject, error) {
	id := format.MakeID(tx.store.header.Tag, index)
	st, err := tx.Stored(id)
	if err != nil {
		return NamedObject{Name: name, ID: id}, err
	}
	return NamedObject{Name: name, ID: id, Kind: st.Kind, Key: st.Key, Value: st.Value, Count: st.Count}, nil
}
