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

// A large file grows before its end is reached, so that few transactions wait for that.
func TestPopulateAhead_Grows(t *testing.T) {
	space := heaptest.Open(t, 1<<30)
	w := space.Live.Words()
	waited, grown := 0, 0
	for range 8000 {
		before := w.End.Load()
		if err := space.Update(t, func(txn *heap.Txn) error { fill(t, txn, 30_000, 1); return nil }); err != nil {
			t.Fatal(err)
		}
		if before >= 64<<20 && w.End.Load() != before {
			waited++
		}
		select {
		case <-space.Heap.Ahead():
			between := w.End.Load()
			space.Heap.PopulateAhead()
			if w.End.Load() != between {
				grown++
			}
		default:
		}
	}
	if waited > 3 || grown < 4 {
		t.Errorf("the file grew %d times ahead, and %d times when it had to", grown, waited)
	}
}
