package heap

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Marks is the set of blocks that a walk has reached, one bit for every 16 bytes.
type Marks struct {
	heap    *Heap
	extents []*[format.ExtentSize / 16 / 64]uint64
	Blocks  int
	Bytes   format.ByteCount
}

// NewMarks returns an empty set for the blocks below the offset.
func (h *Heap) NewMarks(below uint64) *Marks {
	return &Marks{heap: h, extents: make([]*[format.ExtentSize / 16 / 64]uint64, below>>format.ExtentShift)}
}

// Add adds the block at a, which is valid, and reports whether it was not in the
// set. A block at or above the limit of the set is none of its business.
func (m *Marks) Add(a format.Addr) bool {
	extent := m.heap.extentOf(a)
	if extent >= uint64(len(m.extents)) {
		return true
	}
	if m.extents[extent] == nil {
		m.extents[extent] = new([format.ExtentSize / 16 / 64]uint64)
	}
	i := uint64(a) % format.ExtentSize / 16
	word, bit := &m.extents[extent][i/64], uint64(1)<<(i%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	m.Blocks++
	m.Bytes += blockSize(m.heap.header(a))
	return true
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

// Unmarked lists what is not in the set, below its limit. Extents in which
// nothing is marked are free as a whole.
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
		case m.extents[extent] == nil:
			free(extent, 1)
		case class == format.ClassRun:
			extent += uint64(blockSize(h.header(h.extentAddr(extent))))>>format.ExtentShift - 1
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

// Take puts what a sweep found into the lists of this process, unless another
// sweep began meanwhile, and reports whether it did. The heap is entered.
func (h *Heap) Take(u *Unmarked, epoch uint64) bool {
	if h.epoch != epoch || h.live.Words().Epoch.Load() != epoch {
		return false
	}
	for c, list := range u.blocks {
		for _, a := range list {
			h.put(a, format.Class(c).BlockSize(), false)
		}
	}
	for _, r := range u.extents {
		h.putRun(r.extent, r.n)
	}
	invariant.Point("sweep.pushed")
	return true
}

// BeginSweep raises the epoch and empties the stacks; it returns the new epoch
// and the offset below which the sweep decides. ok is false if a process that is
// alive uses its lists at this moment: the sweep must not go on (I7). The caller
// holds the writer lock.
//
// The floor is stored before the epoch is raised, so that whoever sees the epoch
// sees a floor that is at least this sweep's; both only rise.
func (h *Heap) BeginSweep(othersActive func() bool) (epoch, floor uint64, ok bool) {
	w := h.live.Words()
	if othersActive() {
		return 0, 0, false
	}
	floor = w.Carved.Load()
	for old := w.SweepFloor.Load(); old < floor && !w.SweepFloor.CompareAndSwap(old, floor); old = w.SweepFloor.Load() {
	}
	epoch = w.Epoch.Add(1)
	invariant.Point("sweep.epoch")
	for i := range format.NumStacks {
		h.live.EmptyStack(i, epoch)
	}
	invariant.Point("sweep.emptied")
	if othersActive() {
		return 0, 0, false
	}
	h.Enter() // forgets its own
	return epoch, floor, h.epoch == epoch
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
