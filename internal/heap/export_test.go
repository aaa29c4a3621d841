package heap

import "github.com/everheap/everheap/internal/format"

// Put puts a block into the lists of this process, free or not.
func (h *Heap) Put(a format.Addr, size format.ByteCount) { h.put(a, size, true) }

// PutExtents puts extents into the lists.
func (h *Heap) PutExtents(a format.Addr, n uint64) { h.runs.add(h.extentOf(a), n) }

// Push puts a batch of the items on a stack.
func (h *Heap) Push(stack int, items []format.BatchItem) { h.push(stack, items) }

// Age makes the transaction one that has begun that many walks.
func (t *Txn) Age(walks uint32) { t.stamp = walks + 1 }

// CompactLog removes superfluous changes from the log.
func (t *Txn) CompactLog() { t.compactLog() }

// Drop empties the lists.
func (h *Heap) Drop() { h.Abandon() }

// PushEach puts every free extent of the lists into a separate batch, on the stack of
// extents.
func (h *Heap) PushEach() {
	for {
		extent, ok := h.runs.take(1)
		if !ok {
			return
		}
		h.push(format.StackExtents, []format.BatchItem{{Addr: uint64(h.extentAddr(extent)), Birth: 1}})
	}
}

// Waits returns how many extents were populated only when they were needed.
func (h *Heap) Waits() int { return h.ahead.waits }

// Ripe returns how many blocks of the last scan are not settled yet.
func (h *Heap) Ripe() int { return len(h.ripe) }

// Released returns how many blocks that a version had held are not settled yet.
func (h *Heap) Released() (n int) {
	for _, chunk := range h.released.chunks {
		n += len(chunk)
	}
	return n
}
