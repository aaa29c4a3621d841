package micro

import (
	"context"
	"math/rand/v2"
	"sort"
	"sync"
	"testing"

	"github.com/everheap/everheap"
)

// The benchmarks of sorted maps compare with a sorted slice of pointers to Go structs,
// which is searched by bisection, under a lock: a program without a tree would use that, as long as
// it does not insert. Maps of Go and of the space are in the benchmarks of maps, with the same
// entries and keys.

// sliced is an entry of the slice.
type sliced struct {
	key string
	a   *account
}

var benchOrder struct {
	sync.Once
	users   everheap.Sorted[string, account]
	numbers everheap.Sorted[uint64, uint64]
	slice   struct {
		sync.RWMutex
		list []sliced
	}
	ids []uint64 // keys of numbers, in random order
}

// againstSlice is turns against the slice.
func againstSlice(b *testing.B, n int, ours, theirs func(from, n int)) {
	b.Helper()
	turnsWith(b, "slice", n, ours, theirs)
}

// benchOrderSetup fills sorted maps, in random order, and the slice.
func benchOrderSetup(b *testing.B) {
	b.Helper()
	benchSetup(b)
	benchOrder.Do(func() {
		var err error
		if benchOrder.users, err = everheap.OpenSorted[string, account](bench.space, "sorted users"); err != nil {
			b.Fatal(err)
		}
		if benchOrder.numbers, err = everheap.OpenSorted[uint64, uint64](bench.space, "sorted numbers"); err != nil {
			b.Fatal(err)
		}
		r := rand.New(rand.NewPCG(3, 4))
		for i := 0; i < benchEntries; i += 1000 {
			err := bench.space.Update(context.Background(), func(tx *everheap.Tx) error {
				for _, key := range bench.keys[i : i+1000] {
					if err := benchOrder.users.Set(tx, key, *bench.gomap.m[key]); err != nil {
						return err
					}
					id := r.Uint64()
					benchOrder.ids = append(benchOrder.ids, id)
					if err := benchOrder.numbers.Set(tx, id, id); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		for key, a := range bench.gomap.m {
			benchOrder.slice.list = append(benchOrder.slice.list, sliced{key, a})
		}
		list := benchOrder.slice.list
		sort.Slice(list, func(i, j int) bool { return list[i].key < list[j].key })
		r.Shuffle(len(benchOrder.ids), func(i, j int) {
			benchOrder.ids[i], benchOrder.ids[j] = benchOrder.ids[j], benchOrder.ids[i]
		})
	})
}

// inSlice finds the place of a key.
func inSlice(key string) int {
	list := benchOrder.slice.list
	return sort.Search(len(list), func(i int) bool { return list[i].key >= key })
}

// sliceReads reads n accounts of the slice.
func sliceReads(from, n int) {
	for i := from; i < from+n; i++ {
		benchOrder.slice.RLock()
		benchSum += benchOrder.slice.list[inSlice(benchKey(i))].a.Balance
		benchOrder.slice.RUnlock()
	}
}

func BenchmarkSorted_Peek(b *testing.B) {
	benchOrderSetup(b)
	againstSlice(b, 5000, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += benchOrder.users.Peek(tx, benchKey(i)).Balance
			}
			return nil
		})
	}, sliceReads)
}

// BenchmarkSorted_PeekMap is the same against a map of the space.
func BenchmarkSorted_PeekMap(b *testing.B) {
	benchOrderSetup(b)
	turns(b, 5000, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += benchOrder.users.Peek(tx, benchKey(i)).Balance
			}
			return nil
		})
	}, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += bench.users.Peek(tx, benchKey(i)).Balance
			}
			return nil
		})
	})
}

func BenchmarkSorted_PeekNumber(b *testing.B) {
	benchOrderSetup(b)
	againstSlice(b, 5000, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += int64(*benchOrder.numbers.Peek(tx, benchOrder.ids[i%benchEntries]))
			}
			return nil
		})
	}, sliceReads)
}

func BenchmarkSorted_Get(b *testing.B) {
	benchOrderSetup(b)
	b.ReportAllocs()
	againstSlice(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			a, err := benchOrder.users.Get(bench.space, benchKey(i))
			if err != nil {
				b.Fatal(err)
			}
			benchSum += a.Balance
		}
	}, sliceReads)
}

// sliceWrites replaces n values of the slice.
func sliceWrites(from, n int) {
	for i := from; i < from+n; i++ {
		a := someAccount(i)
		benchOrder.slice.Lock()
		benchOrder.slice.list[inSlice(benchKey(i))].a = &a
		benchOrder.slice.Unlock()
	}
}

func someAccount(i int) account {
	return account{ID: int64(i), Name: "Somebody Else Entirely", Email: "somebody.else@example.org", City: "Shelbyville", Balance: int64(i)}
}

func BenchmarkSorted_Set(b *testing.B) {
	benchOrderSetup(b)
	againstSlice(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			if err := benchOrder.users.Set(bench.space, benchKey(i), someAccount(i)); err != nil {
				b.Fatal(err)
			}
		}
	}, sliceWrites)
}

// BenchmarkSorted_SetMap is the same against a map of the space.
func BenchmarkSorted_SetMap(b *testing.B) {
	benchOrderSetup(b)
	turns(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			if err := benchOrder.users.Set(bench.space, benchKey(i), someAccount(i)); err != nil {
				b.Fatal(err)
			}
		}
	}, func(from, n int) {
		for i := from; i < from+n; i++ {
			if err := bench.users.Set(bench.space, benchKey(i), someAccount(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSorted_Batch measures transactions of 1,000 entries, per entry.
func BenchmarkSorted_Batch(b *testing.B) {
	benchOrderSetup(b)
	againstSlice(b, 5000, func(from, n int) {
		for first := from; first < from+n; first += 1000 {
			err := bench.space.Update(context.Background(), func(tx *everheap.Tx) error {
				for i := first; i < min(first+1000, from+n); i++ {
					if err := benchOrder.users.Set(tx, benchKey(i), someAccount(i)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}, sliceWrites)
}

// BenchmarkSorted_DeleteInsert removes an entry and puts it back: two transactions.
func BenchmarkSorted_DeleteInsert(b *testing.B) {
	benchOrderSetup(b)
	againstSlice(b, 2000, func(from, n int) {
		for i := from; i < from+n; i++ {
			if ok, err := benchOrder.users.Delete(bench.space, benchKey(i)); err != nil || !ok {
				b.Fatal(ok, err)
			}
			if err := benchOrder.users.Set(bench.space, benchKey(i), someAccount(i)); err != nil {
				b.Fatal(err)
			}
		}
	}, sliceWrites)
}

// BenchmarkSorted_Range reads 1,000 entries from a random key on, per entry.
func BenchmarkSorted_Range(b *testing.B) {
	benchOrderSetup(b)
	againstSlice(b, 10000, func(from, n int) {
		for first := from; first < from+n; first += 1000 {
			bench.space.View(func(tx *everheap.Tx) error {
				left := min(1000, from+n-first)
				for _, a := range benchOrder.users.Range(tx, everheap.Including(benchKey(first)), everheap.Unbounded[string]()) {
					benchSum += a.Balance
					if left--; left == 0 {
						break
					}
				}
				return nil
			})
		}
	}, func(from, n int) {
		for first := from; first < from+n; first += 1000 {
			benchOrder.slice.RLock()
			list := benchOrder.slice.list[inSlice(benchKey(first)):]
			for _, e := range list[:min(1000, from+n-first, len(list))] {
				benchSum += e.a.Balance
			}
			benchOrder.slice.RUnlock()
		}
	})
}
