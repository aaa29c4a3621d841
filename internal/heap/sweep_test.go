package heap_test

import (
	"testing"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// While a sweep goes on, what lies in the stack of extents is used; and the sweep
// does not give it out a second time.
func TestSweep_SparesTheStackOfExtents(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	const size = 128<<10 - format.HeaderSize
	write := func(n int, stamp uint64) (blocks []block) {
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
	old := write(200, 1)
	if err := space.Update(t, func(txn *heap.Txn) error {
		for _, b := range old {
			txn.Free(b.addr)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	write(1, 2) // now the version that had the blocks is not current any more
	space.Heap.Enter()
	space.Heap.Reclaim()
	space.Heap.GiveBack(true)

	nobody := func() bool { return false }
	epoch, floor, spared, ok := space.Heap.BeginSweep(nobody)
	if !ok {
		t.Fatal("the sweep did not begin")
	}
	space.Heap.Leave()
	hold := space.Live.HoldCurrent()
	defer space.Live.Release(hold)
	marks := space.Heap.NewMarks(floor)
	r := space.Heap.Reader(true)
	if err := check.Mark(&r, hold.State, marks); err != nil {
		t.Fatal(err)
	}
	carved := space.Live.Words().Carved.Load()
	during := write(100, 3)
	if now := space.Live.Words().Carved.Load(); now > carved+4<<20 {
		t.Errorf("the space grew by %d bytes during the sweep, with %d free", now-carved, 200*size)
	}
	marks.Spare(spared)
	unmarked := marks.Unmarked()
	space.Heap.Enter()
	if !space.Heap.Take(unmarked, epoch) {
		t.Fatal("another sweep began")
	}
	space.Heap.Leave()
	after := write(300, 4)
	for _, b := range append(during, after...) {
		intact(t, space, b)
	}
}
