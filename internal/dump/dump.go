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
// A kind of object has one function here, for the last two passes. Who adds a kind adds
// one, a case in the applier, and, for what can be got out of damaged spaces, two in
// package salvage: what is known of it by then, and what fits to it.
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

	Failed  error  // of Put
	Objects uint64 // told, the space's own maps included
	Entries uint64 // told
	Last    uint64 // the greatest index that was met
	Missing uint64 // entries that maps say to have, and that cannot be told

	pass   pass
	object uint64 // being told
	budget uint64 // blocks of it that may still be visited
	types  map[uint64]*layout.Type
}

// ErrCircles says that a tree has more blocks than what it holds can take.
var ErrCircles = errors.New("its links lead in circles, or to more than it can hold")

// A pass is one walk of a dump over all objects.
type pass int

const (
	passTypes    pass = iota // tells types; what is damaged the next one tells
	passObjects              // tells that there are objects
	passContents             // tells what they hold
)

// Run tells the whole version.
func (d *Dump) Run() error {
	d.types = map[uint64]*layout.Type{}
	for d.pass = passTypes; d.pass <= passContents; d.pass++ {
		d.object, d.budget = 0, BlockBudget(d.State.Objects)
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
		return ErrCircles
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

// BlockBudget returns more blocks than a tree with so many things in it has.
func BlockBudget(things uint64) uint64 { return (min(things, 1<<48) + 1) * 16 }

// visit verifies a block that is met on the way, and says whether to look into it.
func (d *Dump) visit(a format.Addr, kind format.Kind) (bool, error) {
	if d.budget == 0 {
		return false, ErrCircles
	}
	d.budget--
	if err := d.Verify(a, kind); err != nil {
		return false, d.damage(a, err)
	}
	return true, nil
}

// damage tells of an error, unless it is one of Put, and returns what to do about it.
func (d *Dump) damage(a format.Addr, err error) error {
	if err == nil || d.Failed != nil {
		return err
	}
	if d.pass == passTypes {
		return nil // it is found again
	}
	return d.Lost(d.object, a, err)
}

// tell tells a change.
func (d *Dump) tell(kind format.OpKind, h format.OpHead, payload []byte) error {
	h.What = format.MakeWhat(kind, d.object)
	d.Failed = d.Put(h, payload)
	return d.Failed
}

// payload returns the payload of a verified block as bytes, and its address.
func (d *Dump) payload(a format.Addr) ([]byte, format.OpHead) {
	at := uintptr(a) + format.HeaderSize
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), d.Reader.Size(a)), format.OpHead{Addr: uint64(at)}
}

// any tells of an object, of whatever kind: the header of its block says which.
func (d *Dump) any(a format.Addr) error {
	kind := format.KindMap
	if d.Reader.Plausible(a) {
		kind = d.Reader.Kind(a)
	}
	if d.pass == passTypes && kind != format.KindType {
		return nil
	}
	if ok, err := d.visit(a, kind); !ok {
		return err
	}
	var err error
	switch kind {
	case format.KindType:
		err = d.descriptor(a)
	case format.KindMap, format.KindSorted:
		err = d.mapping(a, kind)
	case format.KindList:
		err = d.list(a)
	case format.KindValue:
		err = d.value(a)
	default:
		err = fmt.Errorf("an object cannot be a %s block", kind)
	}
	return d.damage(a, err)
}

// descriptor tells of a type.
func (d *Dump) descriptor(a format.Addr) error {
	if d.pass == passContents {
		return nil
	}
	payload, h := d.payload(a)
	t, err := TypeIn(payload)
	if err != nil {
		return fmt.Errorf("a type descriptor: %w", err)
	}
	if d.pass == passObjects {
		return nil // it was told
	}
	d.types[d.object] = t
	d.Objects++
	return d.tell(format.OpNewType, h, payload)
}

// onlyOnce returns the error but for the last pass: an object that was not told has no
// contents.
func (d *Dump) onlyOnce(err error) error {
	if d.pass == passContents {
		return nil
	}
	return err
}
