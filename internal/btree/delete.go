package btree

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Delete removes a key. It returns the new root and the block of the removed entry; 0 if the
// key was not in the map. It joins a node that becomes small with a neighbour, or moves
// slots between the two.
//
// Errors come from the heap: no space, damage. If an error occurs before Delete changes the
// tree, it returns the old root, and the tree is unchanged. If an error occurs later, it
// returns the root 0: the tree is unusable, and the transaction must abort.
func Delete(t *heap.Txn, root format.Link, sh *entry.Shape, key unsafe.Pointer) (format.Link, format.Addr, error) {
	var c cursor
	found, err := c.seek(t, root, sh, key)
	if err != nil || !found {
		return root, 0, err
	}
	at := c.steps[0].at
	entry := format.Addr(c.steps[0].n.ref(at))
	if _, err := c.r.Payload(entry, format.KindEntry); err != nil { // the log needs the entry for its key, and the search may not have read it
		return root, 0, err
	}
	n, err := c.edit(0, 0)
	if err != nil {
		return 0, 0, err
	}
	n.remove(0, at)
	t.Free(entry)
	for h := 1; h < c.depth; h++ {
		n, err := c.edit(h, 0)
		if err != nil {
			return 0, 0, err
		}
		n.counts()[c.steps[h].at]--
	}
	if at == 0 && n.count() > 0 {
		if err := c.leastGone(0); err != nil {
			return 0, 0, err
		}
	}
	for h := 0; h < c.depth-1; h++ {
		if err := c.joinSmall(h); err != nil {
			return 0, 0, err
		}
	}
	if err := c.dropRoot(); err != nil {
		return 0, 0, err
	}
	return c.root, entry, nil
}

// leastGone updates the nodes above the one at the height, whose least key has changed.
func (c *cursor) leastGone(height int) error {
	key, err := leastKey(c.r, c.sh, c.steps[height].n, height, 0)
	if err != nil {
		return err
	}
	return c.raiseLeast(height, key)
}

// joinSmall joins the node at the height, which is not the root, with a neighbour, if the
// node has become small.
func (c *cursor) joinSmall(height int) error {
	s, up := &c.steps[height], &c.steps[height+1]
	switch n := s.n.count(); {
	case n == 0:
		return c.dropNode(height)
	case n >= least(height) || up.n.count() < 2:
		return nil // only a node on the right edge may be the only child
	}
	i := max(up.at-1, 0)
	left, right := neighbour{link: format.Link(up.n.ref(i))}, neighbour{link: format.Link(up.n.ref(i + 1))}
	if left.link == right.link {
		return badNode(c.r, up.link)
	}
	for _, b := range []*neighbour{&left, &right} {
		var err error
		if b.n, err = open(c.r, b.link, height); err != nil {
			return err
		}
	}
	return c.join(height, i, left, right)
}

// neighbour is one of two nodes to be joined.
type neighbour struct {
	link format.Link
	n    node
}

// join redistributes the slots of two nodes at the height, which are in the slots i and i+1
// of the node above. It writes one node if that leaves some room in it, and two otherwise.
func (c *cursor) join(height, i int, left, right neighbour) error {
	all := 2 * most(height)
	var words, refs, counts [2 * max(leafMost, branchMost)]uint64
	both := list{height: height, words: words[:0:all], refs: refs[:0:all], counts: counts[:0:all]}
	if err := c.gather(&both, left, right); err != nil {
		return err
	}
	total := len(both.refs)
	cut := total
	if total > most(height)*4/5 {
		cut = total / 2
	}
	up, err := c.edit(height+1, 0)
	if err != nil {
		return err
	}
	c.t.Free(left.link.Addr())
	c.t.Free(right.link.Addr())
	first, link, err := c.build(both, 0, cut)
	if err != nil {
		return err
	}
	up.refs()[i], up.counts()[i] = uint64(link), first.total(height)
	if err := c.spread(first, height); err != nil || cut == total {
		up.remove(height+1, i+1)
		return err
	}
	second, link, err := c.build(both, cut, total)
	if err != nil {
		return err
	}
	up.refs()[i+1], up.counts()[i+1] = uint64(link), second.total(height)
	key, err := leastKey(c.r, c.sh, second, height, 0)
	if err != nil {
		return err
	}
	if err := c.setWord(up, height+1, i+1, key); err != nil {
		return err
	}
	return c.spread(second, height)
}

// list has the slots of the nodes to be joined.
type list struct {
	height              int
	words, refs, counts []uint64
	skip                uintptr
	known               unsafe.Pointer // one of the keys
}

// gather lists the slots of both nodes, with a skip that fits the keys of both.
func (c *cursor) gather(l *list, left, right neighbour) error {
	l.skip = min(left.n.skip(), right.n.skip())
	for _, b := range []neighbour{left, right} {
		key, err := leastKey(c.r, c.sh, b.n, l.height, 0)
		if err != nil {
			return err
		}
		if l.known == nil {
			l.known = key
		} else {
			l.skip = c.sh.Common(l.known, key, 0, l.skip)
		}
	}
	for _, b := range []neighbour{left, right} {
		key, err := leastKey(c.r, c.sh, b.n, l.height, 0)
		if err != nil {
			return err
		}
		at := len(l.words)
		l.words = append(l.words, b.n.words()...)
		lowerWords(c.sh, l.words[at:], key, b.n.skip(), l.skip)
		l.refs = append(l.refs, b.n.refs()...)
		if l.height > 0 {
			l.counts = append(l.counts, b.n.counts()...)
		}
	}
	return nil
}

// build writes a node with the slots from i up to j.
func (c *cursor) build(l list, i, j int) (node, format.Link, error) {
	n, link, err := c.newNode(l.height, j-i)
	if err != nil {
		return node{}, 0, err
	}
	n.head().Count = uint16(j - i)
	copy(n.words(), l.words[i:j])
	copy(n.refs(), l.refs[i:j])
	if l.height > 0 {
		copy(n.counts(), l.counts[i:j])
	}
	n.start(c.sh, l.known, l.skip)
	return n, link, nil
}

// dropNode takes the node at the height, which has lost its last slot, out of the node
// above.
func (c *cursor) dropNode(height int) error {
	up, err := c.edit(height+1, 0)
	if err != nil {
		return err
	}
	at := c.steps[height+1].at
	c.t.Free(c.steps[height].link.Addr())
	up.remove(height+1, at)
	if at > 0 || up.count() == 0 {
		return nil
	}
	return c.leastGone(height + 1)
}

// dropRoot removes the root while it is a branch with one child, or has no slots.
func (c *cursor) dropRoot() error {
	for c.depth > 0 {
		s := &c.steps[c.depth-1]
		n := s.n.count()
		if n > 1 || n == 1 && c.depth == 1 {
			return nil
		}
		c.t.Free(s.link.Addr())
		if n == 0 {
			c.root, c.depth = 0, 0
			return nil
		}
		c.depth--
		c.root = format.Link(s.n.ref(0))
		below := &c.steps[c.depth-1]
		below.link = c.root
		var err error
		if below.n, err = open(c.r, c.root, c.depth-1); err != nil {
			return err
		}
	}
	return nil
}
