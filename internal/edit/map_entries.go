package edit

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
)

// Get copies the value of the key to the variable at dst, unless that is nil, and reports
// whether it is there.
func (ed *Editor) Get(of MapOf, key, dst unsafe.Pointer) (bool, error) {
	if b := ed.store.lately.find(ed, of); b != nil && b.fast && !ed.ended.Load() {
		if value, ok := b.finder.Value(*(*string)(key)); ok {
			if dst == nil {
				return true, nil
			}
			bounds := ed.Bounds(b.m.shape.Of(value))
			if err := b.m.shape.Value.CopyOut(dst, value, bounds); err != nil {
				return true, ed.Blame(bounds, err)
			}
			return true, nil
		}
	}
	m, object, err := ed.Bind(of)
	if err != nil {
		return false, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return false, err
	}
	entry, err := m.present(ed, object, key)
	if err != nil || entry == nil || dst == nil {
		return entry != nil, err
	}
	bounds := ed.Bounds(entry)
	if err := m.shape.Value.CopyOut(dst, m.shape.ValueOf(entry), bounds); err != nil {
		return true, ed.Blame(bounds, err)
	}
	return true, nil
}

// Set stores a copy of the value under the key. It begins the change before it looks at anything: a
// goroutine that shares the transaction by mistake may call Set after the end.
func (ed *Editor) Set(of MapOf, key, value unsafe.Pointer) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	m, _, err := ed.Bind(of)
	if err != nil {
		return err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return err
	}
	if value, err = m.shape.Value.Stored(value); err != nil {
		return err
	}
	if m.key&format.Indexed != 0 && ed.role != applying { // IX1
		return ed.store.keeper.Set(ed, m, key, value)
	}
	return m.set(ed, key, value)
}

// Delete removes the key and reports whether it was there.
func (ed *Editor) Delete(of MapOf, key unsafe.Pointer) (bool, error) {
	if err := ed.writable(); err != nil {
		return false, err
	}
	defer ed.EndChange()
	m, _, err := ed.Bind(of)
	if err != nil {
		return false, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return false, err
	}
	return m.remove(ed, key)
}

// Peek returns the stored value of the key, or a copy if it is Coded; nil if it is not
// there.
func (ed *Editor) Peek(of MapOf, key unsafe.Pointer) (unsafe.Pointer, error) {
	if b := ed.binding(); b != nil && b.fast && b.of == of {
		if value, ok := b.finder.Value(*(*string)(key)); ok {
			return value, nil
		}
	}
	return ed.peek(of, key)
}

// peek is Peek for a map that is not the first one of a reading transaction, and for a key that the
// finder of its binding has not found.
func (ed *Editor) peek(of MapOf, key unsafe.Pointer) (unsafe.Pointer, error) {
	m, object, err := ed.Bind(of)
	if err == nil {
		err = m.shape.Value.CopyOnly()
	}
	if err != nil {
		return nil, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return nil, err
	}
	entry, err := m.present(ed, object, key)
	if err != nil || entry == nil {
		return nil, err
	}
	ed.borrow(entry)
	if !ed.store.trusting {
		if err := m.shape.Value.Check(m.shape.ValueOf(entry), ed.Bounds(entry)); err != nil {
			return nil, err
		}
	}
	return ed.lend(m.shape.Value, m.shape.ValueOf(entry), entry)
}

// lend returns what the program sees of a stored value in the block with the payload: the value
// itself, or a copy if it is Coded (LY9).
func (ed *Editor) lend(t *layout.Type, value, payload unsafe.Pointer) (unsafe.Pointer, error) {
	if !t.Coded() {
		return value, nil
	}
	if err := t.CopyOnly(); err != nil {
		return nil, err
	}
	bounds := ed.Bounds(payload)
	lent, err := t.CopyNew(value, bounds)
	return lent, ed.Blame(bounds, err)
}

// Entries walks the entries of a map as they are when the walk starts. It copies each key to the
// variable whose address next returns, and passes the stored value, or a copy if it is Coded, to
// yield.
func (ed *Editor) Entries(of MapOf, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool) error {
	return ed.entries(of, false, next, yield)
}

// Copies is Entries, but yields copies of the values that belong to the program.
func (ed *Editor) Copies(of MapOf, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool) error {
	return ed.entries(of, true, next, yield)
}

func (ed *Editor) entries(of MapOf, copies bool, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool) error {
	m, object, err := ed.Bind(of)
	if err != nil {
		return err
	}
	return ed.copyKeys(m, copies, next, yield, func(yield func(entry unsafe.Pointer) bool) error { return m.allPresent(ed, object, yield) })
}

// copyKeys passes the entries of a walk on, as Entries or as Copies does.
func (ed *Editor) copyKeys(m *Map, copies bool, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool, walk func(yield func(entry unsafe.Pointer) bool) error) error {
	if !copies {
		if err := m.shape.Value.CopyOnly(); err != nil {
			return err
		}
	}
	var failed error
	err := walk(func(entry unsafe.Pointer) bool {
		value, err := ed.handOut(m, entry, next(), copies)
		failed = err
		return err == nil && yield(value)
	})
	if err == nil {
		err = failed
	}
	return err
}

// handOut copies the key of an entry to the variable at dst, and returns the stored
// value, or a copy.
func (ed *Editor) handOut(m *Map, entry, dst unsafe.Pointer, copies bool) (value unsafe.Pointer, err error) {
	bounds := ed.Bounds(entry)
	if err = m.shape.Key.CopyOut(dst, m.shape.KeyOf(entry), bounds); err != nil {
		return nil, ed.Blame(bounds, err)
	}
	value = m.shape.ValueOf(entry)
	if copies {
		value, err = m.shape.Value.CopyNew(value, bounds)
		return value, ed.Blame(bounds, err)
	}
	if !ed.store.trusting {
		if err = m.shape.Value.Check(value, bounds); err != nil {
			return nil, err
		}
	}
	return ed.lend(m.shape.Value, value, entry)
}

// Len returns the number of entries.
func (ed *Editor) Len(of MapOf) (int, error) {
	m, object, err := ed.Bind(of)
	if err != nil {
		return 0, err
	}
	n, err := m.count(ed, object)
	return int(n), err
}

// find returns the payload of the entry with the key, nil if the map has none. It is valid until
// the transaction ends.
func (m *Map) find(ed *Editor, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
	if m.sorted() {
		return m.findSorted(ed, object, key)
	}
	if f, ok := trie.NewFinder(ed.Reader, format.Link(object.Root), m.shape); ok {
		if value, ok := f.Value(*(*string)(key)); ok {
			return m.shape.Of(value), nil
		}
	}
	hash, err := m.shape.Hash(key)
	if err != nil {
		return nil, err
	}
	return trie.Get(ed.Reader, format.Link(object.Root), m.shape, hash, key)
}

// borrow says that the program now has pointers into the block with the payload.
func (ed *Editor) borrow(payload unsafe.Pointer) {
	if ed.Write != nil {
		ed.Write.Borrow(blockAt(payload))
	}
}

// BorrowPart says that the program now has pointers into the block of a part.
func (ed *Editor) BorrowPart(p StoredPart) {
	if ed.Write != nil && p.Pointer != nil {
		ed.Write.Borrow(format.Addr(p.Bounds.Lo - format.HeaderSize))
	}
}

// blockAt returns the address of the block with the payload, which the reader mapped; 0 for nil.
func blockAt(payload unsafe.Pointer) format.Addr {
	if payload == nil {
		return 0
	}
	return format.Addr(uintptr(payload) - format.HeaderSize)
}

// Bounds returns the limits of the payload of an entry.
func (ed *Editor) Bounds(payload unsafe.Pointer) layout.Bounds {
	return entry.Bounds(ed.Reader, payload)
}

// Set stores a copy of the value under the key.
func (m *Map) Set(ed *Editor, key, value unsafe.Pointer) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	if m.key&format.Indexed != 0 && ed.role != applying { // IX1
		return ed.store.keeper.Set(ed, m, key, value)
	}
	return m.set(ed, key, value)
}

// set stores an entry, within a change that has begun. It does not change the indexes.
func (m *Map) set(ed *Editor, key, value unsafe.Pointer) error {
	hash, err := m.Hash(key)
	if err != nil {
		return err
	}
	object, err := ed.EditMap(m.index, m.kind)
	if err != nil {
		return err
	}
	root, entry, old, err := m.Put(ed, format.Link(object.Root), hash, key, value)
	if err != nil {
		if isValueError(err) { // found before any tree was changed
			return err
		}
		return ed.Fail(err)
	}
	object.Root = uint64(root)
	if old == nil {
		object.Count++
	} else if m.shape.Value.HasHandles() {
		ed.unlinked++
	}
	ed.Write.LogSet(m.index, entry, blockAt(old))
	return nil
}

// isValueError reports whether storing failed because of the key or the value.
func isValueError(err error) bool {
	return errors.Is(err, layout.ErrChanged) || errors.Is(err, layout.ErrTooLarge) || errors.As(err, new(*layout.UnstorableError)) || isHandleError(err)
}

// Delete removes the key and reports whether it was there.
func (m *Map) Delete(ed *Editor, key unsafe.Pointer) (bool, error) {
	if err := ed.writable(); err != nil {
		return false, err
	}
	defer ed.EndChange()
	return m.remove(ed, key)
}

// remove is Delete within a change that has begun.
func (m *Map) remove(ed *Editor, key unsafe.Pointer) (bool, error) {
	if m.key&format.Indexed != 0 && ed.role != applying { // IX1
		return ed.store.keeper.Remove(ed, m, key)
	}
	return m.takeOut(ed, key)
}

// takeOut removes an entry. It does not change the indexes.
func (m *Map) takeOut(ed *Editor, key unsafe.Pointer) (bool, error) {
	object, err := ed.entriesObject(m.index, m.kind)
	if err != nil {
		return false, err
	}
	hash, err := m.Hash(key)
	if err != nil {
		return false, err
	}
	ed.Write.Remove(true, false)
	defer ed.Write.Remove(false, false)
	root, block, err := m.removeEntry(ed, format.Link(object.Root), hash, key)
	switch {
	case err != nil && root == 0:
		return false, ed.Fail(err)
	case err != nil: // found before any tree was changed
		return false, err
	}
	if block == 0 {
		return false, nil
	}
	if object, err = ed.EditMap(m.index, m.kind); err != nil {
		return false, err
	}
	object.Root = uint64(root)
	object.Count--
	if m.shape.Value.HasHandles() || m.shape.Key.HasHandles() {
		ed.unlinked++
	}
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpDelete, m.index), Block: uint64(block)})
	return true, nil
}

// all walks the entries as they are when the walk starts, those of a sorted map in
// order.
func (m *Map) all(ed *Editor, object *format.MapObject, yield func(entry unsafe.Pointer) bool) error {
	if m.sorted() {
		return m.walk(ed, object, Bound{}, Bound{}, false, yield)
	}
	root, count := format.Link(object.Root), object.Count
	defer ed.freeze()()
	_, err := trie.All(ed.Reader, root, count, yield)
	return err
}

// freeze makes the blocks that the transaction has written unchangeable until the returned function
// is called: meanwhile the transaction copies them, so no walk sees an edit.
func (ed *Editor) freeze() (thaw func()) {
	if ed.Write == nil {
		return func() {}
	}
	ed.Write.BorrowAll()
	ed.Write.Freeze()
	return ed.Write.Thaw
}
