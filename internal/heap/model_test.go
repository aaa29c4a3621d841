package heap_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
)

// block is a block that the heap must keep, filled with its stamp.
type block struct {
	addr  format.Addr
	size  format.ByteCount
	stamp uint64
}

// fill writes a block of this transaction.
func fill(t testing.TB, txn *heap.Txn, size format.ByteCount, stamp uint64) block {
	t.Helper()
	a, err := txn.Alloc(format.KindEntry, size)
	if err != nil {
		t.Fatal(err)
	}
	words := unsafe.Slice((*uint64)(txn.Payload(a)), size/8)
	for i := range words {
		words[i] = stamp
	}
	return block{a, size, stamp}
}

// intact verifies a block that must exist, and its contents.
func intact(t testing.TB, s *heaptest.Space, b block) {
	t.Helper()
	r := s.Heap.Reader(true)
	p, err := r.Payload(b.addr, format.KindEntry)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range unsafe.Slice((*uint64)(p), b.size/8) {
		if w != b.stamp {
			t.Fatalf("word %d of the block at %#x is %x, not %x", i, b.addr, w, b.stamp)
		}
	}
}

// randomSize draws the payload of a block: small, large, or a run.
func randomSize(r *rand.Rand) format.ByteCount {
	switch r.IntN(20) {
	case 0:
		return format.ByteCount(8 * (4000 + r.IntN(20000)))
	case 1, 2:
		return format.ByteCount(8 * (1 + r.IntN(4000)))
	}
	return format.ByteCount(8 * (1 + r.IntN(60)))
}

func TestHeap_NothingProtectedIsReused(t *testing.T) { // I1, I2
	space := heaptest.Open(t, 256<<20)
	r := rand.New(rand.NewPCG(4, 4))
	type version struct {
		hold   live.Hold
		blocks []block
	}
	var current []block
	var held []version
	stamp := uint64(0)
	for range 400 {
		before := append([]block(nil), current...)
		abort := r.IntN(6) == 0
		err := space.Update(t, func(txn *heap.Txn) error {
			for range r.IntN(30) {
				if len(current) > 0 && r.IntN(100) < len(current)/2 {
					i := r.IntN(len(current))
					txn.Free(current[i].addr)
					current = append(current[:i], current[i+1:]...)
					continue
				}
				stamp++
				current = append(current, fill(t, txn, randomSize(r), stamp))
			}
			if abort {
				return errAbort
			}
			return nil
		})
		if abort {
			current = before
		} else if err != nil {
			t.Fatal(err)
		}
		switch i := r.IntN(8); {
		case i == 0 && len(held) < 5:
			held = append(held, version{space.Live.HoldCurrent(), append([]block(nil), current...)})
		case i == 1 && len(held) > 0:
			j := r.IntN(len(held))
			space.Live.Release(&held[j].hold)
			held = append(held[:j], held[j+1:]...)
		case i == 2:
			space.Heap.Enter()
			space.Heap.Reclaim()
			space.Heap.GiveBack(r.IntN(2) == 0)
			space.Heap.Adopt()
			space.Heap.Leave()
		}
		for _, v := range append(held, version{blocks: current}) {
			for _, b := range v.blocks {
				intact(t, space, b)
			}
		}
	}
	for _, v := range held {
		space.Live.Release(&v.hold)
	}
}

var errAbort = errors.New("aborted by the test")

func TestHeap_SteadyStateDoesNotGrow(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	r := rand.New(rand.NewPCG(5, 5))
	var blocks []block
	turn := func() {
		err := space.Update(t, func(txn *heap.Txn) error {
			for range 20 {
				if len(blocks) >= 300 {
					i := r.IntN(len(blocks))
					txn.Free(blocks[i].addr)
					blocks = append(blocks[:i], blocks[i+1:]...)
				}
				blocks = append(blocks, fill(t, txn, format.ByteCount(8*(1+r.IntN(100))), 1))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 500 {
		turn()
	}
	carved := space.Live.Words().Carved.Load()
	for range 3000 {
		turn()
	}
	if grown := space.Live.Words().Carved.Load() - carved; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes while as much was freed as was written", grown)
	}
}

func TestHeap_RunsAreJoinedAndUsedAgain(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	for round := range 40 { // sizes that never fit into what the round before has left, unless joined
		err := space.Update(t, func(txn *heap.Txn) error {
			var list []block
			for n := format.ByteCount(0); n < 20<<20; {
				size := format.ByteCount(64<<10*(1+(round*7+len(list))%9)) - format.HeaderSize
				list = append(list, fill(t, txn, size, uint64(len(list))))
				n += size
			}
			return errAbort
		})
		if !errors.Is(err, errAbort) {
			t.Fatal(err)
		}
	}
}

func TestHeap_WindowFullIsAnError(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	err := space.Update(t, func(txn *heap.Txn) error {
		for range 2000 {
			if _, err := txn.Alloc(format.KindEntry, 1<<20); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, heap.ErrFull) {
		t.Fatal(err)
	}
	if err := space.Update(t, func(txn *heap.Txn) error { fill(t, txn, 30<<20, 1); return nil }); err != nil {
		t.Errorf("after the abort: %v", err)
	}
	err = space.Update(t, func(txn *heap.Txn) error { _, err := txn.Alloc(format.KindEntry, 5<<30); return err })
	if !errors.Is(err, heap.ErrTooLarge) {
		t.Error(err)
	}
}

func TestReader_VerifyFindsDamage(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	var small, run block
	if err := space.Update(t, func(txn *heap.Txn) error {
		small, run = fill(t, txn, 200, 7), fill(t, txn, 100000, 8)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r := space.Heap.Reader(true)
	for _, b := range []block{small, run} {
		intact(t, space, b)
		if err := r.Verify(b.addr, format.KindBucket); err == nil {
			t.Error("another kind was not found")
		}
		for _, a := range []format.Addr{0, b.addr + 8, b.addr + 16, b.addr + 1<<40, format.Addr(space.Header.Base), run.addr + format.ExtentSize} {
			if err := r.Verify(a, format.KindEntry); err == nil {
				t.Errorf("no block begins at %#x", a)
			}
		}
	}
	delta := uintptr(0)
	if err := space.Update(t, func(txn *heap.Txn) error { delta = txn.Delta(); return errAbort }); err == nil {
		t.Fatal(err)
	}
	for _, b := range []block{small, run} {
		for _, at := range []uintptr{0, 5, 9, 14, 15, 16, format.HeaderSize + uintptr(b.size) - 1} {
			p := (*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(b.addr)+delta+at))
			*p ^= 0x10
			if err := r.Verify(b.addr, format.KindEntry); err == nil {
				t.Errorf("a change of byte %d was not found", at)
			}
			*p ^= 0x10
		}
		intact(t, space, b)
	}
}
