package heap

import (
	"fmt"

	"github.com/everheap/everheap/internal/format"
)

// A FreeCheck compares the lists of free space with the blocks that a version can reach. A
// slot holds the version since before the check looks at any list: what the version reaches
// was not free then, and cannot become free while it is held. So whatever is listed as free
// at any moment since, and is in the set, is damage, or a bug of this library, even while
// others allocate and free.
type FreeCheck struct {
	heap    *Heap
	marks   *Marks
	version format.Version
	find    func(a format.Addr, what string)
	inUse   []bool // by extent: it holds a block of the set
	Bytes   format.ByteCount
	// Pinned says that the version lists others, which reach blocks that were freed
	// since and wait for just that; or that it was restored from one of them.
	Pinned bool
}

// NewFreeCheck begins a comparison with the set of all that the version can reach.
// find is called for each contradiction.
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

// Lists looks at the lists of this process: nothing in them can be reached, and
// nothing is in them twice. The heap is entered, so that they are this process's.
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

// block looks at a free block.
func (c *FreeCheck) block(a format.Addr, class format.Class, where string) {
	extent := c.heap.extentOf(a)
	c.Bytes += class.BlockSize()
	if a < c.heap.extentAddr(c.heap.first>>format.ExtentShift) || extent >= uint64(len(c.marks.extents)) {
		return // younger than the version, or no place for a block: accept does not take it
	}
	if c.marks.has(extent, uint64(a)%format.ExtentSize) {
		c.find(a, fmt.Sprintf("the block is in use, and in %s", where))
	}
}

// extents looks at free extents.
func (c *FreeCheck) extents(extent, n uint64, where string) {
	for i := range n {
		c.Bytes += format.ExtentSize
		if extent+i < uint64(len(c.inUse)) && c.inUse[extent+i] {
			c.find(c.heap.extentAddr(extent+i), fmt.Sprintf("the extent is in use, and in %s", where))
		}
	}
}

// Stacks looks at the reserve, and at the batches by which processes pass free space on. A
// batch that does not verify is skipped with all behind it: a process may be taking it. If
// still says that none can be, that is damage as well.
//
// A batch that verifies was in the stack since the version was held, or a process has just
// taken it, or is about to push it: what it lists was free at some moment since then.
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

// item looks at an item of a batch.
func (c *FreeCheck) item(stack int, item format.BatchItem) {
	h := c.heap
	a, off := format.Addr(item.Addr), item.Addr-h.base
	switch {
	case off < h.first || off >= uint64(len(c.marks.extents))<<format.ExtentShift:
	case stack == format.StackExtents:
		c.extents(h.extentOf(a), min(item.Birth, uint64(len(c.inUse))), "a batch of free extents")
	case stack == format.StackPending:
		if format.Version(item.Freed) <= c.version && !c.Pinned { // else it may still be reached
			c.block(a, 0, "a batch of blocks that were freed")
		}
	default:
		c.block(a, format.Class(stack), "a batch of free blocks")
	}
}
