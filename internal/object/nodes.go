package object

import (
	"encoding/binary"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Code that moves blocks has the heap as bytes, wherever it is mapped, and goes from block to
// block by the words that refer to others.

// Block is a block that was verified.
type Block struct {
	Addr    format.Addr
	Head    format.BlockHeader
	Payload []byte
}

// Word returns the word at an offset of the payload.
func (b *Block) Word(at int) uint64 { return binary.LittleEndian.Uint64(b.Payload[at:]) }

// Bytes returns what the block takes, header and rounding included.
func (b *Block) Bytes() format.ByteCount {
	if c := b.Head.Class(); c != format.ClassRun {
		return c.BlockSize()
	}
	return format.ByteCount(format.RunExtents(format.ByteCount(b.Head.Size))) << format.ExtentShift
}

// Owner is what a walk must know of a block's surroundings to read it.
type Owner struct {
	Version format.Version // the one that is walked
	Table   format.Link    // object table of the version
	Newest  bool           // the version is the newest, and no checkpoint
	Link    format.Link    // that leads to the block
	Shift   uint           // of the hash, at a node of a trie
	Shape   *entry.Shape   // of the entries below
	Item    *layout.Type   // of the elements below, in a list
}

// Refer is called with the offset of a word in a payload whose low 48 bits are the address
// of a block, with the kind of that block, and with its Owner.
type Refer func(at int, kind format.Kind, of Owner) error

// Walker is a walk from block to block, which moves them.
type Walker interface {
	// Damage describes what is wrong with the block at an address.
	Damage(a format.Addr, what string, args ...any) error
	// Object returns the kind of the object that a word of the object table leads to.
	Object(from *Block, word uint64) (format.Kind, error)
	// Type returns the type whose descriptor has the index, in the version of the object
	// that uses it.
	Type(user *Block, index uint64, of Owner) (*layout.Type, error)
	// Shape returns the layout of entries.
	Shape(key, value *layout.Type) *entry.Shape
}

// Node is a kind of block that objects consist of.
type Node struct {
	Kind format.Kind
	// Refer calls fn for every word of a block that refers to another block; nil: there
	// are none.
	Refer func(s Walker, b *Block, of Owner, fn Refer) error
	// Hold returns where in a block its values lie; nil: it holds none.
	Hold func(s Walker, b *Block, of Owner) (Held, error)
}

// Held is the values in a block.
type Held struct {
	Shape *entry.Shape // of an entry
	Type  *layout.Type // of any other value
	At    uintptr      // where it begins
}

// Move changes the addresses in a copy of the block's payload, for another place of it.
func (h Held) Move(copied []byte, from, to uintptr) error {
	if h.Shape != nil {
		return h.Shape.Move(copied, from, to)
	}
	return h.Type.Move(copied, h.At, from, to)
}

// NodeOf returns the kind of block that objects consist of; nil if there is none.
func NodeOf(kind format.Kind) *Node { return kinds.node[kind] }
