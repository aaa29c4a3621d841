package btree

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// WithSlots limits the slots of leaves and branches, to 5 or more, so that tests get deep
// trees. It returns a function that restores the limits.
func WithSlots(leaf, branch int) (restore func()) {
	before := mostSlots
	mostSlots = [2]int{leaf, branch}
	return func() { mostSlots = before }
}

// Shape describes the nodes of a tree.
type Shape struct {
	Height   int
	Nodes    [maxLevels]int // by height
	Slots    [maxLevels]int // in use
	Ties     int            // how many neighbouring words are equal
	Branches int            // how many of those are in branches
}

// ShapeOf walks the nodes of a tree.
func ShapeOf(r *heap.Reader, root format.Link) (s Shape, err error) {
	if root == 0 {
		return s, nil
	}
	s.Height = int(root.TreeLevels()) - 1
	var walk func(link format.Link, height int) error
	walk = func(link format.Link, height int) error {
		n, err := open(r, link, height)
		if err != nil {
			return err
		}
		s.Nodes[height]++
		s.Slots[height] += n.count()
		for i, w := range n.words() {
			if i > 0 && w == n.words()[i-1] {
				s.Ties++
				s.Branches += min(height, 1)
			}
			if height > 0 {
				if err := walk(format.Link(n.ref(i)), height-1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return s, walk(root, s.Height)
}

// Visits returns how many nodes the Differ has entered.
func (d *Differ) Visits() int { return d.sides[0].visits + d.sides[1].visits }
