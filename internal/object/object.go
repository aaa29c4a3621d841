// Package object defines the kinds of objects: the name of each kind, what its objects refer to,
// and how to walk, count, compare, verify, dump and move them. Code that meets an object of any
// kind calls the methods of its Kind, and never switches on kinds.
//
// Terms: an object is one block whose address is in the object table, together with the blocks
// below it; the kind of that block is the kind of the object. The holders of an object are the
// blocks that its values lie in: entries, elements, or its own block. Its layout is how the values
// lie in them. The nodes of a kind are the kinds of blocks that its objects consist of.
//
// A new kind of object is one file in this package, with a type that implements Kind, and one line
// in kinds. Its number is in package format, like the numbers of all kinds of blocks. The engine
// has the operations by which programs change objects.
//
// Start reading at Kind, then valueKind, the simplest.
package object

import (
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

var kinds = newTable(
	hashMap,
	sortedMap,
	listKind{},
	valueKind{},
	typeKind{},
)

// About has the names of a kind of object, and what other code needs to know about it.
type About struct {
	Kind   format.Kind
	Handle layout.HandleKind // the kind of handles that refer to such objects; 0: none
	Name   string            // for programs that have no Go types
	Called string            // in messages
	Types  int               // how many types an object has: 2 for keys and values, 1 for values only, 0 for none
	Whole  bool              // the values lie in the object's own block
	First  bool              // a walk reads these objects before all others, which need them
	New    format.OpKind     // the kind of change that makes such an object
	Ops    []format.OpKind   // all kinds of changes of such an object
}

// A Kind is a kind of object. The parameter p of its methods is the payload of an object of that
// kind: of the block whose address is in the object table, with a size that Fits accepts.
type Kind interface {
	About() *About
	// Fits reports whether the payload of an object can have this size.
	Fits(size format.ByteCount) bool
	// Contents returns the indexes of the descriptors of an object's keys and values, 0 if it has
	// none, and how many values it has.
	Contents(p unsafe.Pointer) (key, value, count uint64)
	// Nodes returns the kinds of blocks that objects consist of, including the object's own.
	Nodes() []Node
	// Blocks visits the blocks below an object.
	Blocks(r *heap.Reader, p unsafe.Pointer, visit Visit) error
	// Layout returns how values of these types lie in the holders. A type that the kind does not
	// have is nil.
	Layout(key, value *layout.Type, m Maker) Layout
	// Holders calls each with the payloads of the blocks that hold the values of the object with an
	// index. It fails if their number is not the one that the object counts.
	Holders(r *heap.Reader, index uint64, p unsafe.Pointer, l Layout, each func(holder unsafe.Pointer) error) error
	// Handles calls meet with the handles in a holder, until it returns false.
	Handles(l Layout, holder unsafe.Pointer, b layout.Bounds, meet Meet) error
	// Compare returns a Comparison of two versions of an object, whose blocks are different.
	Compare(was, now Version, l Layout) (*Comparison, error)
	// Dump emits the object at an address to a dump: that it exists, or what it holds.
	Dump(t Emitter, a format.Addr) error
	// Make returns the Told of the object that a change of the kind New makes.
	Make(s Types, h format.OpHead, payload []byte) (Told, error)
	// CheckChange returns an error if a change of an object is impossible. Otherwise it returns a
	// copy of the block with the values that the change carries, relocated to its place; nil if the
	// change carries none.
	CheckChange(t *Told, h format.OpHead, payload []byte, copied Copy) (holder unsafe.Pointer, b layout.Bounds, err error)
	// Note updates the Told of an object for a change.
	Note(t *Told, h format.OpHead)
	// Check verifies an object and all its blocks.
	Check(c Checker, o At, p unsafe.Pointer) error
}

// Visit is called with every block that a walk meets. It verifies the block and reports whether the
// walk enters it. An error ends the walk.
type Visit = func(a format.Addr, kind format.Kind) (descend bool, err error)

// table finds kinds of objects.
type table struct {
	of     [256]Kind // by format.Kind
	handle [256]Kind // by layout.HandleKind
	node   [256]*Node
	op     [256]Kind // by format.OpKind; one of the kinds that have such changes
}

func newTable(list ...Kind) *table {
	t := new(table)
	for _, k := range list {
		t.add(k)
	}
	return t
}

func (t *table) add(k Kind) {
	about := k.About()
	t.of[about.Kind] = k
	if about.Handle != layout.Invalid {
		t.handle[about.Handle] = k
	}
	for _, op := range about.Ops {
		t.op[op] = k
	}
	for _, n := range k.Nodes() {
		t.node[n.Kind] = &n
	}
}

// Add adds a kind of object for a test, until remove is called.
func Add(k Kind) (remove func()) {
	before := *kinds
	kinds.add(k)
	removeName := format.AddKind(k.About().Kind, k.About().Name)
	return func() {
		removeName()
		*kinds = before
	}
}

// Of returns a kind of object by the kind of its block; nil if there is none.
func Of(kind format.Kind) Kind { return kinds.of[kind] }

// Is reports whether blocks of a kind are objects, whose addresses can be in the object table.
func Is(kind format.Kind) bool { return Of(kind) != nil }

// OfOp returns a kind of object that has changes of a kind, if possible the one that they make; nil
// if there is none.
func OfOp(op format.OpKind) Kind { return kinds.op[op] }

// Has reports whether objects of a kind have changes of a kind.
func Has(k Kind, op format.OpKind) bool { return slices.Contains(k.About().Ops, op) }

// OfHandle returns the kind of the objects that handles of a kind refer to.
func OfHandle(handle layout.HandleKind) format.Kind {
	if k := kinds.handle[handle]; k != nil {
		return k.About().Kind
	}
	return format.KindNone
}

// Name returns the name of a kind of objects.
func Name(kind format.Kind) string {
	if k := Of(kind); k != nil {
		return k.About().Name
	}
	return kind.String()
}

// Called is Name for messages.
func Called(kind format.Kind) string {
	if k := Of(kind); k != nil {
		return k.About().Called
	}
	return kind.String()
}

// Contents is Kind.Contents; zeros if there is no such kind.
func Contents(kind format.Kind, p unsafe.Pointer) (key, value, count uint64) {
	if k := Of(kind); k != nil {
		return k.Contents(p)
	}
	return 0, 0, 0
}

// First reports whether a walk reads objects of the kind before all others.
func First(kind format.Kind) bool {
	k := Of(kind)
	return k != nil && k.About().First
}
