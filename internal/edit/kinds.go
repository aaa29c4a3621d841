package edit

import (
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// acts is what a transaction does to objects of a kind, beyond what package object knows
// of the kind: it takes the whole of Editor. A kind without acts is an object.Applied, and
// nobody looks into its objects without Go types.
type acts struct {
	apply  func(a *Applier, op format.OpKind, index uint64, h format.OpHead, payload []byte) error // makes a change
	stored func(ed *Editor, id format.ID, s *Stored) error                                         // enters how an object is accessed by its stored types, of which the value's is there
}

// actsOf has them by kind.
var actsOf [256]acts

func init() { // what is in it uses it
	actsOf[format.KindMap] = acts{(*Applier).mapping, (*Editor).storedMap}
	actsOf[format.KindSorted] = actsOf[format.KindMap]
	actsOf[format.KindList] = acts{(*Applier).list, (*Editor).storedList}
	actsOf[format.KindValue] = acts{(*Applier).value, (*Editor).storedValue}
	actsOf[format.KindType] = acts{apply: (*Applier).newType}
}

// storedMap is acts.stored for maps, sorted or not.
func (ed *Editor) storedMap(id format.ID, s *Stored) error {
	m, entries, err := ed.untypedMap(id)
	if err == nil {
		s.Count, err = m.count(ed, entries)
	}
	if err == nil {
		s.Key, s.layout, s.StoredAccess = m.shape.Key, object.Layout{Shape: m.shape}, &storedMap{ed, m}
	}
	return err
}

// storedList is acts.stored for lists.
func (ed *Editor) storedList(id format.ID, s *Stored) (err error) {
	cell := entry.NewItem(s.Value, ed.store.Judge)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedList{ed, id.Index(), cell}
	s.Key, err = layout.For[int]()
	return err
}

// storedValue is acts.stored for single values.
func (ed *Editor) storedValue(id format.ID, s *Stored) error {
	cell := entry.NewValue(s.Value, ed.store.Judge)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedValue{ed, id.Index(), format.MakeValueType(s.valueIndex), cell}
	return nil
}
