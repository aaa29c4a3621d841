package heap_test

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// The check finds a block that is in use and listed as free, in whatever list, and finds
// nothing else.
func TestFreeCheck_FindsWhatIsInUse(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	h := space.Heap
	var small, large, freed block
	err := space.Update(t, func(txn *heap.Txn) error {
		small, large, freed = fill(t, txn, 100, 1), fill(t, txn, 200_000, 1), fill(t, txn, 300, 1)
		return nil
	})
	if err == nil {
		err = space.Update(t, func(txn *heap.Txn) error { txn.Free(freed.addr); return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Enter()
	defer h.Leave()
	marks := h.NewMarks(space.Live.Words().Carved.Load())
	marks.Add(small.addr)
	marks.Add(large.addr)
	version := h.VersionOf(space.Live.Current())
	r := h.Reader(true)
	found := func() (list []format.Addr) {
		c := h.NewFreeCheck(marks, version, func(a format.Addr, _ string) { list = append(list, a) })
		c.Lists()
		c.Stacks(true)
		return list
	}
	if list := found(); len(list) > 0 {
		t.Fatalf("findings although nothing is wrong: %v", list)
	}
	h.Blind() // what follows is wrong on purpose
	class := format.ClassFor(100)
	birth := uint64(r.Birth(small.addr))
	for _, c := range []struct {
		name string
		do   func()
		want format.Addr // 0: nothing is to be found
	}{
		{"a block in the lists", func() { h.Put(small.addr, class.BlockSize()) }, small.addr},
		{"an extent in the lists", func() { h.PutExtents(large.addr+2*format.ExtentSize, 1) }, large.addr + 2*format.ExtentSize},
		{"a block in a batch", func() { h.Push(int(class), []format.BatchItem{{Addr: uint64(small.addr)}}) }, small.addr},
		{"an extent in a batch", func() {
			h.Push(format.StackExtents, []format.BatchItem{{Addr: uint64(large.addr) + 3*format.ExtentSize, Birth: 2}})
		}, large.addr + 3*format.ExtentSize},
		{"a block that was freed", func() {
			h.Push(format.StackPending, []format.BatchItem{{Addr: uint64(small.addr), Birth: birth, Freed: uint64(version)}})
		}, small.addr},
		{"a block that a later version frees", func() {
			h.Push(format.StackPending, []format.BatchItem{{Addr: uint64(small.addr), Birth: birth, Freed: uint64(version) + 1}})
		}, 0},
		{"nonsense", func() {
			h.Push(int(class), []format.BatchItem{{Addr: 0}, {Addr: 1<<64 - 1}})
			h.Push(format.StackExtents, []format.BatchItem{{Addr: 12, Birth: 7}, {Addr: 1<<64 - 1, Birth: 1<<64 - 1}})
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.do()
			list := found()
			if c.want == 0 && len(list) > 0 || c.want != 0 && (len(list) != 1 || list[0] != c.want) {
				t.Errorf("found %#x, want %#x", list, c.want)
			}
			h.Drop()
			for stack := range format.NumStacks {
				space.Live.TakeStack(stack, space.Live.Words().Epoch.Load())
			}
		})
	}
	h.Put(freed.addr, format.ClassFor(300).BlockSize())
	h.Put(freed.addr, format.ClassFor(300).BlockSize())
	if list := found(); len(list) != 1 || list[0] != freed.addr {
		t.Errorf("a block that is listed twice: found %#x", list)
	}
	h.Drop()
}
