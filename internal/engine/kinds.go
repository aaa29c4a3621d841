package engine

import (
	"fmt"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// acts is what a transaction does to objects of a kind, beyond what package object knows
// of the kind: it takes the whole of Tx. A kind without one has no types that could
// change, and nobody looks into its objects without Go types.
type acts struct {
	stored func(tx *Tx, id format.ID, s *Stored) error // enters how an object is accessed by its stored types, of which the value's is there
	recast func(c *recast, t task) error               // gives an object other types
}

// actsOf has them by kind.
var actsOf map[format.Kind]acts

func init() { // what is in it uses it
	actsOf = map[format.Kind]acts{
		format.KindMap:    {stored: (*Tx).storedMap, recast: (*recast).recastMap},
		format.KindSorted: {stored: (*Tx).storedMap, recast: (*recast).recastMap},
		format.KindList:   {stored: (*Tx).storedList, recast: (*recast).recastList},
		format.KindValue:  {stored: (*Tx).storedValue, recast: (*recast).recastValue},
	}
}

// object recasts one object.
func (c *recast) object(t task) error {
	if do := actsOf[t.plan.kind].recast; do != nil {
		return do(c, t)
	}
	return fmt.Errorf("a %s has no types", t.plan.kind)
}

// storedMap is acts.stored for maps, sorted or not.
func (tx *Tx) storedMap(id format.ID, s *Stored) error {
	m, _, err := tx.StoredMap(id)
	if err == nil {
		s.Key, s.layout, s.StoredAccess = m.shape.Key, object.Layout{Shape: m.shape}, &storedMap{tx, m}
	}
	return err
}

// storedList is acts.stored for lists.
func (tx *Tx) storedList(id format.ID, s *Stored) (err error) {
	cell := entry.NewItem(s.Value, tx.sp.judge)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedList{tx, id.Index(), cell}
	s.Key, err = layout.For[int]()
	return err
}

// storedValue is acts.stored for single values.
func (tx *Tx) storedValue(id format.ID, s *Stored) error {
	cell := entry.NewValue(s.Value, tx.sp.judge)
	s.layout, s.StoredAccess = object.Layout{Cell: cell}, &storedValue{tx, id.Index(), format.MakeValueType(s.valueIndex), cell}
	return nil
}
