package trie_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
)

// subject is a trie and the Go map that it must equal.
type subject struct {
	t     *testing.T
	space *heaptest.Space
	shape *entry.Shape
	root  format.Link
	model map[uint64]string
}

func newSubject(t *testing.T, space *heaptest.Space, bits uint) *subject {
	t.Helper()
	key, err := layout.For[uint64]()
	if err != nil {
		t.Fatal(err)
	}
	value, err := layout.For[string]()
	if err != nil {
		t.Fatal(err)
	}
	sh := entry.NewShape(key, value, 1)
	if bits < 64 {
		sh.CutHash(bits)
	}
	return &subject{t: t, space: space, shape: sh, model: map[uint64]string{}}
}

func (s *subject) hash(key *uint64) uint64 {
	h, err := s.shape.Hash(unsafe.Pointer(key))
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func (s *subject) set(txn *heap.Txn, key uint64, value string) {
	root, _, old, err := trie.Set(txn, s.root, s.shape, s.hash(&key), unsafe.Pointer(&key), unsafe.Pointer(&value))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, there := s.model[key]; there != (old != nil) {
		s.t.Fatalf("set of key %d: there before %v, replaced %v", key, there, old != nil)
	}
	s.root, s.model[key] = root, value
}

func (s *subject) delete(txn *heap.Txn, key uint64) {
	root, entry, err := trie.Delete(txn, s.root, s.shape, s.hash(&key), unsafe.Pointer(&key))
	removed := entry != 0
	if err != nil {
		s.t.Fatal(err)
	}
	if _, there := s.model[key]; there != removed {
		s.t.Fatalf("delete of key %d: there before %v, removed %v", key, there, removed)
	}
	s.root = root
	delete(s.model, key)
}

// check compares the trie with the model, and verifies T1 to T4. It returns the number of
// blocks.
func (s *subject) check(r *heap.Reader) (blocks int) {
	s.t.Helper()
	n, err := trie.Check(r, s.root, s.shape, func(a format.Addr, kind format.Kind) (bool, error) {
		blocks++
		return true, r.Verify(a, kind)
	}, func(a format.Addr, what string) { s.t.Errorf("block %#x: %s", a, what) })
	if err != nil || n != uint64(len(s.model)) {
		s.t.Fatalf("%d entries, want %d (%v)", n, len(s.model), err)
	}
	seen := 0
	more, err := trie.All(r, s.root, n, func(entry unsafe.Pointer) bool {
		key := *(*uint64)(s.shape.KeyOf(entry))
		if got := *(*string)(s.shape.ValueOf(entry)); got != s.model[key] {
			s.t.Errorf("all: key %d has %q, want %q", key, got, s.model[key])
		}
		seen++
		return true
	})
	if err != nil || !more || seen != len(s.model) {
		s.t.Fatalf("all: %d entries, want %d (%v)", seen, len(s.model), err)
	}
	for key, want := range s.model {
		entry, err := trie.Get(r, s.root, s.shape, s.hash(&key), unsafe.Pointer(&key))
		if err != nil || entry == nil || *(*string)(s.shape.ValueOf(entry)) != want {
			s.t.Fatalf("get: key %d, entry %v (%v)", key, entry, err)
		}
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
	return blocks
}

// newSpace opens a heap for one test.
func newSpace(t *testing.T) *heaptest.Space { return heaptest.Open(t, 256<<20) }

func TestTrie_Model(t *testing.T) { // T1 to T4
	for _, bits := range []uint{64, 12, 7, 4, 1, 0} {
		t.Run(fmt.Sprint(bits, " bits"), func(t *testing.T) {
			space := heaptest.Open(t, 256<<20)
			r := rand.New(rand.NewPCG(uint64(bits), 5))
			s := newSubject(t, space, bits)
			keys := uint64(3000)
			if bits < 6 {
				keys = 150 // few, since searching a chain takes time linear in its length
			}
			for round := range 60 {
				grow := round%20 < 12 // otherwise it shrinks
				before, model := s.root, cloneOf(s.model)
				fail := r.IntN(8) == 0
				err := space.Update(t, func(txn *heap.Txn) error {
					for range r.IntN(int(keys) / 10) {
						key := r.Uint64N(keys)
						if grow != (r.IntN(5) == 0) {
							s.set(txn, key, fmt.Sprint("value ", r.IntN(1000)))
						} else {
							s.delete(txn, key)
						}
						if r.IntN(40) == 0 {
							s.check(&txn.Reader)
						}
					}
					if fail {
						return errAbort
					}
					return nil
				})
				if fail {
					s.root, s.model = before, model
				} else if err != nil {
					t.Fatal(err)
				}
				reader := space.Heap.Reader(true)
				s.check(&reader)
			}
		})
	}
}

var errAbort = errors.New("aborted by the test")

func cloneOf(m map[uint64]string) map[uint64]string {
	c := make(map[uint64]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func TestTrie_ShrinksToNothing(t *testing.T) {
	for _, bits := range []uint{64, 9, 2} {
		t.Run(fmt.Sprint(bits, " bits"), func(t *testing.T) {
			space := heaptest.Open(t, 256<<20)
			s := newSubject(t, space, bits)
			n := uint64(5000)
			if bits == 2 {
				n = 120
			}
			var bytes int64
			step := func(fn func(txn *heap.Txn)) int {
				err := space.Update(t, func(txn *heap.Txn) error {
					fn(txn)
					bytes += txn.Bytes()
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				reader := space.Heap.Reader(true)
				return s.check(&reader)
			}
			step(func(txn *heap.Txn) {
				for key := range n {
					s.set(txn, key, "v")
				}
			})
			r := rand.New(rand.NewPCG(3, 3))
			order := r.Perm(int(n))
			for len(order) > 0 {
				part := order[:min(len(order), int(n)/10)]
				order = order[len(part):]
				blocks := step(func(txn *heap.Txn) {
					for _, key := range part {
						s.delete(txn, uint64(key))
					}
				})
				if most := 3*len(s.model) + 40; blocks > most {
					t.Errorf("%d entries in %d blocks", len(s.model), blocks)
				}
			}
			if s.root != 0 || bytes != 0 {
				t.Errorf("an empty trie has root %#x and %d bytes of blocks", s.root, bytes)
			}
		})
	}
}

func TestTrie_OldRootStays(t *testing.T) { // T5
	space := heaptest.Open(t, 256<<20)
	s := newSubject(t, space, 10)
	r := rand.New(rand.NewPCG(8, 8))
	step := func() {
		err := space.Update(t, func(txn *heap.Txn) error {
			for range 50 {
				if key := r.Uint64N(400); r.IntN(2) == 0 {
					s.set(txn, key, fmt.Sprint(r.IntN(1000)))
				} else {
					s.delete(txn, key)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		step()
	}
	old := *s
	old.model = cloneOf(s.model)
	hold := space.Live.HoldCurrent()
	for i := range 200 {
		step()
		if i%20 == 0 {
			space.Heap.Enter()
			space.Heap.Reclaim()
			space.Heap.Leave()
			reader := space.Heap.Reader(true)
			old.check(&reader)
		}
	}
	space.Live.Release(&hold)
}
