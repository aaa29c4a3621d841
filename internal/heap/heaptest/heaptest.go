// Package heaptest opens the heap of a space, without an engine, for tests of the structures
// that are built on the heap: transactions write blocks and publish states, and nothing else
// runs.
//
// Start reading at Open.
package heaptest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// Space is the lower half of a space: the mapped heap, and the membership in live.
type Space struct {
	Dir    string
	Header format.Header
	Heap   *heap.Heap
	Live   *live.Live
	txn    heap.Txn
}

// Open creates a space and opens its heap for one test. size is the size of the window.
func Open(t testing.TB, size uint64) *Space {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	e, err := engine.Open(dir, engine.Options{MaxSize: size})
	if err != nil {
		t.Fatal(err)
	}
	s := &Space{Dir: dir, Header: e.Header()}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Join(t)
}

// Join opens the heap once more, as another process would, if that lies in the
// same address space: only one of the two can be mapped at a time.
func (s *Space) Join(t testing.TB) *Space {
	t.Helper()
	path := filepath.Join(s.Dir, engine.HeapName)
	file, err := mapping.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	region, err := mapping.Map(file, s.Header.Base, s.Header.Window, false)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := mapping.OpenDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	lv, err := live.Open(d, s.Header.SpaceID, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := lv.Join(); err != nil {
		t.Fatal(err)
	}
	lv.Words().Written.Store(format.MaxVersion) // there is no journal that would read logged blocks
	joined := &Space{Dir: s.Dir, Header: s.Header, Heap: heap.New(region, lv), Live: lv}
	t.Cleanup(func() {
		lv.Leave(false)
		region.Close()
	})
	return joined
}

// Update runs fn in a transaction and publishes a state, a copy of the current one with the
// next version. If fn fails it publishes nothing.
func (s *Space) Update(t testing.TB, fn func(txn *heap.Txn) error) error {
	t.Helper()
	s.Heap.Enter()
	defer s.Heap.Leave()
	hold := s.Live.HoldCurrent()
	defer s.Live.Release(&hold)
	r := s.Heap.Reader(false)
	p, err := r.Payload(hold.State, format.KindState)
	if err != nil {
		t.Fatal(err)
	}
	state := *(*format.State)(p)
	txn := &s.txn
	txn.Begin(s.Heap, hold.State, format.Version(state.Version)+1, r)
	err = fn(txn)
	var a format.Addr
	if err == nil {
		a, err = txn.Alloc(format.KindState, format.ByteCount(format.StateSize))
	}
	if err != nil {
		txn.Aborted()
		return err
	}
	txn.Free(hold.State)
	state.Version++
	*(*format.State)(txn.Payload(a)) = state
	txn.Seal()
	if !s.Live.Publish(hold.State, a) {
		t.Fatal("another process has published a state")
	}
	s.Live.Announce()
	txn.Committed()
	return nil
}
