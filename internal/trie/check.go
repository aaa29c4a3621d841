package trie

import (
	"fmt"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Visit is called with every block that a walk meets. It verifies the block and
// reports whether the walk enters it: false for a block that was met before. An
// error ends the walk.
type Visit func(a format.Addr, kind format.Kind) (descend bool, err error)

// Blocks visits every block of the trie.
func Blocks(r *heap.Reader, root format.Link, visit Visit) error {
	c := checker{r: r, visit: visit}
	return c.node(root, 0, 0)
}

// Check visits every block and verifies the structure: T1 to T4, the hashes, the
// keys and the values. It calls report for each finding and returns the number of
// entries that it met. sh may be nil if the types are not known.
func Check(r *heap.Reader, root format.Link, sh *entry.Shape, visit Visit, report func(a format.Addr, what string)) (uint64, error) {
	c := checker{r: r, visit: visit, shape: sh, report: report}
	err := c.node(root, 0, 0)
	return c.entries, err
}

// checker walks a trie, each block once.
type checker struct {
	r       *heap.Reader
	visit   Visit
	shape   *entry.Shape
	report  func(a format.Addr, what string) // nil: visit only
	entries uint64
}

func (c *checker) find(a format.Addr, what string, args ...any) {
	if c.report != nil {
		c.report(a, fmt.Sprintf(what, args...))
	}
}

// node walks the inner node or leaf at a link. The hashes of its entries must have the bits
// prefix below shift.
func (c *checker) node(link format.Link, shift uint, prefix uint64) error {
	if link == 0 {
		return nil
	}
	if link>>60 != 0 || link.Kind() != format.LinkBucket && link.WordBits() != 0 {
		c.find(link.Addr(), "bits of a link are set that have no meaning")
	}
	if link.Kind() != format.LinkInner {
		return c.leaf(link, 0, prefix, link.Bits())
	}
	if shift >= hashBits || link.Bits() == 0 || link.Bits() > levelBits(shift) {
		c.find(link.Addr(), "an inner node with %d bits at hash bit %d", link.Bits(), shift)
		return nil
	}
	descend, err := c.visit(link.Addr(), format.KindInner)
	if err != nil || !descend {
		return err
	}
	p, err := c.r.Payload(link.Addr(), format.KindInner)
	if err != nil {
		return err
	}
	n := uint(1) << link.Bits()
	if c.r.Size(link.Addr()) < format.ByteCount(n*8) {
		c.find(link.Addr(), "an inner node is smaller than its link says")
		return nil
	}
	slots := words(p, n)
	for i, w := range slots {
		if err := c.slot(link, slots, uint(i), format.Link(w), shift, prefix); err != nil {
			return err
		}
	}
	return nil
}

// slot walks the child in slot i of a node.
func (c *checker) slot(node format.Link, slots []uint64, i uint, child format.Link, shift uint, prefix uint64) error {
	switch child.Kind() {
	case format.LinkNil:
		if child != 0 {
			c.find(node.Addr(), "slot %d of an inner node is neither empty nor a link", i)
		}
	case format.LinkInner:
		if node.Bits() != levelBits(shift) {
			c.find(node.Addr(), "an inner node hangs in a node that is not full (T3)")
			return nil
		}
		return c.node(child, shift+fanBits, prefix|uint64(i)<<shift)
	case format.LinkBucket, format.LinkChain:
		depth := child.Bits()
		if depth > node.Bits() {
			c.find(node.Addr(), "slot %d of an inner node leads to a leaf that is deeper than the node (T2)", i)
			return nil
		}
		low := i & (1<<depth - 1)
		if slots[low] != uint64(child) {
			c.find(node.Addr(), "the slots of a leaf differ (T2)")
		}
		if i == low {
			if child>>60 != 0 || child.Kind() != format.LinkBucket && child.WordBits() != 0 {
				c.find(child.Addr(), "bits of a link are set that have no meaning")
			}
			return c.leaf(child, shift, prefix|uint64(low)<<shift, shift+depth)
		}
	default:
		c.find(node.Addr(), "slot %d of an inner node has a link of unknown kind %d", i, child.Kind())
	}
	return nil
}

// leaf walks the entries of a leaf, whose hashes agree with prefix in the low
// agree bits.
func (c *checker) leaf(link format.Link, shift uint, prefix uint64, agree uint) error {
	kind := format.KindBucket
	if link.Kind() == format.LinkChain {
		kind = format.KindChain
	}
	descend, err := c.visit(link.Addr(), kind)
	if err != nil || !descend {
		return err
	}
	list, err := leafWords(c.r, link)
	if err != nil {
		return err
	}
	if kind == format.KindBucket {
		if c.r.Size(link.Addr()) != bucketBytes(link.WordBits()) {
			c.find(link.Addr(), "a bucket of %d bytes under a link for 2^%d words", c.r.Size(link.Addr()), link.WordBits())
			return nil
		}
		c.groups(link.Addr(), list)
	}
	for _, w := range entries(link, list) {
		if w == 0 {
			continue
		}
		a := format.Addr(w & format.AddrMask)
		descend, err := c.visit(a, format.KindEntry)
		if err != nil {
			return err
		}
		if !descend {
			if c.report != nil {
				c.find(a, "an entry is linked twice")
			}
			continue
		}
		c.entries++
		if err := c.entry(a, w, shift, prefix, agree); err != nil {
			return err
		}
	}
	return nil
}

// groups verifies that a search finds every word of a bucket (T4).
func (c *checker) groups(a format.Addr, list []uint64) {
	last := uint(len(list)/groupWords - 1)
	for i, w := range list {
		if i < headerWords || w == 0 {
			continue
		}
		for g := homeGroup(w&^format.AddrMask, last); g != uint(i/groupWords); g = (g + 1) & last {
			if !full((*[groupWords]uint64)(list[g*groupWords:])) {
				c.find(a, "word %d of a bucket stands where a search does not come (T4)", i)
				break
			}
		}
	}
}

func (c *checker) entry(a format.Addr, word uint64, shift uint, prefix uint64, agree uint) error {
	p, err := c.r.Payload(a, format.KindEntry)
	if err != nil || c.report == nil {
		return err
	}
	hash := *(*uint64)(p)
	if tagOf(hash, shift) != word&^format.AddrMask {
		c.find(a, "the tag of an entry does not match its hash")
	}
	if agree < hashBits && hash&(1<<agree-1) != prefix&(1<<agree-1) {
		c.find(a, "an entry stands where its hash does not lead (T1)")
	}
	sh := c.shape
	if sh == nil {
		return nil
	}
	if c.r.Size(a) < format.ByteCount(sh.FixedSize()) {
		c.find(a, "an entry of %d bytes is shorter than its types", c.r.Size(a))
		return nil
	}
	bounds := entry.Bounds(c.r, p)
	if err := sh.Key.Check(sh.KeyOf(p), bounds); err != nil {
		c.find(a, "the key of an entry: %v", err)
		return nil
	}
	if err := sh.Value.Check(sh.ValueOf(p), bounds); err != nil {
		c.find(a, "the value of an entry: %v", err)
	}
	if h, err := sh.Hash(sh.KeyOf(p)); err != nil || h != hash {
		c.find(a, "the hash of an entry is not that of its key")
	}
	return nil
}
