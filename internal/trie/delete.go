package trie

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Delete removes a key. It returns the new root and the block of the removed entry; 0 if the
// key was not in the map. It joins leaves that become small, and replaces a node with one
// leaf by that leaf: so a map that shrinks gives its space back.
//
// Errors come from the heap: no space, damage. If an error occurs before Delete changes the
// tree, it returns the old root, and the tree is unchanged. If an error occurs later, it
// returns the root 0: the tree is unusable, and the transaction must abort.
func Delete(t *heap.Txn, root format.Link, s *entry.Shape, hash uint64, key unsafe.Pointer) (format.Link, format.Addr, error) {
	var c cursor
	if err := c.seek(t, root, hash); err != nil {
		return root, 0, err
	}
	i, _, err := search(&t.Reader, c.leaf, s, hash, c.shift(), key)
	if err != nil || i < 0 {
		return root, 0, err
	}
	list, err := leafWords(&t.Reader, c.leaf)
	if err != nil {
		return root, 0, err
	}
	entry := format.Addr(list[i] & format.AddrMask)
	if c.leaf.Kind() == format.LinkChain {
		err = c.shortenChain(list, i)
	} else {
		err = c.remove(list, i)
	}
	if err != nil {
		return 0, 0, err
	}
	t.Free(entry)
	for c.depth > 0 && err == nil {
		var joined bool
		if joined, err = c.join(); err != nil || joined {
			continue
		}
		if joined, err = c.collapse(); !joined {
			break
		}
	}
	if err != nil {
		return 0, 0, err
	}
	return c.root, entry, nil
}

// remove takes word i out of the bucket. It replaces an empty bucket by nil, and a bucket
// that has become much too large by a smaller one.
func (c *cursor) remove(list []uint64, i int) error {
	left := used(list) - 1
	depth := c.leaf.Bits()
	if left == 0 {
		c.t.Free(c.leaf.Addr())
		c.leaf = 0
		if c.depth == 0 {
			c.root = 0
			return nil
		}
		return c.fill(0, depth)
	}
	list, err := c.edit()
	if err != nil {
		return err
	}
	removeWord(list, i)
	if w := c.leaf.WordBits(); w > minWordBits && left <= room(w-1)/2 {
		return c.rebuild(list, left)
	}
	return nil
}

// shortenChain takes word i out of the chain. It turns the chain into a bucket again when
// the chain fits in half of one.
func (c *cursor) shortenChain(list []uint64, i int) error {
	rest := make([]uint64, 0, len(list))
	rest = append(append(rest, list[:i]...), list[i+1:]...)
	old, depth := c.leaf, c.leaf.Bits()
	if len(rest) <= mergeAt {
		link, err := c.newBucket(rest, len(rest), depth)
		if err != nil {
			return err
		}
		c.t.Free(old.Addr())
		return c.replaceLeaf(link)
	}
	a, err := c.t.Alloc(format.KindChain, format.ByteCount(len(rest)*8))
	if err != nil {
		return err
	}
	copy(words(c.t.Payload(a), uint(len(rest))), rest)
	c.t.Free(old.Addr())
	return c.replaceLeaf(format.MakeLink(a, format.LinkChain, depth))
}

// join makes one bucket of the cursor's bucket and its sibling, whose slots differ in the
// highest bit of the depth, if both exist and are small. It reports whether it did.
func (c *cursor) join() (bool, error) {
	s := c.steps[c.depth-1]
	depth := c.leaf.Bits()
	if c.leaf.Kind() != format.LinkBucket || depth == 0 {
		return false, nil
	}
	p, err := c.t.Reader.Payload(s.node.Addr(), format.KindInner)
	if err != nil {
		return false, err
	}
	buddy := format.Link(words(p, 1<<s.node.Bits())[s.slot&(1<<depth-1)^1<<(depth-1)])
	if buddy.Kind() == format.LinkNil && allEmpty(words(p, 1<<s.node.Bits()), s.slot^1<<(depth-1), depth) {
		return true, c.deepen(depth - 1)
	}
	if buddy.Kind() != format.LinkBucket || buddy.Bits() != depth {
		return false, nil
	}
	a, err := leafWords(&c.t.Reader, c.leaf)
	if err != nil {
		return false, err
	}
	b, err := leafWords(&c.t.Reader, buddy)
	if err != nil || used(a)+used(b) > mergeAt {
		return false, err
	}
	both := append(append([]uint64(nil), a[headerWords:]...), b[headerWords:]...)
	leaf, err := c.newBucket(both, used(a)+used(b), depth)
	if err != nil {
		return false, err
	}
	c.t.Free(c.leaf.Addr())
	c.t.Free(buddy.Addr())
	c.leaf = leaf
	return true, c.deepen(depth - 1)
}

// deepen puts the bucket into all slots of a lesser depth.
func (c *cursor) deepen(depth uint) error {
	c.leaf = c.leaf.WithBits(depth)
	return c.fill(c.leaf, depth)
}

// collapse halves the last node if half of its slots suffice. If the node has one leaf or
// none, collapse replaces it by the leaf or by nil, and reports true.
func (c *cursor) collapse() (bool, error) {
	s := &c.steps[c.depth-1]
	p, err := c.t.Reader.Payload(s.node.Addr(), format.KindInner)
	if err != nil {
		return false, err
	}
	slots := words(p, 1<<s.node.Bits())
	if c.leaf.Kind() == format.LinkNil && allEmpty(slots, 0, 0) {
		return true, c.ascend(0)
	}
	if c.leaf.Kind() == format.LinkBucket && c.leaf.Bits() == 0 {
		return true, c.ascend(c.leaf)
	}
	return false, c.halve(slots)
}

// halve halves the slots of the last node while every leaf is in at least two of them.
func (c *cursor) halve(slots []uint64) error {
	s := &c.steps[c.depth-1]
	nodeBits := s.node.Bits()
	for nodeBits > 1 {
		for i := range 1 << (nodeBits - 1) {
			if slots[i] != slots[i+1<<(nodeBits-1)] || format.Link(slots[i]).Kind() == format.LinkInner {
				return nil
			}
		}
		nodeBits--
		half := append([]uint64(nil), slots[:1<<nodeBits]...)
		a, err := c.t.Alloc(format.KindInner, 8<<nodeBits)
		if err != nil {
			return err
		}
		copy(words(c.t.Payload(a), 1<<nodeBits), half)
		c.t.Free(s.node.Addr())
		s.node = format.MakeLink(a, format.LinkInner, nodeBits)
		s.slot &= 1<<nodeBits - 1
		if c.depth == 1 {
			c.root = s.node
		} else {
			above, err := c.editNode(c.depth-2, c.steps[c.depth-2].node.Bits())
			if err != nil {
				return err
			}
			above[c.steps[c.depth-2].slot] = uint64(s.node)
		}
		slots = half
	}
	return nil
}

// ascend replaces the last node by the leaf. The leaf's tags then begin at the shift of the
// node above; if there is none they stay the same.
func (c *cursor) ascend(leaf format.Link) error {
	c.leaf = leaf
	node := c.steps[c.depth-1].node
	c.depth--
	c.t.Free(node.Addr())
	if c.depth == 0 {
		c.root = leaf
		return nil
	}
	depth := c.steps[c.depth-1].node.Bits()
	if leaf.Kind() == format.LinkNil {
		return c.fill(0, depth)
	}
	list, err := leafWords(&c.t.Reader, leaf)
	if err != nil {
		return err
	}
	tagged := append([]uint64(nil), list[headerWords:]...)
	for i, w := range tagged {
		if w == 0 {
			continue
		}
		h, err := c.hashOf(w)
		if err != nil {
			return err
		}
		tagged[i] = w&format.AddrMask | tagOf(h, c.shift())
	}
	if c.leaf, err = c.newBucket(tagged, used(list), depth); err != nil {
		return err
	}
	c.t.Free(leaf.Addr())
	return c.fill(c.leaf, depth)
}
