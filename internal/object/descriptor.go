package object

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	t, err := DecodeType(unsafe.Slice((*byte)(p), c.Reader().Size(o.Addr)))
	if err != nil {
		c.Find(o.Addr, "%v", err)
		return nil
	}
	c.Know(o.Index, t)
	return nil
}

// Nodes implements Kind.
func (typeKind) Nodes() []Node { return []Node{{Kind: format.KindType}} }

// DecodeType returns the type in the payload of a descriptor.
func DecodeType(payload []byte) (*layout.Type, error) {
	if len(payload) < typeHead {
		return nil, errTypeLength
	}
	n := binary.LittleEndian.Uint64(payload[unsafe.Offsetof(format.TypeObject{}.Length):])
	if n > uint64(len(payload)-typeHead) {
		return nil, errTypeLength
	}
	t, err := layout.Decode(append([]byte(nil), payload[typeHead:][:n]...))
	if err != nil {
		return nil, fmt.Errorf("a type descriptor: %w", err)
	}
	return t, nil
}

var errTypeLength = errors.New("a type descriptor is longer than its block")
