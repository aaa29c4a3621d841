package heap_test

import (
	"testing"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// During a sweep, processes use the extents in the stack, and the sweep does not return
// these extents a second time.
func TestSweep_SparesTheStackOfExtents(t *testing.T) {
	for _, c := range []struct {
		name     string
		giveBack func(h *heap.Heap)
		size     format.ByteCount // of the blocks that are written meanwhile
		n        int
	}{
		{"runs", func(h *heap.Heap) { h.GiveBack(true) }, 128<<10 - format.HeaderSize, 100},
		{"extents full of batches become such of other blocks", func(h *heap.Heap) { h.PushEach() }, 2000, 12_500},
	} {
		t.Run(c.name, func(t *testing.T) { sweepDuring(t, c.giveBack, c.size, c.n) })
	}
}

// sweepDuring frees 200 blocks of two extents, gives the extents back, sweeps, and
// writes n blocks of a size before the sweep decides what is free.
func sweepDuring(t *testing.T, giveBack func(h *heap.Heap), size format.ByteCount, n int) {
	space := heaptest.Open(t, 256<<20)
	const large = 128<<10 - format.HeaderSize
	write := func(n int, size format.ByteCount, stamp uint64) (blocks []block) {
		err := space.Update(t, func(txn *heap.Txn) error {
			for range n {
				blocks = append(blocks, fill(t, txn, size, stamp))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return blocks
	}
	old := write(200, large, 1)
	if err := space.Update(t, func(txn *heap.Txn) error {
		for _, b := range old {
			txn.Free(b.addr)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	write(1, large, 2) // now the version with the blocks is no longer current
	space.Heap.Enter()
	space.Heap.Reclaim()
	giveBack(space.Heap)

	nobody := func() bool { return false }
	epoch, floor, spared, ok := space.Heap.BeginSweep(nobody)
	if !ok {
		t.Fatal("the sweep did not begin")
	}
	space.Heap.Leave()
	hold := space.Live.HoldCurrent()
	defer space.Live.Release(&hold)
	marks := space.Heap.NewMarks(floor)
	r := space.Heap.Reader(true)
	if err := check.Mark(&r, hold.State, marks); err != nil {
		t.Fatal(err)
	}
	carved := space.Live.Words().Carved.Load()
	during := write(n, size, 3)
	if now := space.Live.Words().Carved.Load(); now > carved+4<<20 {
		t.Errorf("the space grew by %d bytes during the sweep, with %d free", now-carved, 200*large)
	}
	marks.Spare(spared)
	unmarked := marks.Unmarked()
	space.Heap.Enter()
	if !space.Heap.Take(unmarked, epoch) {
		t.Fatal("another sweep began")
	}
	space.Heap.Leave()
	after := append(write(300, large, 4), write(n, size, 5)...)
	for _, b := range append(during, after...) {
		intact(t, space, b)
	}
}
