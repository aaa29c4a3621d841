package object

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// typeKind is the kind of type descriptors. No handle refers to them, and they hold none.
type typeKind struct{ Plain }

const typeHead = int(unsafe.Sizeof(format.TypeObject{}))

var aboutType = About{Kind: format.KindType, Name: "type", Called: "type", First: true, Whole: true,
	New: format.OpNewType, Ops: []format.OpKind{format.OpNewType}}

// About implements Kind.
func (typeKind) About() *About { return &aboutType }

// Fits implements Kind.
func (typeKind) Fits(size format.ByteCount) bool { return size >= format.ByteCount(typeHead) }

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

// Dump implements Kind.
func (typeKind) Dump(t Emitter, a format.Addr) error {
	if t.Pass() == PassContents {
		return nil
	}
	payload, h := t.Payload(a)
	typ, err := TypeIn(payload)
	if err != nil {
		return fmt.Errorf("a type descriptor: %w", err)
	}
	if t.Pass() != PassTypes {
		return nil // an earlier pass emitted it
	}
	t.Know(typ)
	t.Counts().Objects++
	return t.Emit(format.OpNewType, h, payload)
}

// TypeIn returns the type in the payload of a change that stores a descriptor.
func TypeIn(payload []byte) (*layout.Type, error) {
	if len(payload) < typeHead {
		return nil, fmt.Errorf("a descriptor of %d bytes is too short", len(payload))
	}
	return layout.Decode(append([]byte(nil), payload[typeHead:]...))
}

// Make implements Kind.
func (k typeKind) Make(_ Types, _ format.OpHead, payload []byte) (Told, error) {
	t, err := TypeIn(payload)
	return Told{Kind: k, Descriptor: t}, err
}
