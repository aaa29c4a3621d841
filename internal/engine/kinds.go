package engine

import (
	"fmt"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// acts is what a transaction does to objects of a kind, beyond what package object knows
// of the kind: it takes the whole of Tx. A kind without acts is an object.Applied; it has
// no types that could change, and nobody looks into its objects without Go types.
type acts struct {
	apply  func(a *applier, op format.OpKind, index uint64, h format.OpHead, payload []byte) error // makes a change
	stored func(tx *Editor, id format.ID, s *Stored) error                                         // enters how an object is accessed by its stored types, of which the value's is there
	recast func(c *recast, t task) error                                                           // gives an object other types
}

// actsOf has them by kind.
var actsOf [256]acts

func init() { // what is in it uses it
	actsOf[format.KindMap] = acts{(*applier).mapping, (*Editor).storedMap, (*recast).recastMap}
	actsOf[format.KindSorted] = actsOf[format.KindMap]
	actsOf[format.KindList] = acts{(*applier).list, (*Editor).storedList, (*recast).recastList}
	actsOf[format.KindValue] = acts{(*applier).value, (*Editor).storedValue, (*recast).recastValue}
	actsOf[format.KindType] = acts{apply: (*applier).newType}
}

// object recasts one object.
func (c *recast) object(t task) error {
	if do := actsOf[t.plan.kind].recast; do != nil {
		return do(c, t)
	}
	return fmt.Errorf("a %s has no types", t.plan.kind)
}

// storedMap is acts.stored for maps, sorted or not.
func (tx *Editor) storedMap(id format.ID, s *Stored) error {
	m, _, err := tx.StoredMap(id)
	if err == nil {
		s.Key, s.layout, s.StoredAccess = m.shape.Key, object.Layout{Shape: m.shape}, &storedMap{tx, m}
	}
	return err
}

// storedList is acts.stored for lists.
func (tx *Editor) storedList(id format.ID, s *Stored) (err error) {
	cell := entry.NewItem(s.Value, tx.store.judge)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedList{tx, id.Index(), cell}
	s.Key, err = layout.For[int]()
	return err
}

// storedValue is acts.stored for single values.
func (tx *Editor) storedValue(id format.ID, s *Stored) error {
	cell := entry.NewValue(s.Value, tx.store.judge)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedValue{tx, id.Index(), format.MakeValueType(s.valueIndex), cell}
	return nil
}
