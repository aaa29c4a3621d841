package vector_test

import (
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/vector"
)

// check compares a vector with a map of the words that are not 0.
func check(t *testing.T, r *heap.Reader, root format.Link, model map[uint64]uint64) {
	t.Helper()
	n := 0
	err := vector.Walk(r, root, func(a format.Addr, kind format.Kind) (bool, error) { return true, r.Verify(a, kind) },
		func(i, w uint64) error {
			n++
			if model[i] != w {
				t.Errorf("walk: word %d is %d, want %d", i, w, model[i])
			}
			return nil
		})
	if err != nil || n != len(model) {
		t.Fatalf("walk: %d words, want %d (%v)", n, len(model), err)
	}
	for i, want := range model {
		if got, err := vector.Get(r, root, i); err != nil || got != want {
			t.Fatalf("word %d is %d, want %d (%v)", i, got, want, err)
		}
		for _, j := range []uint64{i + 1, i ^ 64, i << 7, vector.MaxIndex} {
			if got, err := vector.Get(r, root, j); err != nil || got != model[j] {
				t.Fatalf("word %d is %d, want %d (%v)", j, got, model[j], err)
			}
		}
	}
}

func TestVector_Model(t *testing.T) { // V1
	space := heaptest.Open(t, 256<<20)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		limit := []uint64{3, 60, 300, 5000, 1 << 20, vector.MaxIndex}[r.IntN(6)]
		var root format.Link
		model := map[uint64]uint64{}
		for range 12 {
			before, old := root, map[uint64]uint64{}
			for k, v := range model {
				old[k] = v
			}
			hold := space.Live.HoldCurrent()
			err := space.Update(t, func(txn *heap.Txn) error {
				for range r.IntN(60) {
					i, w := r.Uint64N(limit+1), r.Uint64()>>17|1
					if r.IntN(10) == 0 {
						i = uint64(len(model)) // the next index, as for a new object
					}
					if i > limit {
						continue
					}
					var err error
					if root, err = vector.Set(txn, root, i, w); err != nil {
						return err
					}
					model[i] = w
				}
				check(t, &txn.Reader, root, model)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			reader := space.Heap.Reader(true)
			check(t, &reader, root, model)
			check(t, &reader, before, old)
			space.Live.Release(&hold)
		}
	}
}

func TestVector_BeyondTheGreatestIndex(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	err := space.Update(t, func(txn *heap.Txn) error {
		_, err := vector.Set(txn, 0, vector.MaxIndex+1, 1)
		return err
	})
	if err == nil {
		t.Error("no error")
	}
}

func TestVector_ImpossibleLinks(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	r := space.Heap.Reader(false)
	random := rand.New(rand.NewPCG(1, 9))
	for range 20000 {
		link := format.Link(random.Uint64())
		if random.IntN(2) == 0 { // a link of the right form, to an address outside the window
			link = format.MakeVectorLink(format.Addr(random.Uint64N(space.Header.Base)&^15), uint(1+random.IntN(6)), uint(1+random.IntN(8)))
		}
		if link == 0 || space.Header.Base <= uint64(link.Addr()) && uint64(link.Addr()) < space.Header.Base+space.Header.Window {
			continue
		}
		if w, err := vector.Get(&r, link, 0); err == nil && w != 0 {
			t.Fatalf("link %#x yields the word %d", uint64(link), w)
		}
	}
}
