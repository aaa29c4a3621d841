package engine

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/trie"
)

// Map is a map of a space, sorted or not, together with the types by which it is
// accessed.
type Map struct {
	index      uint64
	kind       format.Kind
	of         MapOf
	key, value uint64 // descriptors of the stored types
	shape      *entry.Shape
}

// Bind returns the map that a handle names, for its Go types of keys and values.
// The outcome is remembered by the space; what is compared then is that the
// object still has the descriptors that were compared with the Go types.
func (tx *Tx) Bind(of MapOf) (*Map, *format.MapObject, error) {
	if tx.first.ready.Load() >= ready && tx.first.of == of {
		return tx.first.m, tx.first.object, nil
	}
	return tx.bindAny(of)
}

// bindAny is Bind for a map that is not the first one of a reading transaction.
func (tx *Tx) bindAny(of MapOf) (*Map, *format.MapObject, error) {
	if err := tx.Err(); err != nil {
		return nil, nil, err
	}
	sp := tx.sp
	if of.ID.Tag() != sp.header.Tag {
		if of.ID == 0 {
			return nil, nil, ErrNilHandle
		}
		return nil, nil, otherSpace(of.ID)
	}
	index := of.ID.Index()
	object, err := tx.entriesObject(index, of.kind())
	if err != nil {
		return nil, nil, tx.objectError(of.ID, err)
	}
	m := sp.bound[index%uint64(len(sp.bound))].Load()
	if !m.fits(of, object) {
		if m = tx.recent; tx.write == nil || !m.fits(of, object) {
			if m, err = tx.bind(of, object); err != nil {
				return nil, nil, err
			}
		}
	}
	if tx.write == nil && tx.first.ready.CompareAndSwap(0, filling) {
		tx.first.of, tx.first.m, tx.first.object = of, m, object
		fast := false
		if !of.Sorted && !m.shape.Value.Coded() {
			tx.first.finder, fast = trie.NewFinder(tx.reader, format.Link(object.Root), m.shape)
		}
		if fast {
			tx.first.ready.Store(findable)
		} else {
			tx.first.ready.Store(ready)
		}
	}
	return m, object, nil
}

// fits reports whether m is of the object and the Go types.
func (m *Map) fits(of MapOf, object *format.MapObject) bool {
	return m != nil && m.of == of && m.key == object.Key && m.value == object.Value
}

// bind compares the stored types of a map with Go types.
func (tx *Tx) bind(of MapOf, object *format.MapObject) (*Map, error) {
	k, v, err := mapTypes(of)
	if err != nil {
		return nil, err
	}
	storedKey, err := tx.storedType(object.Key)
	if err != nil {
		return nil, err
	}
	storedValue, err := tx.storedType(object.Value)
	if err != nil {
		return nil, err
	}
	if !layout.Same(storedKey, k) || !layout.Same(storedValue, v) {
		return nil, newPlan(of.kind(), storedKey, storedValue, k, v, nil).err(nil)
	}
	index := of.ID.Index()
	m := &Map{index: index, kind: of.kind(), of: of, key: object.Key, value: object.Value,
		shape: tx.sp.shape(k, v)}
	if tx.published(index) && tx.published(object.Key) && tx.published(object.Value) { // R1
		tx.sp.bound[index%uint64(len(tx.sp.bound))].Store(m)
	} else if tx.write != nil { // a snapshot is shared, and remembers nothing
		tx.recent = m
	}
	return m, nil
}

// shape returns the layout of the entries of a map of the types.
func (sp *Space) shape(key, value *layout.Type) *entry.Shape {
	sh := entry.NewShape(key, value, sp.header.Secret)
	sh.JudgeHandles(sp.judge)
	if sp.options.HashBits != 0 {
		sh.CutHash(sp.options.HashBits)
	}
	return sh
}

// mapTypes compiles the types of a map and refuses what cannot be stored.
func mapTypes(of MapOf) (k, v *layout.Type, err error) {
	if k, err = layout.Of(of.Key.GoType()); err != nil {
		return nil, nil, err
	}
	if err = keyError(k, of.kind()); err != nil {
		return nil, nil, err
	}
	v, err = layout.Of(of.Value.GoType())
	return k, v, err
}

// keyError returns why values of a type cannot be keys of a map of the kind; nil if
// they can.
func keyError(key *layout.Type, kind format.Kind) error {
	if kind == format.KindSorted {
		return key.OrderError()
	}
	return key.KeyError()
}

// StoredMap returns a map by its stored types alone, for programs that have no
// Go type for them.
func (tx *Tx) StoredMap(id format.ID) (*Map, *format.MapObject, error) {
	if err := tx.Err(); err != nil {
		return nil, nil, err
	}
	kind, p, err := table.Any(tx.reader, format.Link(tx.state.Table), id.Index())
	if err == nil && kind != format.KindMap && kind != format.KindSorted {
		err = &table.KindError{Want: format.KindMap, Got: kind}
	}
	if err != nil {
		return nil, nil, tx.objectError(id, err)
	}
	object := (*format.MapObject)(p)
	key, err := tx.storedType(object.Key)
	if err == nil {
		err = keyError(key, kind)
	}
	if err != nil {
		return nil, nil, err
	}
	value, err := tx.storedType(object.Value)
	if err != nil {
		return nil, nil, err
	}
	m := &Map{index: id.Index(), kind: kind, key: object.Key, value: object.Value, shape: tx.sp.shape(key, value)}
	return m, object, nil
}

// OpenMap returns the ID of the map with a name and the types of of, creating the map if a writing
// transaction asks for one that is not there.
func (tx *Tx) OpenMap(name string, of MapOf) (format.ID, error) {
	return tx.openNamed(name, func(id format.ID) error {
		of.ID = id
		_, _, err := tx.Bind(of)
		return err
	}, func() (format.ID, error) { return tx.NewMap(of) })
}

// OpenMap is the same in a transaction of its own: a reading one if the map is
// there.
func (sp *Space) OpenMap(name string, of MapOf) (format.ID, error) {
	return sp.openNamed(func(tx *Tx) (format.ID, error) { return tx.OpenMap(name, of) })
}

// NewMap creates an empty map without a name.
func (tx *Tx) NewMap(of MapOf) (format.ID, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	defer tx.endChange()
	k, v, err := mapTypes(of)
	if err != nil {
		return 0, err
	}
	keyIndex, err := tx.typeIndex(k)
	if err != nil {
		return 0, err
	}
	valueIndex, err := tx.typeIndex(v)
	if err != nil {
		return 0, err
	}
	index, err := tx.newMap(of.kind(), keyIndex, valueIndex)
	return format.MakeID(tx.sp.header.Tag, index), err
}

// newMap creates an empty map of the kind with the descriptors, under the next index,
// which it returns.
func (tx *Tx) newMap(kind format.Kind, keyIndex, valueIndex uint64) (uint64, error) {
	index, p, err := tx.newObject(kind, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return 0, err
	}
	*(*format.MapObject)(p) = format.MapObject{Key: keyIndex, Value: valueIndex}
	tx.write.Log(format.Op{What: format.MakeWhat(newOp(kind), index), Block: keyIndex, Arg: valueIndex})
	return index, nil
}

// writable begins a change, which endChange ends, or returns an error if the transaction
// cannot write. Whether it has ended is looked at after the change has begun: see seize.
func (tx *Tx) writable() error {
	if tx.write == nil {
		if err := tx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("%w: a View cannot write; use Update", ErrReadOnly)
	}
	if err := tx.beginChange(); err != nil {
		return err
	}
	if err := tx.Err(); err != nil {
		tx.endChange()
		return err
	}
	return nil
}

// Get returns the payload of the entry with the key, nil if there is none. It is
// valid until the transaction ends.
func (tx *Tx) Get(m *Map, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
	if m.sorted() {
		return tx.getSorted(m, object, key)
	}
	if f, ok := trie.NewFinder(tx.reader, format.Link(object.Root), m.shape); ok {
		if value, ok := f.Value(*(*string)(key)); ok {
			return m.shape.Of(value), nil
		}
	}
	hash, err := m.shape.Hash(key)
	if err != nil {
		return nil, err
	}
	return trie.Get(tx.reader, format.Link(object.Root), m.shape, hash, key)
}

// borrow says that pointers into the block with the payload are handed out to the
// program.
func (tx *Tx) borrow(payload unsafe.Pointer) {
	if tx.write != nil {
		tx.write.Borrow(blockAt(payload))
	}
}

// blockAt returns the block with the payload, which is one that is read; 0 for nil.
func blockAt(payload unsafe.Pointer) format.Addr {
	if payload == nil {
		return 0
	}
	return format.Addr(uintptr(payload) - format.HeaderSize)
}

// Bounds returns the limits of the payload of an entry.
func (tx *Tx) Bounds(payload unsafe.Pointer) layout.Bounds {
	return entry.Bounds(tx.reader, payload)
}

// Set stores a copy of the value under the key.
func (tx *Tx) Set(m *Map, key, value unsafe.Pointer) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	return tx.set(m, key, value)
}

// set is Set within a change that has begun.
func (tx *Tx) set(m *Map, key, value unsafe.Pointer) error {
	hash, err := m.hash(key)
	if err != nil {
		return err
	}
	object, err := tx.editEntries(m.index, m.kind)
	if err != nil {
		return err
	}
	root, entry, old, err := tx.put(m, format.Link(object.Root), hash, key, value)
	if err != nil {
		if isValueError(err) { // found before the tree was touched
			return err
		}
		return tx.fail(err)
	}
	object.Root = uint64(root)
	if old == nil {
		object.Count++
	} else if m.shape.Value.HasHandles() {
		tx.unlinked++
	}
	tx.write.LogSet(m.index, entry, blockAt(old))
	return nil
}

// isValueError reports whether storing failed for what was to be stored.
func isValueError(err error) bool {
	return errors.Is(err, layout.ErrChanged) || errors.Is(err, layout.ErrTooLarge) || errors.As(err, new(*layout.UnstorableError)) || isHandleError(err)
}

// Delete removes the key and reports whether it was there.
func (tx *Tx) Delete(m *Map, key unsafe.Pointer) (bool, error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	defer tx.endChange()
	return tx.remove(m, key)
}

// remove is Delete within a change that has begun.
func (tx *Tx) remove(m *Map, key unsafe.Pointer) (bool, error) {
	object, err := tx.entriesObject(m.index, m.kind)
	if err != nil {
		return false, err
	}
	hash, err := m.hash(key)
	if err != nil {
		return false, err
	}
	tx.write.Remove(true, false)
	defer tx.write.Remove(false, false)
	root, block, err := tx.take(m, format.Link(object.Root), hash, key)
	switch {
	case err != nil && root == 0:
		return false, tx.fail(err)
	case err != nil: // found before the tree was touched
		return false, err
	}
	if block == 0 {
		return false, nil
	}
	if object, err = tx.editEntries(m.index, m.kind); err != nil {
		return false, err
	}
	object.Root = uint64(root)
	object.Count--
	if m.shape.Value.HasHandles() || m.shape.Key.HasHandles() {
		tx.unlinked++
	}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpDelete, m.index), Block: uint64(block)})
	return true, nil
}

// All walks the entries as they are when the walk starts, those of a sorted map in
// order.
func (tx *Tx) All(m *Map, object *format.MapObject, yield func(entry unsafe.Pointer) bool) error {
	if m.sorted() {
		return tx.walk(m, object, Bound{}, Bound{}, false, yield)
	}
	root, count := format.Link(object.Root), object.Count
	defer tx.freeze()()
	_, err := trie.All(tx.reader, root, count, yield)
	return err
}

// freeze makes what the transaction has written unchangeable, until what it returns
// is called: what it writes meanwhile is copied, never edited under a walk.
func (tx *Tx) freeze() (thaw func()) {
	if tx.write == nil {
		return func() {}
	}
	tx.write.BorrowAll()
	tx.write.Freeze()
	return tx.write.Thaw
}
