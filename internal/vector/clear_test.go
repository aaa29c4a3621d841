package vector_test

import (
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/vector"
)

// nodes counts the nodes of a vector.
func nodes(t *testing.T, r *heap.Reader, root format.Link) (n int) {
	t.Helper()
	err := vector.Walk(r, root, func(format.Addr, format.Kind) (bool, error) { n++; return true, nil }, func(_, _ uint64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestClear_Model(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		limit := []uint64{3, 60, 300, 5000, 1 << 20, vector.MaxIndex}[r.IntN(6)]
		var root format.Link
		model := map[uint64]uint64{0: 1} // the first word stays, so the vector never becomes empty
		err := space.Update(t, func(txn *heap.Txn) (err error) {
			root, err = vector.Set(txn, root, 0, 1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for round := range 12 {
			before, old := root, map[uint64]uint64{}
			for k, v := range model {
				old[k] = v
			}
			hold := space.Live.HoldCurrent()
			err := space.Update(t, func(txn *heap.Txn) (err error) {
				for range r.IntN(60) {
					if i, w := 1+r.Uint64N(limit), r.Uint64()>>17|1; r.IntN(3) == 0 {
						root, err = vector.Set(txn, root, i, w)
						model[i] = w
					} else {
						for k := range model { // a random word; otherwise i has none
							if i = k; k != 0 && r.IntN(8) > 0 {
								break
							}
						}
						if i != 0 {
							root, err = vector.Clear(txn, root, i)
							delete(model, i)
						}
					}
					if err != nil {
						return err
					}
				}
				if round == 11 {
					for i := range model {
						if root, err = vector.Clear(txn, root, i); err != nil {
							return err
						}
					}
					clear(model)
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
			if n := nodes(t, &reader, root); n > 8*len(model) || len(model) == 0 && root != 0 { // each node is on the path to a word
				t.Errorf("seed %d: %d nodes of %d words", seed, n, len(model))
			}
			space.Live.Release(&hold)
		}
	}
}
