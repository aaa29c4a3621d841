package upkeep

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// A Picture shows people what lies in the extents of a space: the blocks that the newest version
// reaches, and those that only other versions reach. It is a set for a series of walks (check.Set):
// a block counts for the first walk that reaches it. A block that no walk reaches is free, waits
// for something, or is in the lists of a process.
type Picture struct {
	heap    *heap.Heap
	marks   *heap.Marks
	walk    uint16
	First   uint64         // number of the first extent of blocks, where the slices begin
	Classes []format.Class // class of each extent
	Newest  []uint32       // in each extent, bytes of blocks that the first walk reached
	Held    []uint32       // in each extent, bytes of blocks that only other walks reached
	Holder  []uint16       // number of the walk that reached the first of those; 0: none
	Bytes   []uint64       // bytes that each walk reached
}

// NewPicture returns an empty picture of the extents in use now.
func NewPicture(h *heap.Heap) *Picture {
	p := &Picture{heap: h, Bytes: []uint64{0}}
	p.First, p.Classes = h.Classes()
	n := len(p.Classes)
	p.marks = h.NewMarks((p.First + uint64(n)) << format.ExtentShift)
	p.Newest, p.Held, p.Holder = make([]uint32, n), make([]uint32, n), make([]uint16, n)
	return p
}

// Next begins the next walk.
func (p *Picture) Next() {
	p.walk++
	p.Bytes = append(p.Bytes, 0)
}

// Trial returns a copy for a walk that may fail.
func (p *Picture) Trial() *Picture {
	trial := *p
	trial.marks = p.marks.Clone()
	trial.Newest, trial.Held = append([]uint32(nil), p.Newest...), append([]uint32(nil), p.Held...)
	trial.Holder, trial.Bytes = append([]uint16(nil), p.Holder...), append([]uint64(nil), p.Bytes...)
	return &trial
}

// Add implements check.Set.
func (p *Picture) Add(a format.Addr) bool {
	extent := p.heap.ExtentOf(a)
	if extent < p.First || extent-p.First >= uint64(len(p.Classes)) {
		return true // the block was written after the picture was begun
	}
	if marks := p.marks; !marks.Add(a) {
		return false
	}
	for left := uint64(p.heap.BlockBytes(a)); left > 0 && extent-p.First < uint64(len(p.Classes)); extent++ {
		n := min(left, format.ExtentSize)
		p.count(int(extent-p.First), uint32(n))
		left -= n
	}
	return true
}

// count notes bytes of a block in an extent.
func (p *Picture) count(i int, n uint32) {
	p.Bytes[p.walk] += uint64(n)
	if p.walk == 0 {
		p.Newest[i] += n
		return
	}
	p.Held[i] += n
	if p.Holder[i] == 0 {
		p.Holder[i] = p.walk
	}
}
