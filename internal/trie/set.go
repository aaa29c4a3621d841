package trie

import (
	"math/bits"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/prefetch"
)

// step is an inner node on the path from the root to a leaf.
type step struct {
	node  format.Link
	shift uint
	slot  uint
}

// cursor is a path from the root to a leaf. A change walks back up on it.
type cursor struct {
	t     *heap.Txn
	root  format.Link
	steps [maxLevels]step
	depth int
	leaf  format.Link
}

// seek finds the leaf for a hash.
func (c *cursor) seek(t *heap.Txn, root format.Link, hash uint64) error {
	c.t, c.root, c.depth, c.leaf = t, root, 0, root
	for shift := uint(0); c.leaf.Kind() == format.LinkInner; shift += fanBits {
		p, err := t.Reader.Payload(c.leaf.Addr(), format.KindInner)
		if err != nil {
			return err
		}
		if shift >= hashBits || c.leaf.Bits() == 0 || c.leaf.Bits() > levelBits(shift) {
			return tooDeep(c.leaf)
		}
		slot := uint(hash>>shift) & (1<<c.leaf.Bits() - 1)
		c.steps[c.depth] = step{c.leaf, shift, slot}
		c.depth++
		c.leaf = *(*format.Link)(unsafe.Add(p, slot*8))
	}
	return nil
}

// shift returns where the tags of the leaf begin.
func (c *cursor) shift() uint {
	if c.depth == 0 {
		return 0
	}
	return c.steps[c.depth-1].shift
}

// Set sets the value of key. It returns the new root, the block of the new entry, and the
// payload of the replaced entry in old; nil if the key is new.
//
// Set writes the entry before it changes the tree: a value that cannot be stored leaves the
// tree unchanged. A later error leaves the tree unusable, and the transaction must abort;
// such errors come from the heap: no space, damage.
//
// Set prefetches the bucket and the old entry while it writes the new entry and copies the
// path. It needs both whether the map has the key or not.
func Set(t *heap.Txn, root format.Link, s *entry.Shape, hash uint64, key, value unsafe.Pointer) (newRoot format.Link, entry format.Addr, old unsafe.Pointer, err error) {
	var c cursor
	if err := c.seek(t, root, hash); err != nil {
		return 0, 0, nil, err
	}
	group := c.prefetchGroup(hash)
	entry, err = s.New(t, hash, key, value)
	if err != nil {
		return 0, 0, nil, err
	}
	var list []uint64
	if group != nil {
		prefetchEntry(group, tagOf(hash, c.shift()))
		if list, err = c.edit(); err != nil {
			return 0, 0, nil, err
		}
	}
	i, old, err := search(&t.Reader, c.leaf, s, hash, c.shift(), key)
	if err != nil {
		return 0, 0, nil, err
	}
	if i < 0 {
		err = c.insert(hash, entry)
		return c.root, entry, nil, err
	}
	if list == nil {
		if list, err = c.edit(); err != nil {
			return 0, 0, nil, err
		}
	}
	t.Free(format.Addr(list[i] & format.AddrMask))
	list[i] = uint64(entry) | tagOf(hash, c.shift())
	return c.root, entry, old, nil
}

// prefetchGroup fetches the group of the leaf where the hash belongs, and returns it; nil if
// the leaf is not a bucket.
func (c *cursor) prefetchGroup(hash uint64) *[groupWords]uint64 {
	w := c.leaf.WordBits()
	if c.leaf.Kind() != format.LinkBucket || w < minWordBits || w > maxWordBits {
		return nil
	}
	p, err := c.t.Reader.Payload(c.leaf.Addr(), format.KindBucket)
	if err != nil {
		return nil // search returns the error
	}
	group := groupAt(p, homeGroup(tagOf(hash, c.shift()), 1<<(w-groupBits)-1))
	prefetch.Line(uintptr(unsafe.Pointer(group)))
	return group
}

// prefetchEntry fetches the entry that the first word with the tag refers to.
func prefetchEntry(group *[groupWords]uint64, tag uint64) {
	if found := match(group, tag); found != 0 {
		a := uintptr(group[bits.TrailingZeros64(found)] & format.AddrMask)
		prefetch.Line(a)
		prefetch.Line(a + 128) // where the key's bytes are in entries of the usual size
	}
}

// edit makes the leaf editable and returns its words in the write view (T5).
func (c *cursor) edit() ([]uint64, error) {
	kind, size := format.KindBucket, bucketBytes(c.leaf.WordBits())
	if c.leaf.Kind() == format.LinkChain {
		kind, size = format.KindChain, c.t.Reader.Size(c.leaf.Addr())
	}
	if !c.t.Editable(c.leaf.Addr()) {
		a, err := c.t.Copy(c.leaf.Addr(), kind, size)
		if err != nil {
			return nil, err
		}
		if err := c.replaceLeaf(c.leaf&^format.AddrMask | format.Link(a)); err != nil {
			return nil, err
		}
	}
	p := c.t.Payload(c.leaf.Addr())
	if kind == format.KindBucket {
		return bucketWords(p, c.leaf), nil
	}
	return words(p, uint(size/8)), nil
}

// bucketBytes returns the payload size of a bucket.
func bucketBytes(wordBits uint) format.ByteCount { return 8<<wordBits - format.HeaderSize }

// replaceLeaf stores another leaf of the same depth in all slots of the old one.
func (c *cursor) replaceLeaf(leaf format.Link) error {
	c.leaf = leaf
	if c.depth == 0 {
		c.root = leaf
		return nil
	}
	return c.fill(leaf, leaf.Bits())
}

// fill stores a link in all slots of the last node that agree with the cursor's slot in the
// low depth bits.
func (c *cursor) fill(link format.Link, depth uint) error {
	slots, err := c.editNode(c.depth-1, c.steps[c.depth-1].node.Bits())
	if err != nil {
		return err
	}
	for i := c.steps[c.depth-1].slot & (1<<depth - 1); i < uint(len(slots)); i += 1 << depth {
		slots[i] = uint64(link)
	}
	return nil
}

// editNode makes the i-th node of the path editable, with the given bits, and returns its
// slots in the write view. If the node has to move, editNode stores its new link in the node
// above, which may have to move as well, and so on up.
func (c *cursor) editNode(i int, nodeBits uint) ([]uint64, error) {
	s := &c.steps[i]
	if s.node.Bits() != nodeBits || !c.t.Editable(s.node.Addr()) {
		a, err := c.t.Copy(s.node.Addr(), format.KindInner, 8<<nodeBits)
		if err != nil {
			return nil, err
		}
		s.node = format.MakeLink(a, format.LinkInner, nodeBits)
		if i == 0 {
			c.root = s.node
		} else {
			above, err := c.editNode(i-1, c.steps[i-1].node.Bits())
			if err != nil {
				return nil, err
			}
			above[c.steps[i-1].slot] = uint64(s.node)
		}
	}
	return words(c.t.Payload(s.node.Addr()), 1<<nodeBits), nil
}

// insert adds an entry whose key is not in the leaf. It splits buckets as needed.
func (c *cursor) insert(hash uint64, entry format.Addr) error {
	for {
		word := uint64(entry) | tagOf(hash, c.shift())
		switch c.leaf.Kind() {
		case format.LinkNil:
			return c.plant(word)
		case format.LinkChain:
			return c.extendChain(word)
		}
		list, err := leafWords(&c.t.Reader, c.leaf)
		if err != nil {
			return err
		}
		switch n := used(list); {
		case n < room(c.leaf.WordBits()):
			if list, err = c.edit(); err == nil {
				place(list, word)
			}
			return err
		case c.leaf.WordBits() < maxWordBits:
			err = c.rebuild(list, n+1)
		default:
			err = c.split(hash)
		}
		if err != nil {
			return err
		}
	}
}

// rebuild replaces the bucket by one with room for n entries.
func (c *cursor) rebuild(list []uint64, n int) error {
	old := c.leaf
	leaf, err := c.newBucket(list[headerWords:], n, old.Bits())
	if err != nil {
		return err
	}
	c.t.Free(old.Addr())
	return c.replaceLeaf(leaf)
}

// plant puts a bucket with one entry where there is none, into as many of the empty slots
// around as possible.
func (c *cursor) plant(word uint64) error {
	leaf, err := c.newBucket([]uint64{word}, 1, 0)
	if err != nil {
		return err
	}
	if c.depth == 0 {
		c.root = leaf
		return nil
	}
	s := c.steps[c.depth-1]
	slots, err := c.editNode(c.depth-1, s.node.Bits())
	if err != nil {
		return err
	}
	depth := s.node.Bits()
	for depth > 0 && allEmpty(slots, s.slot, depth-1) {
		depth--
	}
	return c.fill(leaf.WithBits(depth), depth)
}

// allEmpty reports whether the slots that agree in the low depth bits are nil.
func allEmpty(slots []uint64, slot, depth uint) bool {
	for i := slot & (1<<depth - 1); i < uint(len(slots)); i += 1 << depth {
		if slots[i] != 0 {
			return false
		}
	}
	return true
}

// newBucket writes a bucket with the words of the list that are not zero, and with room for
// at least n entries. Without such words it returns nil.
func (c *cursor) newBucket(list []uint64, n int, depth uint) (format.Link, error) {
	if n == 0 {
		return 0, nil
	}
	wordBits := wordBitsFor(n)
	a, err := c.t.Alloc(format.KindBucket, bucketBytes(wordBits))
	if err != nil {
		return 0, err
	}
	leaf := format.MakeBucketLink(a, wordBits, depth)
	to := bucketWords(c.t.Payload(a), leaf)
	clear(to[headerWords:])
	for _, w := range list {
		if w != 0 {
			place(to, w)
		}
	}
	return leaf, nil
}

// split divides the cursor's full bucket by one more bit of the hash, and moves the cursor
// to the half for the hash. It uses the next bit of the node, and doubles the node if it has
// no slots for that. If the node has its full size it puts a new node below. Where the hash
// has no more bits it turns the bucket into a chain.
func (c *cursor) split(hash uint64) error {
	list, err := leafWords(&c.t.Reader, c.leaf)
	if err != nil {
		return err
	}
	var all [maxWords]uint64
	full := all[:0]
	for _, w := range list[headerWords:] {
		if w != 0 {
			full = append(full, w)
		}
	}
	depth := c.leaf.Bits()
	switch {
	case c.depth == 0:
		err = c.descend(0)
	case depth < levelBits(c.shift()):
		return c.divide(full, depth, hash)
	case c.shift()+fanBits >= hashBits:
		a, err := c.t.Alloc(format.KindChain, format.ByteCount(len(full)*8))
		if err != nil {
			return err
		}
		copy(words(c.t.Payload(a), uint(len(full))), full)
		c.t.Free(c.leaf.Addr())
		return c.replaceLeaf(format.MakeLink(a, format.LinkChain, depth))
	default:
		shift := c.shift() + fanBits
		for i, w := range full { // in the new node the tags begin six bits higher
			h, err := c.hashOf(w)
			if err != nil {
				return err
			}
			full[i] = w&format.AddrMask | tagOf(h, shift)
		}
		err = c.descend(shift)
	}
	if err != nil {
		return err
	}
	c.steps[c.depth-1].slot = uint(hash>>c.shift()) & 1
	return c.divide(full, 0, hash)
}

// descend replaces the leaf by a node with two slots, which both refer to the leaf for the
// moment, and moves the cursor into the node.
func (c *cursor) descend(shift uint) error {
	a, err := c.t.Alloc(format.KindInner, 16)
	if err != nil {
		return err
	}
	node := format.MakeLink(a, format.LinkInner, 1)
	slots := words(c.t.Payload(a), 2)
	slots[0], slots[1] = uint64(c.leaf), uint64(c.leaf)
	if c.depth == 0 {
		c.root = node
	} else if err := c.fill(node, c.steps[c.depth-1].node.Bits()); err != nil {
		return err
	}
	c.steps[c.depth] = step{node: node, shift: shift}
	c.depth++
	return nil
}

// divide distributes the entries of a full bucket of the given depth by one more
// bit, and moves the cursor to the half for the hash.
func (c *cursor) divide(full []uint64, depth uint, hash uint64) error {
	s := &c.steps[c.depth-1]
	if depth == s.node.Bits() {
		if err := c.double(); err != nil {
			return err
		}
		s.slot = uint(hash>>s.shift) & (1<<s.node.Bits() - 1)
	}
	var halves [2][]uint64
	var space [2][maxWords]uint64
	halves[0], halves[1] = space[0][:0], space[1][:0]
	for _, w := range full {
		side := w >> (48 + depth) & 1
		halves[side] = append(halves[side], w)
	}
	old := c.leaf
	mine := s.slot
	for side := range uint(2) {
		link, err := c.newBucket(halves[side], len(halves[side]), depth+1)
		if err != nil {
			return err
		}
		s.slot = mine&(1<<depth-1) | side<<depth
		if err := c.fill(link, depth+1); err != nil {
			return err
		}
		if uint(hash>>(s.shift+depth))&1 == side {
			c.leaf = link
		}
	}
	s.slot = mine
	c.t.Free(old.Addr())
	return nil
}

// double gives the last node twice as many slots: each leaf is in twice as many as before.
func (c *cursor) double() error {
	s := &c.steps[c.depth-1]
	before := s.node.Bits()
	slots, err := c.editNode(c.depth-1, before+1)
	if err != nil {
		return err
	}
	copy(slots[1<<before:], slots[:1<<before])
	return nil
}

// hashOf reads the hash of the entry that a word of a leaf refers to.
func (c *cursor) hashOf(word uint64) (uint64, error) {
	p, err := c.t.Reader.Payload(format.Addr(word&format.AddrMask), format.KindEntry)
	if err != nil {
		return 0, err
	}
	return *(*uint64)(p), nil
}

func (c *cursor) extendChain(word uint64) error {
	n := uint(c.t.Reader.Size(c.leaf.Addr()) / 8)
	a, err := c.t.Copy(c.leaf.Addr(), format.KindChain, format.ByteCount(n+1)*8)
	if err != nil {
		return err
	}
	words(c.t.Payload(a), n+1)[n] = word
	return c.replaceLeaf(format.MakeLink(a, format.LinkChain, c.leaf.Bits()))
}
