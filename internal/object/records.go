package object

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Told is what is known about an object from its changes so far.
type Told struct {
	Kind Kind
	Layout
	Descriptor *layout.Type // the type, if the object is a descriptor
	Type       uint64       // index of the descriptor of the object's value
	Count      uint64       // number of elements of a list
}

// Types has the known types.
type Types interface {
	Type(index uint64) *layout.Type // the type in a descriptor; nil if unknown
	Shape(key, value *layout.Type) *entry.Shape
}

// Copy copies the payload of a change to memory where it can be changed.
type Copy = func(payload []byte) (unsafe.Pointer, layout.Bounds)

// Applied is a kind of object whose changes need nothing but its own block. All other kinds have
// code in package apply.
type Applied interface {
	Kind
	// Apply applies a change of one of the kinds in About.
	Apply(e Editor, op format.OpKind, index uint64, h format.OpHead, payload []byte) error
}

// Editor is a transaction that applies changes.
type Editor interface {
	Create(kind format.Kind, index uint64, size format.ByteCount) (unsafe.Pointer, error) // makes an object, and returns its payload of zeros
	Edit(kind format.Kind, index uint64, size format.ByteCount) (unsafe.Pointer, error)   // returns an object's payload, writable
}
