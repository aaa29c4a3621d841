// Package object defines the kinds of objects: what each is called and refers to, and how it
// is walked, counted, compared, verified, dumped and moved. Code that meets an object of any
// kind asks its Kind, and switches on none.
//
// Terms: an object is what the object table leads to: one block, of a kind that says
// which it is, and the blocks below it. The holders of an object are the blocks that its
// values lie in: entries, elements, or its own. Its layout is how the values lie in
// them. The nodes of a kind are the kinds of blocks that objects of it consist of.
//
// A new kind of object is one file here, with a type that implements Kind, and one line
// in kinds. Its number is in format, as that of every kind of block. The engine has the
// operations by which programs change objects.
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

// About has the names of a kind of object, and what of it others need to know.
type About struct {
	Kind   format.Kind
	Handle layout.HandleKind // of the handles that lead to such objects; 0: there are none
	Name   string            // for programs that have no Go types
	Called string            // in messages
	Types  int               // that objects of it have: 2 of keys and values, 1 of values, 0 none
	Whole  bool              // the values lie in the object's own block
	First  bool              // a walk reads objects of it before all others, which need them
	New    format.OpKind     // of the changes that make such an object
	Ops    []format.OpKind   // of all changes of such an object
}

// A Kind is a kind of object. p is the payload of an object of it: of its one block that
// the object table leads to, as large as Fits says.
type Kind interface {
	About() *About
	// Fits reports whether the payload of an object can have the size.
	Fits(size format.ByteCount) bool
	// Contents returns the indexes of the descriptors of an object's keys and values, 0
	// where it has none, and how many values it has.
	Contents(p unsafe.Pointer) (key, value, count uint64)
	// Nodes returns the kinds of blocks that objects consist of, the object's own included.
	Nodes() []Node
	// Blocks visits the blocks below an object.
	Blocks(r *heap.Reader, p unsafe.Pointer, visit Visit) error
	// Layout returns how values of these types lie in the holders. What a kind has no
	// types for is nil.
	Layout(key, value *layout.Type, m Maker) Layout
	// Holders calls each with the payloads of the blocks that hold an object's values,
	// and fails if they are not as many as the object says, which has the index.
	Holders(r *heap.Reader, index uint64, p unsafe.Pointer, l Layout, each func(holder unsafe.Pointer) error) error
	// Handles calls meet with the handles in a holder, until it returns false.
	Handles(l Layout, holder unsafe.Pointer, b layout.Bounds, meet Meet) error
	// Compare returns a Comparison of two versions of an object, which are not the same
	// block.
	Compare(was, now Version, l Layout) (*Comparison, error)
	// Dump emits the object at an address to a dump: that it is there, or what it holds.
	Dump(t Emitter, a format.Addr) error
	// Make returns what an object is that a change of the kind New makes.
	Make(s Types, h format.OpHead, payload []byte) (Told, error)
	// CheckChange returns an error if a change of an object is impossible; else a copy of the block
	// with values that the change carries, relocated to where the copy lies; nil if it carries
	// none.
	CheckChange(t *Told, h format.OpHead, payload []byte, copied Copy) (holder unsafe.Pointer, b layout.Bounds, err error)
	// Note enters what a change does to an object.
	Note(t *Told, h format.OpHead)
	// Check verifies an object, and all that it consists of.
	Check(c Checker, o At, p unsafe.Pointer) error
}

// Visit is called with every block that a walk meets. It verifies the block and reports
// whether the walk enters it. An error ends the walk.
type Visit = func(a format.Addr, kind format.Kind) (descend bool, err error)

// table finds kinds of objects.
type table struct {
	of     [256]Kind // by format.Kind
	handle [256]Kind // by layout.HandleKind
	node   [256]*Node
	op     [256]Kind // by format.OpKind; one of those that have such changes
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

// Add adds a kind of object for as long as a test runs: until remove is called.
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

// Is reports whether blocks of a kind are objects: the object table leads to them.
func Is(kind format.Kind) bool { return Of(kind) != nil }

// OfOp returns a kind of object that has such changes, the one that they make; nil if
// there is none.
func OfOp(op format.OpKind) Kind { return kinds.op[op] }

// Has reports whether objects of a kind have such changes.
func Has(k Kind, op format.OpKind) bool { return slices.Contains(k.About().Ops, op) }

// OfHandle returns the kind of the objects that handles of a kind lead to.
func OfHandle(handle layout.HandleKind) format.Kind {
	if k := kinds.handle[handle]; k != nil {
		return k.About().Kind
	}
	return format.KindNone
}

// Name returns what objects of a kind are called.
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

// Contents is Kind.Contents; nothing if there is no such kind.
func Contents(kind format.Kind, p unsafe.Pointer) (key, value, count uint64) {
	if k := Of(kind); k != nil {
		return k.Contents(p)
	}
	return 0, 0, 0
}

// First is what About says of a kind.
func First(kind format.Kind) bool {
	k := Of(kind)
	return k != nil && k.About().First
}
