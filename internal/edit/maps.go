package edit

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
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
	key, value uint64 // as in the object: they name the stored types, and say whether the map has indexes
	shape      *entry.Shape
}

// Bind returns the map that a handle names, accessed by its Go types of keys and values. The Store
// remembers the outcome of the comparison with the stored types. A later Bind compares only that
// the object still has the descriptors of that comparison.
func (ed *Editor) Bind(of MapOf) (*Map, *format.MapObject, error) {
	if b := ed.binding(); b != nil && b.of == of {
		return b.m, b.object, nil
	}
	return ed.bindAny(of)
}

// bindAny is Bind for a map that is not the first one of a reading transaction.
func (ed *Editor) bindAny(of MapOf) (*Map, *format.MapObject, error) {
	if err := ed.Err(); err != nil {
		return nil, nil, err
	}
	s := ed.store
	if of.ID.Tag() != s.header.Tag {
		if of.ID == 0 {
			return nil, nil, failure.ErrNilHandle
		}
		return nil, nil, otherSpace(of.ID)
	}
	if b := ed.store.lately.find(ed, of); b != nil {
		ed.bound(b)
		return b.m, b.object, nil
	}
	index := of.ID.Index()
	object, err := ed.entriesObject(index, of.kind())
	if err != nil {
		return nil, nil, ed.ObjectError(of.ID, err)
	}
	m := s.bound[index%uint64(len(s.bound))].Load()
	if !m.fits(of, object) {
		if m = ed.recent; ed.Write == nil || !m.fits(of, object) {
			if m, err = ed.bind(of, object); err != nil {
				return nil, nil, err
			}
		}
	}
	ed.store.lately.note(ed, m, object)
	return m, object, nil
}

// fits reports whether m is the map of the object, bound to the Go types of of.
func (m *Map) fits(of MapOf, object *format.MapObject) bool {
	return m != nil && m.of == of && m.key == object.Key && m.value == object.Value
}

// bind compares the stored types of a map with Go types.
func (ed *Editor) bind(of MapOf, object *format.MapObject) (*Map, error) {
	k, v, err := mapTypes(of)
	if err != nil {
		return nil, err
	}
	storedKey, err := ed.StoredType(object.KeyType())
	if err != nil {
		return nil, err
	}
	storedValue, err := ed.StoredType(object.Value)
	if err != nil {
		return nil, err
	}
	if !layout.Same(storedKey, k) || !layout.Same(storedValue, v) {
		return nil, TypesDiffer(of.kind(), layout.NewConversion(storedKey, k, nil), layout.NewConversion(storedValue, v, nil), false)
	}
	index := of.ID.Index()
	m := &Map{index: index, kind: of.kind(), of: of, key: object.Key, value: object.Value,
		shape: ed.store.Shape(k, v)}
	if ed.published(index) && ed.published(object.KeyType()) && ed.published(object.Value) { // R1
		ed.store.bound[index%uint64(len(ed.store.bound))].Store(m)
	} else if ed.Write != nil { // a snapshot is shared, and remembers nothing
		ed.recent = m
	}
	return m, nil
}

// NewTree returns a map of the kind that is not an object yet: entries can be put into its tree.
func NewTree(kind format.Kind, shape *entry.Shape) *Map { return &Map{kind: kind, shape: shape} }

// Shape returns the layout of the entries of a map of the types.
func (s *Store) Shape(key, value *layout.Type) *entry.Shape {
	sh := entry.NewShape(key, value, s.header.Secret)
	sh.CheckHandles(s.CheckHandle)
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

// untypedMap returns a map by its stored types alone, for programs that have no
// Go type for them.
func (ed *Editor) untypedMap(id format.ID) (*Map, *format.MapObject, error) {
	if err := ed.Err(); err != nil {
		return nil, nil, err
	}
	if b := ed.store.lately.findUntyped(ed, id); b != nil {
		return b.m, b.object, nil
	}
	kind, p, err := table.Any(ed.Reader, format.Link(ed.State.Table), id.Index())
	if err == nil && kind != format.KindMap && kind != format.KindSorted {
		err = &table.KindError{Want: format.KindMap, Got: kind}
	}
	if err != nil {
		return nil, nil, ed.ObjectError(id, err)
	}
	object, index := (*format.MapObject)(p), id.Index()
	place := &ed.store.untyped[index%uint64(len(ed.store.untyped))]
	if m := place.Load(); m != nil && m.index == index && m.kind == kind && m.key == object.Key && m.value == object.Value {
		ed.store.lately.untyped[index%uint64(len(ed.store.lately.untyped))].note(ed, m, object)
		return m, object, nil
	}
	key, err := ed.StoredType(object.KeyType())
	if err == nil {
		err = entry.CheckKeys(key, kind)
	}
	if err != nil {
		return nil, nil, err
	}
	value, err := ed.StoredType(object.Value)
	if err != nil {
		return nil, nil, err
	}
	m := &Map{index: index, kind: kind, key: object.Key, value: object.Value, shape: ed.store.Shape(key, value)}
	if ed.published(index) && ed.published(object.KeyType()) && ed.published(object.Value) { // R1
		place.Store(m)
	}
	return m, object, nil
}

// OpenMap returns the ID of the map with a name and the types of of. If no object has the name, a
// writing transaction creates the map.
func (ed *Editor) OpenMap(name string, of MapOf) (format.ID, error) {
	return ed.OpenNamed(name, func(id format.ID) error {
		of.ID = id
		_, _, err := ed.Bind(of)
		return err
	}, func() (format.ID, error) { return ed.NewMap(of) })
}

// NewMap creates an empty map without a name.
func (ed *Editor) NewMap(of MapOf) (format.ID, error) {
	if err := ed.writable(); err != nil {
		return 0, err
	}
	defer ed.EndChange()
	k, v, err := mapTypes(of)
	if err != nil {
		return 0, err
	}
	keyIndex, err := ed.TypeIndex(k)
	if err != nil {
		return 0, err
	}
	valueIndex, err := ed.TypeIndex(v)
	if err != nil {
		return 0, err
	}
	index, err := ed.newMap(of.kind(), keyIndex, valueIndex)
	return format.MakeID(ed.store.header.Tag, index), err
}

// newMap creates an empty map of the kind with the descriptors, under the next index,
// which it returns.
func (ed *Editor) newMap(kind format.Kind, keyIndex, valueIndex uint64) (uint64, error) {
	index, p, err := ed.newObject(kind, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return 0, err
	}
	*(*format.MapObject)(p) = format.MapObject{Key: keyIndex, Value: valueIndex}
	ed.Write.Log(format.Op{What: format.MakeWhat(object.Of(kind).About().New, index), Block: keyIndex, Arg: valueIndex})
	return index, nil
}

// writable begins a change, which EndChange ends, or returns an error if the transaction cannot
// write. It looks whether the transaction has ended only after the change has begun: see Seize.
func (ed *Editor) writable() error {
	if ed.Write == nil {
		if err := ed.Err(); err != nil {
			return err
		}
		return fmt.Errorf("%w: a View cannot write; use Update", failure.ErrReadOnly)
	}
	if err := ed.BeginChange(); err != nil {
		return err
	}
	if err := ed.Err(); err != nil {
		ed.EndChange()
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
