package trie_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/trie"
)

// change has the values of a key in two versions; nil: none.
type change struct{ before, after *string }

// version is one version of a subject, held.
type version struct {
	root  format.Link
	model map[uint64]string
	hold  live.Hold
}

// keep holds the newest version.
func (s *subject) keep() version {
	return version{s.root, cloneOf(s.model), s.space.Live.HoldCurrent()}
}

// tree returns the version for a Differ.
func (v version) tree(r *heap.Reader) trie.Tree {
	of := r.Of(v.hold.State)
	return trie.Tree{Reader: &of, Root: v.root, Count: uint64(len(v.model))}
}

// changeOf reads the entries of a change; their key must be the same.
func (s *subject) changeOf(before, after unsafe.Pointer) (key uint64, c change) {
	s.t.Helper()
	if before != nil {
		key, c.before = *(*uint64)(s.shape.KeyOf(before)), (*string)(s.shape.ValueOf(before))
	}
	if after != nil {
		k := *(*uint64)(s.shape.KeyOf(after))
		if before != nil && k != key {
			s.t.Fatalf("the keys %d and %d are reported as one", key, k)
		}
		key, c.after = k, (*string)(s.shape.ValueOf(after))
	}
	return key, c
}

// diff runs a Differ to its end, and fails the test if it reports a key twice.
func (s *subject) diff(r *heap.Reader, before, after version) (map[uint64]change, int) {
	s.t.Helper()
	d, err := trie.NewDiffer(before.tree(r), after.tree(r), s.shape)
	if err != nil {
		s.t.Fatal(err)
	}
	changes := map[uint64]change{}
	for more := true; more; {
		more, err = d.Step(func(before, after unsafe.Pointer) {
			key, c := s.changeOf(before, after)
			if _, told := changes[key]; told {
				s.t.Fatalf("key %d is reported twice", key)
			}
			changes[key] = c
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return changes, d.Visits()
}

// compare fails the test unless the changes turn one version into the other and contain no
// key that neither has. They may contain a key that was set to its old value.
func (s *subject) compare(r *heap.Reader, before, after version) {
	s.t.Helper()
	changes, _ := s.diff(r, before, after)
	for key, c := range changes {
		old, was := before.model[key]
		now, is := after.model[key]
		if was != (c.before != nil) || is != (c.after != nil) || was && old != *c.before || is && now != *c.after {
			s.t.Fatalf("key %d: was %v %q, is %v %q; reported %v", key, was, old, is, now, c)
		}
	}
	for key, v := range before.model {
		if now, is := after.model[key]; (!is || now != v) && changes[key] == (change{}) {
			s.t.Fatalf("key %d was %q, is %v %q, and is not reported", key, v, is, now)
		}
	}
	for key := range after.model {
		if _, was := before.model[key]; !was && changes[key] == (change{}) {
			s.t.Fatalf("key %d is new and is not reported", key)
		}
	}
}

func TestDiffer_Model(t *testing.T) {
	for _, bits := range []uint{64, 12, 7, 4, 1, 0} {
		t.Run(fmt.Sprint(bits, " bits"), func(t *testing.T) {
			space := newSpace(t)
			random := rand.New(rand.NewPCG(uint64(bits), 17))
			s := newSubject(t, space, bits)
			keys := uint64(4000)
			if bits < 6 {
				keys = 150
			}
			kept := []version{s.keep()}
			for round := range 120 {
				grow := round%40 < 25
				n := 1 + random.IntN(3)
				if random.IntN(4) == 0 {
					n = random.IntN(int(keys) / 3)
				}
				err := space.Update(t, func(txn *heap.Txn) error {
					for range n {
						key := random.Uint64N(keys)
						if grow != (random.IntN(5) == 0) {
							s.set(txn, key, fmt.Sprint("value ", random.IntN(10)))
						} else {
							s.delete(txn, key)
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, s.keep())
				reader := space.Heap.Reader(random.IntN(2) == 0)
				last := len(kept) - 1
				s.compare(&reader, kept[last-1], kept[last])
				other := kept[random.IntN(len(kept))]
				s.compare(&reader, other, kept[last])
				s.compare(&reader, kept[last], other)
				if len(kept) > 6 {
					i := random.IntN(len(kept))
					space.Live.Release(&kept[i].hold)
					kept = append(kept[:i], kept[i+1:]...)
				}
			}
			for _, v := range kept {
				space.Live.Release(&v.hold)
			}
		})
	}
}

// To find a change, a Differ visits only the blocks on the paths to it.
func TestDiffer_VisitsWhatChanged(t *testing.T) {
	space := newSpace(t)
	s := newSubject(t, space, 64)
	const entries = 100_000
	update := func(fn func(txn *heap.Txn)) {
		if err := space.Update(t, func(txn *heap.Txn) error { fn(txn); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	update(func(txn *heap.Txn) {
		for key := range uint64(entries) {
			s.set(txn, key, "v")
		}
	})
	r := space.Heap.Reader(false)
	random := rand.New(rand.NewPCG(1, 2))
	// A path has three or four nodes of each version, a leaf, and the entry; sometimes
	// another leaf that was split or joined.
	for _, changes := range []int{1, 10, 100} {
		for range 20 {
			before := s.keep()
			update(func(txn *heap.Txn) {
				for range changes {
					switch key := random.Uint64N(2 * entries); random.IntN(3) {
					case 0:
						s.delete(txn, key)
					default:
						s.set(txn, key, "w")
					}
				}
			})
			after := s.keep()
			found, visits := s.diff(&r, before, after)
			if limit := 24 * changes; visits > limit || len(found) > changes {
				t.Errorf("%d changes: %d found, %d blocks visited; want at most %d", changes, len(found), visits, limit)
			}
			space.Live.Release(&before.hold)
			space.Live.Release(&after.hold)
		}
	}
	now := s.keep()
	if found, visits := s.diff(&r, now, now); len(found) != 0 || visits != 0 {
		t.Errorf("no change: %d found, %d blocks visited", len(found), visits)
	}
	space.Live.Release(&now.hold)
}

// A Differ of a trie with cycles, or with links to blocks that are no trie, ends soon.
func TestDiffer_Damaged(t *testing.T) {
	space := newSpace(t)
	s := newSubject(t, space, 64)
	var circle format.Link
	err := space.Update(t, func(txn *heap.Txn) error {
		for key := range uint64(2000) {
			s.set(txn, key, "v")
		}
		a, err := txn.Alloc(format.KindInner, 64*8)
		if err != nil {
			return err
		}
		circle = format.MakeLink(a, format.LinkInner, 6)
		slots := unsafe.Slice((*uint64)(txn.Payload(a)), 64)
		for i := range slots {
			slots[i] = uint64(circle)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	reader, verifying := space.Heap.Reader(false), space.Heap.Reader(true)
	var blocks []format.Addr
	err = trie.Blocks(&reader, s.root, func(a format.Addr, kind format.Kind) (bool, error) {
		blocks = append(blocks, a)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 7))
	good := trie.Tree{Reader: &verifying, Root: s.root, Count: uint64(len(s.model))}
	failures := func(before, after trie.Tree) int {
		d, err := trie.NewDiffer(before, after, s.shape)
		for more := err == nil; more; {
			more, err = d.Step(func(_, _ unsafe.Pointer) {})
		}
		if err != nil {
			return 1
		}
		return 0
	}
	wild := trie.Tree{Reader: &reader, Root: circle, Count: 50}
	if failures(good, wild)+failures(wild, good) != 2 {
		t.Error("a trie with a cycle is accepted")
	}
	const rounds = 3000
	errs := 0
	for range rounds {
		wild = trie.Tree{Reader: &verifying, Root: format.Link(random.Uint64()), Count: random.Uint64() >> random.IntN(64)}
		if random.IntN(2) == 0 {
			wild.Root = format.MakeBucketLink(blocks[random.IntN(len(blocks))], uint(random.IntN(7)), uint(random.IntN(8)))
		}
		errs += failures(good, wild) + failures(wild, good)
	}
	if errs < rounds {
		t.Errorf("only %d of %d wild links are errors", errs, 2*rounds)
	}
}
