// Package trie is the hash map of a space: a copy-on-write hash trie.
//
// Terms: an inner node consumes up to six bits of the hash and has 2 to 64 slots, as many as
// it needs. A bucket is a leaf of 8 to 32 words. The block's header takes two of them; each
// other word has the address of an entry, with 16 bits of its hash above, the tag. The words
// of a bucket form groups of one cache line. The upper bits of the tag select an entry's own
// group; the entry is in that group or, if it is full, in the next group with room. So a
// search usually touches one line of the bucket. A bucket of depth d is in all slots of its
// node that agree in the low d bits: a full bucket splits by one more bit, and both halves
// are about half full. A chain replaces a bucket where the bits of the hash run out. The
// level of a node is the shift of the hash bits that select its slots: 0, 6, 12… The tags of
// a leaf are the 16 bits from the shift of its node on, so a split does not read the
// entries.
//
// Invariants:
//
//	T1  The hashes of all entries in a leaf of depth d agree with the leaf's slots in the low
//	    d bits from the shift of its node on, and with each other in all bits below that
//	    shift.
//	T2  A leaf of depth d is in exactly the 2^(bits-d) slots that agree in the low d bits,
//	    with the same link in each.
//	T3  An inner node is in exactly one slot, of a node that has all its slots (bits is
//	    levelBits of its shift).
//	T4  All groups of a bucket from an entry's own group up to the one before the group that
//	    it is in are full. So a search ends at the first group that is not full.
//	T5  A transaction changes a node in place if it may edit the node. Otherwise it copies
//	    the node, and the path up to the root.
//
// Why it is so. A commit copies a path, so short nodes are worth more than nodes of equal
// size: inner nodes have as many slots as they need, slots that agree share a leaf, and a
// small map is one leaf. A large bucket makes the tree shallower and fuller, and the tags
// keep a search in one line of the bucket; with buckets above 256 bytes a batch of changes
// copies twice as much. Each entry is a separate block, with its key: so a leaf has only
// words and is cheap to copy, and a value never moves when its neighbours change, which
// borrowed pointers need.
//
// Measured against Go's map under a lock, with a million structs of 150 bytes: a search
// takes 1.45 to 1.65 times as long. Most of that time is two cache misses one after the
// other, for the bucket's line and for the entry. Go's map has the same two, but the
// processor begins its next search meanwhile; this overlap went away somewhere between 100
// and 250 instructions a search. Tried, with the ratio after each: small buckets searched
// word by word, 2.8; all words compared without branches, 2.8; groups of one line, 2.5; one
// function that computes nothing twice (Finder.Value), 1.65. A Set takes 2.1 to 3.1 times as
// long; prefetching the bucket and the old entry while Set writes the new one took it from
// 1.9 to 1.6 µs.
//
// Source: extendible hashing (Fagin et al. 1979) inside the nodes of a hash
// trie (Bagwell 2001); the tags are those of Swiss tables, widened.
//
// Start reading at Get, then Set.
package trie

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/prefetch"
)

const (
	fanBits   = format.FanBits  // hash bits that a full inner node consumes
	hashBits  = format.HashBits // bits of a hash
	tagBits   = 16
	maxLevels = (hashBits + fanBits - 1) / fanBits
)

// levelBits returns how many bits of the hash an inner node at the shift can consume.
func levelBits(shift uint) uint { return min(fanBits, hashBits-shift) }

// tagOf returns the tag of a hash in a leaf of a node at the shift.
func tagOf(hash uint64, shift uint) uint64 { return hash >> shift & (1<<tagBits - 1) << 48 }

// words views the payload of a node or leaf.
func words(p unsafe.Pointer, n uint) []uint64 { return unsafe.Slice((*uint64)(p), n) }

// Get returns the payload of the entry with the key, or nil.
func Get(r *heap.Reader, root format.Link, sh *entry.Shape, hash uint64, key unsafe.Pointer) (unsafe.Pointer, error) {
	link, shift := root, uint(0)
	for link.Kind() == format.LinkInner {
		p, err := r.Payload(link.Addr(), format.KindInner)
		if err != nil {
			return nil, err
		}
		if shift >= hashBits {
			return nil, tooDeep(link)
		}
		slot := hash >> shift & (1<<link.Bits() - 1)
		link = *(*format.Link)(unsafe.Add(p, slot*8))
		shift += fanBits
	}
	_, entry, err := search(r, link, sh, hash, tagShift(shift), key)
	return entry, err
}

// tagShift returns the shift at which the tags of a leaf begin, if the search has reached
// the leaf at the given shift. A leaf that is the root counts as a leaf in a node at shift
// 0.
func tagShift(shift uint) uint {
	if shift == 0 {
		return 0
	}
	return shift - fanBits
}

// leafWords returns the words of a leaf. For a bucket these are the words of the whole
// block, its header included; for a chain these are the words of the payload.
func leafWords(r *heap.Reader, leaf format.Link) ([]uint64, error) {
	switch leaf.Kind() {
	case format.LinkNil:
		return nil, nil
	case format.LinkBucket:
		if w := leaf.WordBits(); w < minWordBits || w > maxWordBits {
			break
		}
		p, err := r.Payload(leaf.Addr(), format.KindBucket)
		if err != nil {
			return nil, err
		}
		return bucketWords(p, leaf), nil
	case format.LinkChain:
		p, err := r.Payload(leaf.Addr(), format.KindChain)
		if err != nil {
			return nil, err
		}
		return words(p, uint(r.Size(leaf.Addr())/8)), nil
	}
	return nil, badLeaf(leaf)
}

// badLeaf returns the error for an impossible link.
func badLeaf(leaf format.Link) error {
	return &format.DamageError{File: "heap", What: fmt.Sprintf("the link %#x of a hash trie is impossible", uint64(leaf))}
}

// entries returns the words of a leaf that may refer to entries.
func entries(leaf format.Link, list []uint64) []uint64 {
	if leaf.Kind() == format.LinkBucket {
		return list[headerWords:]
	}
	return list
}

// search looks for the key in a leaf. It returns the index of its word, and its entry; -1 if
// the leaf does not have the key.
func search(r *heap.Reader, leaf format.Link, sh *entry.Shape, hash uint64, shift uint, key unsafe.Pointer) (int, unsafe.Pointer, error) {
	if leaf.Kind() != format.LinkBucket {
		return searchChain(r, leaf, sh, hash, shift, key)
	}
	p, err := r.Payload(leaf.Addr(), format.KindBucket)
	if err != nil {
		return -1, nil, err
	}
	if w := leaf.WordBits(); w < minWordBits || w > maxWordBits {
		return -1, nil, badLeaf(leaf)
	}
	tag := tagOf(hash, shift)
	last := uint(1)<<(leaf.WordBits()-groupBits) - 1
	g := homeGroup(tag, last)
	for range last + 1 {
		group := groupAt(p, g)
		found := match(group, tag)
		if g == 0 {
			found &^= headerMask
		}
		for ; found != 0; found &= found - 1 {
			i := bits.TrailingZeros64(found)
			a := format.Addr(group[i] & format.AddrMask)
			if a == 0 {
				continue // an unused word looks like tag 0
			}
			entry, err := r.Payload(a, format.KindEntry)
			if err != nil {
				return -1, nil, err
			}
			if sh.Matches(entry, hash, key) {
				return int(g*groupWords) + i, entry, nil
			}
		}
		if !full(group) {
			break // T4
		}
		g = (g + 1) & last
	}
	return -1, nil, nil
}

// searchChain is search in a chain, word by word.
func searchChain(r *heap.Reader, leaf format.Link, sh *entry.Shape, hash uint64, shift uint, key unsafe.Pointer) (int, unsafe.Pointer, error) {
	list, err := leafWords(r, leaf)
	if err != nil {
		return -1, nil, err
	}
	tag := tagOf(hash, shift)
	for i, w := range list {
		a := format.Addr(w & format.AddrMask)
		if (w^tag)>>48 != 0 || a == 0 {
			continue
		}
		entry, err := r.Payload(a, format.KindEntry)
		if err != nil {
			return -1, nil, err
		}
		if sh.Matches(entry, hash, key) {
			return i, entry, nil
		}
	}
	return -1, nil, nil
}

// tooDeep returns the error for a trie with more levels than a hash has bits.
func tooDeep(link format.Link) error {
	return &format.DamageError{File: "heap", What: fmt.Sprintf("the link %#x of a hash trie is on a level below the last bit of a hash", uint64(link))}
}

// All calls yield with the payload of every entry until yield returns false, and reports
// whether it came to the end. count is the number of entries that the map claims: in a
// damaged trie with cycles, the walk ends after as many nodes as a map of that size can
// have.
func All(r *heap.Reader, root format.Link, count uint64, yield func(entry unsafe.Pointer) bool) (bool, error) {
	w := walk{r: r, budget: min(count, 1<<56)*maxLevels + maxLevels, yield: yield}
	return w.from(root, 0)
}

// walk is a walk over all entries.
type walk struct {
	r      *heap.Reader
	budget uint64 // how many more nodes it may visit
	yield  func(entry unsafe.Pointer) bool
}

// from walks the node or leaf at a link, at the shift.
func (w *walk) from(link format.Link, shift uint) (bool, error) {
	if link.Kind() != format.LinkInner {
		return w.leaf(link)
	}
	if shift >= hashBits || w.budget == 0 || link.Bits() > levelBits(shift) {
		return false, tooDeep(link)
	}
	w.budget--
	p, err := w.r.Payload(link.Addr(), format.KindInner)
	if err != nil {
		return false, err
	}
	slots := words(p, 1<<link.Bits())
	if more, err := w.leaves(slots); !more || err != nil {
		return false, err
	}
	for _, word := range slots {
		if format.Link(word).Kind() != format.LinkInner {
			continue
		}
		if more, err := w.from(format.Link(word), shift+fanBits); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// leaves walks the leaves in the slots of a node. It knows the leaves long before it reaches
// them, so it need not wait for one cache miss after the other. While it walks a leaf, it
// fetches the entries of the next leaf, and the words of the leaf after that.
func (w *walk) leaves(slots []uint64) (bool, error) {
	var list [1 << fanBits]format.Link
	n := 0
	for i, word := range slots {
		leaf := format.Link(word)
		if leaf.Kind() != format.LinkInner && leaf.Kind() != format.LinkNil && uint64(i)>>leaf.Bits() == 0 { // T2: only in its lowest slot
			list[n] = leaf
			n++
		}
	}
	for i := -2; i < n; i++ {
		if i+2 < n {
			fetchLeaf(list[i+2])
		}
		if i+1 >= 0 && i+1 < n {
			w.fetchEntries(list[i+1])
		}
		if i < 0 {
			continue
		}
		if more, err := w.leaf(list[i]); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

const (
	lineBytes  = 64
	entryLines = 3 // cache lines of an entry of the usual size
)

// fetchLeaf fetches the words of a bucket.
func fetchLeaf(leaf format.Link) {
	if leaf.Kind() != format.LinkBucket {
		return
	}
	for at := uintptr(0); at < 8<<(leaf.WordBits()&7); at += lineBytes {
		prefetch.Line(uintptr(leaf.Addr()) + at)
	}
}

func (w *walk) fetchEntries(leaf format.Link) {
	if leaf.Kind() != format.LinkBucket {
		return
	}
	list, err := leafWords(w.r, leaf)
	if err != nil {
		return // the walk will report it
	}
	for _, word := range entries(leaf, list) {
		if word == 0 {
			continue
		}
		for line := range uintptr(entryLines) {
			prefetch.Line(uintptr(word&format.AddrMask) + line*lineBytes)
		}
	}
}

func (w *walk) leaf(link format.Link) (bool, error) {
	list, err := leafWords(w.r, link)
	if err != nil {
		return false, err
	}
	for _, word := range entries(link, list) {
		if word == 0 {
			continue
		}
		entry, err := w.r.Payload(format.Addr(word&format.AddrMask), format.KindEntry)
		if err != nil {
			return false, err
		}
		if !w.yield(entry) {
			return false, nil
		}
	}
	return true, nil
}
