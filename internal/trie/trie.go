// Package trie is the hash map of a space: a copy-on-write hash trie.
//
// Terms: an inner node consumes up to six bits of the hash and has 2 to 64
// slots, as many as it needs; a bucket is a leaf of 14 words, each the address
// of an entry under 16 bits of its hash; a bucket of depth d stands in all slots
// that agree in the low d bits, so that a full one splits by one more bit and
// both halves stay about half full. A chain takes the place of a bucket where
// the bits of the hash run out. The level of a node is the shift of the hash
// that its slots are chosen by: 0, 6, 12…; a leaf's tags are the 16 bits from
// the shift of the node that it hangs in, so that a split needs no look at the
// entries.
//
// Invariants:
//
//	T1  All entries in a leaf of depth d agree with the leaf's slots in the low d
//	    bits from the shift of its node, and in all bits below that shift.
//	T2  A leaf of depth d stands in exactly the 2^(bits-d) slots that agree in
//	    the low d bits, each with the same link.
//	T3  An inner node stands in exactly one slot, of a node that has all its
//	    slots (bits is levelBits of its shift).
//	T4  The words of a bucket in use come first; the rest is zero.
//	T5  A node that the transaction may edit is changed in place; any other is
//	    copied, and so is the way up to the root.
//
// Source: extendible hashing (Fagin et al. 1979) inside the nodes of a hash
// trie (Bagwell 2001); the tags are those of Swiss tables, widened.
//
// Start reading at Get, then Set.
package trie

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

const (
	fanBits     = 6  // hash bits that a full inner node consumes
	hashBits    = 64 // of a hash
	tagBits     = 16
	bucketSlots = 14
	bucketBytes = bucketSlots * 8
	maxLevels   = (hashBits + fanBits - 1) / fanBits
	mergeAt     = bucketSlots / 2 // two halves with at most that many entries become one
)

// levelBits returns how many bits an inner node at the shift can consume.
func levelBits(shift uint) uint { return min(fanBits, hashBits-shift) }

// tagOf returns the tag of a hash in a leaf of a node at the shift.
func tagOf(hash uint64, shift uint) uint64 { return hash >> shift & (1<<tagBits - 1) << 48 }

// words views the payload of a node or leaf.
func words(p unsafe.Pointer, n uint) []uint64 { return unsafe.Slice((*uint64)(p), n) }

// Get returns the payload of the entry with the key, or nil.
func Get(r *heap.Reader, root format.Link, sh *Shape, hash uint64, key unsafe.Pointer) (unsafe.Pointer, error) {
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

// leafWords returns the words of a leaf.
func leafWords(r *heap.Reader, leaf format.Link) ([]uint64, error) {
	switch leaf.Kind() {
	case format.LinkNil:
		return nil, nil
	case format.LinkBucket:
		p, err := r.Payload(leaf.Addr(), format.KindBucket)
		if err != nil {
			return nil, err
		}
		return words(p, bucketSlots), nil
	case format.LinkChain:
		p, err := r.Payload(leaf.Addr(), format.KindChain)
		if err != nil {
			return nil, err
		}
		return words(p, uint(r.Size(leaf.Addr())/8)), nil
	}
	return nil, &format.DamageError{File: "heap", What: fmt.Sprintf("the link %#x of a hash trie has an unknown kind", uint64(leaf))}
}

// search looks for the key in a leaf: the index of its word, -1 if it is not
// there, and its entry.
func search(r *heap.Reader, leaf format.Link, sh *Shape, hash uint64, shift uint, key unsafe.Pointer) (int, unsafe.Pointer, error) {
	list, err := leafWords(r, leaf)
	if err != nil {
		return -1, nil, err
	}
	tag := tagOf(hash, shift)
	for i, w := range list {
		if (w^tag)>>48 != 0 {
			continue
		}
		if w&format.AddrMask == 0 {
			if w == 0 {
				break // T4; the hash's own tag may be 0 as well
			}
			continue
		}
		entry, err := r.Payload(format.Addr(w&format.AddrMask), format.KindEntry)
		if err != nil {
			return -1, nil, err
		}
		if *(*uint64)(entry) == hash && sh.equal(r, format.Addr(w&format.AddrMask), entry, key) {
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
	if shift >= hashBits || w.budget == 0 {
		return false, tooDeep(link)
	}
	w.budget--
	p, err := w.r.Payload(link.Addr(), format.KindInner)
	if err != nil {
		return false, err
	}
	for i, word := range words(p, 1<<link.Bits()) {
		child := format.Link(word)
		if child.Kind() != format.LinkInner && uint64(i)>>child.Bits() != 0 {
			continue // T2: the leaf was met in its lowest slot
		}
		if more, err := w.from(child, shift+fanBits); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// leaf walks the entries of a leaf.
func (w *walk) leaf(link format.Link) (bool, error) {
	list, err := leafWords(w.r, link)
	if err != nil {
		return false, err
	}
	for _, word := range list {
		if word == 0 {
			break
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
