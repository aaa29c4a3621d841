package heap

import (
	"fmt"

	"github.com/everheap/everheap/internal/format"
)

// A FreeCheck compares the lists of free space with the blocks that a version can reach. A
// slot holds the version from before the check looks at any list: the blocks that the
// version reaches were not free then, and cannot become free while it is held. So a block of
// the set that is listed as free at any later moment is damage, or a bug of this library,
// even while other processes allocate and free.
type FreeCheck struct {
	heap    *Heap
	marks   *Marks
	version format.Version
	find    func(a format.Addr, what string)
	inUse   []bool // by extent: it has a block of the set
	Bytes   format.ByteCount
	// Pinned says that the version has checkpoints, which may reach blocks that were freed
	// since and are waiting because of that; or that it was restored from a checkpoint.
	Pinned bool
}

// NewFreeCheck begins a comparison with the set of all blocks that the version can reach.
// The check calls find for each contradiction.
func (h *Heap) NewFreeCheck(m *Marks, version format.Version, find func(a format.Addr, what string)) *FreeCheck {
	c := &FreeCheck{heap: h, marks: m, version: version, find: find, inUse: make([]bool, len(m.extents))}
	for extent := range m.extents {
		if m.extents[extent] == nil {
			continue
		}
		n := uint64(1)
		if a := h.extentAddr(uint64(extent)); h.extentClass(uint64(extent)) == format.ClassRun && m.has(uint64(extent), 0) {
			n = uint64(blockSize(h.header(a))) >> format.ExtentShift
		}
		for i := range min(n, uint64(len(m.extents)-extent)) {
			c.inUse[uint64(extent)+i] = true
		}
	}
	return c
}

// Lists checks the lists of this process: the version reaches no block in them, and no block
// is in them twice. The caller has entered the heap, so that this process owns the lists.
func (c *FreeCheck) Lists() {
	h := c.heap
	seen := h.NewMarks(h.live.Carved())
	block := func(a format.Addr, class format.Class, what string) {
		c.block(a, class, what)
		if h.extentOf(a) < uint64(len(seen.extents)) && !seen.set(a) {
			c.find(a, "a block is in this process's lists of free blocks twice")
		}
	}
	for class := range h.lists {
		for _, a := range h.lists[class].hot {
			block(a, format.Class(class), "this process's list of free blocks")
		}
	}
	for class, list := range h.reserved.lists {
		for _, a := range list {
			block(a, format.Class(class), "what this process has cut from the reserve")
		}
	}
	for extent, group := range h.groups {
		for _, a := range group {
			block(a, h.extentClass(uint64(extent)), "this process's list of free blocks")
		}
	}
	for _, list := range []*runList{&h.runs, &h.holes, &h.aside} {
		for _, r := range list.list {
			c.extents(r.extent, r.n, "this process's list of free extents")
		}
	}
}

// block checks a free block.
func (c *FreeCheck) block(a format.Addr, class format.Class, where string) {
	extent := c.heap.extentOf(a)
	c.Bytes += class.BlockSize()
	if a < c.heap.extentAddr(c.heap.first>>format.ExtentShift) || extent >= uint64(len(c.marks.extents)) {
		return // the extent is younger than the version, or no block can lie there: accept would not take it
	}
	if c.marks.has(extent, uint64(a)%format.ExtentSize) {
		c.find(a, fmt.Sprintf("the block is in use, and in %s", where))
	}
}

// extents checks free extents.
func (c *FreeCheck) extents(extent, n uint64, where string) {
	for i := range n {
		c.Bytes += format.ExtentSize
		if extent+i < uint64(len(c.inUse)) && c.inUse[extent+i] {
			c.find(c.heap.extentAddr(extent+i), fmt.Sprintf("the extent is in use, and in %s", where))
		}
	}
}

// Stacks checks the reserve, and the batches by which processes pass free space on. It skips
// a batch that does not verify, and all batches behind it: a process may be taking it. If
// still says that no process can be doing that, it reports the batch as damage.
//
// A batch that verifies has been in the stack since the version was held, or a process has
// just taken it or is about to push it: so its items were free at some moment since then.
func (c *FreeCheck) Stacks(still bool) {
	for i := range c.heap.live.Words().Reserve {
		if extent := c.heap.live.Words().Reserve[i].Load(); extent != 0 {
			c.extents(extent, 1, "the reserve")
		}
	}
	for stack := range format.NumStacks {
		h := c.heap
		offset := h.live.StackHead(stack)
		if offset == 0 {
			continue
		}
		for a, n := format.Addr(h.base+offset), 0; a != 0 && n < maxChain; n++ {
			items, next, ok := h.readBatch(a)
			if !ok {
				if still {
					c.find(a, fmt.Sprintf("the batch of free space in stack %d does not verify", stack))
				}
				break
			}
			c.block(a, h.header(a).Class(), "a stack of batches")
			for _, item := range items {
				c.item(stack, item)
			}
			a = next
		}
	}
}

// item checks an item of a batch.
func (c *FreeCheck) item(stack int, item format.BatchItem) {
	h := c.heap
	a, off := format.Addr(item.Addr), item.Addr-h.base
	switch {
	case off < h.first || off >= uint64(len(c.marks.extents))<<format.ExtentShift:
	case stack == format.StackExtents:
		c.extents(h.extentOf(a), min(item.Birth, uint64(len(c.inUse))), "a batch of free extents")
	case stack == format.StackPending:
		if format.Version(item.Freed) <= c.version && !c.Pinned { // otherwise a checkpoint may still reach it
			c.block(a, 0, "a batch of blocks that were freed")
		}
	default:
		c.block(a, format.Class(stack), "a batch of free blocks")
	}
}
