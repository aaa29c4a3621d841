package heap

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

const (
	carrierBytes = 4096 - format.HeaderSize // payload of a batch's block
	batchItems   = (carrierBytes - format.BatchHeadSize) / format.BatchItemSize
	adoptBatches = 4       // how many batches of pending blocks Adopt takes at once
	batchExtents = 64      // how many extents are in a batch of extents
	keepBytes    = 4 << 20 // free space that a process keeps for itself
	maxChain     = 1 << 24 // the longest chain of batches; a damaged one may be a ring
)

// GiveBack passes free space to other processes: the part above this process's share or, if
// all is set, everything, including pending blocks with their versions. The caller has
// entered the heap.
//
// A batch is complete before it is pushed, and the pusher owns it until the push; a push
// that fails because a sweep began leaves a chain that the sweep finds.
func (h *Heap) GiveBack(all bool) {
	keep := format.ByteCount(keepBytes)
	if share := format.ByteCount(h.live.Words().Carved.Load()-h.first) / 8; share > keep {
		keep = share
	}
	if all {
		keep = 0
	}
	h.releaseReserve(all)
	carrier := format.ClassFor(carrierBytes)
	for c := format.Class(1); int(c) < format.NumClasses; c++ {
		if c != carrier && h.freeBytes() > keep {
			h.push(int(c), h.drain(c))
		}
	}
	if all {
		var items []format.BatchItem
		for _, list := range [][]freed{h.pending, h.ripe, h.logged} {
			for _, f := range list {
				items = append(items, format.BatchItem{Addr: uint64(f.addr), Birth: uint64(f.birth), Freed: uint64(f.freed)})
			}
		}
		for _, list := range h.held {
			h.released.moveFrom(list)
		}
		for _, chunk := range h.released.chunks {
			for _, f := range chunk {
				items = append(items, format.BatchItem{Addr: uint64(f.addr), Birth: uint64(f.birth), Freed: uint64(f.freed)})
			}
		}
		h.released = freedList{}
		h.pending, h.ripe, h.logged, h.waiting = nil, nil, nil, 0
		clear(h.held)
		h.push(format.StackPending, items)
	}
	for round := 0; round < 3 && (h.freeBytes() > keep || h.holeBytes() > keep); round++ { // taking the blocks of the batches may bring more extents
		if h.holeBytes() > keep {
			h.pushRuns(&h.holes)
		}
		if h.freeBytes() > keep {
			h.pushRuns(&h.runs)
		}
		if h.freeBytes() > keep { // last, since the batches above need blocks of this class
			h.pushOwn(carrier)
		}
	}
	h.live.Entry().Reserved.Store(uint64(h.waiting + h.freeBytes()))
}

// drain empties the list of a class into items.
func (h *Heap) drain(c format.Class) []format.BatchItem {
	l := &h.lists[c]
	items := make([]format.BatchItem, 0, len(l.hot)+l.blocks)
	for _, a := range l.hot {
		items = append(items, format.BatchItem{Addr: uint64(a)})
	}
	for extent, group := range h.groups {
		if len(group) == 0 || h.extentClass(uint64(extent)) != c {
			continue
		}
		for _, a := range group {
			items = append(items, format.BatchItem{Addr: uint64(a)})
		}
		h.groups[extent] = nil
	}
	h.cold -= format.ByteCount(l.blocks) * c.BlockSize()
	*l = classList{}
	return items
}

// push puts the items into batches, and the batches on a stack. Without a block for a batch,
// on a full disk, the items leak until a sweep.
func (h *Heap) push(stack int, items []format.BatchItem) {
	var first, last format.Addr
	for len(items) > 0 {
		n := min(len(items), batchItems)
		a, err := h.takeCarrier()
		if err != nil {
			h.live.Words().SweepWish.Store(1)
			break
		}
		if invariant.Enabled {
			h.ledger.Packed(stack, a, items[:n], h.BlockBytes)
		}
		h.fillBatch(a, first, items[:n])
		if last == 0 {
			last = a
		}
		first, items = a, items[n:]
	}
	h.pushChain(stack, first, last)
}

// takeCarrier returns a block for a batch. Unlike refill it takes no other blocks for this
// process, which is just giving them back.
func (h *Heap) takeCarrier() (format.Addr, error) {
	c := format.ClassFor(carrierBytes)
	if l := &h.lists[c]; len(l.hot) == 0 && !h.takeGroup(c, 1) {
		if h.adopt(int(c)); !h.takeGroup(c, 1) {
			if err := h.carve(c); err != nil {
				return 0, err
			}
		}
	}
	return h.take(c)
}

// pushRuns passes on whole extents of a list, few in each batch: otherwise the first process
// that needs one would get them all. It first finds a block for the batches, in these very
// extents if necessary: otherwise the file would grow in order to give space back. It puts
// the lowest extents on top of the stack, where they are taken first.
func (h *Heap) pushRuns(from *runList) {
	for from.extents > 0 {
		if !h.hasCarrier() {
			return // the disk is full: the extents stay in the list
		}
		var items []format.BatchItem
		for room := uint64(batchExtents); room > 0 && from.extents > 0; {
			extent, n := from.takeLast(room)
			items = append(items, format.BatchItem{Addr: uint64(h.extentAddr(extent)), Birth: n})
			room -= n
		}
		h.push(format.StackExtents, items)
	}
}

// hasCarrier makes sure that there is a block for a batch, and reports whether there is one.
func (h *Heap) hasCarrier() bool {
	a, err := h.takeCarrier()
	if err == nil {
		c := format.ClassFor(carrierBytes)
		if invariant.Enabled {
			h.ledger.Unused(a, c.BlockSize())
			h.ledger.Listed(a, c.BlockSize())
		}
		h.lists[c].hot = append(h.lists[c].hot, a)
	}
	return err == nil
}

// pushOwn passes on the free blocks of the batches' own class: they carry each other.
func (h *Heap) pushOwn(c format.Class) {
	items := h.drain(c)
	var first, last format.Addr
	for len(items) > 0 {
		a := format.Addr(items[0].Addr)
		n := min(len(items)-1, batchItems)
		if invariant.Enabled {
			h.ledger.Packed(int(c), a, items[1:1+n], h.BlockBytes)
		}
		h.fillBatch(a, first, items[1:1+n])
		if last == 0 {
			last = a
		}
		first, items = a, items[1+n:]
	}
	h.pushChain(int(c), first, last)
}

// pushChain puts a chain of batches on a stack.
func (h *Heap) pushChain(stack int, first, last format.Addr) {
	if first == 0 {
		return
	}
	invariant.Point("batch.built")
	h.live.PushStack(stack, h.epoch, uint64(first)-h.base, func(next uint64) {
		if next != 0 {
			next += h.base
		}
		(*format.Batch)(at(uintptr(last) + h.delta + format.HeaderSize)).Next = next
		hd := h.writable(last)
		hd.Sum = h.sum(last, hd)
	})
	invariant.Point("batch.pushed")
}

func (h *Heap) fillBatch(a, next format.Addr, items []format.BatchItem) {
	size := format.BatchHeadSize + len(items)*format.BatchItemSize
	hd := h.writable(a)
	hd.Size = uint32(size)
	hd.Meta = format.MakeMeta(0, format.KindBatch, format.ClassFor(carrierBytes))
	p := (*format.Batch)(at(uintptr(a) + h.delta + format.HeaderSize))
	p.Next, p.Count = uint64(next), uint64(len(items))
	copy(unsafe.Slice((*format.BatchItem)(at(uintptr(a)+h.delta+format.HeaderSize+format.BatchHeadSize)), len(items)), items)
	hd.Sum = h.sum(a, hd)
}

// Adopt takes over some pending blocks that other processes passed on, so that they do not
// wait in a stack for ever: it takes more batches than a short-lived process adds. The
// caller has entered the heap.
func (h *Heap) Adopt() {
	for range adoptBatches {
		if !h.adopt(format.StackPending) {
			return
		}
	}
}

// adopt takes the first batch of a stack and puts the rest back. It reports whether it got
// anything.
func (h *Heap) adopt(stack int) bool {
	offset, ok := h.live.TakeStack(stack, h.epoch)
	if !ok || offset == 0 {
		return false
	}
	invariant.Point("batch.taken")
	next, ok := h.unpack(stack, format.Addr(h.base+offset))
	if next == 0 || h.live.RestoreStack(stack, h.epoch, uint64(next)-h.base) {
		return ok
	}
	if last := h.lastBatch(next); last != 0 { // another process has pushed a chain meanwhile
		h.pushChain(stack, next, last)
	}
	return ok
}

// adoptAll takes all batches of a stack.
func (h *Heap) adoptAll(stack int) {
	offset, ok := h.live.TakeStack(stack, h.epoch)
	if !ok || offset == 0 {
		return
	}
	invariant.Point("batch.taken")
	for a := format.Addr(h.base + offset); a != 0; {
		a, _ = h.unpack(stack, a)
	}
}

// unpack accepts the items of a batch, and its block, and returns the next batch. It does
// not accept a damaged batch, or one that it has already unpacked because the chain is a
// ring: the contents of such a batch leak until a sweep.
func (h *Heap) unpack(stack int, a format.Addr) (next format.Addr, ok bool) {
	items, next, ok := h.readBatch(a)
	class := format.ClassFor(carrierBytes)
	if !ok {
		if invariant.Enabled {
			h.ledger.Misfit(a, class.BlockSize(), "what lies in a stack is a batch")
		}
		return 0, false
	}
	if invariant.Enabled {
		h.ledger.Unpacked(a)
	}
	h.writable(a).Meta = format.MakeMeta(0, format.KindNone, class)
	for _, item := range items {
		h.accept(stack, item)
	}
	h.put(a, class.BlockSize(), false)
	return next, true
}

// readBatch verifies a batch and returns a copy of its items.
func (h *Heap) readBatch(a format.Addr) (items []format.BatchItem, next format.Addr, ok bool) {
	r := h.Reader(true)
	if r.Verify(a, format.KindBatch) != nil || h.header(a).Class() != format.ClassFor(carrierBytes) {
		return nil, 0, false
	}
	size := int(h.header(a).Size)
	p := (*format.Batch)(at(uintptr(a) + format.HeaderSize))
	if size < format.BatchHeadSize || p.Count != uint64(size-format.BatchHeadSize)/format.BatchItemSize {
		return nil, 0, false
	}
	list := unsafe.Slice((*format.BatchItem)(at(uintptr(a)+format.HeaderSize+format.BatchHeadSize)), p.Count)
	return append(items, list...), format.Addr(p.Next), true
}

// lastBatch finds the end of a chain; 0 if it is damaged.
func (h *Heap) lastBatch(a format.Addr) format.Addr {
	for range maxChain {
		_, next, ok := h.readBatch(a)
		if !ok {
			return 0
		}
		if next == 0 {
			return a
		}
		a = next
	}
	return 0
}

// accept puts an item of a batch into the lists, if the item is possible.
func (h *Heap) accept(stack int, item format.BatchItem) {
	a := format.Addr(item.Addr)
	off := item.Addr - h.base
	if off < h.first || off >= h.live.Words().Carved.Load() || off&15 != 0 {
		if invariant.Enabled {
			h.ledger.Refused(stack, item)
		}
		return
	}
	extent := h.extentOf(a)
	class := h.extentClass(extent)
	switch {
	case stack == format.StackExtents:
		if off%format.ExtentSize == 0 && item.Birth <= (h.live.Words().Carved.Load()-off)>>format.ExtentShift && item.Birth > 0 {
			if invariant.Enabled {
				h.ledger.AcceptedExtents(extent, item.Birth)
			}
			h.putFree(extent, item.Birth)
			return
		}
	case stack == format.StackPending:
		hd := h.header(a)
		if size := blockSize(hd); h.sound(a) && hd.Birth() == format.Version(item.Birth) {
			if invariant.Enabled {
				h.ledger.AcceptedWaiting(a, size)
			}
			f := freed{a, format.Version(item.Birth), format.Version(item.Freed), size}
			if logged(hd.Kind()) {
				h.logged = append(h.logged, f)
			} else {
				h.pending = append(h.pending, f)
			}
			h.waiting += size
			return
		}
	case class == format.Class(stack) && class.Begins(off%format.ExtentSize):
		if invariant.Enabled {
			h.ledger.AcceptedBlock(a, class.BlockSize())
		}
		h.addCold(class, a)
		return
	}
	if invariant.Enabled {
		h.ledger.Refused(stack, item)
	}
}
