package btree

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Differ finds the entries in which two versions of a sorted map differ, in the order of the
// keys, a few in each step.
//
// It walks through both trees side by side; each walk stands before a node or an entry. The
// caller holds both versions meanwhile, so none of their blocks changes. If both walks stand
// before the same block, the Differ passes it with everything below it. Otherwise it enters
// the higher of the two nodes, or both if they are equally high. So it reads entries only
// where the trees differ. After a change one walk may be inside a node before which the
// other stands. Then the Differ enters at most one node of each height until both walks
// stand before the same block again.
type Differ struct {
	sh    *entry.Shape
	sides [2]walk // the older and the newer version
}

// walk is a walk through one version.
type walk struct {
	r      *heap.Reader
	root   format.Link
	top    int // height of the root
	height int // height of the node that the walk stands before; -1: an entry
	ended  bool
	steps  [maxLevels]struct { // the higher nodes that the walk is in
		n  node
		at int
	}
	left   uint64 // how many more entries it may pass
	budget uint64 // how many more nodes it may enter
	visits int    // nodes entered, for tests
}

// Tree is one version of a tree.
type Tree struct {
	Reader *heap.Reader
	Root   format.Link
	Count  uint64 // entries, as the map claims
}

// NewDiffer returns a Differ for an older and a newer version of a sorted map of the shape.
func NewDiffer(before, after Tree, sh *entry.Shape) (*Differ, error) {
	d := &Differ{sh: sh}
	for k, t := range [2]Tree{before, after} {
		_, window, _ := t.Reader.Window()
		count := min(t.Count, window/minEntry) // bounds the walk of a damaged tree with cycles
		d.sides[k] = walk{r: t.Reader, root: t.Root, ended: t.Root == 0, left: count, budget: 2*count + maxLevels}
		if t.Root == 0 {
			continue
		}
		height, err := heightOf(t.Reader, t.Root)
		if err != nil {
			return nil, err
		}
		d.sides[k].top, d.sides[k].height = height, height
	}
	return d, nil
}

// stepLength is how many moves Step makes.
const stepLength = 256

// Step makes up to stepLength moves, and calls yield for each difference. For a key that
// both versions have, in different blocks, it passes the payloads of both entries. For a key
// that only one version has, it passes nil for the other. more is false when nothing is
// left.
func (d *Differ) Step(yield func(before, after unsafe.Pointer)) (more bool, err error) {
	a, b := &d.sides[0], &d.sides[1]
	for range stepLength {
		switch {
		case a.ended && b.ended:
			return false, nil
		case b.ended || !a.ended && a.height > b.height:
			err = a.alone(func(e unsafe.Pointer) { yield(e, nil) })
		case a.ended || b.height > a.height:
			err = b.alone(func(e unsafe.Pointer) { yield(nil, e) })
		case a.ref() == b.ref():
			a.pass()
			b.pass()
		case a.height >= 0:
			if err = a.descend(); err == nil {
				err = b.descend()
			}
		default:
			err = d.entries(yield)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// entries compares the entries before which both walks stand, and passes the one with the
// smaller key, or both.
func (d *Differ) entries(yield func(before, after unsafe.Pointer)) error {
	a, b := &d.sides[0], &d.sides[1]
	ea, err := a.entry()
	if err != nil {
		return err
	}
	eb, err := b.entry()
	if err != nil {
		return err
	}
	c, err := d.order(ea, eb)
	if err != nil {
		return err
	}
	switch {
	case c < 0:
		yield(ea, nil)
	case c > 0:
		yield(nil, eb)
	default:
		yield(ea, eb)
	}
	if c <= 0 {
		err = a.passEntry()
	}
	if c >= 0 && err == nil {
		err = b.passEntry()
	}
	return err
}

// order compares the keys of an entry of each version.
func (d *Differ) order(ea, eb unsafe.Pointer) (int, error) {
	ka, err := d.sh.CheckedKey(d.sides[0].r, ea)
	if err != nil {
		return 0, err
	}
	kb, err := d.sh.CheckedKey(d.sides[1].r, eb)
	if err != nil {
		return 0, err
	}
	return d.sh.Key.Compare(ka, kb), nil
}

// alone moves one walk: into the node that it stands before, or past the entry.
func (w *walk) alone(yield func(e unsafe.Pointer)) error {
	if w.height >= 0 {
		return w.descend()
	}
	e, err := w.entry()
	if err != nil {
		return err
	}
	yield(e)
	return w.passEntry()
}

// ref returns the link or the entry's address before which the walk stands.
func (w *walk) ref() uint64 {
	if w.height == w.top {
		return uint64(w.root)
	}
	s := &w.steps[w.height+1]
	return s.n.ref(s.at)
}

// entry reads the entry that the walk stands before.
func (w *walk) entry() (unsafe.Pointer, error) {
	s := &w.steps[0]
	return s.n.entryAt(w.r, s.at)
}

// descend enters the node that the walk stands before.
func (w *walk) descend() error {
	link := format.Link(w.ref())
	if w.budget == 0 {
		return badNode(w.r, link)
	}
	w.budget--
	w.visits++
	n, err := open(w.r, link, w.height)
	if err != nil {
		return err
	}
	w.steps[w.height].n, w.steps[w.height].at = n, 0
	w.height--
	return nil
}

// passEntry passes an entry.
func (w *walk) passEntry() error {
	if w.left == 0 {
		return badNode(w.r, w.root)
	}
	w.left--
	w.pass()
	return nil
}

// pass passes the node or entry that the walk stands before, and leaves the nodes of which
// it was the last.
func (w *walk) pass() {
	for ; w.height < w.top; w.height++ {
		s := &w.steps[w.height+1]
		if s.at++; s.at < s.n.count() {
			return
		}
	}
	w.ended = true
}
