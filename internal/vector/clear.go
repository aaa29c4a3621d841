package vector

import (
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Clear sets the word at index i to 0 and returns the new root. It frees a node without
// words, so a vector takes no memory for cleared words, however many there have been. But
// the vector keeps its levels (V2), unless its last word is cleared. Clear is not for the
// vector of a list, which has all words below its length. After an error the transaction
// must abort.
func Clear(t *heap.Txn, root format.Link, i uint64) (format.Link, error) {
	if root == 0 {
		return 0, nil
	}
	if levels := root.VectorLevels(); levels == 0 || levels > maxLevels {
		return 0, bad(root)
	}
	if i>>capacityBits(root) != 0 {
		return root, nil
	}
	return clearBelow(t, root, root.VectorLevels(), i)
}

// clearBelow is Clear below a link; it returns 0 if it has freed the node.
func clearBelow(t *heap.Txn, link format.Link, levels uint, i uint64) (format.Link, error) {
	if !valid(link, levels) {
		return 0, bad(link)
	}
	p, err := t.Reader.Payload(link.Addr(), format.KindTable)
	if err != nil {
		return 0, err
	}
	slot := i >> (fanBits * (levels - 1)) & (1<<fanBits - 1)
	slots := slotsOf(p, link.VectorBits())
	if slot >= uint64(len(slots)) || slots[slot] == 0 {
		return link, nil
	}
	left := format.Link(0)
	if levels > 1 {
		left, err = clearBelow(t, format.Link(slots[slot]), levels-1, i)
		if err != nil || uint64(left) == slots[slot] {
			return link, err
		}
	}
	used := func(w uint64) bool { return w != 0 }
	if left == 0 && !slices.ContainsFunc(slots[:slot], used) && !slices.ContainsFunc(slots[slot+1:], used) {
		t.Free(link.Addr())
		return 0, nil
	}
	if link, err = resize(t, link, link.VectorBits()); err != nil {
		return 0, err
	}
	slotsOf(t.Payload(link.Addr()), link.VectorBits())[slot] = uint64(left)
	return link, nil
}
