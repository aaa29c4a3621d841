package object

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// Plain has what all kinds have in common whose objects are single blocks without types. The block
// is its only holder.
type Plain struct{}

// Contents implements Kind.
func (Plain) Contents(unsafe.Pointer) (key, value, count uint64) { return 0, 0, 0 }

// Blocks implements Kind.
func (Plain) Blocks(*heap.Reader, unsafe.Pointer, Visit) error { return nil }

// Layout implements Kind.
func (Plain) Layout(_, _ *layout.Type, _ Maker) Layout { return Layout{} }

// Holders implements Kind.
func (Plain) Holders(_ *heap.Reader, _ uint64, p unsafe.Pointer, _ Layout, each func(holder unsafe.Pointer) error) error {
	return each(p)
}

// Handles implements Kind.
func (Plain) Handles(Layout, unsafe.Pointer, layout.Bounds, Meet) error { return nil }

// Compare implements Kind.
func (Plain) Compare(Version, Version, Layout) (*Comparison, error) {
	return nil, errors.New("an object of one block is compared as a whole")
}

// CheckChange implements Kind.
func (Plain) CheckChange(*Told, format.OpHead, []byte, Copy) (unsafe.Pointer, layout.Bounds, error) {
	return nil, layout.Bounds{}, nil
}

// Note implements Kind.
func (Plain) Note(*Told, format.OpHead) {}
