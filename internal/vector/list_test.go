package vector_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/vector"
)

// list is a vector that is used like the vector of a list, and the words that it must have.
type list struct {
	root  format.Link
	words []uint64
}

// grow appends n random words, in runs.
func (l *list) grow(txn *heap.Txn, r *rand.Rand, n int) error {
	for n > 0 {
		run := make([]uint64, vector.RunLength(uint64(len(l.words)), 1+r.IntN(n)))
		for i := range run {
			run[i] = r.Uint64()>>17 | 1
		}
		root, err := vector.SetRun(txn, l.root, uint64(len(l.words)), run)
		if err != nil {
			return err
		}
		l.root, l.words, n = root, append(l.words, run...), n-len(run)
	}
	return nil
}

// cut truncates the vector, and compares the dropped words.
func (l *list) cut(t *testing.T, txn *heap.Txn, n int) error {
	var dropped []uint64
	root, err := vector.Truncate(txn, l.root, uint64(n), uint64(len(l.words)), func(w uint64) error {
		dropped = append(dropped, w)
		return nil
	})
	slices.Sort(dropped)
	if want := slices.Sorted(slices.Values(l.words[n:])); err == nil && !slices.Equal(dropped, want) {
		t.Fatalf("a truncation from %d to %d dropped %d words", len(l.words), n, len(dropped))
	}
	l.root, l.words = root, slices.Clone(l.words[:n])
	return err
}

// check compares all words, and counts the nodes: there must be no unused one.
func (l *list) check(t *testing.T, r *heap.Reader) {
	t.Helper()
	var all, back []uint64
	err := vector.All(r, l.root, uint64(len(l.words)), func(i, w uint64) bool {
		if i != uint64(len(all)) {
			t.Fatalf("word %d comes as number %d", i, len(all))
		}
		all = append(all, w)
		return true
	})
	if err != nil || !slices.Equal(all, l.words) {
		t.Fatalf("all: %d words, want %d (%v)", len(all), len(l.words), err)
	}
	err = vector.Backward(r, l.root, uint64(len(l.words)), func(_, w uint64) bool { back = append(back, w); return true })
	slices.Reverse(back)
	if err != nil || !slices.Equal(back, l.words) {
		t.Fatalf("backward: %d words, want %d (%v)", len(back), len(l.words), err)
	}
	finder, fast := vector.NewFinder(r)
	prepared := finder.Prepare(l.root)
	for i, want := range l.words {
		if got, err := vector.Get(r, l.root, uint64(i)); err != nil || got != want {
			t.Fatalf("word %d is %d, want %d (%v)", i, got, want, err)
		}
		if got := finder.Word(l.root, uint64(i)); fast && got != want {
			t.Fatalf("the finder's word %d is %d, want %d", i, got, want)
		}
		got, full := prepared.Word(uint64(i)), i>>6 < len(l.words)>>6 && i>>12 < len(l.words)>>12 || len(l.words) <= 64
		if fast && got != want && (full || got != 0) {
			t.Fatalf("the prepared word %d is %d, want %d", i, got, want)
		}
		if other := prepared.Other(uint64(i)); fast && other != want {
			t.Fatalf("the other prepared word %d is %d, want %d", i, other, want)
		}
	}
	for _, i := range []int{len(l.words), len(l.words) + 1, 64 * len(l.words), vector.MaxIndex, 1<<62 + 1} {
		if fast && (prepared.Word(uint64(i)) != 0 || prepared.Other(uint64(i)) != 0) {
			t.Fatalf("the prepared word %d of %d is %d, or %d by Other", i, len(l.words), prepared.Word(uint64(i)), prepared.Other(uint64(i)))
		}
		if got, err := vector.Get(r, l.root, uint64(i)); err != nil || got != 0 || fast && finder.Word(l.root, uint64(i)) != 0 {
			t.Fatalf("word %d of %d is %d (%v)", i, len(l.words), got, err)
		}
	}
	nodes, want := 0, 0
	err = vector.Walk(r, l.root, func(a format.Addr, kind format.Kind) (bool, error) { nodes++; return true, r.Verify(a, kind) },
		func(uint64, uint64) error { return nil })
	for n := len(l.words); n > 0; {
		n = (n + 63) / 64 // nodes of this level
		if want += n; n == 1 {
			break
		}
	}
	if err != nil || nodes != want {
		t.Fatalf("%d words in %d nodes, want %d (%v)", len(l.words), nodes, want, err)
	}
}

func TestVector_AsAList(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			most := []int{5, 70, 700, 6000}[r.IntN(4)]
			var l list
			for range 10 {
				before, hold := l, space.Live.HoldCurrent()
				err := space.Update(t, func(txn *heap.Txn) error {
					for range 1 + r.IntN(6) {
						var err error
						switch n := len(l.words); {
						case r.IntN(3) > 0:
							err = l.grow(txn, r, 1+r.IntN(most))
						case r.IntN(3) == 0 && n > 0:
							i := r.IntN(n)
							l.words = slices.Clone(l.words)
							l.words[i] = r.Uint64()>>17 | 1
							l.root, err = vector.Set(txn, l.root, uint64(i), l.words[i])
						default:
							err = l.cut(t, txn, []int{0, n, max(0, n-1), r.IntN(n + 1), n &^ 63, min(n, 64), min(n, 65)}[r.IntN(7)])
						}
						if err != nil {
							return err
						}
					}
					l.check(t, &txn.Reader)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, verify := range []bool{false, true} {
					reader := space.Heap.Reader(verify)
					l.check(t, &reader)
					before.check(t, &reader)
				}
				space.Live.Release(&hold)
			}
		})
	}
}

// A Prepared finds all words below full nodes, in vectors of each height.
func TestPrepared_Heights(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	for _, n := range []int{1, 63, 64, 65, 64 * 64, 64*64 + 1, 64 * 64 * 64, 64*64*64 + 70} {
		err := space.Update(t, func(txn *heap.Txn) error {
			var l list
			if err := l.grow(txn, rand.New(rand.NewPCG(1, 1)), n); err != nil {
				return err
			}
			finder, _ := vector.NewFinder(&txn.Reader)
			prepared := finder.Prepare(l.root)
			for i, want := range l.words {
				got, other := prepared.Word(uint64(i)), prepared.Other(uint64(i))
				if other != want || got != want && (got != 0 || i < n&^(64*64*64-1)) {
					t.Fatalf("word %d of %d is %d, or %d by Other, want %d", i, n, got, other, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if none := (vector.Prepared{}); none.Word(0) != 0 || none.Other(0) != 0 {
		t.Error("the zero Prepared finds a word")
	}
}

// During a walk over a vector, the walker's own transaction copies the nodes that it changes.
func TestVector_ChangedUnderAWalk(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	r := rand.New(rand.NewPCG(5, 5))
	err := space.Update(t, func(txn *heap.Txn) error {
		var l list
		if err := l.grow(txn, r, 5000); err != nil {
			return err
		}
		start, n := l, 0
		txn.Freeze()
		defer txn.Thaw()
		return vector.All(&txn.Reader, start.root, uint64(len(start.words)), func(i, w uint64) bool {
			if w != start.words[i] {
				t.Fatalf("word %d is %d, want %d", i, w, start.words[i])
			}
			n++
			switch {
			case i%500 == 0:
				if err := l.cut(t, txn, r.IntN(len(l.words)+1)); err != nil {
					t.Fatal(err)
				}
			case i%50 == 0:
				if err := l.grow(txn, r, 100); err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A walk ends when yield returns false, in both directions.
func TestVector_WalkEnds(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	err := space.Update(t, func(txn *heap.Txn) error {
		var l list
		if err := l.grow(txn, rand.New(rand.NewPCG(1, 1)), 10000); err != nil {
			return err
		}
		for _, walk := range []func(*heap.Reader, format.Link, uint64, func(i, w uint64) bool) error{vector.All, vector.Backward} {
			n := 0
			if err := walk(&txn.Reader, l.root, 10000, func(uint64, uint64) bool { n++; return n < 100 }); err != nil || n != 100 {
				t.Errorf("%d words (%v)", n, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Truncate and All soon notice nodes with cycles, and more or fewer words than the length
// says.
func TestVector_DamagedLists(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	none := func(uint64) error { return nil }
	errAbort := fmt.Errorf("aborted by the test")
	for name, damage := range map[string]func(txn *heap.Txn, l *list){
		"shorter than it says": func(_ *heap.Txn, l *list) { l.words = append(l.words, make([]uint64, 5000)...) },
		"longer than it says":  func(_ *heap.Txn, l *list) { l.words = l.words[:len(l.words)-100] },
		"in circles": func(txn *heap.Txn, l *list) {
			slots := (*[64]uint64)(txn.Payload(l.root.Addr()))
			child := format.Link(slots[0])
			below := (*[64]uint64)(txn.Payload(child.Addr()))
			for i := range below {
				slots[i], below[i] = uint64(child), below[0]
			}
			clear((*[64]uint64)(txn.Payload(format.Link(below[0]).Addr()))[:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := space.Update(t, func(txn *heap.Txn) error {
				var l list
				if err := l.grow(txn, rand.New(rand.NewPCG(1, 1)), 64*64*64); err != nil {
					return err
				}
				damage(txn, &l)
				n := uint64(len(l.words))
				if _, err := vector.Truncate(txn, l.root, 0, n, none); err == nil {
					t.Error("truncated")
				}
				if err := vector.All(&txn.Reader, l.root, n, func(uint64, uint64) bool { return true }); err == nil && name != "longer than it says" {
					t.Error("walked over")
				}
				return errAbort
			})
			if err != errAbort {
				t.Fatal(err)
			}
		})
	}
}

// A vector has as many levels as Levels says, whether it was grown or truncated to its
// length. The lengths are those on both sides of each edge.
func TestLevels(t *testing.T) { // V2
	space := heaptest.Open(t, 64<<20)
	for _, n := range []uint64{1, 63, 64, 65, 128, 4095, 4096, 4097, 4110, 4160, 4161, 1 << 18, 1<<18 + 1, 1<<18 + 4096, 1<<18 + 4097, vector.MaxIndex + 1} {
		err := space.Update(t, func(txn *heap.Txn) error {
			root, err := vector.Set(txn, 0, n-1, 1<<17|1)
			if err != nil {
				return err
			}
			if got, want := vector.Levels(n), root.VectorLevels(); got != want {
				t.Errorf("Levels(%d) is %d; a vector of that length has %d", n, got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if vector.Levels(0) != 0 {
		t.Error("an empty vector has no levels")
	}
}
