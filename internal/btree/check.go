package btree

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Visit is called with every block that a walk meets. It verifies the block and
// reports whether the walk enters it: false for a block that was met before. An
// error ends the walk.
type Visit func(a format.Addr, kind format.Kind) (descend bool, err error)

// Blocks visits every block of the tree.
func Blocks(r *heap.Reader, root format.Link, visit Visit) error {
	_, err := Check(r, root, nil, visit, nil)
	return err
}

// Check visits every block and verifies the structure, B1 to B5, the keys and the values. It
// calls report for each finding and returns the number of entries that it met. It does not
// count an entry that visit does not enter: so a caller that knows the number of entries
// notices nodes that are linked twice. sh may be nil if the types are not known.
func Check(r *heap.Reader, root format.Link, sh *entry.Shape, visit Visit, report func(a format.Addr, what string)) (uint64, error) {
	if root == 0 {
		return 0, nil
	}
	c := checker{r: r, visit: visit, sh: sh, report: report}
	if levels := root.TreeLevels(); levels == 0 || levels > maxLevels {
		c.find(root.Addr(), "the root of a B+tree has %d levels", levels)
		return 0, nil
	}
	below, err := c.node(root, int(root.TreeLevels())-1, true, true)
	return below.entries, err
}

// checker walks a tree, each block once.
type checker struct {
	r      *heap.Reader
	visit  Visit
	sh     *entry.Shape
	report func(a format.Addr, what string) // nil: visit only
	last   unsafe.Pointer                   // key of the last entry; nil: none, or it is damaged
}

// below has the results of the walk below a node.
type below struct {
	entries uint64
	all     bool           // the walk has entered every node
	least   unsafe.Pointer // the least key; nil: unknown
}

func (c *checker) find(a format.Addr, what string, args ...any) {
	if c.report != nil {
		c.report(a, fmt.Sprintf(what, args...))
	}
}

// node walks the node at a link.
func (c *checker) node(link format.Link, height int, root, edge bool) (b below, err error) {
	a := link.Addr()
	if link.TreeLevels() != uint(height)+1 {
		c.find(a, "a link of a B+tree says %d levels, and there are %d (B2)", link.TreeLevels(), height+1)
		return b, nil
	}
	descend, err := c.visit(a, kindOf(height))
	if err != nil || !descend {
		return b, err
	}
	n, err := open(c.r, link, height)
	if err != nil {
		c.find(a, "a %s of a B+tree has impossible numbers", kindOf(height))
		return b, nil
	}
	if c.report != nil {
		c.shape(a, n, height, root, edge)
	}
	var keys []unsafe.Pointer
	if c.report != nil {
		keys = make([]unsafe.Pointer, n.count())
	}
	b.all = true
	for i, ref := range n.refs() {
		var child below
		if height == 0 {
			child, err = c.entry(format.Addr(ref))
		} else {
			child, err = c.node(format.Link(ref), height-1, false, edge && i == n.count()-1)
		}
		if err != nil {
			return b, err
		}
		if b.entries += child.entries; c.report == nil {
			continue
		}
		b.all = b.all && child.all
		if height > 0 && child.all && child.entries != n.counts()[i] {
			c.find(a, "slot %d of a branch says %d entries, there are %d (B4)", i, n.counts()[i], child.entries)
		}
		keys[i] = child.least
	}
	if c.report != nil {
		c.words(a, n, keys)
		b.least = keys[0]
	}
	return b, nil
}

// shape verifies the number of slots of a node (B5), and that the unused ones are zero.
func (c *checker) shape(a format.Addr, n node, height int, root, edge bool) {
	count := n.count()
	if count < least(height) && !root && !edge || root && height > 0 && count < 2 {
		c.find(a, "a %s of a B+tree has %d slots only (B5)", kindOf(height), count)
	}
	if n.head().Reserved != 0 {
		c.find(a, "the head of a %s of a B+tree is wrong", kindOf(height))
	}
	arrays := slotSize(height) / 8
	if c.r.Size(a) != format.ByteCount(headSize+n.room*slotSize(height)) {
		c.find(a, "a %s of a B+tree has %d bytes, which are no number of slots", kindOf(height), c.r.Size(a))
		return
	}
	for i := range arrays {
		for _, w := range n.array(i, n.room)[count:] {
			if w != 0 {
				c.find(a, "a slot of a %s that is not in use is not zero", kindOf(height))
				return
			}
		}
	}
}

// words verifies the words of a node against their keys (B3).
func (c *checker) words(a format.Addr, n node, keys []unsafe.Pointer) {
	var first unsafe.Pointer
	for i, key := range keys {
		if key == nil {
			continue // the key is unknown, or was not verified
		}
		if first == nil {
			first = key
			if n.head().Prefix != c.prefix(key, n.skip()) {
				c.find(a, "a node of a B+tree has %#x as the beginning of its keys (B3)", n.head().Prefix)
			}
		} else if n.skip() > 0 && c.sh.Common(first, key, 0, n.skip()) < n.skip() {
			c.find(a, "the keys of a node of a B+tree do not agree in their first %d bytes (B3)", n.skip())
		}
		if w := c.sh.Word(key, n.skip()); w != n.words()[i] {
			c.find(a, "word %d of a node of a B+tree is %#x, and its key's is %#x (B3)", i, n.words()[i], w)
		}
	}
}

// prefix returns the part of a key that the head of its node must have.
func (c *checker) prefix(key unsafe.Pointer, skip uintptr) uint64 {
	if skip == 0 {
		return 0
	}
	return c.sh.Word(key, 0) & mask(skip)
}

// entry verifies an entry, and that its key is greater than the previous one (B1).
func (c *checker) entry(a format.Addr) (b below, err error) {
	descend, err := c.visit(a, format.KindEntry)
	if err != nil {
		return b, err
	}
	if !descend {
		if c.report != nil {
			c.find(a, "an entry is linked twice")
		}
		return below{all: true}, nil
	}
	b.entries, b.all = 1, true
	sh := c.sh
	if c.report == nil || sh == nil {
		return b, nil
	}
	p, err := c.r.Payload(a, format.KindEntry)
	if err != nil {
		return b, err
	}
	if c.r.Size(a) < format.ByteCount(sh.FixedSize()) {
		c.find(a, "an entry of %d bytes is shorter than its types", c.r.Size(a))
		return b, nil
	}
	bounds := entry.Bounds(c.r, p)
	if err := sh.Key.Check(sh.KeyOf(p), bounds); err != nil {
		c.find(a, "the key of an entry: %v", err)
		return b, nil
	}
	if err := sh.Value.Check(sh.ValueOf(p), bounds); err != nil {
		c.find(a, "the value of an entry: %v", err)
	}
	key, err := sh.StoredKey(c.r, p)
	if err != nil || sh.CheckOrder(key) != nil {
		c.find(a, "the key of an entry cannot be one")
		return b, nil
	}
	if *(*uint64)(p) != sh.Word(key, 0) {
		c.find(a, "an entry does not begin with the first word of its key")
	}
	if c.last != nil && sh.Key.Compare(c.last, key) >= 0 {
		c.find(a, "an entry is not greater than the one before it (B1)")
	}
	b.least, c.last = key, key
	return b, nil
}
