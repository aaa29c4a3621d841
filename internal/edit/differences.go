package edit

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// Two versions are compared by addresses. Both are held, so none of their blocks changes, and a
// block that both reach at one address is the same in both: see trie.Differ. So a comparison costs
// as much as what has changed.

// Comparison finds the differences of one object between two versions, a few at a time.
type Comparison struct {
	Was, Now *Editor // Was is nil if there is no older version
	*object.Comparison
}

// Subject is an object that can be watched.
type Subject interface {
	// Compare returns the Comparison of the object between two versions, each as it is seen at an
	// instant; nil if nothing differs. Without an older version everything is new. The error is
	// that of a lookup if the newer version lacks the object, or if the object has other types
	// there.
	Compare(was, now *Editor, at Instants) (*Comparison, error)
	// NextInstant returns the first instant later than after at which a part of the object expires
	// in a version, in nanoseconds since 1970; 0 if none expires.
	NextInstant(ed *Editor, after int64) (int64, error)
}

// CompareObject compares an object of the newer version, whose payload is p, with the same object
// of the older one; nil if it has not changed.
func CompareObject(was, now *Editor, kind format.Kind, index uint64, p unsafe.Pointer, l object.Layout) (*Comparison, error) {
	from := object.Version{Reader: now.Reader}
	if was != nil {
		old, err := was.object(index, kind)
		if err != nil || old == p {
			return nil, err
		}
		from = object.Version{Reader: was.Reader, Payload: old}
	}
	c, err := object.Of(kind).Compare(from, object.Version{Reader: now.Reader, Payload: p}, l)
	if err != nil {
		return nil, err
	}
	return &Comparison{was, now, c}, nil
}

// Compare implements Subject for maps, sorted or not.
func (of MapOf) Compare(was, now *Editor, at Instants) (*Comparison, error) {
	m, entries, err := now.Bind(of)
	if err != nil {
		return nil, err
	}
	return compareMap(was, now, m, entries, at)
}

// Compare implements Subject.
func (of ListOf) Compare(was, now *Editor, _ Instants) (*Comparison, error) {
	list, t, err := now.list(of)
	if err != nil {
		return nil, err
	}
	return CompareObject(was, now, format.KindList, of.ID.Index(), unsafe.Pointer(list), object.Layout{Cell: t.item})
}

// Compare implements Subject.
func (of RefOf) Compare(was, now *Editor, _ Instants) (*Comparison, error) {
	p, t, err := now.value(of)
	if err != nil {
		return nil, err
	}
	return CompareObject(was, now, format.KindValue, of.ID.Index(), p, object.Layout{Cell: t.value})
}

// StoredOf names an object that is accessed, or watched, by its stored types alone, which are those
// that Editor.Stored returned.
type StoredOf struct {
	ID         format.ID
	Name       string // by which it was looked up; "": by its ID
	Kind       string
	Key, Value *layout.Type // Key is nil if there are no keys
}

// Compare implements Subject.
func (of StoredOf) Compare(was, now *Editor, at Instants) (*Comparison, error) {
	s, err := now.StoredAs(&of)
	if err != nil {
		return nil, err
	}
	p, err := now.object(of.ID.Index(), s.kind)
	if err != nil {
		return nil, err
	}
	if s, ok := s.StoredAccess.(*storedMap); ok {
		return compareMap(was, now, s.m, (*format.MapObject)(p), at)
	}
	return CompareObject(was, now, s.kind, of.ID.Index(), p, s.layout)
}
