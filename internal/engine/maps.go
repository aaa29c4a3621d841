package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/trie"
)

// Map is a map of a space together with the types by which it is accessed.
type Map struct {
	index      uint64
	of         MapOf
	key, value uint64 // descriptors of the stored types
	shape      *entry.Shape
}

// Shape returns the layout of the map's entries.
func (m *Map) Shape() *entry.Shape { return m.shape }

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
		return nil, nil, ErrDangling
	}
	index := of.ID.Index()
	object, err := tx.mapObject(index)
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
		var fast bool
		if tx.first.finder, fast = trie.NewFinder(tx.reader, format.Link(object.Root), m.shape); fast {
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

// objectError says what it means that a handle leads to no object of its kind.
func (tx *Tx) objectError(id format.ID, err error) error {
	var kind *table.KindError
	switch {
	case errors.Is(err, table.ErrNoObject):
		return fmt.Errorf("%w: the collection %x does not exist (any more)", ErrNotFound, uint64(id))
	case errors.As(err, &kind):
		return &TypeError{Kind: ErrTypeChanged, Lines: []string{kind.Error()}}
	}
	return err
}

// bind compares the stored types of a map with Go types.
func (tx *Tx) bind(of MapOf, object *format.MapObject) (*Map, error) {
	k, v, err := mapTypes(of.Key.GoType(), of.Value.GoType())
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
		e := &TypeError{Kind: ErrTypeChanged, Lines: []string{
			fmt.Sprintf("  stored:  map of %s to %s", storedKey, storedValue),
			fmt.Sprintf("  program: map of %s to %s", k, v)}}
		e.Lines = append(e.Lines, layout.Diff(storedKey, k)...)
		e.Lines = append(e.Lines, layout.Diff(storedValue, v)...)
		return nil, e
	}
	index := of.ID.Index()
	m := &Map{index: index, of: of, key: object.Key, value: object.Value,
		shape: tx.sp.shape(k, v)}
	if tx.published(index) {
		tx.sp.bound[index%uint64(len(tx.sp.bound))].Store(m)
	} else {
		tx.recent = m
	}
	return m, nil
}

// shape returns the layout of the entries of a map of the types.
func (sp *Space) shape(key, value *layout.Type) *entry.Shape {
	sh := entry.NewShape(key, value, sp.header.Secret)
	if sp.options.HashBits != 0 {
		sh.CutHash(sp.options.HashBits)
	}
	return sh
}

// mapTypes compiles the types of a map and refuses what cannot be stored.
func mapTypes(key, value reflect.Type) (k, v *layout.Type, err error) {
	if k, err = layout.Of(key); err != nil {
		return nil, nil, err
	}
	if err = k.KeyError(); err != nil {
		return nil, nil, err
	}
	v, err = layout.Of(value)
	return k, v, err
}

// StoredMap returns a map by its stored types alone, for programs that have no
// Go type for them.
func (tx *Tx) StoredMap(id format.ID) (*Map, *format.MapObject, error) {
	if err := tx.Err(); err != nil {
		return nil, nil, err
	}
	object, err := tx.mapObject(id.Index())
	if err != nil {
		return nil, nil, tx.objectError(id, err)
	}
	key, err := tx.storedType(object.Key)
	if err != nil {
		return nil, nil, err
	}
	value, err := tx.storedType(object.Value)
	if err != nil {
		return nil, nil, err
	}
	m := &Map{index: id.Index(), key: object.Key, value: object.Value, shape: tx.sp.shape(key, value)}
	return m, object, nil
}

// OpenMap returns the ID of the map with a name and the types of of, creating the map if a writing
// transaction asks for one that is not there.
func (tx *Tx) OpenMap(name string, of MapOf) (format.ID, error) {
	if err := tx.Err(); err != nil {
		return 0, err
	}
	index, found, err := tx.Named(name)
	if err != nil {
		return 0, err
	}
	if found {
		id := format.MakeID(tx.sp.header.Tag, index)
		of.ID = id
		_, _, err := tx.Bind(of)
		if e := (*TypeError)(nil); errors.As(err, &e) {
			e.Name = name
		}
		return id, err
	}
	if tx.write == nil {
		return 0, fmt.Errorf("%w: the space has nothing named %q, and nothing may be created here", ErrNotFound, name)
	}
	id, err := tx.NewMap(of)
	if err != nil {
		return 0, err
	}
	return id, tx.enroll(tx.state.Catalog, name, id.Index())
}

// OpenMap is the same in a transaction of its own: a reading one if the map is
// there.
func (sp *Space) OpenMap(name string, of MapOf) (id format.ID, err error) {
	open := func(tx *Tx) (err error) {
		id, err = tx.OpenMap(name, of)
		return err
	}
	err = sp.look(open)
	if errors.Is(err, ErrNotFound) && !sp.readOnly {
		_, err = sp.change(context.Background(), open)
	}
	if err != nil {
		return 0, err
	}
	return id, nil
}

// NewMap creates an empty map without a name.
func (tx *Tx) NewMap(of MapOf) (format.ID, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	k, v, err := mapTypes(of.Key.GoType(), of.Value.GoType())
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
	index := tx.state.NextIndex
	return format.MakeID(tx.sp.header.Tag, index), tx.newMap(keyIndex, valueIndex)
}

// newMap creates an empty map with the descriptors, under the next index.
func (tx *Tx) newMap(keyIndex, valueIndex uint64) error {
	index, p, err := tx.newObject(format.KindMap, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return err
	}
	*(*format.MapObject)(p) = format.MapObject{Key: keyIndex, Value: valueIndex}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpNewMap, index), Block: keyIndex, Arg: valueIndex})
	return nil
}

// writable returns an error if the transaction cannot write.
func (tx *Tx) writable() error {
	if err := tx.Err(); err != nil {
		return err
	}
	if tx.write == nil {
		return fmt.Errorf("%w: a View cannot write; use Update", ErrReadOnly)
	}
	return nil
}

// Get returns the payload of the entry with the key, nil if there is none. It is
// valid until the transaction ends.
func (tx *Tx) Get(m *Map, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
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

// Borrow says that pointers into entries are handed out to the program.
func (tx *Tx) Borrow() {
	if tx.write != nil {
		tx.write.Borrow()
	}
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
	hash, err := m.shape.Hash(key)
	if err != nil {
		return err
	}
	object, err := tx.editMap(m.index)
	if err != nil {
		return err
	}
	root, entry, old, err := trie.Set(tx.write, format.Link(object.Root), m.shape, hash, key, value)
	if err != nil {
		if isValueError(err) { // found before the tree was touched
			return err
		}
		return tx.fail(err)
	}
	object.Root = uint64(root)
	if old == nil {
		object.Count++
	}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpSet, m.index), Block: uint64(entry)})
	return nil
}

// isValueError reports whether storing failed for what was to be stored.
func isValueError(err error) bool {
	return errors.Is(err, layout.ErrChanged) || errors.Is(err, layout.ErrTooLarge)
}

// Delete removes the key and reports whether it was there.
func (tx *Tx) Delete(m *Map, key unsafe.Pointer) (bool, error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	object, err := tx.mapObject(m.index)
	if err != nil {
		return false, err
	}
	entry, err := tx.Get(m, object, key)
	if err != nil || entry == nil {
		return false, err
	}
	hash, err := m.shape.Hash(key)
	if err != nil {
		return false, err
	}
	if object, err = tx.editMap(m.index); err != nil {
		return false, err
	}
	root, block, err := trie.Delete(tx.write, format.Link(object.Root), m.shape, hash, key)
	if err != nil {
		return false, tx.fail(err)
	}
	object.Root = uint64(root)
	object.Count--
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpDelete, m.index), Block: uint64(block)})
	return true, nil
}

// All walks the entries as they are when the walk starts: what the transaction
// writes meanwhile is copied, never edited under the walk.
func (tx *Tx) All(object *format.MapObject, yield func(entry unsafe.Pointer) bool) error {
	root, count := format.Link(object.Root), object.Count
	if tx.write != nil {
		tx.write.Borrow()
		tx.write.Freeze()
		defer tx.write.Thaw()
	}
	_, err := trie.All(tx.reader, root, count, yield)
	return err
}
