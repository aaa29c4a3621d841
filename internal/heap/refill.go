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
	populateBlocks = 8        // a group with that many free blocks is worth populating its extent
	sprawlBytes    = 8 << 20  // a space that small may take more than it holds
	fewReclaims    = 2        // before it grows: what a version had held may be a hundred thousand blocks of other classes, and who commits waits
	mostLooks      = 32       // at the stack of extents, before such a space grows
	sweepInCase    = 2        // the wish for a sweep that may come to nothing: see format.Live.SweepWish
	minGrowth      = 1 << 20  // by which the file grows at least
	maxGrowth      = 64 << 20 // and at most, if no more is asked for
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
	if n > 0 { // the next one is needed soon
		next := uintptr(l.hot[n-1]) + h.delta
		prefetch.Line(next)
		prefetch.Line(next + 64)
	}
	return a, nil
}

// refill finds free blocks of class c, cheapest first: groups worth populating;
// what others gave back; a fresh extent, as long as little free space lies
// about, here and in the whole space; lone blocks; what can be reclaimed in a short time;
// growth; and what can be reclaimed at all.
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

// catchUp gathers what others have pending and what lies in lists, and reclaims what waits
// for the journal and for newer anchors. It does so even if this process has nothing
// pending: a sweep may have made it forget that, and have left it because of an old anchor;
// the next sweep finds it.
func (h *Heap) catchUp() {
	h.adoptAll(format.StackPending)
	if h.onLowSpace != nil {
		h.onLowSpace()
	}
	h.Gather()
}

// sprawls reports whether the space takes much more than it holds: then lone blocks are
// used first, including those that others gave back. Otherwise many processes that each
// write a little would each leave extents of lone blocks.
//
// The state may be reclaimed while it is read: any answer will do.
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
	for i := n; i > 0; i-- { // the lowest address is the first to be used
		list = append(list, format.Addr(start+(i-1)*size))
	}
	return list
}

// takeExtents takes n free extents in a row, if the reserve is full (RV2).
func (h *Heap) takeExtents(n uint64) (uint64, error) {
	if err := h.fillReserve(false); err != nil {
		return 0, err
	}
	return h.takeFree(n)
}

// takeFree takes n free extents in a row: the process's own, then those given back, then
// holes, then space that nobody ever had. If there is much free space, it looks at the
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

// reserve moves the mark of reserved space up by n extents, growing the file if
// need be. A process that dies after the swap leaks them until a sweep.
func (h *Heap) reserve(n uint64) (uint64, error) {
	w := h.live.Words()
	for {
		carved, end := w.Carved.Load(), w.End.Load()
		if limit := h.limit(); carved+n<<format.ExtentShift > limit {
			w.SweepWish.CompareAndSwap(0, sweepInCase) // perhaps the dead, or a sweep that saw an old version, left something
			return 0, fmt.Errorf("%w (%d bytes)", ErrFull, limit)
		}
		if carved+n<<format.ExtentShift > end {
			if err := h.grow(carved + n<<format.ExtentShift); err != nil {
				return 0, err
			}
			continue
		}
		if w.Carved.CompareAndSwap(carved, carved+n<<format.ExtentShift) {
			h.live.Assure() // nobody else has them (L16)
			invariant.Point("grow.carved")
			if invariant.Enabled {
				h.ledger.ReservedAnew(carved>>format.ExtentShift, n)
			}
			h.wantGrowth(carved+n<<format.ExtentShift, end)
			return carved >> format.ExtentShift, h.fillHoles(carved>>format.ExtentShift, n)
		}
	}
}

// limit returns the offset up to which the heap may grow. What a recovery replays had
// its place before, so the window alone bounds it.
func (h *Heap) limit() uint64 {
	w := h.live.Words()
	if w.Recovering.Load() != 0 {
		return h.window
	}
	return min(w.Limit.Load(), h.window)
}

// grow allocates the file, and the part of the extent table that goes with it,
// up to at least the offset, and then publishes the new end. Two processes may do
// it at once: allocating twice changes nothing, and the end only rises. Nothing
// above the published end is ever touched, so a full disk is an error here and
// never a fault later.
func (h *Heap) grow(need uint64) error {
	w := h.live.Words()
	end := w.End.Load()
	if size, err := h.region.Length(); err != nil || size < end { // grown again, it would read as zeros what was there
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
		if errors.Is(err, mapping.ErrIO) { // the file system has failed: nothing is to be written any more
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

// growth returns by how much a file of so many bytes grows at once.
func (h *Heap) growth(end uint64) uint64 {
	if h.sprawls() { // there is free space, only not at hand at this moment
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
// reserves space calls it first: otherwise it would make a file that was cut longer again,
// with zeros where blocks were, and nobody would see the cut.
func (h *Heap) uncut() error {
	carved := h.live.Words().Carved.Load() // before the length: both rise
	length, err := h.region.Length()
	if err == nil && length < carved {
		err = &format.DamageError{File: "heap", Offset: int64(length),
			What: fmt.Sprintf("the file was truncated while the space is open: %d bytes of it were in use", carved)}
	}
	return err
}

// populate makes the pages of extents writable at once, unless that was done
// since the newest anchor, which is what makes pages clean again.
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

// takeRun returns a block that fills whole extents.
func (h *Heap) takeRun(size format.ByteCount) (format.Addr, error) {
	n := uint64(format.RunExtents(size))
	extent, err := h.takeExtents(n)
	if err != nil { // the window or the disk is full: what others wait with counts, too
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

// makeRun makes n extents in a row one block.
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

// put returns a block that nobody can see to the lists. hot says that its page is dirty.
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

// populateBlocksOf makes the pages of some free blocks of an extent writable, if
// they are not: a call for each page costs a tenth of the fault that it saves.
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
