package format

import (
	"encoding/binary"
	"unsafe"
)

// OpKind says what one logical change does.
type OpKind uint8

// The kinds of logical changes.
const (
	OpSet     OpKind = 1 // of a map: the entry with a key is this one
	OpDelete  OpKind = 2 // of a map: the key of this entry is not there any more
	OpNewMap  OpKind = 3 // there is a new map, empty
	OpNewType OpKind = 4 // there is a new descriptor
)

// Op is one logical change as a state or a record block names it. What it carries
// is a block: the payload of an entry or of a descriptor.
type Op struct {
	What  uint64 `doc:"kind (bits 56-63), index of the object (0-47)"`
	Block uint64 `doc:"address of the block with the entry or the descriptor; of a new map: index of the descriptor of its keys"`
	Arg   uint64 `doc:"of a new map: index of the descriptor of its values"`
}

// OpHead starts a logical change in the journal and in a backup. The payload
// follows, padded with zeros to a multiple of 8 bytes.
type OpHead struct {
	What uint64 `doc:"kind (bits 56-63), index of the object (0-47)"`
	Addr uint64 `doc:"address that the payload had: what points into it refers to that; of a new map: index of the descriptor of its keys"`
	Arg  uint64 `doc:"of a new map: index of the descriptor of its values"`
	Size uint64 `doc:"bytes of the payload, padding not counted"`
}

// Sizes of the records of changes.
const (
	OpSize     = int(unsafe.Sizeof(Op{}))
	OpHeadSize = int(unsafe.Sizeof(OpHead{}))
)

var (
	_ [24]byte = [OpSize]byte{}
	_ [32]byte = [OpHeadSize]byte{}
)

// MakeWhat packs the kind and the object of a change.
func MakeWhat(k OpKind, object uint64) uint64 { return uint64(k)<<56 | object&AddrMask }

// OpKindOf and ObjectOf are the parts of a packed What.
func OpKindOf(what uint64) OpKind { return OpKind(what >> 56) }

// ObjectOf returns the index of the object of a packed What.
func ObjectOf(what uint64) uint64 { return what & AddrMask }

// AppendOp appends a change with its payload to b.
func AppendOp(b []byte, h OpHead, payload []byte) []byte {
	h.Size = uint64(len(payload))
	b = binary.LittleEndian.AppendUint64(b, h.What)
	b = binary.LittleEndian.AppendUint64(b, h.Addr)
	b = binary.LittleEndian.AppendUint64(b, h.Arg)
	b = binary.LittleEndian.AppendUint64(b, h.Size)
	b = append(b, payload...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// NextOp splits the first change off b. ok is false if the bytes are none; the
// payload is a part of b.
func NextOp(b []byte) (h OpHead, payload, rest []byte, ok bool) {
	if len(b) < OpHeadSize {
		return h, nil, nil, false
	}
	h = OpHead{
		What: binary.LittleEndian.Uint64(b), Addr: binary.LittleEndian.Uint64(b[8:]),
		Arg: binary.LittleEndian.Uint64(b[16:]), Size: binary.LittleEndian.Uint64(b[24:]),
	}
	b = b[OpHeadSize:]
	padded := (h.Size + 7) &^ 7
	if h.Size > uint64(MaxPayload) || padded > uint64(len(b)) {
		return h, nil, nil, false
	}
	return h, b[:h.Size:h.Size], b[padded:], true
}
