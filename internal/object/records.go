package object

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Told is what the changes so far say of an object.
type Told struct {
	Kind Kind
	Layout
	Descriptor *layout.Type // that it is, if it is one
	Type       uint64       // index of the descriptor of a value
	Count      uint64       // elements of a list
}

// Types are the types that are known.
type Types interface {
	Type(index uint64) *layout.Type // of the descriptor; nil: it is not known
	Shape(key, value *layout.Type) *entry.Shape
}

// Copy copies the payload of a change to where it can be changed.
type Copy = func(payload []byte) (unsafe.Pointer, layout.Bounds)

// Applied is a kind of object whose changes need nothing but its own block. For all other kinds
// the engine has code of its own.
type Applied interface {
	Kind
	// Apply makes a change, of the kinds that About lists.
	Apply(e Editor, op format.OpKind, index uint64, h format.OpHead, payload []byte) error
}

// Editor is a transaction that applies changes.
type Editor interface {
	Create(kind format.Kind, index uint64, size format.ByteCount) (unsafe.Pointer, error) // a new object: its payload, zero
	Edit(kind format.Kind, index uint64, size format.ByteCount) (unsafe.Pointer, error)   // an object's payload, writable
}
