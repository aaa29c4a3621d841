package object

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// typeKind are descriptors of types. No handles lead to them, and they hold none.
type typeKind struct{}

const typeHead = int(unsafe.Sizeof(format.TypeObject{}))

// About implements Kind.
func (typeKind) About() About {
	return About{Kind: format.KindType, Name: "type", Called: "type", First: true}
}

// Fits implements Kind.
func (typeKind) Fits(size format.ByteCount) bool { return size >= format.ByteCount(typeHead) }

// Contents implements Kind.
func (typeKind) Contents(unsafe.Pointer) (key, value, count uint64) { return 0, 0, 0 }

// Blocks implements Kind.
func (typeKind) Blocks(*heap.Reader, unsafe.Pointer, Visit) error { return nil }

// Layout implements Kind.
func (typeKind) Layout(_, _ *layout.Type, _ Maker) Layout { return Layout{} }

// Holders implements Kind.
func (typeKind) Holders(*heap.Reader, uint64, unsafe.Pointer, Layout, func(unsafe.Pointer) error) error {
	return nil
}

// Handles implements Kind.
func (typeKind) Handles(Layout, unsafe.Pointer, layout.Bounds, Meet) error { return nil }

// Compare implements Kind.
func (typeKind) Compare(Version, Version, Layout) (*Comparison, error) {
	return nil, errors.New("descriptors never change")
}

// Check implements Kind.
func (typeKind) Check(c Checker, o At, p unsafe.Pointer) error {
	size := uint64(c.Reader().Size(o.Addr))
	if size < uint64(typeHead) || (*format.TypeObject)(p).Length > size-uint64(typeHead) {
		c.Find(o.Addr, "a type descriptor is longer than its block")
		return nil
	}
	encoded := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Add(p, typeHead)), (*format.TypeObject)(p).Length)...)
	t, err := layout.Decode(encoded)
	if err != nil {
		c.Find(o.Addr, "a type descriptor: %v", err)
		return nil
	}
	c.Know(o.Index, t)
	return nil
}
