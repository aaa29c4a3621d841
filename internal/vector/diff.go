package vector

import (
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Differ finds the indexes at which two versions of a vector have different words, in order,
// a few in each step. The caller holds both versions meanwhile, so none of their nodes
// changes. So if both versions refer to the same node at the same index, the Differ skips it
// with everything below it.
type Differ struct {
	r      [2]*heap.Reader // for the older and for the newer version
	n      uint64
	todo   []part
	budget uint64 // how many more nodes it may read
	visits int    // nodes read, for tests
}

// part is the range of words, from index base on, below a node with that many levels. If a
// version's vector has fewer levels, the part has its root.
type part struct {
	nodes  [2]format.Link
	levels uint
	base   uint64
}

// minNode is the size of the smallest block of a node.
const minNode = format.HeaderSize + 8<<minBits

// NewDiffer returns a Differ for an older and a newer version of a vector. It compares the
// words below index n.
func NewDiffer(before *heap.Reader, old format.Link, after *heap.Reader, new format.Link, n uint64) (*Differ, error) {
	_, window, _ := after.Window()
	d := &Differ{r: [2]*heap.Reader{before, after}, n: n, budget: 2 * window / minNode}
	p := part{nodes: [2]format.Link{old, new}}
	for _, link := range p.nodes {
		if levels := link.VectorLevels(); link != 0 && (levels == 0 || levels > maxLevels) {
			return nil, bad(link)
		}
		p.levels = max(p.levels, link.VectorLevels())
	}
	if old != new && n > 0 {
		d.todo = append(d.todo, p)
	}
	return d, nil
}

// Step compares one more node of each version, and calls yield for each index whose words
// differ; one of the two words may be 0. more is false when nothing is left.
func (d *Differ) Step(yield func(i, before, after uint64)) (more bool, err error) {
	last := len(d.todo) - 1
	if last < 0 {
		return false, nil
	}
	p := d.todo[last]
	d.todo = d.todo[:last]
	var slots [2][]uint64
	var short [2]uint64
	for k, link := range p.nodes {
		if link == 0 {
			continue
		}
		if l := link.VectorLevels(); l > 0 && l < p.levels && p.base == 0 {
			short[k] = uint64(link) // as if a node above had this link in its first slot
		} else if slots[k], err = d.open(k, link, p.levels); err != nil {
			return false, err
		}
	}
	d.compare(p, slots, short, yield)
	return len(d.todo) > 0, nil
}

func (d *Differ) open(k int, link format.Link, levels uint) ([]uint64, error) {
	if !valid(link, levels) || d.budget == 0 {
		return nil, bad(link)
	}
	d.budget--
	d.visits++
	p, err := d.r[k].Payload(link.Addr(), format.KindTable)
	if err != nil {
		return nil, err
	}
	return slotsOf(p, link.VectorBits()), nil
}

func (d *Differ) compare(p part, slots [2][]uint64, short [2]uint64, yield func(i, before, after uint64)) {
	shift := fanBits * (p.levels - 1)
	word := func(k int, slot uint64) uint64 {
		switch {
		case slot < uint64(len(slots[k])):
			return slots[k][slot]
		case slot == 0:
			return short[k]
		}
		return 0
	}
	used := min((d.n-1-p.base)>>shift+1, uint64(max(len(slots[0]), len(slots[1]), 1)))
	first := len(d.todo)
	for slot := range used {
		before, after := word(0, slot), word(1, slot)
		if before == after {
			continue
		}
		if i := p.base + slot<<shift; p.levels == 1 {
			yield(i, before, after)
		} else {
			d.todo = append(d.todo, part{[2]format.Link{format.Link(before), format.Link(after)}, p.levels - 1, i})
		}
	}
	slices.Reverse(d.todo[first:]) // so that Step takes the first part first
}
