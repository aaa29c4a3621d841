package edit

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
)

// OpenNamed returns the ID of the object with a name. If the name is taken, bind compares the
// object with what the program expects; otherwise create makes the object, if the transaction
// writes.
func (ed *Editor) OpenNamed(name string, bind func(id format.ID) error, create func() (format.ID, error)) (format.ID, error) {
	if err := ed.Err(); err != nil {
		return 0, err
	}
	if name == registryName {
		return 0, fmt.Errorf("%w: the space itself uses the name %q", failure.ErrExists, name)
	}
	index, found, err := ed.Named(name)
	if err != nil {
		return 0, err
	}
	if found {
		id := format.MakeID(ed.store.header.Tag, index)
		err := bind(id)
		if e := (*failure.TypeError)(nil); errors.As(err, &e) {
			e.Name = name
		}
		return id, err
	}
	if ed.Write == nil {
		return 0, fmt.Errorf("%w: the space has nothing named %q, and nothing may be created here", failure.ErrNotFound, name)
	}
	if err := ed.BeginChange(); err != nil {
		return 0, err
	}
	defer ed.EndChange()
	id, err := create()
	if err != nil {
		return 0, err
	}
	return id, ed.putWord(ed.State.Catalog, name, id.Index())
}

// lookup reads a word from one of the space's own maps.
func (ed *Editor) lookup(index uint64, key string) (uint64, bool, error) {
	m, err := ed.mapObject(index)
	if err != nil {
		return 0, false, err
	}
	sh := ed.store.Catalog
	hash, err := sh.Hash(layout.NoEscape(&key))
	if err != nil {
		return 0, false, err
	}
	entry, err := trie.Get(ed.Reader, format.Link(m.Root), sh, hash, layout.NoEscape(&key))
	if err != nil || entry == nil {
		return 0, false, err
	}
	return *layout.Cast[uint64](sh.ValueOf(entry)), true, nil
}

// putWord stores a word in one of the space's own maps.
func (ed *Editor) putWord(index uint64, key string, word uint64) error {
	m, err := ed.EditMap(index, format.KindMap)
	if err != nil {
		return err
	}
	sh := ed.store.Catalog
	hash, err := sh.Hash(layout.NoEscape(&key))
	if err != nil {
		return err
	}
	root, entry, old, err := trie.Set(ed.Write, format.Link(m.Root), sh, hash, layout.NoEscape(&key), layout.NoEscape(&word))
	if err != nil {
		return ed.Fail(err)
	}
	m.Root = uint64(root)
	if old == nil {
		m.Count++
	}
	ed.Write.LogSet(index, entry, blockAt(old))
	return nil
}

// Named returns the index of the object with a name. The name of the registry counts as free.
func (ed *Editor) Named(name string) (uint64, bool, error) {
	if name == registryName {
		return 0, false, nil
	}
	return ed.lookup(ed.State.Catalog, name)
}

// OwnEntries walks the entries of one of the space's own maps, whose shape is that of
// Store.Catalog.
func (ed *Editor) OwnEntries(index uint64, yield func(entry unsafe.Pointer) bool) error {
	m, err := ed.mapObject(index)
	if err != nil {
		return err
	}
	_, err = trie.All(ed.Reader, format.Link(m.Root), m.Count, yield)
	return err
}
