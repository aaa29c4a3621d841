package btree

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Differ finds the entries in which two versions of a sorted map differ, in the order
// of the keys, some at a time.
//
// It goes through both trees side by side, and stands in each before a node or an
// entry. Both versions are held meanwhile, so none of their blocks changes: if both
// walks stand before the same block, it is passed by with all below it. Else it enters
// the higher of the two, or both. So it is among the entries only where the trees differ.
// Behind a change it may find itself within a node of the one tree that it stands before
// in the other; then it looks at no more than one node of each height until both stand
// before the same block again.
type Differ struct {
	sh    *entry.Shape
	sides [2]walk // the older and the newer version
}

// walk is a walk through one version.
type walk struct {
	r      *heap.Reader
	root   format.Link
	top    int // height of the root
	height int // of the node that the walk stands before; -1: an entry
	ended  bool
	steps  [maxLevels]struct { // the nodes that it stands in, which are higher
		n  node
		at int
	}
	left   uint64 // entries
	budget uint64 // nodes
	visits int    // nodes entered, for tests
}

// Tree is one version of a tree.
type Tree struct {
	Reader *heap.Reader
	Root   format.Link
	Count  uint64 // entries, as the map claims
}

// NewDiffer returns a Differ of an older and a newer version of a sorted map of the
// shape.
func NewDiffer(before, after Tree, sh *entry.Shape) (*Differ, error) {
	d := &Differ{sh: sh}
	for k, t := range [2]Tree{before, after} {
		_, window, _ := t.Reader.Window()
		count := min(t.Count, window/minEntry) // a damaged tree that leads in circles ends
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

// Step goes on for a while, and calls yield with the payloads of the entries of a key
// that is in both versions and not by the same block; or of an entry whose key is in
// one only, and nil for the other. more is false when nothing is left.
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

// entries compares the entries that both walks stand before, and passes by the one
// with the smaller key, or both.
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

// alone goes on in one walk: into the node that it stands before, or past the entry.
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

// ref returns what the walk stands before: a link, or the address of an entry.
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

// descend goes into the node that the walk stands before.
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

// passEntry passes by an entry.
func (w *walk) passEntry() error {
	if w.left == 0 {
		return badNode(w.r, w.root)
	}
	w.left--
	w.pass()
	return nil
}

// pass passes by what the walk stands before, and leaves the nodes of which that was
// the last.
func (w *walk) pass() {
	for ; w.height < w.top; w.height++ {
		s := &w.steps[w.height+1]
		if s.at++; s.at < s.n.count() {
			return
		}
	}
	w.ended = true
}
