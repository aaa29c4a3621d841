package edit

import (
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/trie"
)

// A sorted map is a Map whose entries are in a B+tree instead of a hash trie. This file has what
// differs.

// kind returns the kind of the map's object.
func (of *MapOf) kind() format.Kind {
	if of.Sorted {
		return format.KindSorted
	}
	return format.KindMap
}

// sorted reports whether the map is sorted.
func (m *Map) sorted() bool { return m.kind == format.KindSorted }

// Hash returns the hash of a key, 0 in a sorted map. It is an error if no entry can have the key,
// as with NaN.
func (m *Map) Hash(key unsafe.Pointer) (uint64, error) {
	if m.sorted() {
		return 0, m.shape.CheckOrder(key)
	}
	return m.shape.Hash(key)
}

// Put stores an entry in the tree of a map.
func (m *Map) Put(ed *Editor, root format.Link, hash uint64, key, value unsafe.Pointer) (format.Link, format.Addr, unsafe.Pointer, error) {
	if m.sorted() {
		return btree.Set(ed.Write, root, m.shape, key, value)
	}
	return trie.Set(ed.Write, root, m.shape, hash, key, value)
}

// removeEntry removes an entry from the tree of a map.
func (m *Map) removeEntry(ed *Editor, root format.Link, hash uint64, key unsafe.Pointer) (format.Link, format.Addr, error) {
	if m.sorted() {
		return btree.Delete(ed.Write, root, m.shape, key)
	}
	return trie.Delete(ed.Write, root, m.shape, hash, key)
}

// findSorted is find for a sorted map.
func (m *Map) findSorted(ed *Editor, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
	if err := m.shape.CheckOrder(key); err != nil {
		return nil, err
	}
	return btree.Get(ed.Reader, format.Link(object.Root), m.shape, key)
}

// Bound is one end of a range of keys.
type Bound = btree.Bound

// BoundKind says which side of its key a bound of a program is on.
type BoundKind uint8

// The kinds of bounds.
const (
	Unbounded BoundKind = iota
	Including
	Excluding
)

// PrefixEnd returns the least string that is greater than every string that begins with p; ok is
// false if no string is.
func PrefixEnd[K ~string](p K) (end K, ok bool) {
	for i := len(p); i > 0; i-- {
		if c := p[i-1]; c < 0xff {
			return p[:i-1] + K([]byte{c + 1}), true
		}
	}
	return "", false
}

// Range walks the entries between two bounds as they are when the walk starts, in order or from the
// last one back; see Entries.
func (ed *Editor) Range(of MapOf, from, to Bound, back bool, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool) error {
	m, object, err := ed.Bind(of)
	if err != nil {
		return err
	}
	for _, b := range [2]*Bound{&from, &to} {
		if b.Key == nil {
			continue
		}
		if b.Key, err = m.shape.Key.Stored(b.Key); err != nil {
			return err
		}
		if err := m.shape.CheckOrder(b.Key); err != nil {
			return err
		}
	}
	return ed.copyKeys(m, false, next, yield, func(yield func(entry unsafe.Pointer) bool) error {
		return m.walkPresent(ed, object, from, to, back, yield)
	})
}

// walk is all for a part of a sorted map.
func (m *Map) walk(ed *Editor, object *format.MapObject, from, to Bound, back bool, yield func(entry unsafe.Pointer) bool) error {
	root, count := format.Link(object.Root), object.Count
	defer ed.freeze()()
	return btree.Range(ed.Reader, root, m.shape, from, to, count, back, yield)
}

// Rank returns how many keys of a sorted map are less than the key.
func (ed *Editor) Rank(of MapOf, key unsafe.Pointer) (uint64, error) {
	m, object, err := ed.Bind(of)
	if err != nil {
		return 0, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return 0, err
	}
	if err := m.shape.CheckOrder(key); err != nil {
		return 0, err
	}
	return m.rank(ed, object, key)
}

// Nth copies the key of an entry of a sorted map to the variable at dst, and returns its stored
// value. It is the entry that has i entries before it, or, with back, after it; nil if there is no
// such entry.
func (ed *Editor) Nth(of MapOf, i int, back bool, dst unsafe.Pointer) (unsafe.Pointer, error) {
	m, object, err := ed.Bind(of)
	if err == nil {
		err = m.shape.Value.CopyOnly()
	}
	if err != nil || i < 0 {
		return nil, err
	}
	entry, err := m.nth(ed, object, uint64(i), back)
	if err != nil || entry == nil {
		return nil, err
	}
	ed.borrow(entry)
	return ed.handOut(m, entry, dst, false)
}
