package heap_test

import (
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// A commit settles a part of what a scan was about. Who holds the newest version after the
// scan sees all of it until he lets go, whatever is settled meanwhile; and in the end all is
// free.
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
	written := func() { // what the journal waits for it has
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
	turn(600, 1) // and another scan, whose rest is passed on
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
