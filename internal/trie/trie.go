// Package trie is the hash map of a space: a copy-on-write hash trie.
//
// Terms: an inner node consumes up to six bits of the hash and has 2 to 64
// slots, as many as it needs; a bucket is a leaf of 8 to 32 words, of which the
// block's header takes two and each other one is the address of an entry under
// 16 bits of its hash. The words of a bucket form groups of one cache line; the
// upper bits of the tag choose the group where an entry belongs, and it stands there or,
// if that is full, in the next group with room. So a search touches one line of
// the bucket, as a rule. A bucket of depth d stands in all slots of its node that
// agree in the low d bits, so that a full one splits by one more bit and both
// halves are about half full. A chain takes the place of a bucket where the bits
// of the hash run out. The level of a node is the shift of the hash that its slots
// are chosen by: 0, 6, 12…; a leaf's tags are the 16 bits from the shift of the
// node that it hangs in, so that a split needs no look at the entries.
//
// Invariants:
//
//	T1  All entries in a leaf of depth d agree with the leaf's slots in the low d
//	    bits from the shift of its node, and in all bits below that shift.
//	T2  A leaf of depth d stands in exactly the 2^(bits-d) slots that agree in
//	    the low d bits, each with the same link.
//	T3  An inner node stands in exactly one slot, of a node that has all its
//	    slots (bits is levelBits of its shift).
//	T4  All groups of a bucket from an entry's own group to the one before that
//	    where it stands are full; a search ends at the first group that is not.
//	T5  A node that the transaction may edit is changed in place; any other is
//	    copied, and so is the way up to the root.
//
// Why it is so. A commit pays for the path that it copies, so short nodes are worth more
// than even ones: inner nodes have as many slots as they need, leaves are shared by the
// slots that agree, and a small map is one leaf. A large bucket makes the tree shallower and
// fuller, and the tag keeps a search in one line of it; above 256 bytes a batch of changes
// copies twice as much as with smaller buckets. Entries are blocks of their own, keys
// included: a leaf is words only, cheap to copy, and a value never moves when its
// neighbours change, which borrowed pointers need.
//
// Measured against Go's map under a lock, with a million structs of 150 bytes: a search
// takes 1.45 to 1.65 times as long, of which most are two cache misses one after the other,
// the bucket's line and the entry. Go's map has the same two, but the processor begins its
// next search meanwhile; it lost that overlap between 100 and 250 instructions a search.
// Tried, with the ratio after each: small buckets searched word by word, 2.8; all words
// compared without branches, 2.8; groups of one line, 2.5; one function that computes
// nothing twice (Finder.Value), 1.65. A Set takes 2.1 to 3.1 times as long; fetching the
// bucket and the old entry while the new one is written took it from 1.9 to 1.6 µs.
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
	hashBits  = format.HashBits // of a hash
	tagBits   = 16
	maxLevels = (hashBits + fanBits - 1) / fanBits
)

// levelBits returns how many bits an inner node at the shift can consume.
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

// tagShift returns the shift that the tags of a leaf begin at, if the search
// for it has come to the given shift. A leaf that is the root counts as one in a
// node at shift 0.
func tagShift(shift uint) uint {
	if shift == 0 {
		return 0
	}
	return shift - fanBits
}

// leafWords returns the words of a leaf: those of the whole block, its header
// included, for a bucket, and those of the payload for a chain.
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

// badLeaf describes an impossible link.
func badLeaf(leaf format.Link) error {
	return &format.DamageError{File: "heap", What: fmt.Sprintf("the link %#x of a hash trie is impossible", uint64(leaf))}
}

// entries returns the words of a leaf that can refer to entries.
func entries(leaf format.Link, list []uint64) []uint64 {
	if leaf.Kind() == format.LinkBucket {
		return list[headerWords:]
	}
	return list
}

// search looks for the key in a leaf: the index of its word, -1 if it is not
// there, and its entry.
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

// searchChain is search in a leaf that is no bucket, word by word.
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

// tooDeep describes a trie with more levels than a hash has bits.
func tooDeep(link format.Link) error {
	return &format.DamageError{File: "heap", What: fmt.Sprintf("the link %#x of a hash trie leads deeper than a hash has bits", uint64(link))}
}

// All calls yield with the payload of every entry until it returns false; it
// reports whether it went on to the end. count is the number of entries that the
// map claims: a damaged trie that leads in circles ends after as many nodes as a
// map of that size can have.
func All(r *heap.Reader, root format.Link, count uint64, yield func(entry unsafe.Pointer) bool) (bool, error) {
	w := walk{r: r, budget: min(count, 1<<56)*maxLevels + maxLevels, yield: yield}
	return w.from(root, 0)
}

// walk is a walk over all entries.
type walk struct {
	r      *heap.Reader
	budget uint64 // nodes
	yield  func(entry unsafe.Pointer) bool
}

// from walks what a link at the shift leads to.
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

// leaves walks the leaves that hang in the slots of a node. What it comes to is known
// long before, so that nothing need be waited for in turn: the words of a leaf are
// fetched while the one before the last one before it is walked, and its entries while the last one is.
func (w *walk) leaves(slots []uint64) (bool, error) {
	var list [1 << fanBits]format.Link
	n := 0
	for i, word := range slots {
		leaf := format.Link(word)
		if leaf.Kind() != format.LinkInner && leaf.Kind() != format.LinkNil && uint64(i)>>leaf.Bits() == 0 { // T2: it is met in its lowest slot
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
	entryLines = 3 // of an entry of the usual size
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
		return // the walk comes to it
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
