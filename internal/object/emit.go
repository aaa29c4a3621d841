package object

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// A Pass is one walk of a dump over all objects.
type Pass int

// The passes, in their order.
const (
	PassTypes    Pass = iota // emits the objects of kinds that are First; the next pass emits the damaged ones
	PassObjects              // emits that the other objects exist
	PassContents             // emits their contents
)

// Counts has the numbers that a dump counts.
type Counts struct {
	Objects uint64 // objects emitted, including the space's own maps
	Entries uint64 // entries emitted
	Missing uint64 // entries that objects count, and that cannot be emitted
}

// Emitter is a dump: a kind emits to it what its objects are and hold.
type Emitter interface {
	Pass() Pass
	Counts() *Counts
	Reader() *heap.Reader
	Payload(a format.Addr) ([]byte, format.OpHead) // of a verified block, and its address
	Types
	Know(t *layout.Type) // remembers the type in the object, which is a descriptor
	Own() *entry.Shape   // shape of the entries, if the object is one of the space's own maps; else nil

	Things(n uint64)                                                 // bounds the number of blocks of an object that claims to hold so many things
	Visit(a format.Addr, kind format.Kind) (descend bool, err error) // verifies a block
	Damage(a format.Addr, err error) error                           // reports damage, unless err is nil; an error that it returns ends the dump
	Once(err error) error                                            // returns the error, but nil in the last pass: an object that was not emitted has no contents

	Lead(e unsafe.Pointer, b layout.Bounds) (emit bool, err error) // reports whether to emit an entry of one of the space's own maps
	Show(t *layout.Type, p unsafe.Pointer, b layout.Bounds)        // takes each key and each value before it is emitted
	Emit(op format.OpKind, h format.OpHead, payload []byte) error  // emits a change of the object
}

// showCell verifies the value in a payload and shows it.
func showCell(t Emitter, cell *entry.Cell, payload []byte) error {
	if len(payload) < cell.FixedSize() {
		return fmt.Errorf("a value of %d bytes is shorter than its type", len(payload))
	}
	p := unsafe.Pointer(unsafe.SliceData(payload))
	bounds := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	if err := cell.Type.Check(cell.ValueOf(p), bounds); err != nil {
		return err
	}
	t.Show(cell.Type, cell.ValueOf(p), bounds)
	return nil
}
