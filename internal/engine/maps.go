package engine

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
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
func (tx *Editor) Bind(of MapOf) (*Map, *format.MapObject, error) {
	if b := tx.binding(); b != nil && b.of == of {
		return b.m, b.object, nil
	}
	return tx.bindAny(of)
}

// bindAny is Bind for a map that is not the first one of a reading transaction.
func (tx *Editor) bindAny(of MapOf) (*Map, *format.MapObject, error) {
	if err := tx.Err(); err != nil {
		return nil, nil, err
	}
	s := tx.store
	if of.ID.Tag() != s.header.Tag {
		if of.ID == 0 {
			return nil, nil, ErrNilHandle
		}
		return nil, nil, otherSpace(of.ID)
	}
	if b := tx.store.lately.find(tx, of); b != nil {
		tx.bound(b)
		return b.m, b.object, nil
	}
	index := of.ID.Index()
	object, err := tx.entriesObject(index, of.kind())
	if err != nil {
		return nil, nil, tx.objectError(of.ID, err)
	}
	m := s.bound[index%uint64(len(s.bound))].Load()
	if !m.fits(of, object) {
		if m = tx.recent; tx.write == nil || !m.fits(of, object) {
			if m, err = tx.bind(of, object); err != nil {
				return nil, nil, err
			}
		}
	}
	tx.store.lately.note(tx, m, object)
	return m, object, nil
}

// fits reports whether m is of the object and the Go types.
func (m *Map) fits(of MapOf, object *format.MapObject) bool {
	return m != nil && m.of == of && m.key == object.Key && m.value == object.Value
}

// bind compares the stored types of a map with Go types.
func (tx *Editor) bind(of MapOf, object *format.MapObject) (*Map, error) {
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
		shape: tx.store.shape(k, v)}
	if tx.published(index) && tx.published(object.Key) && tx.published(object.Value) { // R1
		tx.store.bound[index%uint64(len(tx.store.bound))].Store(m)
	} else if tx.write != nil { // a snapshot is shared, and remembers nothing
		tx.recent = m
	}
	return m, nil
}

// shape returns the layout of the entries of a map of the types.
func (s *Store) shape(key, value *layout.Type) *entry.Shape {
	sh := entry.NewShape(key, value, s.header.Secret)
	sh.JudgeHandles(s.judge)
	if s.hashBits != 0 {
		sh.CutHash(s.hashBits)
	}
	return sh
}

// mapTypes compiles the types of a map and refuses what cannot be stored.
func mapTypes(of MapOf) (k, v *layout.Type, err error) {
	if k, err = layout.Of(of.Key.GoType()); err != nil {
		return nil, nil, err
	}
	if err = entry.CheckKeys(k, of.kind()); err != nil {
		return nil, nil, err
	}
	v, err = layout.Of(of.Value.GoType())
	return k, v, err
}

// StoredMap returns a map by its stored types alone, for programs that have no
// Go type for them.
func (tx *Editor) StoredMap(id format.ID) (*Map, *format.MapObject, error) {
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
		err = entry.CheckKeys(key, kind)
	}
	if err != nil {
		return nil, nil, err
	}
	value, err := tx.storedType(object.Value)
	if err != nil {
		return nil, nil, err
	}
	m := &Map{index: id.Index(), kind: kind, key: object.Key, value: object.Value, shape: tx.store.shape(key, value)}
	return m, object, nil
}

// OpenMap returns the ID of the map with a name and the types of of, creating the map if a writing
// transaction asks for one that is not there.
func (tx *Editor) OpenMap(name string, of MapOf) (format.ID, error) {
	return tx.openNamed(name, func(id format.ID) error {
		of.ID = id
		_, _, err := tx.Bind(of)
		return err
	}, func() (format.ID, error) { return tx.NewMap(of) })
}

// NewMap creates an empty map without a name.
func (tx *Editor) NewMap(of MapOf) (format.ID, error) {
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
	return format.MakeID(tx.store.header.Tag, index), err
}

// newMap creates an empty map of the kind with the descriptors, under the next index,
// which it returns.
func (tx *Editor) newMap(kind format.Kind, keyIndex, valueIndex uint64) (uint64, error) {
	index, p, err := tx.newObject(kind, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return 0, err
	}
	*(*format.MapObject)(p) = format.MapObject{Key: keyIndex, Value: valueIndex}
	tx.write.Log(format.Op{What: format.MakeWhat(object.Of(kind).About().New, index), Block: keyIndex, Arg: valueIndex})
	return index, nil
}

// writable begins a change, which endChange ends, or returns an error if the transaction
// cannot write. Whether it has ended is looked at after the change has begun: see seize.
func (tx *Editor) writable() error {
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

// MapOf names a map and the Go types by which it is accessed.
type MapOf struct {
	ID         format.ID
	Key, Value layout.Identity
	Sorted     bool
}
