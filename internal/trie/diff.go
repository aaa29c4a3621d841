package trie

import (
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Differ finds the entries in which two versions of a map differ, a few in each step.
//
// The caller holds both versions meanwhile, so none of their blocks changes. So if both
// versions refer to the same block, it and everything below it are the same in both, and the
// Differ skips it. It needs only that both versions can be read at the same time. That holds
// as well if the newer version was restored from a checkpoint that is older than both.
//
// Source: comparison of trees by shared nodes, as by Merkle (1987), with addresses in place
// of digests.
type Differ struct {
	r       [2]*heap.Reader // for the older and for the newer version
	sh      *entry.Shape
	todo    []part
	most    [2]uint64   // the greatest possible number of entries
	budget  uint64      // how many more inner nodes it may visit
	visits  int         // blocks read, for tests
	scratch [2][]uint64 // the words of two leaves
}

// part is the part of both versions whose hashes agree in all bits below the shift.
type part struct {
	sides [2]side
	shift uint
}

// side is one version of a part: an inner node at the shift, or a list of entries with the
// tags of a leaf in such a node.
type side struct {
	node format.Link
	list []uint64
}

// Tree is one version of a trie.
type Tree struct {
	Reader *heap.Reader
	Root   format.Link
	Count  uint64 // entries, as the map claims
}

// minEntry is the size of the smallest block of an entry.
const minEntry = 2 * format.HeaderSize

// NewDiffer returns a Differ of an older and a newer version of a map of the shape.
func NewDiffer(before, after Tree, sh *entry.Shape) (*Differ, error) {
	d := &Differ{r: [2]*heap.Reader{before.Reader, after.Reader}, sh: sh}
	p := part{}
	for k, t := range [2]Tree{before, after} {
		_, window, _ := t.Reader.Window()
		d.most[k] = min(t.Count, window/minEntry) // bounds the walk of a damaged trie with cycles
		d.budget += d.most[k]*maxLevels + maxLevels
		if t.Root.Kind() == format.LinkInner {
			p.sides[k].node = t.Root
			continue
		}
		list, err := d.leaf(k, t.Root)
		if err != nil {
			return nil, err
		}
		p.sides[k].list = chosen(nil, list, 0, 0)
	}
	if before.Root.Addr() != after.Root.Addr() {
		d.todo = append(d.todo, p)
	}
	return d, nil
}

// leaf returns the words of a leaf that may refer to entries.
func (d *Differ) leaf(k int, link format.Link) ([]uint64, error) {
	if link.Kind() == format.LinkNil {
		return nil, nil
	}
	d.visits++
	list, err := leafWords(d.r[k], link)
	if err == nil && link.Kind() == format.LinkChain && uint64(len(list)) > d.most[k] {
		err = badLeaf(link)
	}
	if err != nil {
		return nil, err
	}
	return entries(link, list), nil
}

// chosen appends the words that refer to entries and agree with slot in the low bits
// of their tags.
func chosen(to, list []uint64, slot, depth uint) []uint64 {
	mask := uint64(1)<<depth - 1
	for _, w := range list {
		if w&format.AddrMask != 0 && w>>48&mask == uint64(slot) {
			to = append(to, w)
		}
	}
	return to
}

// Step compares one more part of the map, and calls yield for each difference. For a key
// that both versions have, in different blocks, it passes the payloads of both entries. For
// a key that only one version has, it passes nil for the other. The order is roughly that of
// the hashes. more is false when nothing is left.
func (d *Differ) Step(yield func(before, after unsafe.Pointer)) (more bool, err error) {
	last := len(d.todo) - 1
	if last < 0 {
		return false, nil
	}
	p := d.todo[last]
	d.todo[last] = part{}
	d.todo = d.todo[:last]
	if p.sides[0].node == 0 && p.sides[1].node == 0 {
		err = d.lists(p.sides[0].list, p.sides[1].list, yield)
	} else {
		err = d.nodes(p, yield)
	}
	return err == nil && len(d.todo) > 0, err
}

// view is a side while its slots are compared.
type view struct {
	side
	slots []uint64 // the slots of the node
	bits  uint
}

// nodes compares a part in which at least one side is an inner node, slot by slot. A leaf is
// in all slots that agree in its low bits (T2). So two children meet in all slots that agree
// in the low bits of the deeper one. nodes compares them in the lowest of these slots, for
// the hashes that belong there.
func (d *Differ) nodes(p part, yield func(before, after unsafe.Pointer)) error {
	var views [2]view
	nodeBits := uint(0)
	for k := range views {
		views[k].side = p.sides[k]
		if err := d.open(k, &views[k], p.shift); err != nil {
			return err
		}
		nodeBits = max(nodeBits, views[k].bits)
	}
	for i := range uint(1) << nodeBits {
		var children [2]format.Link
		depth := uint(0)
		for k := range views {
			child, childDepth, err := views[k].child(i, nodeBits, p.shift)
			if err != nil {
				return err
			}
			children[k], depth = child, max(depth, childDepth)
		}
		if i>>depth != 0 {
			continue
		}
		if views[0].node != 0 && views[1].node != 0 && children[0].Addr() == children[1].Addr() {
			continue // the same block, or none
		}
		if err := d.children(&views, children, i, depth, p.shift, yield); err != nil {
			return err
		}
	}
	return nil
}

// open reads the node of a side, if it is one.
func (d *Differ) open(k int, v *view, shift uint) error {
	if v.node == 0 {
		return nil
	}
	v.bits = v.node.Bits()
	if shift >= hashBits || v.bits == 0 || v.bits > levelBits(shift) || d.budget == 0 {
		return tooDeep(v.node)
	}
	d.budget--
	d.visits++
	p, err := d.r[k].Payload(v.node.Addr(), format.KindInner)
	if err != nil {
		return err
	}
	v.slots = words(p, 1<<v.bits)
	return nil
}

// child returns the child of a side in a slot of a node with the given bits, and how many
// bits of the slot select it. A list has no children.
func (v *view) child(i, nodeBits, shift uint) (format.Link, uint, error) {
	if v.node == 0 {
		return 0, 0, nil
	}
	child := format.Link(v.slots[i&(1<<v.bits-1)])
	switch child.Kind() {
	case format.LinkNil:
		return 0, nodeBits, nil // the neighbouring slots may have children
	case format.LinkInner:
		if v.bits != levelBits(shift) { // T3
			return 0, 0, tooDeep(child)
		}
		return child, nodeBits, nil
	}
	if child.Bits() > v.bits { // T2
		return 0, 0, badLeaf(child)
	}
	return child, child.Bits(), nil
}

// children compares the children of two sides in slot i, for the hashes that agree with i in
// the low depth bits.
func (d *Differ) children(views *[2]view, children [2]format.Link, i, depth, shift uint, yield func(before, after unsafe.Pointer)) error {
	for k := range views {
		d.scratch[k] = d.scratch[k][:0]
		list := views[k].list
		if children[k].Kind() == format.LinkInner {
			continue
		}
		if views[k].node != 0 {
			var err error
			if list, err = d.leaf(k, children[k]); err != nil {
				return err
			}
		}
		d.scratch[k] = chosen(d.scratch[k], list, i, depth)
	}
	if children[0].Kind() != format.LinkInner && children[1].Kind() != format.LinkInner {
		return d.lists(d.scratch[0], d.scratch[1], yield)
	}
	next := part{shift: shift + fanBits}
	for k := range views {
		if children[k].Kind() == format.LinkInner {
			next.sides[k].node = children[k]
			continue
		}
		list, err := d.retag(k, d.scratch[k], next.shift)
		if err != nil {
			return err
		}
		next.sides[k].list = list
	}
	d.todo = append(d.todo, next)
	return nil
}

// retag returns the words of a list with the tags of a leaf at another shift.
func (d *Differ) retag(k int, list []uint64, shift uint) ([]uint64, error) {
	var tagged []uint64
	for _, w := range list {
		e, err := d.entry(k, w)
		if err != nil {
			return nil, err
		}
		tagged = append(tagged, w&format.AddrMask|tagOf(*(*uint64)(e), shift))
	}
	return tagged, nil
}

// entry reads the entry that a word refers to.
func (d *Differ) entry(k int, word uint64) (unsafe.Pointer, error) {
	d.visits++
	return d.r[k].Payload(format.Addr(word&format.AddrMask), format.KindEntry)
}

// lists compares two lists of entries, which it sorts. An unchanged entry has the same word
// in both, and entries of one key have the same tag.
func (d *Differ) lists(before, after []uint64, yield func(before, after unsafe.Pointer)) error {
	slices.Sort(before)
	slices.Sort(after)
	before, after = withoutCommon(before, after)
	for len(before) > 0 || len(after) > 0 {
		tag := ^uint64(0)
		if len(before) > 0 {
			tag = before[0] >> 48
		}
		if len(after) > 0 {
			tag = min(tag, after[0]>>48)
		}
		n, m := sameTag(before, tag), sameTag(after, tag)
		if err := d.match(before[:n], after[:m], yield); err != nil {
			return err
		}
		before, after = before[n:], after[m:]
	}
	return nil
}

// withoutCommon drops the words that are in both sorted lists.
func withoutCommon(a, b []uint64) (onlyA, onlyB []uint64) {
	onlyA, onlyB = a[:0], b[:0]
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			onlyA, a = append(onlyA, a[0]), a[1:]
		default:
			onlyB, b = append(onlyB, b[0]), b[1:]
		}
	}
	return append(onlyA, a...), append(onlyB, b...)
}

// sameTag returns how many words at the start of a sorted list have the tag.
func sameTag(list []uint64, tag uint64) int {
	n := 0
	for n < len(list) && list[n]>>48 == tag {
		n++
	}
	return n
}

// match pairs the entries of two lists that have the same key.
func (d *Differ) match(before, after []uint64, yield func(before, after unsafe.Pointer)) error {
	for _, w := range before {
		old, err := d.entry(0, w)
		if err != nil {
			return err
		}
		e, err := d.partner(old, after)
		if err != nil {
			return err
		}
		yield(old, e)
	}
	for _, x := range after {
		if x == 0 {
			continue
		}
		e, err := d.entry(1, x)
		if err != nil {
			return err
		}
		yield(nil, e)
	}
	return nil
}

// partner returns the entry of a list that has the same key as an entry of the older
// version, and clears its word; nil if there is none.
func (d *Differ) partner(old unsafe.Pointer, after []uint64) (unsafe.Pointer, error) {
	for i, x := range after {
		if x == 0 {
			continue // it has a partner
		}
		e, err := d.entry(1, x)
		if err != nil {
			return nil, err
		}
		same, err := d.sh.SameKey(d.r[0], old, d.r[1], e)
		if err != nil {
			return nil, err
		}
		if same {
			after[i] = 0
			return e, nil
		}
	}
	return nil, nil
}
