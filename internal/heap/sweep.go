package heap

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Marks is the set of blocks that a walk has reached, one bit for every 16 bytes.
type Marks struct {
	heap    *Heap
	extents []*[format.ExtentSize / 16 / 64]uint64
	spared  *Spared
	Blocks  int
	Bytes   format.ByteCount
	Seen    func(bytes uint64) (sum uint64) // called with the bytes of each block, to show progress; it may be nil

	withheld *ExtentSet // nil: none
}

// NewMarks returns an empty set for the blocks below the offset.
func (h *Heap) NewMarks(below uint64) *Marks {
	return &Marks{heap: h, extents: make([]*[format.ExtentSize / 16 / 64]uint64, below>>format.ExtentShift)}
}

// Add adds the block at a, which is valid, and reports whether it was not in the set. It
// ignores a block at or above the limit of the set.
func (m *Marks) Add(a format.Addr) bool {
	if m.heap.extentOf(a) >= uint64(len(m.extents)) {
		return true
	}
	if !m.set(a) {
		return false
	}
	size := blockSize(m.heap.header(a))
	m.Blocks++
	m.Bytes += size
	if m.Seen != nil {
		m.Seen(uint64(size))
	}
	return true
}

// Has reports whether the block at a is in the set.
func (m *Marks) Has(a format.Addr) bool {
	extent := m.heap.extentOf(a)
	return extent < uint64(len(m.extents)) && m.has(extent, uint64(a)%format.ExtentSize)
}

// set sets the bit of a block below the limit, and reports whether it was not set.
func (m *Marks) set(a format.Addr) bool {
	extent := m.heap.extentOf(a)
	if m.extents[extent] == nil {
		m.extents[extent] = new([format.ExtentSize / 16 / 64]uint64)
	}
	i := uint64(a) % format.ExtentSize / 16
	word, bit := &m.extents[extent][i/64], uint64(1)<<(i%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// Spare excludes space that is free already from the result of Unmarked.
func (m *Marks) Spare(s *Spared) {
	m.spared = s
	for _, a := range s.batches {
		if m.heap.extentOf(a) < uint64(len(m.extents)) {
			m.set(a)
		}
	}
}

// has reports whether the block at an offset of an extent is in the set.
func (m *Marks) has(extent, offset uint64) bool {
	e := m.extents[extent]
	return e != nil && e[offset/16/64]&(1<<(offset/16%64)) != 0
}

// Unmarked is the free space that a sweep found.
type Unmarked struct {
	blocks  [format.NumClasses][]format.Addr
	extents []run
	Bytes   format.ByteCount
}

// Unmarked lists the space below the limit that is not in the set. Extents without a marked
// block are free as a whole.
func (m *Marks) Unmarked() *Unmarked {
	h, u := m.heap, new(Unmarked)
	free := func(extent, n uint64) {
		u.Bytes += format.ByteCount(n) << format.ExtentShift
		if last := len(u.extents) - 1; last >= 0 && u.extents[last].extent+u.extents[last].n == extent {
			u.extents[last].n += n
			return
		}
		u.extents = append(u.extents, run{extent, n})
	}
	for extent := h.first >> format.ExtentShift; extent < uint64(len(m.extents)); extent++ {
		class := h.extentClass(extent)
		size := uint64(class.BlockSize())
		switch {
		case m.extents[extent] != nil && class == format.ClassRun:
			extent += uint64(blockSize(h.header(h.extentAddr(extent))))>>format.ExtentShift - 1
		case m.spared != nil && m.spared.has(extent): // the process that took it meanwhile owns it
		case m.withheld != nil && m.withheld.Has(extent):
		case m.extents[extent] == nil:
			free(extent, 1)
		case size > 0:
			for off := uint64(0); off+size <= format.ExtentSize; off += size {
				if !m.has(extent, off) {
					u.blocks[class] = append(u.blocks[class], h.extentAddr(extent)+format.Addr(off))
					u.Bytes += format.ByteCount(size)
				}
			}
		}
	}
	return u
}

// Take puts the space that a sweep has found into the lists of this process, unless another
// sweep began meanwhile, and reports whether it did. The caller has entered the heap.
func (h *Heap) Take(u *Unmarked, epoch uint64) bool {
	if h.epoch != epoch || h.live.Words().Epoch.Load() != epoch {
		return false
	}
	h.live.Assure() // the words that the sweep relied on were true (L16)
	for c, list := range u.blocks {
		for _, a := range list {
			if invariant.Enabled {
				h.ledger.Swept(a, format.Class(c).BlockSize())
			}
			h.put(a, format.Class(c).BlockSize(), false)
		}
	}
	for _, r := range u.extents {
		if invariant.Enabled {
			h.ledger.SweptExtents(r.extent, r.n)
		}
		h.putFree(r.extent, r.n)
	}
	invariant.Point("sweep.pushed")
	return true
}

// Spared is the space in the stack of extents when a sweep begins. It is known to be free,
// so the sweep spares it: during the sweep, processes that need space take it from there.
// Otherwise the space would grow by everything that is written during a sweep.
//
// The sweep spares the blocks of the batches as well. It spares an extent full of batches as
// a whole: a process that takes them all may cut it into blocks of another class. Any other
// extent with batches has a block that no process can get before the sweep ends: so its
// class stays, and Unmarked may rely on it.
type Spared struct {
	extents []uint64 // one bit for each extent
	batches []format.Addr
}

// has reports whether the extent is among them.
func (s *Spared) has(extent uint64) bool {
	return extent/64 < uint64(len(s.extents)) && s.extents[extent/64]&(1<<(extent%64)) != 0
}

// spare reads the chain of batches of extents from the offset on, which the caller has
// taken, up to the first damaged batch.
func (h *Heap) spare(offset uint64) *Spared {
	s := &Spared{extents: make([]uint64, h.live.Carved()>>format.ExtentShift/64+1)}
	if offset == 0 {
		return s
	}
	in := map[uint64]int{} // by extent: how many batches it has
	for a := format.Addr(h.base + offset); a != 0; {
		items, next, ok := h.readBatch(a)
		if !ok || !s.add(h, items) {
			break
		}
		if invariant.Enabled {
			h.ledger.SparedBatch(a, items)
		}
		s.batches = append(s.batches, a)
		in[h.extentOf(a)]++
		a = next
	}
	whole := int(format.ExtentSize / format.ClassFor(carrierBytes).BlockSize())
	for extent, n := range in {
		if n == whole {
			s.extents[extent/64] |= 1 << (extent % 64)
		}
	}
	return s
}

// add adds the extents of a batch. If one of them cannot be free, or was added already
// because the chain is a ring, add reports false: the extents added before that wait for the
// next sweep.
func (s *Spared) add(h *Heap, items []format.BatchItem) bool {
	first, end := h.first>>format.ExtentShift, min(h.live.Words().Carved.Load()>>format.ExtentShift, uint64(len(s.extents))*64)
	for _, item := range items {
		extent := (item.Addr - h.base) >> format.ExtentShift
		if item.Addr%format.ExtentSize != 0 || extent < first || extent >= end || item.Birth > end-extent {
			return false
		}
		for n := extent + item.Birth; extent < n; extent++ {
			if class := h.extentClass(extent); s.has(extent) || class != format.ClassFree && class != format.ClassHole {
				return false
			}
			s.extents[extent/64] |= 1 << (extent % 64)
		}
	}
	return true
}

// BeginSweep raises the epoch and empties the stacks, except for the space that it spares.
// It returns the new epoch and the offset below which the sweep decides. ok is false if a
// living process uses its lists at this moment, or has taken an extent out of the reserve
// (RV1): then the sweep must not continue (I7). The caller holds the writer lock.
//
// It stores the floor before it raises the epoch, so that a process that sees the epoch
// sees a floor that is at least this sweep's; both only rise.
//
// The sweep takes the spared space off the stack before it raises the epoch, so that no
// other process owns it, and puts it back when no process can be using lists of the old
// epoch. A process that takes it from then on knows the new epoch, and keeps it until the
// next one.
func (h *Heap) BeginSweep(othersActive func() bool) (epoch, floor uint64, spared *Spared, ok bool) {
	w := h.live.Words()
	if othersActive() {
		return 0, 0, nil, false
	}
	taken := w.CellsTaken.Load()
	offset, _ := h.live.TakeStack(format.StackExtents, w.Epoch.Load())
	floor = w.Carved.Load()
	for old := w.SweepFloor.Load(); old < floor && !w.SweepFloor.CompareAndSwap(old, floor); old = w.SweepFloor.Load() {
	}
	epoch = w.Epoch.Add(1)
	if invariant.Enabled {
		h.live.Record().Note(invariant.Epoch, 0, epoch, floor)
	}
	invariant.Point("sweep.epoch")
	for i := range format.NumStacks {
		h.live.EmptyStack(i, epoch)
	}
	invariant.Point("sweep.emptied")
	if othersActive() {
		return 0, 0, nil, false
	}
	h.live.Assure() // no process uses its lists (L16)
	h.Enter()       // forgets this process's own lists
	if h.epoch != epoch {
		return 0, 0, nil, false
	}
	spared = h.spare(offset)
	spared.spareReserve(h)
	if w.CellsTaken.Load() != taken { // RV1: perhaps by a process that knows the new epoch
		return 0, 0, nil, false
	}
	if n := len(spared.batches); n > 0 {
		h.pushChain(format.StackExtents, spared.batches[0], spared.batches[n-1])
	}
	return epoch, floor, spared, true
}

// Clone returns a copy of the set that can grow on its own.
func (m *Marks) Clone() *Marks {
	c := *m
	c.extents = make([]*[format.ExtentSize / 16 / 64]uint64, len(m.extents))
	for i, e := range m.extents {
		if e != nil {
			copied := *e
			c.extents[i] = &copied
		}
	}
	return &c
}
