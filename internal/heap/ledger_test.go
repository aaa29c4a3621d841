//go:build invariants && linux

package heap_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// another returns another process that uses the heap of a space, with its own membership and
// lists and the same mapping.
func another(t *testing.T, s *heaptest.Space) *heaptest.Space {
	t.Helper()
	dir, err := mapping.OpenDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	heapFile, err := dir.Open("heap", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer heapFile.Close()
	info, err := heapFile.Stat()
	if err != nil {
		t.Fatal(err)
	}
	lv, err := live.Open(dir, s.Header.SpaceID, info)
	if err == nil {
		err = lv.Join()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lv.Leave(false) })
	return &heaptest.Space{Dir: s.Dir, Header: s.Header, Live: lv, Heap: s.Heap.Beside(lv)}
}

// world has two processes of a space, and two blocks of its newest version.
type world struct {
	t     *testing.T
	a, b  *heaptest.Space
	used  block // small
	large block // fills two extents
}

const (
	usedBytes = 128 // of the small block, header included
	usedSize  = usedBytes - format.HeaderSize
)

// newWorld creates a world; both processes use their lists until the test ends.
func newWorld(t *testing.T) *world {
	w := &world{t: t, a: heaptest.Open(t, 64<<20)}
	w.b = another(t, w.a)
	w.update(w.a, func(txn *heap.Txn) {
		w.used, w.large = fill(t, txn, usedSize, 1), fill(t, txn, 100_000, 1)
	})
	w.a.Heap.Enter()
	w.b.Heap.Enter()
	return w
}

// update commits a transaction of a process.
func (w *world) update(s *heaptest.Space, fn func(txn *heap.Txn)) {
	w.t.Helper()
	if err := s.Update(w.t, func(txn *heap.Txn) error { fn(txn); return nil }); err != nil {
		w.t.Fatal(err)
	}
	s.Heap.Enter()
}

// free frees the small block, and returns the version that wrote it and the version that
// freed it.
func (w *world) free(s *heaptest.Space) (birth, freed format.Version) {
	r := s.Heap.Reader(true)
	birth = r.Birth(w.used.addr)
	w.update(s, func(txn *heap.Txn) { txn.Free(w.used.addr); freed = txn.Version() })
	return birth, freed
}

// The ledger panics when a piece gets a second owner, and names both owners.
func TestLedger_SeesTwoOwners(t *testing.T) { // O2, O4, O5, O7, O8, O9, O10, O11, O13, O3
	class := format.ClassFor(usedSize)
	for _, c := range []struct {
		name string
		do   func(w *world)
		want string
	}{
		{"a block is put into the lists twice", func(w *world) {
			birth, freed := w.free(w.a)
			w.update(w.a, func(txn *heap.Txn) { fill(w.t, txn, 8, 1) })
			w.a.Heap.Settle(w.used.addr, usedBytes, birth, freed)
			w.a.Heap.Put(w.used.addr, usedBytes)
		}, "must be about to be free of this process; they are free of 2/0"},
		{"a block of a version is put into the lists", func(w *world) {
			w.b.Heap.Put(w.used.addr, usedBytes)
		}, "must be about to be free of this process; they are of a version of 2/0"},
		{"a block is settled twice", func(w *world) {
			birth, freed := w.free(w.a)
			w.update(w.a, func(txn *heap.Txn) { fill(w.t, txn, 8, 1) })
			w.a.Heap.Settle(w.used.addr, usedBytes, birth, freed)
			w.a.Heap.Settle(w.used.addr, usedBytes, birth, freed)
		}, "must be waiting of this process; they are free of 2/0"},
		{"a block that waits with another process is settled", func(w *world) {
			birth, freed := w.free(w.a)
			w.update(w.a, func(txn *heap.Txn) { fill(w.t, txn, 8, 1) })
			w.b.Heap.Settle(w.used.addr, usedBytes, birth, freed)
		}, "must be waiting of this process; they are waiting of 2/0"},
		{"a block is freed by two versions", func(w *world) {
			w.free(w.a)
			w.free(w.b)
		}, "to be freed, and must be of a version; they are waiting of 2/0"},
		{"a block that is in use is taken", func(w *world) {
			w.b.Heap.List(w.used.addr, usedBytes)
			w.update(w.b, func(txn *heap.Txn) { fill(w.t, txn, usedSize, 1) })
		}, "to be taken, and must be free of this process; they are of a version of 2/0"},
		{"a block that is in use comes out of a batch", func(w *world) {
			w.b.Heap.Blind()
			w.b.Heap.Push(int(class), []format.BatchItem{{Addr: uint64(w.used.addr)}})
			w.a.Heap.AdoptFrom(int(class))
		}, "to be accepted, and must be in a batch; they are of a version of 2/0"},
		{"an extent that is in use is put into a batch", func(w *world) {
			w.b.Heap.Push(format.StackExtents, []format.BatchItem{{Addr: uint64(w.large.addr) + format.ExtentSize, Birth: 1}})
		}, "to be pushed, and must be free of this process; they are of a version of 2/0"},
		{"a block that waits with another process is put into a batch", func(w *world) {
			birth, freed := w.free(w.a)
			w.b.Heap.Push(format.StackPending, []format.BatchItem{{Addr: uint64(w.used.addr), Birth: uint64(birth), Freed: uint64(freed)}})
		}, "to be pushed, and must be waiting of this process or waiting with several; they are waiting of 2/0"},
		{"lists are used that a sweep has begun to give to others", func(w *world) {
			w.update(w.b, func(txn *heap.Txn) { fill(w.t, txn, usedSize, 1) }) // now it has lists
			w.b.Heap.Keep(w.sweep(w.a))
			w.update(w.b, func(txn *heap.Txn) { fill(w.t, txn, usedSize, 1) })
		}, "to be taken, and must be free of this process; they are "},
		{"a sweep takes what somebody has since it began", func(w *world) {
			epoch, _, _, _ := w.a.Heap.BeginSweep(func() bool { return false })
			w.b.Heap.Enter()
			w.update(w.b, func(txn *heap.Txn) { fill(w.t, txn, 50_000, 1) })
			marks := w.a.Heap.NewMarks(w.a.Live.Words().Carved.Load()) // and not the floor
			w.a.Heap.Take(marks.Unmarked(), epoch)
		}, "to be swept up, and must be as they were before the sweep; they are "},
		{"space that nobody ever had is reserved twice", func(w *world) {
			carved := w.a.Live.Words().Carved.Load()
			if _, err := w.a.Heap.Carve(); err != nil {
				w.t.Fatal(err)
			}
			w.a.Live.Words().Carved.Store(carved)
			_, _ = w.b.Heap.Carve()
		}, "to be carved, and must be nobody's; they are free of 2/0"},
		{"an extent that is in use lies in the reserve", func(w *world) {
			words := w.a.Live.Words()
			for i := range words.Reserve {
				words.Reserve[i].Store(0)
			}
			words.Reserve[3].Store((uint64(w.large.addr) - w.a.Header.Base) / format.ExtentSize)
			w.b.Heap.TakeCell()
		}, "to be out of the reserve, and must be in the reserve; they are of a version of 2/0"},
		{"an extent that is in use is punched", func(w *world) {
			_ = w.a.Heap.Punch(w.large.addr)
		}, "to be punched, and must be free of this process; they are of a version of 2/0"},
		{"an extent has become another's below a block that waits", func(w *world) {
			birth, freed := w.free(w.a)
			w.update(w.a, func(txn *heap.Txn) { fill(w.t, txn, 8, 1) })
			w.b.Heap.SetClass(w.used.addr, class+1)
			w.a.Heap.Settle(w.used.addr, usedBytes, birth, freed)
		}, "must be what waits still fits its place when nobody can see it any more; they are waiting of 2/0"},
		{"a batch is used while it lies in a stack", func(w *world) {
			w.a.Heap.GiveBack(true)
			batch := uint64(0)
			for stack := range format.NumStacks {
				batch = max(batch, w.a.Live.StackHead(stack))
			}
			w.b.Heap.List(format.Addr(w.a.Header.Base+batch), 4096)
			w.update(w.b, func(txn *heap.Txn) { fill(w.t, txn, 4096-format.HeaderSize, 1) })
		}, "to be taken, and must be free of this process; they are in a batch of 2/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			defer func() {
				told := fmt.Sprint(recover())
				if !strings.Contains(told, "invariant violated") || !strings.Contains(told, c.want) {
					t.Errorf("no panic, or without %q: %s", c.want, told)
				}
				if !strings.Contains(told, "its last events:") {
					t.Errorf("without events: %s", told)
				}
			}()
			c.do(w)
		})
	}
}

// sweep runs a whole sweep in a process, and returns its epoch.
func (w *world) sweep(s *heaptest.Space) (epoch uint64) {
	w.t.Helper()
	epoch, floor, spared, ok := s.Heap.BeginSweep(func() bool { return false })
	if !ok {
		w.t.Fatal("the sweep did not begin")
	}
	hold := s.Live.HoldCurrent()
	defer s.Live.Release(&hold)
	marks := s.Heap.NewMarks(floor)
	r := s.Heap.Reader(true)
	if err := check.Mark(&r, hold.State, marks); err != nil {
		w.t.Fatal(err)
	}
	marks.Add(w.used.addr) // the state of the test does not refer to the blocks
	marks.Add(w.large.addr)
	marks.Spare(spared)
	if !s.Heap.Take(marks.Unmarked(), epoch) {
		w.t.Fatal("another sweep began")
	}
	return epoch
}

// dies runs fn in a process up to a point, where the process dies.
func dies(t *testing.T, point string, fn func()) {
	t.Helper()
	came := false
	done := make(chan struct{})
	defer invariant.Hook(func(name string) {
		if name == point {
			came = true
			runtime.Goexit()
		}
	})()
	go func() {
		defer close(done)
		fn()
	}()
	<-done
	if !came {
		t.Fatalf("fn did not pass the point %s", point)
	}
}

// A process that dies between a real change of owner and the ledger's, in either order,
// makes no other process panic: a sweep takes its pieces, and they are used again.
func TestLedger_LetsTheDeadBe(t *testing.T) { // O1, O4, O6, O12
	for _, c := range []struct {
		point string
		do    func(w *world)
	}{
		{"grow.carved", func(w *world) { _, _ = w.a.Heap.Carve() }},
		{"reserve.taken", func(w *world) {
			for i := range w.a.Live.Words().Reserve {
				w.a.Live.Words().Reserve[i].Store(0)
			}
			_ = w.a.Heap.FillReserve()
		}},
		{"reserve.cut", func(w *world) { w.a.Heap.TakeCell() }},
		{"batch.built", func(w *world) { w.a.Heap.GiveBack(true) }},
		{"batch.pushed", func(w *world) { w.a.Heap.GiveBack(true) }},
		{"batch.taken", func(w *world) {
			w.b.Heap.GiveBack(true)
			w.update(w.a, func(txn *heap.Txn) { fill(w.t, txn, usedSize, 1) })
			for stack := range format.NumStacks {
				w.a.Heap.AdoptFrom(stack)
			}
		}},
		{"punch.punched", func(w *world) {
			a, err := w.a.Heap.Carve()
			if err == nil {
				err = w.a.Heap.Punch(a)
			}
			w.t.Error("it lives still", err)
		}},
		{"in a transaction", func(w *world) {
			w.update(w.a, func(txn *heap.Txn) {
				txn.Free(w.used.addr)
				fill(w.t, txn, usedSize, 1)
				invariant.Point("in a transaction")
			})
		}},
		{"sealed", func(w *world) {
			w.update(w.a, func(txn *heap.Txn) {
				txn.Free(w.used.addr)
				fill(w.t, txn, usedSize, 1)
				fill(w.t, txn, 100_000, 1)
				txn.Seal()
				invariant.Point("sealed")
			})
		}},
	} {
		t.Run(c.point, func(t *testing.T) {
			w := newWorld(t)
			w.update(w.b, func(txn *heap.Txn) { fill(t, txn, usedSize, 1) })
			dies(t, c.point, func() { c.do(w) })
			for range 2 {
				w.useAll(w.b) // including the pieces that the dead process left where others find them
				w.sweep(w.b)
			}
		})
	}
}

// useAll makes a process allocate and free all space that it can find.
func (w *world) useAll(s *heaptest.Space) {
	w.t.Helper()
	for stack := range format.NumStacks {
		s.Heap.AdoptFrom(stack)
	}
	for s.Heap.TakeCell() {
	}
	var blocks []block
	for _, size := range []format.ByteCount{8, usedSize, 4000, 60_000, 100_000} {
		w.update(s, func(txn *heap.Txn) {
			for range 4 << 20 / (size + 1000) {
				blocks = append(blocks, fill(w.t, txn, size, 2))
			}
		})
	}
	intact(w.t, s, w.used)
	intact(w.t, s, w.large)
	w.update(s, func(txn *heap.Txn) {
		for _, b := range blocks {
			txn.Free(b.addr)
		}
	})
	w.update(s, func(txn *heap.Txn) { fill(w.t, txn, 8, 1) })
	s.Heap.Reclaim()
	s.Heap.GiveBack(true)
}

// A process that knows the new epoch takes an extent out of the reserve, and leaves, before
// the sweep has looked at the cells. The sweep does not know of that extent, and gives up
// (RV1).
func TestSweep_CellTakenMeanwhile(t *testing.T) {
	s := heaptest.Open(t, 256<<20)
	other := another(t, s)
	if err := s.Update(t, func(txn *heap.Txn) error { fill(t, txn, 1000, 1); return nil }); err != nil {
		t.Fatal(err)
	}
	s.Heap.Enter()
	if err := s.Heap.FillReserve(); err != nil {
		t.Fatal(err)
	}
	s.Heap.Leave()
	for _, takes := range []bool{true, false} {
		looks := 0
		_, _, _, ok := s.Heap.BeginSweep(func() bool {
			if looks++; looks == 2 && takes { // the epoch has been raised
				other.Heap.Enter()
				if !other.Heap.TakeCell() {
					t.Error("there is nothing in the reserve")
				}
				other.Heap.Leave()
			}
			return false
		})
		s.Heap.Leave()
		if ok == takes {
			t.Errorf("an extent is taken: %v; the sweep continues: %v", takes, ok)
		}
	}
}
