package vector_test

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/vector"
)

// version is one version of a vector, held.
type version struct {
	root  format.Link
	model map[uint64]uint64
	hold  live.Hold
}

// diff runs a Differ to its end, and fails the test if the indexes do not ascend.
func diff(t *testing.T, r *heap.Reader, before, after version, n uint64) (changes map[uint64][2]uint64, visits int) {
	t.Helper()
	ra, rb := r.Of(before.hold.State), r.Of(after.hold.State)
	d, err := vector.NewDiffer(&ra, before.root, &rb, after.root, n)
	if err != nil {
		t.Fatal(err)
	}
	changes = map[uint64][2]uint64{}
	next := uint64(0)
	for more := true; more; {
		more, err = d.Step(func(i, before, after uint64) {
			if i < next {
				t.Fatalf("index %d comes after %d", i, next-1)
			}
			changes[i], next = [2]uint64{before, after}, i+1
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return changes, d.Visits()
}

// differs fails the test unless a Differ finds the differences of two models.
func differs(t *testing.T, r *heap.Reader, before, after version) {
	t.Helper()
	want := map[uint64][2]uint64{}
	n := uint64(0)
	for i, w := range before.model {
		n = max(n, i+1)
		if after.model[i] != w {
			want[i] = [2]uint64{w, after.model[i]}
		}
	}
	for i, w := range after.model {
		n = max(n, i+1)
		if before.model[i] == 0 {
			want[i] = [2]uint64{0, w}
		}
	}
	if got, _ := diff(t, r, before, after, n); !maps.Equal(got, want) {
		t.Fatalf("%d differences, want %d: %v, %v", len(got), len(want), got, want)
	}
	half := n / 2
	maps.DeleteFunc(want, func(i uint64, _ [2]uint64) bool { return i >= half })
	if got, _ := diff(t, r, before, after, half); !maps.Equal(got, want) {
		t.Fatalf("%d differences below %d, want %d", len(got), half, len(want))
	}
}

func TestDiffer_Model(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		limit := []uint64{3, 60, 300, 5000, 1 << 20, vector.MaxIndex}[random.IntN(6)]
		list := random.IntN(2) == 0 // all words are set, and the vector is truncated
		v := version{model: map[uint64]uint64{}}
		keep := func() version { return version{v.root, maps.Clone(v.model), space.Live.HoldCurrent()} }
		kept := []version{keep()}
		for range 20 {
			err := space.Update(t, func(txn *heap.Txn) (err error) {
				count := uint64(len(v.model))
				if list && count > 0 && random.IntN(3) == 0 {
					n := random.Uint64N(count)
					v.root, err = vector.Truncate(txn, v.root, n, count, func(uint64) error { return nil })
					maps.DeleteFunc(v.model, func(i, _ uint64) bool { return i >= n })
					return err
				}
				for range random.IntN(100) {
					i, w := random.Uint64N(limit+1), random.Uint64()>>17|1
					if list {
						i = min(i, uint64(len(v.model)))
					}
					if v.root, err = vector.Set(txn, v.root, i, w); err != nil {
						return err
					}
					v.model[i] = w
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, keep())
			r := space.Heap.Reader(random.IntN(2) == 0)
			last, other := len(kept)-1, random.IntN(len(kept))
			differs(t, &r, kept[last-1], kept[last])
			differs(t, &r, kept[other], kept[last])
			differs(t, &r, kept[last], kept[other])
		}
		for _, v := range kept {
			space.Live.Release(&v.hold)
		}
	}
}

// To find a change, a Differ visits only the nodes on the paths to it.
func TestDiffer_VisitsWhatChanged(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	const words = 300_000
	v := version{model: map[uint64]uint64{}}
	update := func(fn func(txn *heap.Txn) error) {
		if err := space.Update(t, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(txn *heap.Txn) (err error) {
		for i := range uint64(words) {
			if v.root, err = vector.Set(txn, v.root, i, i+1); err != nil {
				break
			}
		}
		return err
	})
	r := space.Heap.Reader(false)
	random := rand.New(rand.NewPCG(1, 2))
	for _, changes := range []int{1, 10, 100} {
		hold, root := space.Live.HoldCurrent(), v.root
		update(func(txn *heap.Txn) (err error) {
			for range changes {
				if v.root, err = vector.Set(txn, v.root, random.Uint64N(words+words/10), 1<<40); err != nil {
					break
				}
			}
			return err
		})
		now := space.Live.HoldCurrent()
		found, visits := diff(t, &r, version{root, nil, hold}, version{v.root, nil, now}, 2*words)
		if limit := 8 * changes; visits > limit || len(found) > changes || len(found) == 0 {
			t.Errorf("%d changes: %d found, %d nodes visited; want at most %d", changes, len(found), visits, limit)
		}
		space.Live.Release(&hold)
		space.Live.Release(&now)
	}
}

func TestDiffer_ImpossibleLinks(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	var good, circle format.Link
	err := space.Update(t, func(txn *heap.Txn) (err error) {
		for i := range uint64(5000) {
			if good, err = vector.Set(txn, good, i, i+1); err != nil {
				return err
			}
		}
		a, err := txn.Alloc(format.KindTable, 64*8)
		circle = format.MakeVectorLink(a, 6, 8)
		for i := range 64 {
			slots := (*[64]uint64)(txn.Payload(a))
			slots[i] = uint64(format.MakeVectorLink(a, 6, uint(1+i%8)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := space.Heap.Reader(true)
	run := func(before, after format.Link, n uint64) error {
		d, err := vector.NewDiffer(&r, before, &r, after, n)
		for more := err == nil; more; {
			more, err = d.Step(func(_, _, _ uint64) {})
		}
		return err
	}
	if run(good, circle, vector.MaxIndex) == nil || run(circle, good, vector.MaxIndex) == nil {
		t.Error("a vector with a cycle is accepted")
	}
	random := rand.New(rand.NewPCG(1, 9))
	errs := 0
	for range 5000 {
		link := format.Link(random.Uint64())
		if random.IntN(2) == 0 {
			link = format.MakeVectorLink(good.Addr(), uint(random.IntN(9)), uint(random.IntN(10)))
		}
		if run(good, link, random.Uint64()>>16) != nil {
			errs++
		}
	}
	if errs < 4000 {
		t.Errorf("only %d of 5000 wild links are errors", errs)
	}
}
