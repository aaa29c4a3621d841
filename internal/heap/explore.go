//go:build explore

package heap

import "github.com/everheap/everheap/internal/format"

// Access to the lists of a process for package explore.

// Census calls visit with every block and every free extent in the lists of this process,
// except those that a sweep has made it forget. free says that the process may use it at
// once.
func (h *Heap) Census(visit func(a format.Addr, size format.ByteCount, free bool)) {
	w := h.live.Words()
	floor := format.Addr(0)
	if h.epoch != w.Epoch.Load() {
		floor = format.Addr(h.base + w.SweepFloor.Load())
	}
	see := func(a format.Addr, size format.ByteCount, free bool) {
		if a >= floor {
			visit(a, size, free)
		}
	}
	for c := range h.lists {
		for _, a := range h.lists[c].hot {
			see(a, format.Class(c).BlockSize(), true)
		}
	}
	for extent, group := range h.groups {
		for _, a := range group {
			see(a, h.extentClass(uint64(extent)).BlockSize(), true)
		}
	}
	for _, list := range []*runList{&h.runs, &h.holes, &h.aside} {
		for _, r := range list.list {
			for i := range r.n {
				see(h.extentAddr(r.extent+i), format.ExtentSize, true)
			}
		}
	}
	waiting := func(list []freed) {
		for _, f := range list {
			see(f.addr, f.size, false)
		}
	}
	waiting(h.pending)
	waiting(h.ripe)
	waiting(h.logged)
	for _, chunk := range h.released.chunks {
		waiting(chunk)
	}
	for _, list := range h.held {
		for _, chunk := range list.chunks {
			waiting(chunk)
		}
	}
}

// Epoch returns the epoch of sweeps that this process's lists belong to.
func (h *Heap) Epoch() uint64 { return h.epoch }

// StackCensus calls visit with the contents of the stacks, the batches included. It returns
// an error if a batch does not verify: no process is using the stacks.
func (h *Heap) StackCensus(visit func(a format.Addr, size format.ByteCount, free bool)) error {
	for stack := range format.NumStacks {
		offset := h.live.StackHead(stack)
		for a, n := format.Addr(h.base+offset), 0; offset != 0 && a != 0; n++ {
			items, next, ok := h.readBatch(a)
			if !ok || n > 1<<16 {
				return h.damage(a, "the batch in stack %d does not verify", stack)
			}
			visit(a, format.ClassFor(carrierBytes).BlockSize(), true)
			for _, item := range items {
				h.visitItem(stack, item, visit)
			}
			a = next
		}
	}
	return nil
}

// visitItem is StackCensus for one item.
func (h *Heap) visitItem(stack int, item format.BatchItem, visit func(a format.Addr, size format.ByteCount, free bool)) {
	a := format.Addr(item.Addr)
	switch stack {
	case format.StackExtents:
		for i := range item.Birth {
			visit(a+format.Addr(i<<format.ExtentShift), format.ExtentSize, true)
		}
	case format.StackPending:
		visit(a, h.BlockBytes(a), false)
	default:
		visit(a, format.Class(stack).BlockSize(), true)
	}
}
