package btree

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// step is a node on the path from a leaf up to the root.
type step struct {
	link  format.Link
	n     node
	at    int  // the slot of the child on the path; in a leaf, the slot of the key or where it belongs
	grown bool // this change has given it more room
}

// cursor is the path to a key. A change walks back up on it. The leaf comes first, so the
// path can get a new root at its end.
type cursor struct {
	search
	t     *heap.Txn
	root  format.Link
	steps [maxLevels + 1]step
	depth int
}

// seek finds the leaf for a key, and reports whether the key is there.
func (c *cursor) seek(t *heap.Txn, root format.Link, sh *entry.Shape, key unsafe.Pointer) (found bool, err error) {
	c.search = search{r: &t.Reader, sh: sh, key: key, decide: sh.WordsDecide()}
	c.t, c.root, c.depth = t, root, 0
	if root == 0 {
		return false, nil
	}
	height, err := heightOf(c.r, root)
	if err != nil {
		return false, err
	}
	c.depth = height + 1
	for link := root; ; height-- {
		s := &c.steps[height]
		s.link, s.grown = link, false
		if s.n, err = open(c.r, link, height); err != nil {
			return false, err
		}
		if height == 0 {
			s.at, found, err = c.entry(s.n)
			return found, err
		}
		if s.at, err = c.child(s.n, height); err != nil {
			return false, err
		}
		link = format.Link(s.n.ref(s.at))
	}
}

// Set sets the value of key. It returns the new root, the block of the new entry, and the
// payload of the replaced entry in old; nil if the key is new.
//
// Set writes the entry before it changes the tree: a value that cannot be stored leaves the
// tree unchanged. A later error leaves the tree unusable, and the transaction must abort;
// such errors come from the heap: no space, damage.
func Set(t *heap.Txn, root format.Link, sh *entry.Shape, key, value unsafe.Pointer) (newRoot format.Link, entry format.Addr, old unsafe.Pointer, err error) {
	var c cursor
	found, err := c.seek(t, root, sh, key)
	if err != nil {
		return 0, 0, nil, err
	}
	entry, err = sh.New(t, sh.Word(key, 0), key, value)
	if err != nil {
		return 0, 0, nil, err
	}
	if !found {
		err = c.insert(entry)
		return c.root, entry, nil, err
	}
	if old, err = c.steps[0].n.entryAt(c.r, c.steps[0].at); err != nil {
		return 0, 0, nil, err
	}
	n, err := c.edit(0, 0)
	if err != nil {
		return 0, 0, nil, err
	}
	slot := &n.refs()[c.steps[0].at]
	t.Free(format.Addr(*slot))
	*slot = uint64(entry)
	return c.root, entry, old, nil
}

// newNode writes a node without slots that has room for slots of them.
func (c *cursor) newNode(height, slots int) (node, format.Link, error) {
	room := roomFor(height, slots)
	size := headSize + room*slotSize(height)
	a, err := c.t.Alloc(kindOf(height), format.ByteCount(size))
	if err != nil {
		return node{}, 0, err
	}
	n := node{c.t.Payload(a), room}
	clear(unsafe.Slice((*byte)(n.p), size))
	return n, format.MakeTreeLink(a, uint(height)+1), nil
}

// edit makes the node at the height editable, with room for at least slots slots, and
// returns it in the write view. If the node has to move, edit stores its new link in the
// node above, which may have to move as well, and so on up (B6).
func (c *cursor) edit(height, slots int) (node, error) {
	s := &c.steps[height]
	if slots <= s.n.room && c.t.Editable(s.link.Addr()) {
		s.n.p = c.t.Payload(s.link.Addr())
		return s.n, nil
	}
	n, link, err := c.newNode(height, max(slots, s.n.count()))
	if err != nil {
		return node{}, err
	}
	s.grown = s.grown || n.room > s.n.room
	*n.head() = *s.n.head()
	n.head().Count = 0
	n.copySlots(height, s.n, 0, s.n.count())
	return n, c.replace(height, n, link)
}

// replace replaces the node at the height by another one, and frees it.
func (c *cursor) replace(height int, n node, link format.Link) error {
	s := &c.steps[height]
	c.t.Free(s.link.Addr())
	s.n, s.link = n, link
	if height == c.depth-1 {
		c.root = link
		return nil
	}
	above, err := c.edit(height+1, 0)
	if err != nil {
		return err
	}
	above.refs()[c.steps[height+1].at] = uint64(link)
	return nil
}

// insert adds an entry whose key is not in the tree.
func (c *cursor) insert(entry format.Addr) error {
	if c.depth == 0 {
		return c.plant(entry)
	}
	if err := c.makeRoom(0); err != nil {
		return err
	}
	n, err := c.edit(0, c.steps[0].n.count()+1)
	if err != nil {
		return err
	}
	at := c.steps[0].at
	if err := c.fit(n, 0, 0, c.key); err != nil {
		return err
	}
	n.insert(0, at, c.sh.Word(c.key, n.skip()), uint64(entry), 0)
	for h := 1; h < c.depth; h++ {
		n, err := c.edit(h, 0)
		if err != nil {
			return err
		}
		n.counts()[c.steps[h].at]++
	}
	if at == 0 {
		if err := c.raiseLeast(0, c.key); err != nil {
			return err
		}
	}
	for h := range c.depth { // only now has every node its slots
		if c.steps[h].grown {
			if err := c.spread(c.steps[h].n, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// plant creates a tree with one entry.
func (c *cursor) plant(entry format.Addr) error {
	n, link, err := c.newNode(0, 1)
	if err != nil {
		return err
	}
	n.insert(0, 0, c.sh.Word(c.key, 0), uint64(entry), 0)
	c.root = link
	return nil
}

// fit lowers the skip of a node so far that another key fits (B3). other is the slot of one
// of the present keys, which agree up to the skip.
func (c *cursor) fit(n node, height, other int, key unsafe.Pointer) error {
	skip := n.skip()
	if n.count() == 0 {
		n.start(c.sh, key, skip)
		return nil
	}
	if skip == 0 || skip <= 8 && c.sh.Word(key, 0)&mask(skip) == n.head().Prefix {
		return nil
	}
	known, err := leastKey(c.r, c.sh, n, height, other)
	if err != nil {
		return err
	}
	if common := c.sh.Common(key, known, 0, skip); common < skip {
		n.lower(c.sh, known, common)
	}
	return nil
}

// spread raises the skip of a node as far as possible, if some of its words are equal: the
// new words may distinguish the keys.
func (c *cursor) spread(n node, height int) error {
	if c.decide || n.count() < 2 || !n.tied() {
		return nil
	}
	first, err := leastKey(c.r, c.sh, n, height, 0)
	if err != nil {
		return err
	}
	last, err := leastKey(c.r, c.sh, n, height, n.count()-1)
	if err != nil {
		return err
	}
	skip := c.sh.Common(first, last, n.skip(), maxSkip)
	if skip == n.skip() {
		return nil
	}
	n.start(c.sh, first, skip)
	for i := range n.words() {
		key, err := leastKey(c.r, c.sh, n, height, i)
		if err != nil {
			return err
		}
		n.words()[i] = c.sh.Word(key, skip)
	}
	return nil
}

// raiseLeast stores the new least key below the node at the height in the nodes above it.
func (c *cursor) raiseLeast(height int, key unsafe.Pointer) error {
	for h := height + 1; h < c.depth; h++ {
		n, err := c.edit(h, 0)
		if err != nil {
			return err
		}
		at := c.steps[h].at
		if err := c.setWord(n, h, at, key); err != nil {
			return err
		}
		if at > 0 {
			break
		}
	}
	return nil
}

// setWord makes key the least key of the child in slot i of a branch.
func (c *cursor) setWord(n node, height, i int, key unsafe.Pointer) error {
	if n.count() == 1 {
		n.start(c.sh, key, n.skip())
	} else {
		other := 0
		if i == 0 {
			other = n.count() - 1
		}
		if err := c.fit(n, height, other, key); err != nil {
			return err
		}
	}
	n.words()[i] = c.sh.Word(key, n.skip())
	return nil
}

// makeRoom makes room for one more slot in the node at the height. It splits full nodes,
// from the top down.
func (c *cursor) makeRoom(height int) error {
	if c.steps[height].n.count() < most(height) {
		return nil
	}
	if height == c.depth-1 {
		if err := c.growRoot(); err != nil {
			return err
		}
	}
	if err := c.makeRoom(height + 1); err != nil {
		return err
	}
	return c.split(height)
}

// growRoot puts a branch above the root.
func (c *cursor) growRoot() error {
	if c.depth == maxLevels {
		return badNode(c.r, c.root)
	}
	height := c.depth
	below := &c.steps[height-1]
	key, err := leastKey(c.r, c.sh, below.n, height-1, 0)
	if err != nil {
		return err
	}
	n, link, err := c.newNode(height, 2)
	if err != nil {
		return err
	}
	n.insert(height, 0, c.sh.Word(key, 0), uint64(below.link), below.n.total(height-1))
	c.steps[height] = step{link: link, n: n}
	c.depth++
	c.root = link
	return nil
}

// onRightEdge reports whether the node at the height is the last one of its height.
func (c *cursor) onRightEdge(height int) bool {
	for h := height + 1; h < c.depth; h++ {
		if c.steps[h].at < c.steps[h].n.count()-1 {
			return false
		}
	}
	return true
}

// cutOf returns how many slots of the full node at the height stay in it when it is split.
// This is half of them, unless the cursor is at an end of the node. There, since keys often
// come in order, the side of the cursor gets as few as B5 allows.
//
// If the new slot goes behind all others at the right edge, the new node gets only that
// slot; if it is a branch, it also gets the last child, which the cursor is in.
func (c *cursor) cutOf(height int) int {
	at, count := c.steps[height].at, c.steps[height].n.count()
	switch last := count - min(height, 1); {
	case at == last && c.onRightEdge(height):
		return at
	case at == last:
		return count - least(height) + 1
	case at == 0:
		return least(height) - 1
	}
	return count / 2
}

// split moves the upper slots of the full node at the height to a new node behind it, and
// moves the cursor there if its slot was moved. The node above has room.
func (c *cursor) split(height int) error {
	s := &c.steps[height]
	count := s.n.count()
	cut := c.cutOf(height)
	least := c.key
	if cut < count {
		var err error
		if least, err = leastKey(c.r, c.sh, s.n, height, cut); err != nil {
			return err
		}
	}
	right, rightLink, err := c.newNode(height, count-cut+1)
	if err != nil {
		return err
	}
	right.head().Skip, right.head().Prefix = s.n.head().Skip, s.n.head().Prefix
	right.copySlots(height, s.n, cut, count)
	if cut < count {
		left, err := c.edit(height, 0)
		if err != nil {
			return err
		}
		left.truncate(height, cut)
	}
	if err := c.addChild(height+1, least, rightLink, right.total(height)); err != nil {
		return err
	}
	left := s.n
	if height > 0 && s.at >= cut || height == 0 && (s.at > cut || cut == count) {
		*s = step{link: rightLink, n: right, at: s.at - cut}
		c.steps[height+1].at++
	}
	if right.count() <= 1 {
		return nil
	}
	if err := c.spread(left, height); err != nil {
		return err
	}
	return c.spread(right, height)
}

// addChild inserts a new child behind the child that the cursor is in, in the node at the
// height, which has room. The new child has moved entries of the old one.
func (c *cursor) addChild(height int, least unsafe.Pointer, link format.Link, moved uint64) error {
	n, err := c.edit(height, c.steps[height].n.count()+1)
	if err != nil {
		return err
	}
	if err := c.fit(n, height, 0, least); err != nil {
		return err
	}
	at := c.steps[height].at
	n.insert(height, at+1, c.sh.Word(least, n.skip()), uint64(link), moved)
	n.counts()[at] -= moved
	return nil
}
