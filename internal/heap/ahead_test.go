package heap_test

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// Few transactions wait for the pages of an extent if another goroutine makes them present ahead.
func TestPopulateAhead_SparesTheWaiting(t *testing.T) {
	waits := func(ahead bool) int {
		space := heaptest.Open(t, 256<<20)
		for range 2000 {
			if err := space.Update(t, func(txn *heap.Txn) error {
				fill(t, txn, 8000, 1)
				for range 5 {
					fill(t, txn, 300, 1)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-space.Heap.Ahead():
				if ahead {
					space.Heap.PopulateAhead()
				}
			default:
			}
		}
		if carved := space.Live.Words().Carved.Load(); carved < 300*format.ExtentSize {
			t.Errorf("%d bytes are carved only", carved)
		}
		return space.Heap.Waits()
	}
	without, with := waits(false), waits(true)
	t.Logf("%d extents were waited for without that, and %d with it", without, with)
	if with > without/5 {
		t.Errorf("%d extents were waited for, of %d", with, without)
	}
}
