package format

import "unsafe"

// Kind says what a block holds.
type Kind uint8

// The kinds of blocks.
const (
	KindNone   Kind = iota // not a block
	KindState              // State
	KindTable              // node of a radix vector: 4 to 64 words
	KindMap                // MapObject
	KindType               // TypeObject and the encoded descriptor
	KindInner              // inner node of a hash trie: 2 to 64 links
	KindBucket             // leaf of a hash trie: 8 to 32 words, the header's included, of entries
	KindChain              // leaf where the bits of the hash ran out: entry words
	KindEntry              // hash, key, value, and what they own
	KindBatch              // free space on its way to another process
	KindOps                // the changes of a transaction with more than one: Op after Op
	KindPins               // the checkpoints of a version: Pins, and Pin after Pin

	KindValue Kind = 12 // ValueObject, the value of a Ref, and what it owns
	KindList  Kind = 13 // ListObject

	KindSorted Kind = 14 // MapObject, of a sorted map
	KindBranch Kind = 15 // inner node of a B+tree: NodeHead, words, links and counts of children
	KindLeaf   Kind = 16 // leaf of a B+tree: NodeHead, words, and addresses of entries

	KindItem Kind = 17 // an element of a list, and what it owns

	kindEnd Kind = 32 // no kind has this number, or a greater one
)

var kindNames = [kindEnd]string{
	"none", "state", "table", "map", "type", "inner", "bucket", "chain", "entry", "batch", "ops", "pins",
	KindValue: "value", KindList: "list", KindSorted: "sorted", KindBranch: "branch", KindLeaf: "leaf", KindItem: "item",
}

// String names the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// Valid reports whether k is a kind that a block can have.
func (k Kind) Valid() bool { return k > KindNone && k < kindEnd && kindNames[k] != "" }

// AddKind makes k a kind that a block can have, for as long as a test runs: until remove
// is called.
func AddKind(k Kind, name string) (remove func()) {
	before := kindNames[k]
	kindNames[k] = name
	return func() { kindNames[k] = before }
}

// Carried reports whether blocks of the kind hold what a transaction stored: the changes of
// the version of their birth name them.
func (k Kind) Carried() bool {
	switch k {
	case KindEntry, KindValue, KindItem:
		return true
	}
	return false
}

// HeaderSize is the size of a block header; the payload follows it.
const HeaderSize = 16

// BlockHeader precedes the payload of every block. The checksum is BlockSum, computed when
// the transaction commits. Until then its place holds the stamp by which the transaction
// knows which of its own blocks it may still edit.
type BlockHeader struct {
	Sum  uint32 `doc:"CRC32C of the rest of the header and of the payload, exclusive-or bits 32-63 of the product of the block's offset in the file divided by 16 and 0x9e3779b97f4a7c15"`
	Size uint32 `doc:"bytes of payload"`
	Meta uint64 `doc:"birth version (bits 0-47), kind (48-55), size class (56-63)"`
}

var _ [HeaderSize]byte = [unsafe.Sizeof(BlockHeader{})]byte{}

// BlockSum returns the checksum of a block, header and payload, at an offset in the heap
// file. It covers everything but the checksum itself, and the place, so that nobody takes
// an intact block for another one that should lie there.
func BlockSum(block []byte, off uint64) uint32 {
	return Checksum(block[4:]) ^ uint32(off>>4*0x9e3779b97f4a7c15>>32)
}

// MakeMeta packs the second word of a block header.
func MakeMeta(birth Version, kind Kind, class Class) uint64 {
	return uint64(birth)&MaxVersion | uint64(kind)<<48 | uint64(class)<<56
}

// Birth returns the version that wrote the block.
func (h *BlockHeader) Birth() Version { return Version(h.Meta & MaxVersion) }

// Kind returns what the block holds.
func (h *BlockHeader) Kind() Kind { return Kind(h.Meta >> 48) }

// Class returns the size class of the block.
func (h *BlockHeader) Class() Class { return Class(h.Meta >> 56) }

// Class is a size class: an index into the table of block sizes, or ClassRun.
// It is also the byte by which the extent table names the use of an extent.
type Class uint8

const (
	// ClassFree marks an extent that holds no blocks.
	ClassFree Class = 0
	// ClassRun is the class of a block that fills whole extents, and of the
	// first extent of such a run.
	ClassRun Class = 0xF0
	// ClassRunRest marks the further extents of a run.
	ClassRunRest Class = 0xF1
	// ClassHole marks an extent that holds no blocks and that may have no space in
	// the file: it is allocated before it is used.
	ClassHole Class = 0xF2
)

// classSizes[c] is the size of a block of class c, header included. Steps of 16
// up to 256; then fine steps and the exact sizes of full tree nodes (272, 528);
// from 1 KiB on, sizes that divide an extent with little rest.
var classSizes = [...]uint32{
	0,
	32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
	272, 288, 320, 352, 384, 416, 448, 480, 512, 528, 576, 640, 704, 768, 832, 896, 960,
	1024, 1152, 1280, 1424, 1536, 1808, 2048, 2336, 2720, 3120, 3632, 4096, 4672, 5456, 6544, 8192,
	9360, 10912, 13104, 16384, 21840, 32768,
}

// NumClasses is one more than the greatest class of small blocks.
const NumClasses = len(classSizes)

// MaxSmall is the size of the largest block that shares an extent with others.
const MaxSmall = 32768

// MaxPayload is the size of the largest payload.
const MaxPayload = 1<<32 - 1 - ExtentSize

// BlockSize returns the size of a small block of class c, header included; 0
// if c is not a class of small blocks.
func (c Class) BlockSize() ByteCount {
	if int(c) < NumClasses {
		return ByteCount(classSizes[c])
	}
	return 0
}

// dividers[c] is one more than what a word of 32 bits holds of the blocks of class c: see
// Begins. Source: Lemire, Kaser and Kurz, Faster remainder by direct computation (2019).
var dividers = func() (t [NumClasses]uint32) {
	for c := 1; c < NumClasses; c++ {
		t[c] = (1<<32-1)/classSizes[c] + 1
	}
	return t
}()

// Begins reports whether a block of the class of small blocks can begin so many bytes after
// the beginning of its extent: whether these are a multiple of its size.
func (c Class) Begins(within uint64) bool {
	return int(c) < NumClasses && uint32(within)*dividers[c] < dividers[c]
}

// classOf16[n] is the smallest class whose blocks have at least 16n bytes.
var classOf16 = func() (t [MaxSmall/16 + 1]Class) {
	c := Class(1)
	for n := range t {
		for ByteCount(n*16) > c.BlockSize() {
			c++
		}
		t[n] = c
	}
	return t
}()

// ClassFor returns the class of a block with the payload size, or ClassRun.
func ClassFor(payload ByteCount) Class {
	n := (payload + HeaderSize + 15) / 16
	if n > MaxSmall/16 {
		return ClassRun
	}
	return classOf16[n]
}

// RunExtents returns how many extents a run with the payload size fills.
func RunExtents(payload ByteCount) int {
	return int((payload + HeaderSize + ExtentSize - 1) / ExtentSize)
}
