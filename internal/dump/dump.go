// Package dump emits one version of a space, as the logical changes that make it from an empty space.
// A backup stores them, and a restore applies them.
//
// Terms: to emit a change is to call Put with it. A pass is one walk over all objects, in
// the order of their indexes. The first pass emits the types. The second pass emits the creation of
// each other object, empty. The third pass emits the contents of each object. So no change names an
// object that comes later. Without the passes, handles in values could name later objects; and a
// collection that has evolved has a smaller index than its types.
//
// The dump verifies a block before it reads it. It ends whatever is damaged: the depth of a tree is
// bounded, and so is the number of blocks of an object, by the number of things that the object
// claims to hold.
//
// The kind of an object knows how to emit it: see object.Kind.
//
// Start reading at Dump.Run, then Dump.any.
package dump

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// A Dump emits one version. The caller sets the first three groups of fields, and reads the
// last one when Run has returned.
type Dump struct {
	Reader *heap.Reader
	State  *format.State
	Own    *entry.Shape // of the space's own maps
	Shape  func(key, value *layout.Type) *entry.Shape

	Verify func(a format.Addr, kind format.Kind) error         // verifies a block, before it is read
	Put    func(h format.OpHead, payload []byte) error         // takes a change; an error ends the dump
	Lost   func(object uint64, a format.Addr, err error) error // takes note of damage; an error ends the dump

	// Each of these may be nil.
	Meet  func(object uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) // called with each key and each value before it is emitted
	Name  func(object uint64, e unsafe.Pointer, b layout.Bounds) bool            // reports whether to emit an entry of one of the space's own maps
	There func(index uint64) bool                                                // reports whether an object exists; a name of a missing object is damage
	Guard func(fn func() error) error                                            // calls fn, which emits one object
	Only  func(index uint64) bool                                                // reports whether to emit an object; the dump reads only the types of the others

	Failed error  // the error of Put
	Last   uint64 // the greatest index met
	object.Counts

	ended  bool // Lost has returned an error
	muted  bool // the object is read but not emitted
	pass   object.Pass
	object uint64 // being emitted
	budget uint64 // how many more blocks of it the dump may visit
	types  map[uint64]*layout.Type
}

// Run emits the whole version. It returns the first error of Put or Lost.
func (d *Dump) Run() error {
	d.types = map[uint64]*layout.Type{}
	for d.pass = object.PassTypes; d.pass <= object.PassContents; d.pass++ {
		d.object, d.budget = 0, object.BlockBudget(d.State.Objects)
		root := format.Link(d.State.Table)
		err := table.Walk(d.Reader, root, d.visit, d.one)
		if err = d.damage(root.Addr(), err); err != nil {
			return err
		}
	}
	return nil
}

// one emits the object with an index, whose block the object table names.
func (d *Dump) one(index uint64, a format.Addr) error {
	if d.budget == 0 {
		return object.ErrCircles
	}
	budget := d.budget - 1
	d.object, d.Last = index, max(d.Last, index)
	var err error
	switch {
	case index >= d.State.NextIndex:
		err = d.damage(a, d.onlyOnce(errors.New("an object beyond the last index")))
	case d.Guard != nil:
		err = d.damage(a, d.Guard(func() error { return d.any(a) }))
	default:
		err = d.any(a)
	}
	d.object, d.budget = 0, budget
	return err
}

// visit verifies a block, and reports whether the walk enters it.
func (d *Dump) visit(a format.Addr, kind format.Kind) (bool, error) {
	if d.budget == 0 {
		return false, object.ErrCircles
	}
	d.budget--
	if err := d.Verify(a, kind); err != nil {
		return false, d.damage(a, err)
	}
	return true, nil
}

// damage calls Lost with an error, unless the error comes from Put or from Lost itself. It returns
// the error that ends the dump, or nil.
func (d *Dump) damage(a format.Addr, err error) error {
	if err == nil || d.Failed != nil || d.ended {
		return err
	}
	if d.pass == object.PassTypes {
		return nil // the last pass meets it again
	}
	err = d.Lost(d.object, a, err)
	d.ended = err != nil
	return err
}

// any emits an object. The header of its block has the kind.
func (d *Dump) any(a format.Addr) error {
	kind := format.KindMap
	if d.Reader.Plausible(a) {
		kind = d.Reader.Kind(a)
	}
	d.muted = d.Only != nil && !d.Only(d.object)
	if d.pass == object.PassTypes && !object.First(kind) || d.muted && d.pass != object.PassTypes {
		return nil
	}
	if ok, err := d.visit(a, kind); !ok {
		return err
	}
	k := object.Of(kind)
	if k == nil {
		return d.damage(a, fmt.Errorf("an object cannot be a %s block", kind))
	}
	return d.damage(a, k.Dump(emitter{d}, a))
}

// TypeOf returns the type whose descriptor is the object with an index, if Run has met it; else nil.
func (d *Dump) TypeOf(index uint64) *layout.Type { return d.types[index] }

// onlyOnce returns the error, or nil in the last pass: the second pass has reported the error then,
// and it has not created the object.
func (d *Dump) onlyOnce(err error) error {
	if d.pass == object.PassContents {
		return nil
	}
	return err
}
