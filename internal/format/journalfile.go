package format

import (
	"encoding/binary"
	"unsafe"
)

// OpKind says what one logical change does.
type OpKind uint8

// The kinds of logical changes.
const (
	OpSet     OpKind = 1 // of a map or a sorted map: the entry with a key is this one
	OpDelete  OpKind = 2 // of a map or a sorted map: the key of this entry is not there any more
	OpNewMap  OpKind = 3 // there is a new map, empty
	OpNewType OpKind = 4 // there is a new descriptor

	OpNewSorted OpKind = 5 // there is a new sorted map, empty

	OpNewList  OpKind = 6  // there is a new list, empty
	OpNewValue OpKind = 7  // there is a new value; without a block: one that a later change sets
	OpSetValue OpKind = 8  // the value is this one
	OpAppend   OpKind = 9  // of a list: one more element; without a block: one that a later change sets
	OpSetItem  OpKind = 10 // of a list: the element with an index is this one
	OpTruncate OpKind = 11 // of a list: only the first elements are left

	OpDrop OpKind = 12 // objects are gone: bit i of the argument is that of the object with index + i
	// In a change frame only:
	OpMark           OpKind = 13 // of a map or a sorted map: the marks of its keys are these
	OpCheckpoint     OpKind = 14 // the version before is a checkpoint of the name in the payload; the object is 0
	OpDropCheckpoint OpKind = 15 // the checkpoint of the name in the payload is gone; the object is 0

	// In a record of the journal only:
	OpAside OpKind = 130 // the changes stand in a change frame, in a file of its own; the argument names it

	// In a state only:
	OpList     OpKind = 128 // several changes, in a block of their own
	OpUnlisted OpKind = 129 // changes that are not listed: the version needs an anchor
)

// Op is one logical change as a state or a list of changes names it. It carries a block:
// the payload of an entry, a value, an element or a descriptor.
type Op struct {
	What  uint64 `doc:"kind (bits 56-63), index of the object (0-47)"`
	Block uint64 `doc:"address of the block that the change carries, 0: none; of a new map or sorted map: index of the descriptor of its keys"`
	Arg   uint64 `doc:"of a new map, sorted map or list: index of the descriptor of its values; of a new value: of its own; of an element: its index; of a truncation: how many elements are left; of objects that are gone: a bit for each, the lowest that of the object itself"`
}

// Carried returns the address of the block that the change carries; 0 for none.
func (op *Op) Carried() Addr {
	switch OpKindOf(op.What) {
	case OpNewMap, OpNewSorted:
		return 0
	}
	return Addr(op.Block)
}

// OpHead starts a logical change in the journal and in a backup. The payload
// follows, padded with zeros to a multiple of 8 bytes.
type OpHead struct {
	What uint64 `doc:"kind (bits 56-63), index of the object (0-47)"`
	Addr uint64 `doc:"address that the payload had: what points into it refers to that; 0: there is none; of a new map or sorted map: index of the descriptor of its keys"`
	Arg  uint64 `doc:"as of Op"`
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

// JournalMagic starts a frame of the journal.
const JournalMagic = "EVJF"

// Places in the journal file.
const (
	SegmentSize = 2 << 20 // bytes of a segment; one process at a time writes it
	NumSegments = 256     // at most
	FrameAlign  = 512     // frames begin at multiples of it: no sector has two
)

// FrameHead starts a frame: what one write puts into the journal. The payload
// follows: whole records, or one part of a record that is larger than a frame.
type FrameHead struct {
	Magic    [4]byte `doc:"EVJF"`
	Sum      uint32  `doc:"CRC32C of the fields after this one and of the payload"`
	Size     uint32  `doc:"bytes of the payload"`
	Part     uint32  `doc:"number of this part, from 0"`
	Parts    uint32  `doc:"number of parts of the record; 1: the frame holds whole records"`
	Reserved uint32  `doc:"zero"`
	Space    uint64  `doc:"first 8 bytes of the id of the space"`
	First    uint64  `doc:"version of the first record"`
	Last     uint64  `doc:"version of the last record"`
	Before   uint64  `doc:"chain of the version before the first"`
	After    uint64  `doc:"chain of the last"`
}

// RecordHead starts the record of one version. Its changes follow.
type RecordHead struct {
	Version  uint64 `doc:"the version"`
	Chain    uint64 `doc:"chain of its state"`
	UnixNano uint64 `doc:"time of the commit, nanoseconds since 1970 UTC"`
	Size     uint64 `doc:"bytes of the changes that follow"`
}

// Sizes of the records of the journal.
const (
	FrameHeadSize  = int(unsafe.Sizeof(FrameHead{}))
	RecordHeadSize = int(unsafe.Sizeof(RecordHead{}))
)

var (
	_ [64]byte = [FrameHeadSize]byte{}
	_ [32]byte = [RecordHeadSize]byte{}
)

// PutFrameHead writes the head of a frame to the start of b, which is the whole
// frame, and computes its checksum.
func PutFrameHead(b []byte, h FrameHead) {
	copy(b, JournalMagic)
	h.Size = uint32(len(b) - FrameHeadSize)
	for i, w := range [...]uint32{h.Size, h.Part, h.Parts, 0} {
		binary.LittleEndian.PutUint32(b[8+4*i:], w)
	}
	for i, w := range [...]uint64{h.Space, h.First, h.Last, h.Before, h.After} {
		binary.LittleEndian.PutUint64(b[24+8*i:], w)
	}
	binary.LittleEndian.PutUint32(b[4:], Checksum(b[8:]))
}

// DecodeFrameHead reads the head of a frame at the start of b, which may be
// longer or shorter than the frame. ok is false if there is none. The checksum is
// not looked at.
func DecodeFrameHead(b []byte) (h FrameHead, ok bool) {
	if len(b) < FrameHeadSize || string(b[:4]) != JournalMagic {
		return h, false
	}
	copy(h.Magic[:], b)
	h.Sum, h.Size = binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	h.Part, h.Parts = binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])
	h.Space, h.First = binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[32:])
	h.Last, h.Before = binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])
	h.After = binary.LittleEndian.Uint64(b[56:])
	return h, h.Size <= SegmentSize-uint32(FrameHeadSize) && h.Part < h.Parts && h.First <= h.Last && h.Last < MaxVersion &&
		(h.Parts == 1 || h.First == h.Last)
}

// AppendRecordHead appends the head of a record to b.
func AppendRecordHead(b []byte, h RecordHead) []byte {
	for _, w := range [...]uint64{h.Version, h.Chain, h.UnixNano, h.Size} {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// NextRecord splits the first record off b. ok is false if the bytes are none.
func NextRecord(b []byte) (h RecordHead, ops, rest []byte, ok bool) {
	if len(b) < RecordHeadSize {
		return h, nil, nil, false
	}
	h = RecordHead{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])}
	b = b[RecordHeadSize:]
	if h.Size > uint64(len(b)) {
		return h, nil, nil, false
	}
	return h, b[:h.Size:h.Size], b[h.Size:], true
}

// NextChain computes the chain of a version from that of the version before and the random
// number of the live file: versions of the same number in different histories have
// different chains.
func NextChain(before, salt, version uint64) uint64 {
	x := (before ^ salt) + version*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

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
