package format

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// State is the payload of a state block, which is one version.
type State struct {
	Version    uint64 `doc:"number of the version"`
	Table      uint64 `doc:"root of the object table, a link of a radix vector"`
	NextIndex  uint64 `doc:"index that the next new object gets"`
	Objects    uint64 `doc:"number of objects"`
	UnixNano   uint64 `doc:"time of the commit, nanoseconds since 1970 UTC, to a tenth of a second"`
	Previous   uint64 `doc:"address of the previous state block; it may be reclaimed already"`
	Chain      uint64 `doc:"number that tells this version from one of the same number in an abandoned history; follows from the previous version's"`
	OpWhat     uint64 `doc:"the transaction's only change: what; or kind 128: several changes, kind 129: changes that are not listed; 0: none"`
	OpBlock    uint64 `doc:"the transaction's only change: block; or address of the block that lists several"`
	OpArg      uint64 `doc:"the transaction's only change: argument"`
	Pins       uint64 `doc:"address of the block that lists the checkpoints; 0: none"`
	Catalog    uint64 `doc:"index of the object that maps names to IDs"`
	Types      uint64 `doc:"index of the object that maps digests of descriptors to IDs"`
	BlockBytes uint64 `doc:"bytes of all blocks reachable from this version, headers and rounding included"`
}

var _ [112]byte = [unsafe.Sizeof(State{})]byte{}

// Indexes of the objects that every space has.
const (
	CatalogIndex = 1
	TypesIndex   = 2
	FirstIndex   = 3
)

// ID names an object: an index in the object table under a tag of its space.
type ID uint64

// MakeID builds an ID from the tag of a space and an index.
func MakeID(tag uint16, index uint64) ID { return ID(uint64(tag)<<48 | index&AddrMask) }

// Tag returns the tag of the space that the ID belongs to.
func (id ID) Tag() uint16 { return uint16(id >> 48) }

// Index returns the index in the object table.
func (id ID) Index() uint64 { return uint64(id) & AddrMask }

// MapObject is the payload of the block of a hash map or of a sorted map.
type MapObject struct {
	Key   uint64 `doc:"index of the descriptor of the keys (bits 0-47); 0: string, of the space's own maps; bit 63: it has indexes; bit 62: its entries expire"`
	Value uint64 `doc:"index of the descriptor of the values; 0: 64-bit word, of the space's own maps"`
	Root  uint64 `doc:"link of the root of the hash trie, or of the B+tree of a sorted map; 0: empty"`
	Count uint64 `doc:"number of entries"`
}

var _ [32]byte = [unsafe.Sizeof(MapObject{})]byte{}

// Indexed is the bit of MapObject.Key which says that the map has indexes. Programs that do not know
// it find no descriptor there, and refuse the map.
const Indexed = 1 << 63

// Expiring is the bit of MapObject.Key which says that entries of the map expire. Such a map is Indexed as
// well; a program that knows indexes and not this one refuses it in the same way.
const Expiring = 1 << 62

// KeyMarks are the bits of MapObject.Key that do not belong to the index of the descriptor.
const KeyMarks = Indexed | Expiring

// KeyType returns the index of the descriptor of the keys.
func (m *MapObject) KeyType() uint64 { return m.Key &^ KeyMarks }

// TypeObject is the start of the payload of a block with a type descriptor; the
// encoded descriptor follows.
type TypeObject struct {
	Length uint64 `doc:"bytes of the encoded descriptor that follows"`
}

var _ [8]byte = [unsafe.Sizeof(TypeObject{})]byte{}

// ValueObject is the start of the payload of the block of one value that references
// lead to. The value follows, then, from a multiple of 8, what it owns.
type ValueObject struct {
	Type uint64 `doc:"index of the descriptor (bits 0-47), 12 (56-63): so the word alone tells the object from one of another kind"`
}

// ValueObjectSize is the size of ValueObject.
const ValueObjectSize = int(unsafe.Sizeof(ValueObject{}))

var _ [8]byte = [ValueObjectSize]byte{}

// MakeValueType packs the first word of a ValueObject.
func MakeValueType(index uint64) uint64 { return uint64(KindValue)<<56 | index&AddrMask }

// ValueType returns the index of the descriptor of a value from the first word of
// its object; ok is false if that is none.
func ValueType(word uint64) (index uint64, ok bool) {
	return word & AddrMask, word>>48 == uint64(KindValue)<<8
}

// ListObject is the payload of the block of a list. The words of its vector are the
// addresses of the blocks of its elements: payloads are the element, then, from a
// multiple of 8, what it owns; 8 bytes at least.
type ListObject struct {
	Value uint64 `doc:"index of the descriptor of the elements"`
	Root  uint64 `doc:"link of the root of the radix vector; 0: empty"`
	Count uint64 `doc:"number of elements"`
}

// ListObjectSize is the size of ListObject.
const ListObjectSize = int(unsafe.Sizeof(ListObject{}))

var _ [24]byte = [ListObjectSize]byte{}

// EntryHead is the start of the payload of an entry block. Key and value follow,
// each at its alignment, then the bytes that the key owns, then those that the
// value owns, from a multiple of 8 each.
type EntryHead struct {
	Hash uint64 `doc:"hash of the key, seeded with the secret of the space; of a sorted map: the first 8 bytes of the ordered form of the key"`
}

// Batch is the payload of a block that lists free space which one process passes to
// others, a batch: a link, and as many items as the block has room for.
type Batch struct {
	Next  uint64 `doc:"address of the next batch of the stack; 0: last"`
	Count uint64 `doc:"number of items"`
}

var _ [16]byte = [unsafe.Sizeof(Batch{})]byte{}

// BatchItem is one piece of free space in a batch. An item of the stack of
// extents counts extents; one of the stack of pending blocks has the two
// versions; one of a class has neither.
type BatchItem struct {
	Addr  uint64 `doc:"address of the block or of the first extent"`
	Birth uint64 `doc:"pending: version that wrote the block; extents: their number"`
	Freed uint64 `doc:"pending: version that freed the block"`
}

var _ [24]byte = [unsafe.Sizeof(BatchItem{})]byte{}

// BatchHeadSize is the size of Batch; items follow it.
const BatchHeadSize = 16

// BatchItemSize is the size of BatchItem.
const BatchItemSize = 24

// The stacks of batches: one for every class of small blocks (by its number),
// one of whole extents and one of blocks that wait for their reuse.
const (
	StackExtents = NumClasses
	StackPending = NumClasses + 1
	NumStacks    = NumClasses + 2
)

// StateSize is the size of State.
const StateSize = int(unsafe.Sizeof(State{}))

// DecodeState verifies the bytes of a whole state block, which lies at the offset in
// the heap file, and returns its version.
func DecodeState(b []byte, off uint64) (Version, error) {
	if len(b) < HeaderSize+StateSize {
		return 0, errors.New("too short")
	}
	var hd BlockHeader
	hd.Sum, hd.Size, hd.Meta = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
	if hd.Kind() != KindState || int(hd.Size) != StateSize {
		return 0, errors.New("not a state block")
	}
	if BlockSum(b[:HeaderSize+StateSize], off) != hd.Sum {
		return 0, errors.New("the checksum does not match")
	}
	return Version(binary.LittleEndian.Uint64(b[HeaderSize:])), nil
}
