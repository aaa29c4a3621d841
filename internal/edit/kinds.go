package edit

import (
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// storedOf has, by kind, the function that finds the stored types of an object and how to access it
// by them. Objects of other kinds cannot be accessed without Go types.
var storedOf = map[format.Kind]func(ed *Editor, id format.ID, s *Stored) error{
	format.KindMap:    (*Editor).storedMap,
	format.KindSorted: (*Editor).storedMap,
	format.KindList:   (*Editor).storedList,
	format.KindValue:  (*Editor).storedValue,
}

// storedMap is storedOf for maps, sorted or not.
func (ed *Editor) storedMap(id format.ID, s *Stored) error {
	m, entries, err := ed.untypedMap(id)
	if err == nil {
		s.Count, err = m.count(ed, entries)
	}
	if err == nil {
		s.ofMap = storedMap{ed, m}
		s.Key, s.Value, s.layout, s.StoredAccess = m.shape.Key, m.shape.Value, object.Layout{Shape: m.shape}, &s.ofMap
	}
	return err
}

// storedList is storedOf for lists.
func (ed *Editor) storedList(id format.ID, s *Stored) (err error) {
	if s.Value, err = ed.StoredType(s.valueIndex); err != nil {
		return err
	}
	cell := entry.NewItem(s.Value, ed.store.CheckHandle)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedList{ed, id.Index(), cell}
	s.Key, err = layout.For[int]()
	return err
}

// storedValue is storedOf for single values.
func (ed *Editor) storedValue(id format.ID, s *Stored) (err error) {
	if s.Value, err = ed.StoredType(s.valueIndex); err != nil {
		return err
	}
	cell := entry.NewValue(s.Value, ed.store.CheckHandle)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedValue{ed, id.Index(), format.MakeValueType(s.valueIndex), cell}
	return nil
}
