// Package vector is a copy-on-write radix vector of 64-bit words, 64-way. The object table
// of a space is a vector, and every list has one.
//
// A node has 4 to 64 slots, as many as it needs; the slots of a leaf are the words. A link
// has the logarithm of its node's number of slots, and the number of levels from the node
// down, so a search knows both before it touches the node. A word that was never set, or was
// cleared, is 0. A vector does not know its length: a caller that truncates or walks a
// vector passes the length, and must have set every word below it.
//
// Invariants:
//
//	V1  A slot beyond the end of a node counts as 0: no word was set below it.
//	V2  The root has as many levels as needed for the greatest index that was set since the
//	    last truncation, or for the length after that truncation, whichever is more.
//
// An element of a list is a separate block, so it does not move when others change, and a
// borrowed pointer to it stays valid. A link has everything that a search needs to know of
// its node, so a search reads one cache line in each level.
//
// Start reading at Get, then Set and Truncate.
package vector

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

const (
	fanBits   = format.FanBits
	minBits   = 2
	maxLevels = format.MaxVectorLevels
)

// MaxIndex is the greatest index of a vector.
const MaxIndex = 1<<(fanBits*maxLevels) - 1

func slotsOf(p unsafe.Pointer, nodeBits uint) []uint64 {
	return unsafe.Slice((*uint64)(p), 1<<nodeBits)
}

// Levels returns how many levels a vector of n words needs.
func Levels(n uint64) (levels uint) {
	if n == 0 {
		return 0
	}
	for greatest := n - 1; ; { // each level divides the greatest index, not the number of words
		levels++
		if greatest >>= fanBits; greatest == 0 {
			return levels
		}
	}
}

// capacityBits returns log2 of the number of words below a link.
func capacityBits(link format.Link) uint {
	return fanBits*(link.VectorLevels()-1) + link.VectorBits()
}

// valid reports whether a link may be the link of a node on the given level.
func valid(link format.Link, levels uint) bool {
	return link>>56 == 0 && link.VectorLevels() == levels && link.VectorBits() <= fanBits && link.VectorBits() >= 1
}

// bad returns the error for an impossible link.
func bad(link format.Link) error {
	return &format.DamageError{File: "heap", What: fmt.Sprintf("the link %#x of a radix vector is impossible", uint64(link))}
}

// Get returns the word at index i; 0 if it was never set.
func Get(r *heap.Reader, root format.Link, i uint64) (uint64, error) {
	if root == 0 {
		return 0, nil
	}
	levels := root.VectorLevels()
	if levels == 0 || levels > maxLevels {
		return 0, bad(root)
	}
	if i>>capacityBits(root) != 0 {
		return 0, nil
	}
	link := root
	for ; ; levels-- {
		if !valid(link, levels) {
			return 0, bad(link)
		}
		p, err := r.Payload(link.Addr(), format.KindTable)
		if err != nil {
			return 0, err
		}
		slot := i >> (fanBits * (levels - 1)) & (1<<fanBits - 1)
		if slot>>link.VectorBits() != 0 {
			return 0, nil
		}
		w := slotsOf(p, link.VectorBits())[slot]
		if levels == 1 || w == 0 {
			return w, nil
		}
		link = format.Link(w)
	}
}

// Set stores a word at index i and returns the new root. After an error the
// transaction must abort.
func Set(t *heap.Txn, root format.Link, i, word uint64) (format.Link, error) {
	return SetRun(t, root, i, []uint64{word})
}

// RunLength returns how many words SetRun can store from index i on, at most n.
func RunLength(i uint64, n int) int { return min(n, 1<<fanBits-int(i&(1<<fanBits-1))) }

// SetRun is Set for consecutive words of one leaf.
func SetRun(t *heap.Txn, root format.Link, i uint64, words []uint64) (format.Link, error) {
	if i > MaxIndex || RunLength(i, len(words)) != len(words) {
		return 0, bad(root)
	}
	if root == 0 {
		root = format.MakeVectorLink(0, 0, 1)
	}
	if levels := root.VectorLevels(); levels == 0 || levels > maxLevels {
		return 0, bad(root)
	}
	for i>>(fanBits*root.VectorLevels()) != 0 { // V2
		full, err := resize(t, root, fanBits)
		if err != nil {
			return 0, err
		}
		above, err := resize(t, format.MakeVectorLink(0, 0, root.VectorLevels()+1), minBits)
		if err != nil {
			return 0, err
		}
		slotsOf(t.Payload(above.Addr()), minBits)[0] = uint64(full)
		root = above
	}
	return set(t, root, i, words)
}

// set is SetRun below a link; a link with address 0 stands for a node that does not exist yet.
func set(t *heap.Txn, link format.Link, i uint64, words []uint64) (format.Link, error) {
	levels := link.VectorLevels()
	slot := i >> (fanBits * (levels - 1)) & (1<<fanBits - 1)
	last := slot
	if levels == 1 {
		last += uint64(len(words) - 1)
	}
	need := max(minBits, uint(bits.Len64(last)), link.VectorBits())
	link, err := resize(t, link, need)
	if err != nil {
		return 0, err
	}
	slots := slotsOf(t.Payload(link.Addr()), link.VectorBits())
	if levels == 1 {
		copy(slots[slot:], words)
		return link, nil
	}
	child := format.Link(slots[slot])
	if child == 0 {
		child = format.MakeVectorLink(0, 0, levels-1)
	}
	if !valid(child, levels-1) && child.Addr() != 0 {
		return 0, bad(child)
	}
	child, err = set(t, child, i, words)
	slots[slot] = uint64(child)
	return link, err
}

// resize makes a node editable, with 2^nodeBits slots. It drops slots beyond those.
func resize(t *heap.Txn, link format.Link, nodeBits uint) (format.Link, error) {
	size := format.ByteCount(8) << nodeBits
	if link.Addr() == 0 {
		a, err := t.Alloc(format.KindTable, size)
		if err != nil {
			return 0, err
		}
		clear(slotsOf(t.Payload(a), nodeBits))
		return format.MakeVectorLink(a, nodeBits, link.VectorLevels()), nil
	}
	if _, err := t.Reader.Payload(link.Addr(), format.KindTable); err != nil {
		return 0, err
	}
	if link.VectorBits() == nodeBits && t.Editable(link.Addr()) {
		return link, nil
	}
	a, err := t.Copy(link.Addr(), format.KindTable, size)
	if err != nil {
		return 0, err
	}
	return format.MakeVectorLink(a, nodeBits, link.VectorLevels()), nil
}

// Visit is called with every node, and reports whether the walk enters it.
type Visit func(a format.Addr, kind format.Kind) (descend bool, err error)

// Walk visits the nodes below a root, and calls word with every word that is not 0.
func Walk(r *heap.Reader, root format.Link, visit Visit, word func(i, w uint64) error) error {
	if root == 0 {
		return nil
	}
	if levels := root.VectorLevels(); levels == 0 || levels > maxLevels {
		return bad(root)
	}
	return walk(r, root, root.VectorLevels(), 0, visit, word)
}

// walk is Walk from a node whose first word has index base.
func walk(r *heap.Reader, link format.Link, levels uint, base uint64, visit Visit, word func(i, w uint64) error) error {
	if !valid(link, levels) {
		return bad(link)
	}
	descend, err := visit(link.Addr(), format.KindTable)
	if err != nil || !descend {
		return err
	}
	p, err := r.Payload(link.Addr(), format.KindTable)
	if err != nil {
		return err
	}
	if r.Size(link.Addr()) < 8<<link.VectorBits() {
		return bad(link)
	}
	for slot, w := range slotsOf(p, link.VectorBits()) {
		if w == 0 {
			continue
		}
		i := base + uint64(slot)<<(fanBits*(levels-1))
		if levels == 1 {
			err = word(i, w)
		} else {
			err = walk(r, format.Link(w), levels-1, i, visit, word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
