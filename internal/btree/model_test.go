package btree_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/layout"
	"pgregory.net/rapid"
)

// tester has the methods that testing.T and rapid.T share.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// pair is an entry of the model: a sorted slice.
type pair[K any] struct {
	key   K
	value string
}

// subject is a tree and the sorted slice that it must equal.
type subject[K comparable] struct {
	t       tester
	shape   *entry.Shape
	compare func(a, b K) int
	root    format.Link
	model   []pair[K]
}

func newSubject[K comparable](t tester, compare func(a, b K) int) *subject[K] {
	t.Helper()
	key, err := layout.For[K]()
	if err != nil {
		t.Fatal(err)
	}
	value, err := layout.For[string]()
	if err != nil {
		t.Fatal(err)
	}
	return &subject[K]{t: t, shape: entry.NewShape(key, value, 1), compare: compare}
}

// find returns the index of a key in the model, or the index where it belongs.
func (s *subject[K]) find(key K) (int, bool) {
	return slices.BinarySearchFunc(s.model, key, func(p pair[K], k K) int { return s.compare(p.key, k) })
}

func (s *subject[K]) set(txn *heap.Txn, key K, value string) {
	s.t.Helper()
	i, there := s.find(key)
	root, _, old, err := btree.Set(txn, s.root, s.shape, unsafe.Pointer(&key), unsafe.Pointer(&value))
	if err != nil {
		s.t.Fatal(err)
	}
	if there != (old != nil) {
		s.t.Fatalf("set of key %v: there before %v, replaced %v", key, there, old != nil)
	}
	s.root = root
	if there {
		s.model[i] = pair[K]{key, value}
	} else {
		s.model = slices.Insert(s.model, i, pair[K]{key, value})
	}
}

func (s *subject[K]) delete(txn *heap.Txn, key K) {
	s.t.Helper()
	i, there := s.find(key)
	root, block, err := btree.Delete(txn, s.root, s.shape, unsafe.Pointer(&key))
	if err != nil {
		s.t.Fatal(err)
	}
	if there != (block != 0) {
		s.t.Fatalf("delete of key %v: there before %v, removed %v", key, there, block != 0)
	}
	if s.root = root; there {
		s.model = slices.Delete(s.model, i, i+1)
	}
}

// pairOf copies an entry.
func (s *subject[K]) pairOf(e unsafe.Pointer) pair[K] {
	return pair[K]{*(*K)(s.shape.KeyOf(e)), *(*string)(s.shape.ValueOf(e))}
}

// verify checks B1 to B5 and returns the number of blocks.
func (s *subject[K]) verify(r *heap.Reader) (blocks int) {
	s.t.Helper()
	var findings []string
	n, err := btree.Check(r, s.root, s.shape, func(a format.Addr, kind format.Kind) (bool, error) {
		blocks++
		return true, r.Verify(a, kind)
	}, func(a format.Addr, what string) { findings = append(findings, fmt.Sprintf("block %#x: %s", a, what)) })
	if err != nil || n != uint64(len(s.model)) || len(findings) > 0 {
		s.t.Fatalf("%d entries, want %d (%v)\n%s", n, len(s.model), err, strings.Join(findings, "\n"))
	}
	return blocks
}

// look compares the results of all searches for a key with the model.
func (s *subject[K]) look(r *heap.Reader, key K) {
	s.t.Helper()
	i, there := s.find(key)
	e, err := btree.Get(r, s.root, s.shape, unsafe.Pointer(&key))
	if err != nil || there != (e != nil) || there && s.pairOf(e) != s.model[i] {
		s.t.Fatalf("get of key %v: there %v, found %v (%v)", key, there, e != nil, err)
	}
	rank, found, err := btree.Rank(r, s.root, s.shape, unsafe.Pointer(&key))
	if err != nil || found != there || rank != uint64(i) {
		s.t.Fatalf("rank of key %v: %d, %v, want %d, %v (%v)", key, rank, found, i, there, err)
	}
	e, err = btree.Nth(r, s.root, uint64(i))
	if err != nil || (e != nil) != (i < len(s.model)) || e != nil && s.pairOf(e) != s.model[i] {
		s.t.Fatalf("entry %d: %v (%v)", i, e, err)
	}
}

// bound is an end of a range of the model.
type bound[K any] struct {
	key   *K
	after bool
}

func (b bound[K]) of() btree.Bound { return btree.Bound{Key: unsafe.Pointer(b.key), After: b.after} }

// scan compares a range with the model, up to a number of entries.
func (s *subject[K]) scan(r *heap.Reader, from, to bound[K], back bool, most int) {
	s.t.Helper()
	index := func(b bound[K], none int) int {
		if b.key == nil {
			return none
		}
		i, there := s.find(*b.key)
		if there && b.after {
			i++
		}
		return i
	}
	lo, hi := index(from, 0), index(to, len(s.model))
	want := slices.Clone(s.model[lo:max(lo, hi)])
	if back {
		slices.Reverse(want)
	}
	want = want[:min(len(want), most)]
	var got []pair[K]
	err := btree.Range(r, s.root, s.shape, from.of(), to.of(), uint64(len(s.model)), back, func(e unsafe.Pointer) bool {
		if len(got) == most {
			return false
		}
		got = append(got, s.pairOf(e))
		return true
	})
	if err != nil || !slices.Equal(got, want) {
		s.t.Fatalf("from %v to %v, back %v: got %d entries, want %d (%v)", from.key, to.key, back, len(got), len(want), err)
	}
}

// all compares the whole tree with the model.
func (s *subject[K]) all(r *heap.Reader) (blocks int) {
	s.t.Helper()
	blocks = s.verify(r)
	s.scan(r, bound[K]{}, bound[K]{}, false, math.MaxInt)
	s.scan(r, bound[K]{}, bound[K]{}, true, math.MaxInt)
	for _, p := range s.model {
		s.look(r, p.key)
	}
	return blocks
}

var errAbort = errors.New("aborted by the test")

// machine runs a random program on a tree, with transactions that commit or abort, and
// looks at held versions.
func machine[K comparable](space *heaptest.Space, tt *testing.T, compare func(a, b K) int, keys *rapid.Generator[K]) func(t *rapid.T) {
	return func(t *rapid.T) {
		s := newSubject(t, compare)
		reader := func() *heap.Reader { r := space.Heap.Reader(true); return &r }
		var known []K
		key := func(label string) K {
			if len(known) > 0 && rapid.IntRange(0, 3).Draw(t, "known") > 0 {
				return rapid.SampledFrom(known).Draw(t, label)
			}
			k := keys.Draw(t, label)
			known = append(known, k)
			return k
		}
		end := func(label string) (b bound[K]) {
			if rapid.IntRange(0, 4).Draw(t, "unbounded") > 0 {
				k := key(label)
				b.key, b.after = &k, rapid.Bool().Draw(t, "after")
			}
			return b
		}
		update := func(most int, fn func(txn *heap.Txn)) {
			before, model := s.root, slices.Clone(s.model)
			abort := rapid.IntRange(0, 7).Draw(t, "abort") == 0
			err := space.Update(tt, func(txn *heap.Txn) error {
				for range rapid.IntRange(1, most).Draw(t, "changes") {
					fn(txn)
				}
				s.verify(&txn.Reader)
				if abort {
					return errAbort
				}
				return nil
			})
			if abort {
				s.root, s.model = before, model
			} else if err != nil {
				t.Fatal(err)
			}
			s.verify(reader())
		}
		set := func(txn *heap.Txn) { s.set(txn, key("key"), fmt.Sprint("value ", rapid.Uint8().Draw(t, "value"))) }
		remove := func(txn *heap.Txn) { s.delete(txn, key("key")) }
		t.Repeat(map[string]func(*rapid.T){
			"set":    func(*rapid.T) { update(1, set) },
			"delete": func(*rapid.T) { update(1, remove) },
			"grow":   func(*rapid.T) { update(60, set) },
			"shrink": func(*rapid.T) { update(60, remove) },
			"mixed": func(*rapid.T) {
				update(20, func(txn *heap.Txn) {
					if rapid.Bool().Draw(t, "set") {
						set(txn)
					} else {
						remove(txn)
					}
				})
			},
			"look": func(*rapid.T) { s.look(reader(), key("key")) },
			"scan": func(*rapid.T) {
				s.scan(reader(), end("from"), end("to"), rapid.Bool().Draw(t, "back"), rapid.SampledFrom([]int{1, 10, math.MaxInt}).Draw(t, "most"))
			},
			"walk and edit": func(*rapid.T) {
				old := *s
				old.model = slices.Clone(s.model)
				err := space.Update(tt, func(txn *heap.Txn) error {
					txn.BorrowAll()
					txn.Freeze()
					defer txn.Thaw()
					i := 0
					err := btree.Range(&txn.Reader, old.root, s.shape, btree.Bound{}, btree.Bound{}, uint64(len(old.model)), false, func(e unsafe.Pointer) bool {
						if got := s.pairOf(e); got != old.model[i] {
							t.Fatalf("the walk yields %v, want %v", got, old.model[i])
						}
						if i++; i%4 == 0 {
							set(txn)
						} else if i%4 == 1 {
							remove(txn)
						}
						return true
					})
					if i != len(old.model) {
						t.Fatalf("the walk yielded %d of %d", i, len(old.model))
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				s.verify(reader())
			},
		})
		s.all(reader())
		err := space.Update(tt, func(txn *heap.Txn) error { // shrinks the tree to nothing
			for len(s.model) > 0 {
				s.delete(txn, s.model[rapid.IntRange(0, len(s.model)-1).Draw(t, "victim")].key)
				if len(s.model)%16 == 0 {
					s.verify(&txn.Reader)
				}
			}
			return nil
		})
		if err != nil || s.root != 0 {
			t.Fatalf("an empty tree has the root %#x (%v)", s.root, err)
		}
	}
}

// triple is a key with a string in the middle.
type triple struct {
	Group string
	N     int16
	When  time.Time
}

func compareTriples(a, b triple) int {
	return cmp.Or(strings.Compare(a.Group, b.Group), cmp.Compare(a.N, b.N), a.When.Compare(b.When))
}

func TestTree_Model(t *testing.T) { // B1 to B5
	for _, most := range [][2]int{{62, 41}, {5, 5}, {6, 5}} {
		t.Run(fmt.Sprintf("%d and %d slots", most[0], most[1]), func(t *testing.T) {
			defer btree.WithSlots(most[0], most[1])()
			modelKeys(t, heaptest.Open(t, 4<<30))
		})
	}
}

// modelKeys runs the machine with keys of several types.
func modelKeys(t *testing.T, space *heaptest.Space) {
	run := func(name string, prop func(t *rapid.T)) { t.Run(name, func(t *testing.T) { rapid.Check(t, prop) }) }
	run("uint64", machine(space, t, cmp.Compare[uint64], rapid.Uint64Range(0, 300)))
	run("int", machine(space, t, cmp.Compare[int], rapid.Int()))
	run("float64", machine(space, t, cmp.Compare[float64], rapid.Float64()))
	run("short strings", machine(space, t, strings.Compare, rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00")), 0, 7, -1)))
	run("numbered strings", machine(space, t, strings.Compare, rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("user:%08d", rapid.IntRange(0, 500).Draw(t, "n"))
	})))
	run("strings with long prefixes", machine(space, t, strings.Compare, rapid.Custom(func(t *rapid.T) string {
		prefix := rapid.SampledFrom([]string{"", "a", "https://www.example.org/", "https://www.example.org/a/long/way/down/", "https://www.example.org/a/long/way/up/", strings.Repeat("x", 1100)}).Draw(t, "prefix")
		return prefix + rapid.StringOfN(rapid.SampledFrom([]rune("xy\x00é")), 0, 12, -1).Draw(t, "rest")
	})))
	run("times", machine(space, t, time.Time.Compare, rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(1<<30, 1<<30+3).Draw(t, "s"), rapid.Int64Range(0, 50).Draw(t, "ns")).UTC()
	})))
	run("structs", machine(space, t, compareTriples, rapid.Custom(func(t *rapid.T) triple {
		return triple{rapid.SampledFrom([]string{"", "group", "group\x00", "another group altogether"}).Draw(t, "group"),
			rapid.Int16Range(-3, 3).Draw(t, "n"), time.Unix(rapid.Int64Range(0, 5).Draw(t, "s"), 0).UTC()}
	})))
	run("arrays", machine(space, t, func(a, b [20]byte) int { return strings.Compare(string(a[:]), string(b[:])) }, rapid.Custom(func(t *rapid.T) (a [20]byte) {
		a[0], a[17], a[19] = byte(rapid.IntRange(0, 2).Draw(t, "first")), byte(rapid.IntRange(0, 20).Draw(t, "middle")), byte(rapid.IntRange(0, 20).Draw(t, "last"))
		return a
	})))
}
