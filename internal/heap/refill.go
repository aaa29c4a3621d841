package heap

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/prefetch"
)

const (
	populateBlocks = 8        // a group with this many free blocks makes it worth populating the extent
	sprawlBytes    = 8 << 20  // a space up to this size may take much more than its blocks need
	fewReclaims    = 2        // how often refill reclaims before it grows: a version may have held a hundred thousand blocks of other classes, and a commit waits
	mostLooks      = 32       // how often takeFree looks at the stack of extents before such a space grows
	sweepInCase    = 2        // a wish for a sweep that may find nothing: see format.Live.SweepWish
	minGrowth      = 1 << 20  // the file grows by at least this many bytes
	maxGrowth      = 64 << 20 // and by at most this many, unless the caller needs more
)

// take returns a free block of class c.
func (h *Heap) take(c format.Class) (format.Addr, error) {
	l := &h.lists[c]
	if len(l.hot) == 0 {
		if err := h.refill(c); err != nil {
			return 0, err
		}
	}
	n := len(l.hot) - 1
	a := l.hot[n]
	l.hot = l.hot[:n]
	if invariant.Enabled {
		h.ledger.Took(a, c.BlockSize())
	}
	if n > 0 { // the next block will be needed soon
		next := uintptr(l.hot[n-1]) + h.delta
		prefetch.Line(next)
		prefetch.Line(next + 64)
	}
	return a, nil
}

// refill finds free blocks of class c, cheapest first: groups worth populating; blocks that
// other processes gave back; a fresh extent, as long as this process and the whole space
// have little unused free space; lone blocks; blocks that can be reclaimed in a short time;
// growth; and all blocks that can be reclaimed.
func (h *Heap) refill(c format.Class) error {
	l := &h.lists[c]
	sprawls := h.sprawls()
	if h.takeGroup(c, populateBlocks) || sprawls && h.takeGroup(c, 1) {
		return nil
	}
	if h.adopt(int(c)); len(l.hot) > 0 || h.takeGroup(c, populateBlocks) || sprawls && h.takeGroup(c, 1) {
		return nil
	}
	lavish := !sprawls && h.cold < format.ByteCount(h.live.Words().Carved.Load()-h.first)/4
	if sprawls {
		h.Adopt()
	}
	if lavish {
		if err := h.carve(c); !errors.Is(err, mapping.ErrNoSpace) && !errors.Is(err, ErrFull) {
			return err
		}
	}
	if h.takeGroup(c, 1) {
		return nil
	}
	for looks := 1; ; looks++ {
		h.Reclaim()
		if len(l.hot) > 0 || h.takeGroup(c, 1) {
			return nil
		}
		left := len(h.released.chunks) > 0
		if left && looks < fewReclaims {
			continue
		}
		if err := h.carve(c); !left || !errors.Is(err, mapping.ErrNoSpace) && !errors.Is(err, ErrFull) {
			return err
		}
	}
}

// catchUp gathers the pending blocks of other processes and those in lists, and reclaims
// blocks that wait for the journal and for newer anchors. It does so even if this process
// has no pending blocks: a sweep may have made it forget them, and may not have found them
// because of an old anchor. The next sweep finds them.
func (h *Heap) catchUp() {
	h.adoptAll(format.StackPending)
	if h.onLowSpace != nil {
		h.onLowSpace()
	}
	h.Gather()
}

// sprawls reports whether the space takes much more than its blocks need: then lone blocks
// are used first, including those that other processes gave back. Otherwise many processes
// that each write a little would each leave extents of lone blocks.
//
// Another process may reuse the state's block during the read: any result is acceptable.
func (h *Heap) sprawls() bool {
	w := h.live.Words()
	state := (*format.State)(at(uintptr(h.live.Current()) + format.HeaderSize))
	reserved := uint64(h.reserveExtents()) << format.ExtentShift
	return w.Carved.Load()-h.first > 2*uint64(state.BlockBytes)+sprawlBytes+reserved
}

// carve cuts a whole extent into blocks of class c.
func (h *Heap) carve(c format.Class) error {
	extent, err := h.takeExtents(1)
	if err != nil {
		return err
	}
	l := &h.lists[c]
	l.hot = h.cut(l.hot, extent, c)
	return nil
}

// cut cuts an extent into blocks of class c, and appends them to a list.
func (h *Heap) cut(list []format.Addr, extent uint64, c format.Class) []format.Addr {
	h.populate(extent, 1)
	h.lookAhead()
	h.setExtentClass(extent, c)
	if invariant.Enabled {
		h.ledger.CutUp(extent, c)
	}
	size := uint64(c.BlockSize())
	n := format.ExtentSize / size
	start := uint64(h.extentAddr(extent))
	for i := n; i > 0; i-- { // so that the lowest address is used first
		list = append(list, format.Addr(start+(i-1)*size))
	}
	return list
}

// takeExtents takes n consecutive free extents, if the reserve is full (RV2).
func (h *Heap) takeExtents(n uint64) (uint64, error) {
	if err := h.fillReserve(false); err != nil {
		return 0, err
	}
	return h.takeFree(n)
}

// takeFree takes n consecutive free extents: the process's own, then those given back, then
// holes, then space above the high-water mark. If there is much free space, it looks at the
// stack more than once.
func (h *Heap) takeFree(n uint64) (uint64, error) {
	if h.holesAreLower(n) {
		if extent, err := h.takeHoles(n); err == nil {
			return extent, nil
		}
	}
	if extent, ok := h.runs.take(n); ok {
		return extent, nil
	}
	for looks := 0; (looks == 0 || looks < mostLooks && h.sprawls()) && h.adopt(format.StackExtents); looks++ {
		if extent, ok := h.runs.take(n); ok {
			return extent, nil
		}
		if extent, err := h.takeHoles(n); err == nil {
			return extent, nil
		}
	}
	if extent, err := h.takeHoles(n); err == nil {
		return extent, nil
	}
	extent, err := h.reserve(n)
	if err != nil {
		return h.takeAny(n, err)
	}
	return extent, nil
}

// reserve raises the high-water mark by n extents, and grows the file if necessary. If the
// process dies after the swap, the extents leak until a sweep.
func (h *Heap) reserve(n uint64) (uint64, error) {
	w := h.live.Words()
	for {
		carved, end := w.Carved.Load(), w.End.Load()
		if limit := h.limit(); carved+n<<format.ExtentShift > limit {
			w.SweepWish.CompareAndSwap(0, sweepInCase) // a dead process, or a sweep that saw an old version, may have left free space
			return 0, fmt.Errorf("%w (%d bytes)", ErrFull, limit)
		}
		if carved+n<<format.ExtentShift > end {
			if err := h.grow(carved + n<<format.ExtentShift); err != nil {
				return 0, err
			}
			continue
		}
		if w.Carved.CompareAndSwap(carved, carved+n<<format.ExtentShift) {
			h.live.Assure() // no other process has them (L16)
			invariant.Point("grow.carved")
			if invariant.Enabled {
				h.ledger.ReservedAnew(carved>>format.ExtentShift, n)
			}
			h.wantGrowth(carved+n<<format.ExtentShift, end)
			return carved >> format.ExtentShift, h.fillHoles(carved>>format.ExtentShift, n)
		}
	}
}

// limit returns the offset up to which the heap may grow. A recovery may grow up to the end
// of the window, since the changes that it replays fitted before.
func (h *Heap) limit() uint64 {
	w := h.live.Words()
	if w.Recovering.Load() != 0 {
		return h.window
	}
	return min(w.Limit.Load(), h.window)
}

// grow allocates the file, and the part of the extent table that goes with it, up to at
// least the offset, and then publishes the new end. Two processes may do this at once:
// allocating twice changes nothing, and the end only rises. No process touches anything
// above the published end, so a full disk is an error here and never a fault later.
func (h *Heap) grow(need uint64) error {
	w := h.live.Words()
	end := w.End.Load()
	if size, err := h.region.Length(); err != nil || size < end { // if it grew again, blocks would read as zeros
		return errors.Join(err, &format.DamageError{File: "heap", Offset: int64(size), What: "the file was truncated while the space is open"})
	}
	step := h.growth(end)
	for _, target := range []uint64{max(need, end+step), need} {
		target = max(need, min((target+format.ExtentSize-1)&^(format.ExtentSize-1), h.limit()))
		err := h.allocate(end, target)
		if err == nil {
			invariant.Point("grow.allocated")
			for old := w.End.Load(); old < target && !w.End.CompareAndSwap(old, target); old = w.End.Load() {
			}
			if invariant.Enabled {
				h.live.Record().Note(invariant.Grew, 0, 0, target)
			}
			return nil
		}
		if errors.Is(err, mapping.ErrIO) { // the file system has failed: no process may write from now on
			w.Failed.Store(1)
			return err
		}
		if target == need || !errors.Is(err, mapping.ErrNoSpace) {
			w.SweepWish.CompareAndSwap(0, sweepInCase)
			return err
		}
	}
	return mapping.ErrNoSpace
}

// growth returns by how many bytes a file of that size grows at once.
func (h *Heap) growth(end uint64) uint64 {
	if h.sprawls() { // there is free space, but this process cannot get it at this moment
		return minGrowth
	}
	return min(max(end/8, minGrowth), maxGrowth)
}

// allocate reserves the file's space for the extents from offset from to offset
// to, and for their bytes in the extent table.
func (h *Heap) allocate(from, to uint64) error {
	if err := h.uncut(); err != nil {
		return err
	}
	table := int64(format.TableOffset + from>>format.ExtentShift)
	if err := h.region.Allocate(table, int64((to-from)>>format.ExtentShift)); err != nil {
		return fmt.Errorf("growing the extent table: %w", err)
	}
	if err := h.region.Allocate(int64(from), int64(to-from)); err != nil {
		return fmt.Errorf("growing the heap to %d bytes: %w", to, err)
	}
	return nil
}

// uncut returns an error if the file is shorter than the part in use. A process that
// reserves space calls it first: otherwise it would extend a truncated file again, with
// zeros in place of blocks, and no process would notice the truncation.
func (h *Heap) uncut() error {
	carved := h.live.Words().Carved.Load() // before the length: both only grow, the length first
	length, err := h.region.Length()
	if err == nil && length < carved {
		err = &format.DamageError{File: "heap", Offset: int64(length),
			What: fmt.Sprintf("the file was truncated while the space is open: %d bytes of it were in use", carved)}
	}
	return err
}

// populate makes the pages of extents writable at once, unless that was done since the
// newest anchor: an anchor makes pages clean again.
func (h *Heap) populate(extent, n uint64) {
	for uint64(len(h.fresh)) < extent+n {
		h.fresh = append(h.fresh, make([]format.Version, extent+n-uint64(len(h.fresh)))...)
	}
	if n == 1 && h.isFresh(extent) {
		return
	}
	for i := range n {
		h.fresh[extent+i] = h.anchored + 1
	}
	if n == 1 && h.populated(extent) {
		return
	}
	h.ahead.waits++
	h.region.Populate(int64(extent<<format.ExtentShift), int64(n<<format.ExtentShift))
}

// takeRun returns a block that fills whole extents: a run.
func (h *Heap) takeRun(size format.ByteCount) (format.Addr, error) {
	n := uint64(format.RunExtents(size))
	extent, err := h.takeExtents(n)
	if err != nil { // the window or the disk is full: try the pending blocks of other processes, too
		h.adoptAll(format.StackPending)
		for again := true; again; again = len(h.released.chunks) > 0 {
			h.Reclaim()
		}
		h.adoptAll(format.StackExtents)
		if extent, err = h.takeExtents(n); err != nil {
			return 0, err
		}
	}
	return h.makeRun(extent, n), nil
}

// makeRun turns n consecutive extents into one block.
func (h *Heap) makeRun(extent, n uint64) format.Addr {
	h.populate(extent, n)
	if invariant.Enabled {
		h.ledger.TookRun(extent, n)
	}
	h.setExtentClass(extent, format.ClassRun)
	for i := uint64(1); i < n; i++ {
		h.setExtentClass(extent+i, format.ClassRunRest)
	}
	return h.extentAddr(extent)
}

// put puts a block that no version can see into the lists. hot says that its page is dirty.
func (h *Heap) put(a format.Addr, size format.ByteCount, hot bool) {
	if invariant.Enabled {
		h.ledger.Listed(a, size)
	}
	if size > format.MaxSmall {
		h.putRun(h.extentOf(a), uint64(size)>>format.ExtentShift)
		return
	}
	c := format.ClassFor(size - format.HeaderSize)
	if invariant.Enabled {
		h.live.Record().AssertAt(h.extentClass(h.extentOf(a)) == c, uint64(a), "a block's class is that of its extent")
		hd := h.writable(a)
		hd.Meta = format.MakeMeta(0, format.KindNone, c)
		invariant.Poison(h.payload(a, size-format.HeaderSize))
	}
	switch {
	case h.avoided != nil && h.avoided.Has(h.extentOf(a)):
	case h.reserved.owed > 0 && h.pay(a, c):
	case hot:
		h.lists[c].hot = append(h.lists[c].hot, a)
	default:
		h.addCold(c, a)
	}
}

// populateBlocksOf makes the pages of some free blocks of an extent writable: a call for
// each page costs a tenth of the fault that it saves.
func (h *Heap) populateBlocksOf(extent uint64, group []format.Addr) {
	if h.isFresh(extent) {
		return
	}
	const page = format.PageSize
	size := uint64(h.extentClass(extent).BlockSize())
	last := uint64(0) // offset of the end of what was populated
	for _, a := range group {
		from := (uint64(a) - h.base) &^ (page - 1)
		to := (uint64(a) - h.base + size + page - 1) &^ (page - 1)
		if from < last && to <= last {
			continue
		}
		h.region.Populate(int64(from), int64(to-from))
		last = to
	}
}

// putRun returns extents to the lists.
func (h *Heap) putRun(extent, n uint64) {
	for i := range n {
		h.setExtentClass(extent+i, format.ClassFree)
	}
	h.runs.add(extent, n)
}
