package btree

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/prefetch"
)

// Bound is an end of a range of keys.
type Bound struct {
	Key   unsafe.Pointer // nil: the range has no such end
	After bool           // the bound is after Key and not before it
}

// place is a place between two entries: the path to it from the root, and how many entries
// are before it.
type place struct {
	r     *heap.Reader
	steps [maxLevels]struct {
		n  node
		at int
	}
	depth int
	rank  uint64
}

// to moves to the place of a key, before its entry; found reports whether the map has the key.
func (p *place) to(root format.Link, sh *entry.Shape, key unsafe.Pointer) (found bool, err error) {
	p.depth, p.rank = 0, 0
	if root == 0 {
		return false, nil
	}
	height, err := heightOf(p.r, root)
	if err != nil {
		return false, err
	}
	p.depth = height + 1
	s := search{r: p.r, sh: sh, key: key, decide: sh.WordsDecide()}
	for link := root; ; height-- {
		at := &p.steps[height]
		if at.n, err = open(p.r, link, height); err != nil {
			return false, err
		}
		if height == 0 {
			at.at, found, err = s.entry(at.n)
			p.rank += uint64(at.at)
			return found, err
		}
		if at.at, err = s.child(at.n, height); err != nil {
			return false, err
		}
		for _, c := range at.n.counts()[:at.at] {
			p.rank += c
		}
		link = format.Link(at.n.ref(at.at))
	}
}

// nth moves to the place before entry i, counted from 0; ok is false if there is none.
func (p *place) nth(root format.Link, i uint64) (ok bool, err error) {
	p.depth, p.rank = 0, i
	if root == 0 {
		return false, nil
	}
	height, err := heightOf(p.r, root)
	if err != nil {
		return false, err
	}
	p.depth = height + 1
	for link := root; ; height-- {
		s := &p.steps[height]
		if s.n, err = open(p.r, link, height); err != nil {
			return false, err
		}
		if height == 0 {
			s.at = int(min(i, uint64(s.n.count())))
			return s.at < s.n.count(), nil
		}
		counts := s.n.counts()
		for s.at = 0; s.at < len(counts)-1 && i >= counts[s.at]; s.at++ {
			i -= counts[s.at]
		}
		link = format.Link(s.n.ref(s.at))
	}
}

// end moves to the place behind the last entry.
func (p *place) end(root format.Link, count uint64) error {
	p.depth, p.rank = 0, count
	if root == 0 {
		return nil
	}
	height, err := heightOf(p.r, root)
	if err != nil {
		return err
	}
	p.depth = height + 1
	if err := p.descend(root, height, true); err != nil {
		return err
	}
	p.steps[0].at++
	return nil
}

// descend moves from a node at the height to its first or its last entry.
func (p *place) descend(link format.Link, height int, last bool) (err error) {
	for ; ; height-- {
		s := &p.steps[height]
		if s.n, err = open(p.r, link, height); err != nil {
			return err
		}
		s.at = 0
		if last {
			s.at = s.n.count() - 1
		}
		if height == 0 {
			return nil
		}
		link = format.Link(s.n.ref(s.at))
	}
}

// turn moves to a neighbour of the present leaf: to the first entry of the next leaf, or to
// the last entry of the previous one. ok is false if there is none.
func (p *place) turn(back bool) (ok bool, err error) {
	step := 1
	if back {
		step = -1
	}
	for h := 1; h < p.depth; h++ {
		s := &p.steps[h]
		if at := s.at + step; at >= 0 && at < s.n.count() {
			s.at = at
			return true, p.descend(format.Link(s.n.ref(at)), h-1, back)
		}
	}
	return false, nil
}

// Rank returns how many entries have a smaller key, and whether the map has the key.
func Rank(r *heap.Reader, root format.Link, sh *entry.Shape, key unsafe.Pointer) (rank uint64, found bool, err error) {
	p := place{r: r}
	found, err = p.to(root, sh, key)
	return p.rank, found, err
}

// Nth returns the payload of entry i in the order of the keys, counted from 0; nil if the
// map has no more than i entries.
func Nth(r *heap.Reader, root format.Link, i uint64) (unsafe.Pointer, error) {
	p := place{r: r}
	if ok, err := p.nth(root, i); err != nil || !ok {
		return nil, err
	}
	return p.steps[0].n.entryAt(r, p.steps[0].at)
}

// Range calls yield with the payload of every entry between two bounds, in order or
// backward, until yield returns false. count is the number of entries that the map claims:
// in a damaged tree with cycles, the walk ends after that many.
func Range(r *heap.Reader, root format.Link, sh *entry.Shape, from, to Bound, count uint64, back bool, yield func(entry unsafe.Pointer) bool) error {
	if root == 0 {
		return nil
	}
	_, size, _ := r.Window()
	count = min(count, size/minEntry)
	var lo, hi place
	lo.r, hi.r = r, r
	if err := lo.bound(root, sh, from, 0); err != nil {
		return err
	}
	if err := hi.bound(root, sh, to, count); err != nil || hi.rank <= lo.rank {
		return err
	}
	n := min(hi.rank-lo.rank, count)
	if back {
		return hi.backward(n, yield)
	}
	return lo.forward(n, yield)
}

// bound moves to the place of a bound. If the bound has no key it moves to the start, or to
// the end if count is not 0.
func (p *place) bound(root format.Link, sh *entry.Shape, b Bound, count uint64) error {
	switch {
	case b.Key != nil:
		found, err := p.to(root, sh, b.Key)
		if found && b.After {
			p.rank++
			p.steps[0].at++
		}
		return err
	case count > 0:
		return p.end(root, count)
	}
	_, err := p.nth(root, 0)
	return err
}

// minEntry is the size of the smallest block of an entry.
const minEntry = 2 * format.HeaderSize

// ahead is how many entries a walk prefetches, since they lie anywhere in the heap. For each
// entry that it yields it prefetches two, until it is that many ahead: so a walk over few
// entries does not fetch many.
const ahead = 16

// forward yields the next n entries.
func (p *place) forward(n uint64, yield func(entry unsafe.Pointer) bool) error {
	s := &p.steps[0]
	for {
		refs := s.n.refs()
		end := s.at + int(min(n, uint64(len(refs)-s.at)))
		n -= uint64(end - s.at)
		for next := s.at; s.at < end; s.at++ {
			for k := 0; k < 2 && next < min(s.at+ahead, end); k++ {
				fetch(refs[next])
				next++
			}
			e, err := s.n.entryAt(p.r, s.at)
			if err != nil || !yield(e) {
				return err
			}
		}
		if n == 0 {
			return nil
		}
		if ok, err := p.turn(false); err != nil || !ok {
			return err
		}
	}
}

// backward yields the n entries before, the last one first.
func (p *place) backward(n uint64, yield func(entry unsafe.Pointer) bool) error {
	s := &p.steps[0]
	for {
		refs := s.n.refs()
		end := s.at - int(min(n, uint64(s.at)))
		n -= uint64(s.at - end)
		for next := s.at; s.at > end; {
			for k := 0; k < 2 && next > max(s.at-ahead, end); k++ {
				next--
				fetch(refs[next])
			}
			s.at--
			e, err := s.n.entryAt(p.r, s.at)
			if err != nil || !yield(e) {
				return err
			}
		}
		if n == 0 {
			return nil
		}
		if ok, err := p.turn(true); err != nil || !ok {
			return err
		}
		s.at++
	}
}

// fetch fetches the start of an entry, and where its key's bytes usually are.
func fetch(ref uint64) {
	prefetch.Line(uintptr(ref))
	prefetch.Line(uintptr(ref) + 64)
}

// AtLeast returns the payload of the entry with the least key that is not less than the key; nil if
// there is none.
func AtLeast(r *heap.Reader, root format.Link, sh *entry.Shape, key unsafe.Pointer) (unsafe.Pointer, error) {
	p := place{r: r}
	if _, err := p.to(root, sh, key); err != nil || p.depth == 0 {
		return nil, err
	}
	s := &p.steps[0]
	if s.at == s.n.count() {
		if ok, err := p.turn(false); err != nil || !ok {
			return nil, err
		}
	}
	return s.n.entryAt(r, s.at)
}
