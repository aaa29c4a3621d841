package object

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// Layout is how the values of an object lie in its holders.
type Layout struct {
	Shape *entry.Shape // shape of its entries; nil if it has none
	Cell  *entry.Cell  // cell of its elements, or of its own value; nil if it has neither
}

// Maker makes the layouts of a space.
type Maker struct {
	Shape       func(key, value *layout.Type) *entry.Shape
	CheckHandle entry.CheckHandle // checks handles that are to be stored; nil if none are
}

// Meet is called with a handle, and reports whether to continue.
type Meet = func(handle layout.HandleKind, id uint64) bool

// Version is an object in one version, which is held.
type Version struct {
	Reader  *heap.Reader
	Payload unsafe.Pointer // nil if the version lacks the object
}

// Pair has what one key stands for in two versions: payloads of blocks, or nil for nothing.
type Pair struct {
	Index    uint64 // index of the element, in a list
	Was, Now unsafe.Pointer
}

// Comparison finds the differences of one object between two versions, a few at a time.
type Comparison struct {
	Key     *layout.Type // nil if there are no keys
	Value   *layout.Type
	KeyOf   func(holder unsafe.Pointer) unsafe.Pointer // nil if the index is the key
	ValueOf func(holder unsafe.Pointer) unsafe.Pointer
	Step    func(yield func(Pair)) (more bool, err error)
}

// cellHandles is Kind.Handles for kinds whose holders are cells.
func cellHandles(l Layout, holder unsafe.Pointer, b layout.Bounds, meet Meet) error {
	return l.Cell.Type.Handles(l.Cell.ValueOf(holder), b, meet)
}

// At is an object that is being verified.
type At struct {
	Index uint64
	Addr  format.Addr
	Kind  format.Kind
}

// Checker is a walk that verifies a version.
type Checker interface {
	Reader() *heap.Reader
	Visit(a format.Addr, kind format.Kind) (descend bool, err error) // reports false for a block that was visited before
	Find(a format.Addr, what string, args ...any)                    // adds a finding
	Sound() bool                                                     // reports whether there is no finding yet
	Older() bool                                                     // a checkpoint is verified: Visit also reports false for the blocks of the newest version
	Count(values uint64)                                             // adds to the number of values

	Types
	Know(index uint64, t *layout.Type)
}

// typeOf returns a stored type; nil if it is unknown.
func typeOf(c Checker, o At, index uint64) *layout.Type {
	t := c.Type(index)
	if t == nil {
		c.Find(o.Addr, "the type of a %s, object %d, is missing", o.Kind, index)
	}
	return t
}

// checkValue verifies the value that begins at an offset of a block.
func checkValue(c Checker, a format.Addr, kind format.Kind, at uintptr, typ *layout.Type) error {
	p, err := c.Reader().Payload(a, kind)
	if err != nil || typ == nil {
		return err
	}
	if err := typ.Check(unsafe.Add(p, at), entry.Bounds(c.Reader(), p)); err != nil {
		c.Find(a, "the value of a %s: %v", kind, err)
	}
	return nil
}
