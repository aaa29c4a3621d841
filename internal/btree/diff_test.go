package btree_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
)

// version is one version of a subject, held.
type version[K comparable] struct {
	root  format.Link
	model []pair[K]
	hold  live.Hold
}

// tree returns the version for a Differ.
func (v version[K]) tree(r *heap.Reader) btree.Tree {
	of := r.Of(v.hold.State)
	return btree.Tree{Reader: &of, Root: v.root, Count: uint64(len(v.model))}
}

// change has the entries of a key in two versions; nil: none.
type change[K comparable] struct{ before, after *pair[K] }

// diff runs a Differ to its end.
func (s *subject[K]) diff(before, after btree.Tree) (changes []change[K], visits int) {
	s.t.Helper()
	d, err := btree.NewDiffer(before, after, s.shape)
	if err != nil {
		s.t.Fatal(err)
	}
	of := func(e unsafe.Pointer) *pair[K] {
		if e == nil {
			return nil
		}
		p := s.pairOf(e)
		return &p
	}
	for more := true; more; {
		more, err = d.Step(func(before, after unsafe.Pointer) {
			changes = append(changes, change[K]{of(before), of(after)})
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return changes, d.Visits()
}

// changesOf compares two models.
func (s *subject[K]) changesOf(before, after []pair[K]) (list []change[K]) {
	for len(before) > 0 || len(after) > 0 {
		c := 0
		switch {
		case len(before) == 0:
			c = 1
		case len(after) == 0:
			c = -1
		default:
			c = s.compare(before[0].key, after[0].key)
		}
		switch {
		case c < 0:
			list, before = append(list, change[K]{before: &before[0]}), before[1:]
		case c > 0:
			list, after = append(list, change[K]{after: &after[0]}), after[1:]
		default:
			if before[0].value != after[0].value {
				list = append(list, change[K]{&before[0], &after[0]})
			}
			before, after = before[1:], after[1:]
		}
	}
	return list
}

// differs fails the test unless the Differ finds the differences of two versions, in order.
// It may also report an entry that was set to its old value.
func (s *subject[K]) differs(r *heap.Reader, before, after version[K]) {
	s.t.Helper()
	got, _ := s.diff(before.tree(r), after.tree(r))
	got = slices.DeleteFunc(got, func(c change[K]) bool {
		return c.before != nil && c.after != nil && s.compare(c.before.key, c.after.key) == 0 && c.before.value == c.after.value
	})
	want := s.changesOf(before.model, after.model)
	same := func(a, b *pair[K]) bool {
		return (a == nil) == (b == nil) && (a == nil || s.compare(a.key, b.key) == 0 && a.value == b.value)
	}
	if !slices.EqualFunc(got, want, func(a, b change[K]) bool { return same(a.before, b.before) && same(a.after, b.after) }) {
		s.t.Fatalf("%d differences, want %d", len(got), len(want))
	}
}

// differModel compares versions that random transactions have made.
func differModel[K comparable](t *testing.T, compare func(a, b K) int, key func(r *rand.Rand) K) {
	space := heaptest.Open(t, 256<<20)
	random := rand.New(rand.NewPCG(3, 4))
	s := newSubject(t, compare)
	keep := func() version[K] { return version[K]{s.root, slices.Clone(s.model), space.Live.HoldCurrent()} }
	kept := []version[K]{keep()}
	for round := range 300 {
		grow := round%50 < 30
		n := 1 + random.IntN(3)
		if random.IntN(4) == 0 {
			n = random.IntN(300)
		}
		err := space.Update(t, func(txn *heap.Txn) error {
			if len(s.model) > 40 && random.IntN(6) == 0 { // removes whole nodes
				for at := random.IntN(len(s.model) - 30); n > 0 && at < len(s.model); n-- {
					s.delete(txn, s.model[at].key)
				}
			}
			for range n {
				if k := key(random); grow != (random.IntN(5) == 0) {
					s.set(txn, k, fmt.Sprint("value ", random.IntN(10)))
				} else {
					s.delete(txn, k)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, keep())
		r := space.Heap.Reader(random.IntN(2) == 0)
		last, other := len(kept)-1, random.IntN(len(kept))
		s.differs(&r, kept[last-1], kept[last])
		s.differs(&r, kept[other], kept[last])
		s.differs(&r, kept[last], kept[other])
		if len(kept) > 6 {
			i := random.IntN(len(kept))
			space.Live.Release(&kept[i].hold)
			kept = slices.Delete(kept, i, i+1)
		}
	}
	for _, v := range kept {
		space.Live.Release(&v.hold)
	}
}

func TestDiffer_Model(t *testing.T) {
	for _, most := range [][2]int{{62, 41}, {5, 5}} {
		t.Run(fmt.Sprintf("%d and %d slots", most[0], most[1]), func(t *testing.T) {
			defer btree.WithSlots(most[0], most[1])()
			t.Run("uint64", func(t *testing.T) {
				differModel(t, cmp.Compare[uint64], func(r *rand.Rand) uint64 { return r.Uint64N(4000) })
			})
			t.Run("strings", func(t *testing.T) {
				differModel(t, strings.Compare, func(r *rand.Rand) string { return fmt.Sprintf("https://example.org/%04d", r.IntN(3000)) })
			})
			t.Run("structs", func(t *testing.T) {
				differModel(t, compareTriples, func(r *rand.Rand) triple {
					return triple{strings.Repeat("group", r.IntN(3)), int16(r.IntN(20)), time.Unix(r.Int64N(30), 0).UTC()}
				})
			})
		})
	}
}

// To find a change, a Differ enters only the nodes on the paths to it and one more of each
// height. That holds anywhere in the tree, and if whole leaves were removed.
func TestDiffer_VisitsWhatChanged(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	s := newSubject(t, cmp.Compare[uint64])
	const entries = 60_000
	update := func(fn func(txn *heap.Txn)) {
		if err := space.Update(t, func(txn *heap.Txn) error { fn(txn); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	update(func(txn *heap.Txn) {
		for key := range uint64(entries) {
			s.set(txn, 2*key, "v")
		}
	})
	r := space.Heap.Reader(false)
	random := rand.New(rand.NewPCG(1, 2))
	removeRun := func(txn *heap.Txn, at, n int) {
		for range n {
			s.delete(txn, s.model[at].key)
		}
	}
	for _, c := range []struct {
		what    string
		changes int
		do      func(txn *heap.Txn)
	}{
		{"one set", 1, func(txn *heap.Txn) { s.set(txn, 2*random.Uint64N(entries), "w") }},
		{"one new", 1, func(txn *heap.Txn) { s.set(txn, 2*random.Uint64N(entries)+1, "w") }},
		{"one gone", 1, func(txn *heap.Txn) { removeRun(txn, random.IntN(len(s.model)), 1) }},
		{"first gone", 1, func(txn *heap.Txn) { removeRun(txn, 0, 1) }},
		{"last new", 1, func(txn *heap.Txn) { s.set(txn, s.model[len(s.model)-1].key+1, "w") }},
		{"a leaf gone", 70, func(txn *heap.Txn) { removeRun(txn, random.IntN(len(s.model)-100), 70) }},
		{"the first ones gone", 1000, func(txn *heap.Txn) { removeRun(txn, 0, 1000) }},
		{"many gone", 1000, func(txn *heap.Txn) { removeRun(txn, random.IntN(len(s.model)-1000), 1000) }},
	} {
		for range 10 {
			hold, root, count := space.Live.HoldCurrent(), s.root, uint64(len(s.model))
			update(c.do)
			changes, visits := s.diff(btree.Tree{Reader: &r, Root: root, Count: count}, btree.Tree{Reader: &r, Root: s.root, Count: uint64(len(s.model))})
			if limit := 32 + c.changes/8; visits > limit || len(changes) != c.changes {
				t.Errorf("%s: %d changes found, want %d; %d nodes entered, want at most %d", c.what, len(changes), c.changes, visits, limit)
			}
			space.Live.Release(&hold)
		}
	}
}

// A Differ of a tree with cycles, or with links to blocks that are no tree, ends soon.
func TestDiffer_Damaged(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	s := newSubject(t, cmp.Compare[uint64])
	var circle format.Link
	err := space.Update(t, func(txn *heap.Txn) error {
		for key := range uint64(5000) {
			s.set(txn, key, "v")
		}
		// Branches of every height; all children of each are the branch below, and those of
		// the lowest are 0.
		below := uint64(1)
		for levels := uint(2); levels <= 15; levels++ {
			const slots = 40
			a, err := txn.Alloc(format.KindBranch, format.ByteCount(format.NodeHeadSize+slots*format.BranchSlotSize))
			if err != nil {
				return err
			}
			p := txn.Payload(a)
			*(*format.NodeHead)(p) = format.NodeHead{Count: slots}
			words := unsafe.Slice((*uint64)(unsafe.Add(p, format.NodeHeadSize)), 3*slots)
			clear(words)
			for i := range slots {
				words[slots+i] = below
			}
			circle = format.MakeTreeLink(a, levels)
			below = uint64(circle)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, verifying := space.Heap.Reader(false), space.Heap.Reader(true)
	failures := func(before, after btree.Tree) int {
		d, err := btree.NewDiffer(before, after, s.shape)
		for more := err == nil; more; {
			more, err = d.Step(func(_, _ unsafe.Pointer) {})
		}
		if err != nil {
			return 1
		}
		return 0
	}
	good := btree.Tree{Reader: &verifying, Root: s.root, Count: uint64(len(s.model))}
	wild := btree.Tree{Reader: &r, Root: circle, Count: 50}
	if failures(good, wild)+failures(wild, good) != 2 {
		t.Error("a tree with a cycle is accepted")
	}
	random := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		wild = btree.Tree{Reader: &verifying, Root: format.Link(random.Uint64()), Count: random.Uint64() >> random.IntN(64)}
		if random.IntN(2) == 0 { // an intact tree, but a wrong number of levels or entries
			wild.Root = format.MakeTreeLink(s.root.Addr(), uint(random.IntN(17)))
		}
		if wild.Root == 0 || wild.Root == s.root {
			continue
		}
		if failures(good, wild)+failures(wild, good) != 2 {
			t.Fatalf("the link %#x is accepted", uint64(wild.Root))
		}
	}
}
