package btree

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

const (
	maxLevels = format.MaxTreeLevels
	// maxSkip bounds the skip of a node, so that comparing the prefixes of two keys takes a
	// bounded time.
	maxSkip = 1024

	headSize = format.NodeHeadSize
)

// The most slots of a leaf and of a branch: as many as fit in the largest block.
const (
	leafMost   = 62
	branchMost = 41
)

// mostSlots has these numbers by height; all heights from 1 on are alike. Tests set smaller ones.
var mostSlots = [2]int{leafMost, branchMost}

// most returns how many slots a node at the height can have; height 0 is a leaf.
func most(height int) int { return mostSlots[min(height, 1)] }

// least returns how many slots a node must use if it is not on the right edge (B5).
func least(height int) int { return most(height) * 2 / 5 }

func slotSize(height int) int {
	if height == 0 {
		return format.LeafSlotSize
	}
	return format.BranchSlotSize
}

// kindOf returns the kind of the block of a node.
func kindOf(height int) format.Kind {
	if height == 0 {
		return format.KindLeaf
	}
	return format.KindBranch
}

// nodeSizes has the sizes of the blocks of nodes: whole cache lines that are sizes of
// classes, so that a node begins with a cache line. A copied node gets the smallest block
// that it fits in: so less is written, and less is unused.
var nodeSizes = [...]int{64, 128, 256, 384, 512, 768, 1024}

// roomFor returns how many slots a node gets if it needs n.
func roomFor(height, n int) int {
	for _, size := range nodeSizes {
		if room := (size - format.HeaderSize - headSize) / slotSize(height); room >= n {
			return min(room, most(height))
		}
	}
	return most(height)
}

// node is a node in one of the views. FORMAT.md describes its arrays.
type node struct {
	p    unsafe.Pointer // payload
	room int            // how many slots fit in the block
}

func (n node) head() *format.NodeHead { return (*format.NodeHead)(n.p) }
func (n node) count() int             { return int(n.head().Count) }
func (n node) skip() uintptr          { return uintptr(n.head().Skip) }

// array views the first slots elements of one of the arrays.
func (n node) array(i, slots int) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Add(n.p, headSize+i*n.room*8)), slots)
}

func (n node) words() []uint64  { return n.array(0, n.count()) }
func (n node) refs() []uint64   { return n.array(1, n.count()) }
func (n node) counts() []uint64 { return n.array(2, n.count()) }

// ref returns what slot i refers to.
func (n node) ref(i int) uint64 {
	return *(*uint64)(unsafe.Add(n.p, headSize+(n.room+i)*8))
}

// open reads the node at a link, at the height.
func open(r *heap.Reader, link format.Link, height int) (node, error) {
	p, err := r.Payload(link.Addr(), kindOf(height))
	if err != nil {
		return node{}, err
	}
	n := node{p, (int(r.Size(link.Addr())) - headSize) / slotSize(height)}
	if uint(n.count()-1) >= uint(n.room) || n.room > most(height) || link.TreeLevels() != uint(height)+1 {
		return node{}, badNode(r, link)
	}
	return n, nil
}

// badNode returns the error for an impossible node.
func badNode(r *heap.Reader, link format.Link) error {
	return &format.DamageError{File: "heap", Offset: r.Offset(link.Addr()), What: fmt.Sprintf("a node of a B+tree, or its link %#x, is impossible", uint64(link))}
}

// entryAt returns the payload of the entry in slot i of a leaf.
func (n node) entryAt(r *heap.Reader, i int) (unsafe.Pointer, error) {
	return r.Payload(format.Addr(n.ref(i)), format.KindEntry)
}

// leastEntry returns the payload of the least entry in slot i of a node at the height.
func leastEntry(r *heap.Reader, n node, height, i int) (unsafe.Pointer, error) {
	for ; height > 0; i = 0 {
		height--
		var err error
		if n, err = open(r, format.Link(n.ref(i)), height); err != nil {
			return nil, err
		}
	}
	return n.entryAt(r, i)
}

// leastKey is leastEntry, and returns the key.
func leastKey(r *heap.Reader, sh *entry.Shape, n node, height, i int) (unsafe.Pointer, error) {
	e, err := leastEntry(r, n, height, i)
	if err != nil {
		return nil, err
	}
	return sh.StoredKey(r, e)
}

// mask selects the first n bytes of a word, all of them if n is 8 or more.
func mask(n uintptr) uint64 {
	if n >= 8 {
		return ^uint64(0)
	}
	return ^(^uint64(0) >> (8 * n))
}

// start sets the skip of a node without slots. The node's keys must agree with key in the
// first skip bytes.
func (n node) start(sh *entry.Shape, key unsafe.Pointer, skip uintptr) {
	h := n.head()
	h.Skip, h.Prefix = uint16(skip), 0
	if skip > 0 {
		h.Prefix = sh.Word(key, 0) & mask(skip)
	}
}

// lower lowers the skip of a node. key is one of the node's keys.
func (n node) lower(sh *entry.Shape, key unsafe.Pointer, skip uintptr) {
	lowerWords(sh, n.words(), key, n.skip(), skip)
	n.start(sh, key, skip)
}

// lowerWords changes words that begin at from to words that begin at to, which is earlier.
// key is one of their keys, and all of them agree with it in the first from bytes.
func lowerWords(sh *entry.Shape, words []uint64, key unsafe.Pointer, from, to uintptr) {
	if from == to {
		return
	}
	first := sh.Word(key, to)
	for i, w := range words {
		if by := from - to; by < 8 {
			words[i] = first&mask(by) | w>>(8*by)
		} else {
			words[i] = first
		}
	}
}

// insert inserts a slot before slot i.
func (n node) insert(height, i int, word, ref, count uint64) {
	h := n.head()
	h.Count++
	shift := func(list []uint64, v uint64) {
		copy(list[i+1:], list[i:])
		list[i] = v
	}
	shift(n.words(), word)
	shift(n.refs(), ref)
	if height > 0 {
		shift(n.counts(), count)
	}
}

// remove removes slot i.
func (n node) remove(height, i int) {
	cut := func(list []uint64) {
		copy(list[i:], list[i+1:])
		list[len(list)-1] = 0
	}
	cut(n.words())
	cut(n.refs())
	if height > 0 {
		cut(n.counts())
	}
	n.head().Count--
}

// truncate removes the slots from i on.
func (n node) truncate(height, i int) {
	clear(n.words()[i:])
	clear(n.refs()[i:])
	if height > 0 {
		clear(n.counts()[i:])
	}
	n.head().Count = uint16(i)
}

// copySlots appends the slots from i up to j of another node, which has the same skip.
func (n node) copySlots(height int, from node, i, j int) {
	at := n.count()
	n.head().Count += uint16(j - i)
	copy(n.words()[at:], from.words()[i:j])
	copy(n.refs()[at:], from.refs()[i:j])
	if height > 0 {
		copy(n.counts()[at:], from.counts()[i:j])
	}
}

// total returns the number of entries below a node.
func (n node) total(height int) (sum uint64) {
	if height == 0 {
		return uint64(n.count())
	}
	for _, c := range n.counts() {
		sum += c
	}
	return sum
}

// tied reports whether two of the words are equal.
func (n node) tied() bool {
	words := n.words()
	for i := 1; i < len(words); i++ {
		if words[i] == words[i-1] {
			return true
		}
	}
	return false
}
