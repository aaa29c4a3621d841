package vector

import (
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/prefetch"
)

// All calls yield with the words below index n, in order, until yield returns false. All of
// these words must have been set: a 0 is damage.
func All(r *heap.Reader, root format.Link, n uint64, yield func(i, word uint64) bool) error {
	return iterate(r, root, n, false, yield)
}

// Backward is All from the last word to the first.
func Backward(r *heap.Reader, root format.Link, n uint64, yield func(i, word uint64) bool) error {
	return iterate(r, root, n, true, yield)
}

func iterate(r *heap.Reader, root format.Link, n uint64, back bool, yield func(i, word uint64) bool) error {
	if n == 0 {
		return nil
	}
	levels := root.VectorLevels()
	if levels == 0 || levels > maxLevels {
		return bad(root)
	}
	if (n-1)>>(fanBits*levels) != 0 {
		return missing(n - 1)
	}
	w := iteration{r: r, n: n, back: back, yield: yield}
	_, err := w.node(root, levels, 0)
	return err
}

// iteration is a walk over all words, in one direction.
type iteration struct {
	r     *heap.Reader
	n     uint64
	back  bool
	yield func(i, word uint64) bool
}

// ahead is how many words ahead a walk prefetches the blocks to which words refer: otherwise
// a walk over a vector of addresses would wait for each block. Most elements have at most
// two cache lines.
const (
	ahead     = 12
	lineBytes = 64
)

// node walks a node whose first word has index base; it reports false if yield has ended the walk.
func (w *iteration) node(link format.Link, levels uint, base uint64) (bool, error) {
	if !valid(link, levels) {
		return false, bad(link)
	}
	p, err := w.r.Payload(link.Addr(), format.KindTable)
	if err != nil {
		return false, err
	}
	shift := fanBits * (levels - 1)
	used := min((w.n-1-base)>>shift+1, 1<<fanBits)
	slots := slotsOf(p, link.VectorBits())
	if used > uint64(len(slots)) {
		return false, missing(base + uint64(len(slots))<<shift)
	}
	fetch := func(k uint64) { // beyond the last word it does nothing
		if w.back {
			k = used - 1 - k
		}
		if k < used {
			a := uintptr(slots[k] & format.AddrMask)
			prefetch.Line(a)
			prefetch.Line(a + lineBytes)
		}
	}
	for k := range uint64(ahead) {
		fetch(k)
	}
	for k := range used {
		slot := k
		if w.back {
			slot = used - 1 - k
		}
		word, i := slots[slot], base+slot<<shift
		fetch(k + ahead)
		if word == 0 {
			return false, missing(i)
		}
		var more bool
		if levels == 1 {
			more = w.yield(i, word)
		} else if more, err = w.node(format.Link(word), levels-1, i); err != nil {
			return false, err
		}
		if !more {
			return false, nil
		}
	}
	return true, nil
}

// missing returns the error for a missing word.
func missing(i uint64) error {
	return &format.DamageError{File: "heap", What: fmt.Sprintf("word %d of a radix vector is missing", i)}
}
