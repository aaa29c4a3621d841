// Package relocate gives blocks new addresses. For a closed space it moves all blocks: it
// writes them into a new heap file, for another window or packed without gaps. For an open
// space it lists the blocks to move and the paths to them, and the engine copies them.
//
// Terms: the source is the present heap file, mapped at any address: its window need not be
// free. The live set is every block that the newest version or one of its checkpoints can
// reach. A placement maps each block of the live set to its new address. The copy is the new
// file. The root of a rewrite is the version that an opener of the space would find.
//
// Invariants (rewrite.go states W1 to W4, about replacing the old file by the new one):
//
//	N1  The walk verifies a block (place, kind, size and checksum) before it reads it, and
//	    every address in it must be in the live set. Anything else is an error: only an
//	    undamaged space is copied.
//	N2  A copy is complete: a block of an unknown kind is an error, and so is a version whose
//	    blocks do not add up to the number of bytes in its state.
//	N3  Nothing writes the source.
//	N4  The placement computes a block's new address from the live set alone, by counting the
//	    blocks before it. So it needs no table of addresses, however many blocks there are.
//
// A copy leaves out three things: the lists of changes, which the journal has already; the
// versions that a restore pinned for other processes' free lists, since no other process has
// the space open; and the checkpoint lists of versions that are checkpoints themselves,
// which were of use only while such a version was the newest.
//
// Start reading at rewrite, then FindLive and walker.each, which asks package object what
// a kind of block refers to.
package relocate

import (
	"encoding/binary"
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// Source is the heap file of a closed space.
type Source struct {
	data    []byte
	classes []byte // the extent table, a copy
	base    uint64
	first   uint64 // offset of the first extent
	carved  uint64 // all blocks lie below this offset
	secret  uint64 // seed of the hashes
}

// NewSource returns the source in the mapped bytes of a heap file, whose blocks lie
// below the offset carved.
func NewSource(data []byte, h *format.Header, carved uint64) (*Source, error) {
	first := format.FirstExtent(h.Window)
	if carved > h.Window || carved < first || carved%format.ExtentSize != 0 || carved > uint64(len(data)) {
		return nil, &format.DamageError{File: "heap", Offset: int64(len(data)),
			What: fmt.Sprintf("the file was truncated: %d bytes are in use", carved)}
	}
	classes := append([]byte(nil), data[format.TableOffset:][:carved>>format.ExtentShift]...)
	return &Source{data: data, classes: classes, base: h.Base, first: first, carved: carved, secret: h.Secret}, nil
}

// damage describes what is wrong with the block at an address.
func (s *Source) damage(a format.Addr, what string, args ...any) error {
	return &format.DamageError{File: "heap", Offset: int64(uint64(a) - s.base), What: fmt.Sprintf(what, args...)}
}

func (s *Source) class(extent uint64) format.Class { return format.Class(s.classes[extent]) }

// contains reports whether a block may begin at an address.
func (s *Source) contains(a format.Addr) bool {
	off := uint64(a) - s.base
	return off >= s.first && off < s.carved && a&15 == 0
}

// head reads the header at an address that the source contains.
func (s *Source) head(a format.Addr) format.BlockHeader {
	b := s.data[uint64(a)-s.base:]
	return format.BlockHeader{Sum: binary.LittleEndian.Uint32(b), Size: binary.LittleEndian.Uint32(b[4:]), Meta: binary.LittleEndian.Uint64(b[8:])}
}

// block verifies and returns the block of a kind at an address (N1).
func (s *Source) block(a format.Addr, kind format.Kind) (object.Block, error) {
	if !s.contains(a) {
		return object.Block{}, s.damage(a, "a link to a block of kind %s leads to an impossible address %#x", kind, uint64(a))
	}
	hd := s.head(a)
	off := uint64(a) - s.base
	class, within := s.class(off>>format.ExtentShift), off%format.ExtentSize
	room := class.BlockSize()
	if class == format.ClassRun {
		room = format.ByteCount(format.RunExtents(format.ByteCount(hd.Size))) << format.ExtentShift
	}
	switch {
	case room == 0, class == format.ClassRun && within != 0,
		class != format.ClassRun && (within%uint64(room) != 0 || within+uint64(room) > format.ExtentSize):
		return object.Block{}, s.damage(a, "no block begins here (a %s was expected, the extent is of class %d)", kind, class)
	case off+uint64(room) > s.carved:
		return object.Block{}, s.damage(a, "a %s block of %d bytes does not fit where it is", kind, hd.Size)
	case hd.Class() != class || class != format.ClassFor(format.ByteCount(hd.Size)):
		return object.Block{}, s.damage(a, "the header of a %s block has a wrong size or class", kind)
	case hd.Kind() != kind:
		return object.Block{}, s.damage(a, "a %s block was expected, this is of kind %s", kind, hd.Kind())
	}
	end := off + format.HeaderSize + uint64(hd.Size)
	if format.BlockSum(s.data[off:end], off) != hd.Sum {
		return object.Block{}, s.damage(a, "the checksum of the %s block does not match", kind)
	}
	return object.Block{Addr: a, Head: hd, Payload: s.data[off+format.HeaderSize : end : end]}, nil
}

// State verifies and returns the state block at an address.
func (s *Source) State(a format.Addr) (*format.State, error) {
	b, err := s.block(a, format.KindState)
	if err != nil {
		return nil, err
	}
	state := new(format.State)
	if _, err := binary.Decode(b.Payload, binary.LittleEndian, state); err != nil || len(b.Payload) != format.StateSize {
		return nil, s.damage(a, "a state block of the wrong size")
	}
	return state, nil
}
