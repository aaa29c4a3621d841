package object

import (
	"encoding/binary"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Code that moves blocks has the heap as bytes, mapped at any address. It walks from block to block
// by the words that refer to other blocks.

// Block is a block that was verified.
type Block struct {
	Addr    format.Addr
	Head    format.BlockHeader
	Payload []byte
}

// Word returns the word at an offset of the payload.
func (b *Block) Word(at int) uint64 { return binary.LittleEndian.Uint64(b.Payload[at:]) }

// Bytes returns how many bytes the block takes, including header and rounding.
func (b *Block) Bytes() format.ByteCount {
	if c := b.Head.Class(); c != format.ClassRun {
		return c.BlockSize()
	}
	return format.ByteCount(format.RunExtents(format.ByteCount(b.Head.Size))) << format.ExtentShift
}

// Owner is what a walk must know about the surroundings of a block in order to read it.
type Owner struct {
	Version format.Version // the version that is walked
	Table   format.Link    // the object table of the version
	Newest  bool           // the version is the newest, and no checkpoint
	Link    format.Link    // the link to the block
	Shift   uint           // the hash bit of a node of a trie
	Shape   *entry.Shape   // the shape of the entries below
	Item    *layout.Type   // the type of the elements below, in a list
}

// Refer is called with the offset of a word in a payload whose low 48 bits are the address
// of a block, with the kind of that block, and with its Owner.
type Refer func(at int, kind format.Kind, of Owner) error

// Walker is a walk that moves blocks.
type Walker interface {
	// Damage returns an error that describes what is wrong with the block at an address.
	Damage(a format.Addr, what string, args ...any) error
	// Object returns the kind of the object whose address is in a word of the object table.
	Object(from *Block, word uint64) (format.Kind, error)
	// Type returns the type whose descriptor has the index, in the version of the object
	// that uses it.
	Type(user *Block, index uint64, of Owner) (*layout.Type, error)
	// Shape returns the layout of entries.
	Shape(key, value *layout.Type) *entry.Shape
}

// Node is a kind of block, as a part of objects.
type Node struct {
	Kind format.Kind
	// Refer calls fn for every word of a block that refers to another block; nil if the kind has no
	// such words.
	Refer func(s Walker, b *Block, of Owner, fn Refer) error
	// Hold returns where the values lie in a block; nil if the kind holds none.
	Hold func(s Walker, b *Block, of Owner) (Held, error)
}

// Held is the values in a block.
type Held struct {
	Shape *entry.Shape // the shape, if the block is an entry
	Type  *layout.Type // the type of any other value
	At    uintptr      // where the value begins
}

// Move adjusts the addresses in a copy of the block's payload that is to lie elsewhere.
func (h Held) Move(copied []byte, from, to uintptr) error {
	if h.Shape != nil {
		return h.Shape.Move(copied, from, to)
	}
	return h.Type.Move(copied, h.At, from, to)
}

// NodeOf returns the node for blocks of a kind; nil if objects do not consist of such blocks.
func NodeOf(kind format.Kind) *Node { return kinds.node[kind] }
