package heap_test

import (
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// A commit settles a part of the blocks of a scan. A reader that holds the newest version
// after the scan sees all its blocks until it releases the version, whatever is settled
// meanwhile. At the end all blocks are free.
func TestReclaim_InSteps(t *testing.T) { // I2
	space := heaptest.Open(t, 256<<20)
	r := rand.New(rand.NewPCG(6, 6))
	const size = 240
	var blocks []block
	stamp := uint64(0)
	turn := func(free, write int) {
		t.Helper()
		if err := space.Update(t, func(txn *heap.Txn) error {
			for range free {
				i := r.IntN(len(blocks))
				txn.Free(blocks[i].addr)
				blocks = append(blocks[:i], blocks[i+1:]...)
			}
			for range write {
				stamp++
				blocks = append(blocks, fill(t, txn, size, stamp))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	written := func() { // as if the journal had all versions
		space.Live.RaiseWritten(format.Version(space.Heap.VersionOf(space.Live.Current())))
	}
	turn(0, 2000)
	written()
	turn(1400, 0) // a scan
	before := space.Heap.Ripe()
	if before == 0 {
		t.Fatal("all was settled at once")
	}
	hold := space.Live.HoldCurrent()
	seen := append([]block(nil), blocks...)
	for turns := 0; space.Heap.Ripe() > 0; turns++ {
		if turns > before {
			t.Fatalf("%d of %d blocks are not settled after %d commits", space.Heap.Ripe(), before, turns)
		}
		turn(5, 5)
		written()
		for _, b := range seen {
			intact(t, space, b)
		}
	}
	space.Live.Release(&hold)

	turn(len(blocks)-1, 600)
	written()
	turn(600, 1) // another scan, whose rest is passed on
	if space.Heap.Ripe() == 0 {
		t.Fatal("all was settled at once")
	}
	before2 := space.Heap.Stats()
	space.Heap.Enter()
	space.Heap.GiveBack(true)
	if n := space.Heap.Ripe(); n != 0 {
		t.Errorf("%d blocks were kept", n)
	}
	space.Heap.Gather()
	space.Heap.Leave()
	after := space.Heap.Stats()
	if had, has := before2.Free+before2.Waiting, after.Free+after.Waiting; has < had {
		t.Errorf("%d bytes were free or waited, and %d are after they were passed on", had, has)
	}
	for _, b := range blocks {
		intact(t, space, b)
	}
}

// A transaction that needs a block of a rare size does not wait until all blocks are settled
// that a version had held: if a part of them has no block of that size, the space grows. In
// a full space the transaction settles all of them.
func TestReclaim_RareSize(t *testing.T) { // I2
	for _, full := range []bool{false, true} {
		space := heaptest.Open(t, 64<<20)
		update := func(fn func(txn *heap.Txn) error) {
			t.Helper()
			if err := space.Update(t, fn); err != nil {
				t.Fatal(err)
			}
		}
		const half = 60_000
		var blocks []block
		var rare block
		update(func(txn *heap.Txn) error {
			for i := range 2 * half {
				blocks = append(blocks, fill(t, txn, 100, uint64(i)))
			}
			rare = fill(t, txn, 20_000, 1)
			return nil
		})
		drop := func(list []block) {
			update(func(txn *heap.Txn) error {
				for _, b := range list {
					txn.Free(b.addr)
				}
				return nil
			})
			update(func(*heap.Txn) error { return nil })
			space.Heap.Enter()
			space.Heap.Reclaim()
			space.Heap.Leave()
		}
		drop(blocks[:half]) // so that there is much free space
		hold := space.Live.HoldCurrent()
		drop(append([]block{rare}, blocks[half:]...))
		space.Live.Release(&hold)
		if full {
			w := space.Live.Words()
			w.Limit.Store(w.Carved.Load())
		}
		update(func(txn *heap.Txn) error {
			if !full {
				fill(t, txn, 15_000, 2)
			}
			if left := space.Heap.Released(); !full && left < half/2 {
				t.Errorf("all but %d of %d blocks were settled before the space grew", left, half)
			}
			fill(t, txn, 20_000, 3) // the only free block of that size was held first, and is settled last
			return nil
		})
		if left := space.Heap.Released(); full && left > 0 {
			t.Errorf("%d blocks are not settled in a full space", left)
		}
	}
}
