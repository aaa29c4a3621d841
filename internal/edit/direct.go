package edit

import (
	"cmp"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/layout"
)

// Encode appends the stored value at p, in a block within b, to dst.
type Encode func(t *layout.Type, dst []byte, p unsafe.Pointer, b layout.Bounds) ([]byte, error)

// AppendValue appends the value of a key to dst, unless encode is nil, and reports whether there is
// one. Of a map it is Stored without an object for the access, so it allocates nothing, as SetValue.
func (ed *Editor) AppendValue(of *StoredOf, key unsafe.Pointer, encode Encode, dst []byte) ([]byte, bool, error) {
	p, err := ed.storedValueOf(of, key)
	if err != nil || p.Pointer == nil || encode == nil {
		return dst, p.Pointer != nil, err
	}
	dst, err = encode(of.Value, dst, p.Pointer, p.Bounds)
	return dst, true, ed.Blame(p.Bounds, err)
}

// storedValueOf returns the value of a key; none if there is none.
func (ed *Editor) storedValueOf(of *StoredOf, key unsafe.Pointer) (p StoredPart, err error) {
	if b := ed.store.lately.findUntyped(ed, of.ID); b != nil && b.fast && !ed.ended.Load() && of.fits(b.m) {
		if value, ok := b.finder.Value(*(*string)(key)); ok {
			return StoredPart{value, ed.Bounds(b.m.shape.Of(value))}, nil
		}
	}
	if !of.isMap() {
		s, err := ed.hidden().StoredAs(of)
		if err != nil {
			return p, err
		}
		return s.Get(key)
	}
	m, err := ed.mapAs(of)
	if err != nil {
		return p, err
	}
	return (&storedMap{ed, m}).Get(key)
}

// SetValue stores a value under a key. Both are of the stored types of of.
func (ed *Editor) SetValue(of *StoredOf, key, value unsafe.Pointer) error {
	if of.isMap() {
		m, err := ed.mapAs(of)
		if err != nil {
			return err
		}
		return m.Set(ed, key, value)
	}
	s, err := ed.StoredAs(of)
	if err != nil {
		return err
	}
	return s.Set(key, value)
}

// mapAs is StoredAs for a map.
func (ed *Editor) mapAs(of *StoredOf) (*Map, error) {
	if err := ed.usable(of.ID); err != nil {
		return nil, err
	}
	m, _, err := ed.untypedMap(of.ID)
	if err == nil && !of.fits(m) {
		err = of.changed()
	}
	return m, err
}

// StoredAs is Stored for an object that is to have the stored types of of: what was parsed for one
// type is nothing to another. Errors: ErrTypeChanged.
func (ed *Editor) StoredAs(of *StoredOf) (*Stored, error) {
	s, err := ed.Stored(of.ID)
	if err == nil && (s.Kind != of.Kind || !layout.SameOrNone(s.Key, of.Key) || !layout.SameOrNone(s.Value, of.Value)) {
		return nil, of.changed()
	}
	return s, err
}

// isMap reports whether it names a map, sorted or not.
func (of *StoredOf) isMap() bool { return of.Kind == "map" || of.Kind == "sorted" }

// fits reports whether m is of the kind and the types.
func (of *StoredOf) fits(m *Map) bool {
	return m.sorted() == (of.Kind == "sorted") && layout.SameOrNone(m.shape.Key, of.Key) && layout.SameOrNone(m.shape.Value, of.Value)
}

// changed is the error for an object that has other types than those.
func (of *StoredOf) changed() error {
	return fmt.Errorf("%w: the types of %s have changed since it was looked up; look it up again", failure.ErrTypeChanged, cmp.Or(of.Name, "the "+of.Kind))
}
