// Package dump tells one version as the logical changes that make it from an empty
// space. A backup takes them, and so does the applier of a restore.
//
// Terms: to tell is to pass a change on. A pass is one walk over all objects, in the
// order of their indexes. The first pass tells the types. The second one tells that each
// other object is there, empty. The third one tells what each of them holds. So no
// change speaks of an object that comes later, whatever handles the values hold, and
// although a collection that has evolved is older than its types.
//
// Nothing is looked into before it was verified. Damage leads neither astray nor in
// circles: the depth of a tree is bounded, and what an object says that it holds bounds
// the number of its blocks.
//
// How an object is told its kind knows: see object.Kind.
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

// A Dump is the telling of one version. The caller fills the first three groups of
// fields, and reads the last one when Run has returned.
type Dump struct {
	Reader *heap.Reader
	State  *format.State
	Own    *entry.Shape // of the space's own maps
	Shape  func(key, value *layout.Type) *entry.Shape

	Verify func(a format.Addr, kind format.Kind) error         // a block; only then is it read
	Put    func(h format.OpHead, payload []byte) error         // takes a change
	Lost   func(object uint64, a format.Addr, err error) error // is told of damage; an error ends the dump

	// Each may be nil.
	Meet  func(object uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) // is shown each key and each value before it is told
	Name  func(object uint64, e unsafe.Pointer, b layout.Bounds) bool            // says whether to tell an entry of one of the space's own maps
	There func(index uint64) bool                                                // says whether there is such an object: names must lead to one
	Guard func(fn func() error) error                                            // runs the telling of one object

	Failed error  // of Put
	Last   uint64 // the greatest index that was met
	object.Counts

	ended  bool // by an error of Lost
	pass   object.Pass
	object uint64 // being told
	budget uint64 // blocks of it that may still be visited
	types  map[uint64]*layout.Type
}

// Run tells the whole version.
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

// one tells of the object with an index, whose block the object table names.
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

// visit verifies a block that is met on the way, and says whether to look into it.
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

// any tells of an object, of whatever kind: the header of its block says which.
func (d *Dump) any(a format.Addr) error {
	kind := format.KindMap
	if d.Reader.Plausible(a) {
		kind = d.Reader.Kind(a)
	}
	if d.pass == object.PassTypes && !object.First(kind) {
		return nil
	}
	if ok, err := d.visit(a, kind); !ok {
		return err
	}
	k := object.Of(kind)
	if k == nil {
		return d.damage(a, fmt.Errorf("an object cannot be a %s block", kind))
	}
	return d.damage(a, k.Tell(teller{d}, a))
}

// onlyOnce returns the error but for the last pass: an object that was not told has no
// contents.
func (d *Dump) onlyOnce(err error) error {
	if d.pass == object.PassContents {
		return nil
	}
	return err
}
