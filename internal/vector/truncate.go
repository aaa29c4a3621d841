package vector

import (
	"math/bits"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Truncate drops the words from index n up to count, which is the length. It calls drop with
// each of them, frees the nodes that have no other words, and returns the new root, with
// only as many levels as n needs. After an error the transaction must abort.
//
// A damaged vector may have more words than its length says, or cycles. So Truncate counts
// the words, and a node without words is an error: the length bounds the work.
func Truncate(t *heap.Txn, root format.Link, n, count uint64, drop func(word uint64) error) (format.Link, error) {
	if n >= count {
		return root, nil
	}
	c := cutter{t: t, left: count - n, drop: drop}
	levels := root.VectorLevels()
	if levels == 0 || levels > maxLevels {
		return 0, bad(root)
	}
	if n == 0 {
		return 0, c.end(root, c.free(root, levels))
	}
	for ; levels > 1 && n <= 1<<(fanBits*(levels-1)); levels-- { // V2: all remaining words are below the first child
		slots, err := c.slots(root, levels)
		if err != nil {
			return 0, err
		}
		for _, w := range slots[1:] {
			if err := c.below(w, levels); err != nil {
				return 0, err
			}
		}
		child := format.Link(slots[0])
		t.Free(root.Addr())
		root = child
	}
	if c.left == 0 && root != 0 {
		return root, nil
	}
	root, err := c.cut(root, levels, n)
	return root, c.end(root, err)
}

// cutter drops the end of a vector.
type cutter struct {
	t    *heap.Txn
	left uint64 // how many words are still to be dropped
	drop func(word uint64) error
}

// end returns err, or an error if there were too few words.
func (c *cutter) end(root format.Link, err error) error {
	if err == nil && c.left > 0 {
		err = bad(root)
	}
	return err
}

func (c *cutter) slots(link format.Link, levels uint) ([]uint64, error) {
	if !valid(link, levels) {
		return nil, bad(link)
	}
	p, err := c.t.Reader.Payload(link.Addr(), format.KindTable)
	if err != nil {
		return nil, err
	}
	return slotsOf(p, link.VectorBits()), nil
}

// below drops the word or the child in a slot of a node.
func (c *cutter) below(w uint64, levels uint) error {
	switch {
	case w == 0:
		return nil
	case levels > 1:
		return c.free(format.Link(w), levels-1)
	case c.left == 0:
		return bad(format.Link(w))
	}
	c.left--
	return c.drop(w)
}

// free drops a node with everything below it.
func (c *cutter) free(link format.Link, levels uint) error {
	slots, err := c.slots(link, levels)
	if err != nil {
		return err
	}
	before := c.left
	for _, w := range slots {
		if err := c.below(w, levels); err != nil {
			return err
		}
	}
	if c.left == before {
		return bad(link)
	}
	c.t.Free(link.Addr())
	return nil
}

// cut drops the words of a node from its n-th on, and returns the changed node; n is not 0.
// It makes a node smaller that has become much too large.
func (c *cutter) cut(link format.Link, levels uint, n uint64) (format.Link, error) {
	slots, err := c.slots(link, levels)
	if err != nil {
		return 0, err
	}
	shift := fanBits * (levels - 1)
	last := (n - 1) >> shift // slot of the last remaining word
	if last >= uint64(len(slots)) {
		return 0, bad(link)
	}
	for _, w := range slots[last+1:] {
		if err := c.below(w, levels); err != nil {
			return 0, err
		}
	}
	stays := slots[last]
	if rest := n - last<<shift; levels > 1 && rest < 1<<shift && c.left > 0 {
		child, err := c.cut(format.Link(stays), levels-1, rest)
		if err != nil {
			return 0, err
		}
		stays = uint64(child)
	}
	nodeBits := link.VectorBits()
	if need := max(minBits, uint(bits.Len64(last))); need+1 < nodeBits {
		nodeBits = need
	}
	if link, err = resize(c.t, link, nodeBits); err != nil {
		return 0, err
	}
	slots = slotsOf(c.t.Payload(link.Addr()), nodeBits)
	slots[last] = stays
	clear(slots[last+1:])
	return link, nil
}
