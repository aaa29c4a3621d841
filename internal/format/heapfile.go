package format

import (
	"encoding/binary"
	"fmt"
)

// HeapMagic starts the heap file.
const HeapMagic = "EVERHEAP"

// AnchorMagic starts an anchor slot.
const AnchorMagic = "EVANCHOR"

// Places in the heap file.
const (
	HeaderOffset = 0
	AnchorOffset = PageSize // of the first anchor slot; each has a page of its own
	NumAnchors   = 8
	TableOffset  = ExtentSize // of the extent table: one byte an extent
)

// Header is the first page of the heap file. Only the creation or a rewriting of the space
// writes it.
type Header struct {
	Magic    [8]byte  `doc:"EVERHEAP"`
	Format   uint32   `doc:"version of the format"`
	PageSize uint32   `doc:"bytes of a page"`
	Base     uint64   `doc:"address of the window"`
	Window   uint64   `doc:"bytes of the window, a power of two"`
	SpaceID  [16]byte `doc:"random name of the space"`
	Secret   uint64   `doc:"random seed of the hashes"`
	Created  uint64   `doc:"time of creation, nanoseconds since 1970 UTC"`
	Tag      uint16   `doc:"tag in the upper bits of the IDs of this space"`
	Reserved [6]byte  `doc:"zero"`
	Sum      uint32   `doc:"CRC32C of the fields before"`
}

// FirstExtent returns the offset of the first extent for blocks: what follows
// the extent table, which has one byte for each extent of the window.
func FirstExtent(window uint64) uint64 {
	table := (window/ExtentSize + ExtentSize - 1) / ExtentSize * ExtentSize
	return TableOffset + table
}

// Encode returns the bytes of the header page, checksum included.
func (h *Header) Encode() []byte {
	copy(h.Magic[:], HeapMagic)
	h.Format, h.PageSize = FormatVersion, PageSize
	return encodeSummed(h, &h.Sum)
}

// encodeSummed encodes a record whose last field is its checksum, into a page.
func encodeSummed(record any, sum *uint32) []byte {
	*sum = 0
	b, err := binary.Append(make([]byte, 0, PageSize), binary.LittleEndian, record)
	if err != nil || len(b) > PageSize {
		panic(fmt.Sprintf("format: record does not encode: %v", err))
	}
	*sum = Checksum(b[:len(b)-4])
	binary.LittleEndian.PutUint32(b[len(b)-4:], *sum)
	return b[:PageSize]
}

// decodeSummed is the inverse of encodeSummed; it reports whether the checksum holds.
func decodeSummed(b []byte, record any, sum *uint32) bool {
	n := binary.Size(record)
	if len(b) < n {
		return false
	}
	if _, err := binary.Decode(b, binary.LittleEndian, record); err != nil {
		return false
	}
	return Checksum(b[:n-4]) == *sum
}

// DecodeHeader verifies and returns the header page.
func DecodeHeader(b []byte) (*Header, error) {
	damage := func(what string) error { return &DamageError{"heap", HeaderOffset, what} }
	if len(b) < PageSize {
		return nil, damage("the file is shorter than its header: it was truncated, or is not a heap")
	}
	if string(b[:8]) != HeapMagic {
		return nil, damage("no Everheap header: this is not the heap of a space")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != FormatVersion {
		return nil, damage(fmt.Sprintf("format version %d; this program reads version %d", v, FormatVersion))
	}
	h := new(Header)
	if !decodeSummed(b, h, &h.Sum) {
		return nil, damage("the checksum of the header does not match")
	}
	if h.PageSize != PageSize || h.Window < 64<<20 || h.Window&(h.Window-1) != 0 || h.Base%h.Window != 0 || h.Base == 0 ||
		h.Window > AddrMask || h.Base > AddrMask-h.Window {
		return nil, damage("the header names an impossible window")
	}
	return h, nil
}

// Anchor is the record of a version that survives power loss. A recovery starts from the
// newest valid one, by version and then sequence.
type Anchor struct {
	Magic    [8]byte           `doc:"EVANCHOR"`
	Format   uint32            `doc:"version of the format"`
	Clean    uint32            `doc:"1: the stacks below list the free space"`
	SpaceID  [16]byte          `doc:"the space that this anchor belongs to"`
	Sequence uint64            `doc:"grows with every anchor written"`
	Version  uint64            `doc:"the version"`
	State    uint64            `doc:"address of its state block"`
	Carved   uint64            `doc:"offset below which lie all its blocks"`
	Limit    uint64            `doc:"offset up to which the heap may grow: the maximum size of the space"`
	UnixNano uint64            `doc:"time of writing, nanoseconds since 1970 UTC"`
	Stacks   [NumStacks]uint64 `doc:"heads of the stacks of batches, if clean"`
	Sum      uint32            `doc:"CRC32C of the fields before"`
}

// Encode returns the page of the anchor, checksum included.
func (a *Anchor) Encode() []byte {
	copy(a.Magic[:], AnchorMagic)
	a.Format = FormatVersion
	return encodeSummed(a, &a.Sum)
}

// DecodeAnchor verifies and returns the anchor in slot i.
func DecodeAnchor(b []byte, i int, h *Header) (*Anchor, error) {
	damage := func(what string) error {
		return &DamageError{"heap", AnchorOffset + int64(i)*PageSize, what}
	}
	a := new(Anchor)
	if len(b) < PageSize || string(b[:8]) != AnchorMagic {
		return nil, damage("no anchor")
	}
	if !decodeSummed(b, a, &a.Sum) {
		return nil, damage("the checksum of the anchor does not match")
	}
	if a.Format != FormatVersion || a.SpaceID != h.SpaceID {
		return nil, damage("the anchor belongs to another space or format")
	}
	if a.Carved > h.Window || a.Carved < FirstExtent(h.Window) || a.State < h.Base || a.State >= h.Base+a.Carved || a.Version == 0 || a.Version >= MaxVersion {
		return nil, damage("the anchor names an impossible state")
	}
	if a.Limit > h.Window || a.Limit < FirstExtent(h.Window) || a.Limit%ExtentSize != 0 {
		return nil, damage("the anchor names an impossible maximum size")
	}
	return a, nil
}

// DecodeLoneAnchor returns the anchor in a page whose heap has lost its header. ok is
// false if there is none; whether it names a possible state is not looked at.
func DecodeLoneAnchor(b []byte) (a *Anchor, ok bool) {
	a = new(Anchor)
	ok = len(b) >= PageSize && string(b[:8]) == AnchorMagic && decodeSummed(b, a, &a.Sum) && a.Format == FormatVersion
	return a, ok
}

// Newer reports whether a supersedes b; b may be nil.
func (a *Anchor) Newer(b *Anchor) bool {
	return b == nil || a.Version > b.Version || a.Version == b.Version && a.Sequence > b.Sequence
}
