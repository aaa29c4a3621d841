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
	PassTypes    Pass = iota // tells kinds that are First; what is damaged the next one tells
	PassObjects              // tells that there are objects, the others
	PassContents             // tells what they hold
)

// Counts is what a dump counts.
type Counts struct {
	Objects uint64 // told, the space's own maps included
	Entries uint64 // told
	Missing uint64 // entries that objects say to have, and that cannot be told
}

// Teller is the dump that an object is told to.
type Teller interface {
	Pass() Pass
	Counts() *Counts
	Reader() *heap.Reader
	Payload(a format.Addr) ([]byte, format.OpHead) // of a verified block, and its address
	Types
	Know(t *layout.Type) // remembers the type that the object, a descriptor, is
	Own() *entry.Shape   // of the entries of an object that every space has; nil: it is none

	Things(n uint64)                                                 // bounds the blocks of an object that claims to hold so many things
	Visit(a format.Addr, kind format.Kind) (descend bool, err error) // verifies a block
	Damage(a format.Addr, err error) error                           // reports damage, unless err is nil; an error that it returns ends the dump
	Once(err error) error                                            // the error, but nil in the last pass: an object that was not told has no contents

	Lead(e unsafe.Pointer, b layout.Bounds) (tell bool, err error) // reports whether to tell an entry of one of the space's own maps
	Show(t *layout.Type, p unsafe.Pointer, b layout.Bounds)        // takes each key and each value before it is told
	Tell(op format.OpKind, h format.OpHead, payload []byte) error  // tells a change of the object
}

// tellCell verifies the value in a payload and shows it.
func tellCell(t Teller, cell *entry.Cell, payload []byte) error {
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
