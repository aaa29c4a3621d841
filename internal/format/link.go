package format

// Link is a word by which one tree node refers to another: an address, what it
// is, and the logarithms that a search needs before it touches the block.
type Link uint64

// Limits of trees: what is deeper or wider is damaged.
const (
	FanBits         = 6  // log2 of the slots of a full node of a hash trie, and of a radix vector
	HashBits        = 64 // of a hash, which is consumed from level to level
	MaxVectorLevels = 8  // of six bits: more indexes than an ID has
	MaxTreeLevels   = 15 // of a B+tree: far more than the entries of a window can fill
)

// LinkKind is what a link of a hash trie leads to.
type LinkKind uint8

// The kinds of links; 0 with address 0 is the nil link.
const (
	LinkNil    LinkKind = 0
	LinkInner  LinkKind = 1 // Bits is log2 of the number of slots
	LinkBucket LinkKind = 2 // Bits is the number of hash bits that its entries share at this level; WordBits is log2 of its words
	LinkChain  LinkKind = 4 // Bits as of a bucket
)

// MakeLink packs a link of a hash trie.
func MakeLink(a Addr, kind LinkKind, bits uint) Link {
	return Link(uint64(a) | uint64(kind)<<48 | uint64(bits)<<52)
}

// Addr returns the address of the block.
func (l Link) Addr() Addr { return Addr(l & AddrMask) }

// Kind returns what the link leads to.
func (l Link) Kind() LinkKind { return LinkKind(l >> 48 & 0xf) }

// Bits returns the logarithm that goes with the kind, 0 to 15.
func (l Link) Bits() uint { return uint(l >> 52 & 0xf) }

// MakeBucketLink packs a link to a bucket: log2 of the words of the whole block,
// its header included, and the hash bits that its entries share.
func MakeBucketLink(a Addr, words, bits uint) Link {
	return MakeLink(a, LinkBucket, bits) | Link(words)<<56
}

// WordBits returns log2 of the words of a bucket, its header included.
func (l Link) WordBits() uint { return uint(l >> 56 & 0xf) }

// WithBits returns the link with other bits.
func (l Link) WithBits(bits uint) Link { return l&^(0xf<<52) | Link(bits)<<52 }

// MakeVectorLink packs a link of a radix vector: log2 of the node's slots, and
// the number of levels from it down to the words, itself included.
func MakeVectorLink(a Addr, bits, levels uint) Link {
	return Link(uint64(a) | uint64(bits)<<48 | uint64(levels)<<52)
}

// VectorBits returns log2 of the slots of the node of a radix vector.
func (l Link) VectorBits() uint { return uint(l >> 48 & 0xf) }

// VectorLevels returns the levels of the vector from this node on.
func (l Link) VectorLevels() uint { return uint(l >> 52 & 0xf) }
