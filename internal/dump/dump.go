// Package dump emits one version as the logical changes that make it from an empty
// space. A backup stores them, and a restore applies them.
//
// Terms: to emit a change is to call Put with it. A pass is one walk over all objects, in
// the order of their indexes. The first pass emits the types. The second one emits that
// each other object is there, empty. The third one emits what each object holds. So no
// change names an object that comes later, whatever handles the values hold, and
// although a collection that has evolved is older than its types.
//
// The dump verifies a block before it reads it. Damage leads it neither astray nor in
// circles: the depth of a tree is bounded, and the number of things that an object claims
// to hold bounds the number of its blocks.
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

	// Each may be nil.
	Meet  func(object uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) // sees each key and each value before it is emitted
	Name  func(object uint64, e unsafe.Pointer, b layout.Bounds) bool            // reports whether to emit an entry of one of the space's own maps
	There func(index uint64) bool                                                // reports whether there is such an object: names must lead to one
	Guard func(fn func() error) error                                            // calls fn, which emits one object
	Only  func(index uint64) bool                                                // reports whether to emit an object; of the others only the types are read

	Failed error  // of Put
	Last   uint64 // the greatest index that was met
	object.Counts

	ended  bool // by an error of Lost
	muted  bool // the object is read, and not emitted
	pass   object.Pass
	object uint64 // that is being emitted
	budget uint64 // blocks of it that may still be visited
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

// visit verifies a block that the walk meets, and reports whether the walk enters it.
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

// damage calls Lost with an error, unless it is one of Put or of Lost itself, and returns the
// error that ends the dump.
func (d *Dump) damage(a format.Addr, err error) error {
	if err == nil || d.Failed != nil || d.ended {
		return err
	}
	if d.pass == object.PassTypes {
		return nil // it is found again
	}
	err = d.Lost(d.object, a, err)
	d.ended = err != nil
	return err
}

// any emits an object. The header of its block says of which kind it is.
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

// TypeOf returns the type that an object is, a descriptor which Run has met; nil if it is none.
func (d *Dump) TypeOf(index uint64) *layout.Type { return d.types[index] }

// onlyOnce returns the error, but nil in the last pass: the pass before has reported it, and
// an object that was not emitted has no contents.
func (d *Dump) onlyOnce(err error) error {
	if d.pass == object.PassContents {
		return nil
	}
	return err
}
