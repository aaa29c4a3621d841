package btree_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// fill sets keys in the given order, some hundred in each transaction.
func fill[K comparable](t *testing.T, space *heaptest.Space, s *subject[K], keys []K) (bytes int64) {
	t.Helper()
	for part := range slices.Chunk(keys, 700) {
		err := space.Update(t, func(txn *heap.Txn) error {
			for _, k := range part {
				s.set(txn, k, "v")
			}
			bytes += txn.Bytes()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return bytes
}

func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("user:%08d", i)
	}
	return list
}

func shuffled[K any](list []K, seed uint64) []K {
	list = slices.Clone(list)
	r := rand.New(rand.NewPCG(seed, 1))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func shapeOf[K comparable](t *testing.T, space *heaptest.Space, s *subject[K]) btree.Shape {
	t.Helper()
	r := space.Heap.Reader(true)
	s.verify(&r)
	shape, err := btree.ShapeOf(&r, s.root)
	if err != nil {
		t.Fatal(err)
	}
	return shape
}

// Appends fill the nodes, and words distinguish numbered keys, in whatever order these are
// inserted.
func TestTree_Fill(t *testing.T) {
	const n = 20000
	for _, c := range []struct {
		name string
		keys []string
		fill float64 // how full the leaves must be
	}{
		{"ascending", numbers(n), 0.99},
		{"random", shuffled(numbers(n), 1), 0.62},
		{"descending", func() []string { l := numbers(n); slices.Reverse(l); return l }(), 0.60},
		{"ascending from two sides", slices.Concat(numbers(n)[n/2:], numbers(n)[:n/2]), 0.65},
	} {
		t.Run(c.name, func(t *testing.T) {
			space := heaptest.Open(t, 256<<20)
			s := newSubject(t, strings.Compare)
			fill(t, space, s, c.keys)
			shape := shapeOf(t, space, s)
			t.Logf("%+v", shape)
			if got := float64(shape.Slots[0]) / float64(62*shape.Nodes[0]); got < c.fill {
				t.Errorf("the leaves are filled to %.2f", got)
			}
			if shape.Ties > n/1000 {
				t.Errorf("%d words equal their neighbours, %d of them in branches", shape.Ties, shape.Branches)
			}
		})
	}
}

func TestTree_ShrinksToNothing(t *testing.T) {
	for seed := range uint64(4) {
		space := heaptest.Open(t, 256<<20)
		s := newSubject(t, cmp.Compare[uint64])
		keys := make([]uint64, 15000)
		for i := range keys {
			keys[i] = uint64(i) * 3
		}
		order := shuffled(keys, seed)
		switch seed {
		case 2:
			order = keys
		case 3:
			slices.Reverse(keys)
			order = keys
		}
		bytes := fill(t, space, s, shuffled(keys, seed+9))
		for part := range slices.Chunk(order, 1000) {
			err := space.Update(t, func(txn *heap.Txn) error {
				for _, k := range part {
					s.delete(txn, k)
				}
				bytes += txn.Bytes()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			r := space.Heap.Reader(true)
			if blocks, most := s.verify(&r), len(s.model)+len(s.model)/10+10; blocks > most {
				t.Errorf("%d entries in %d blocks", len(s.model), blocks)
			}
		}
		if s.root != 0 || bytes != 0 {
			t.Errorf("an empty tree has the root %#x and %d bytes of blocks", s.root, bytes)
		}
	}
}

func TestTree_OldRootStays(t *testing.T) { // B6
	space := heaptest.Open(t, 256<<20)
	s := newSubject(t, strings.Compare)
	r := rand.New(rand.NewPCG(8, 8))
	step := func() {
		err := space.Update(t, func(txn *heap.Txn) error {
			for range 50 {
				if key := fmt.Sprint("a key with number ", r.IntN(2000)); r.IntN(2) == 0 {
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
	for range 60 {
		step()
	}
	old := *s
	old.model = slices.Clone(s.model)
	hold := space.Live.HoldCurrent()
	for i := range 200 {
		step()
		if i%20 == 0 {
			space.Heap.Enter()
			space.Heap.Reclaim()
			space.Heap.Leave()
			reader := space.Heap.Reader(true)
			old.all(&reader)
		}
	}
	space.Live.Release(&hold)
}

// Check finds every wrong number in a node, and with it no search crashes or runs for ever.
func TestCheck_Findings(t *testing.T) {
	space := heaptest.Open(t, 256<<20)
	s := newSubject(t, strings.Compare)
	fill(t, space, s, shuffled(numbers(2000), 3))
	reader := space.Heap.Reader(false)
	type block struct {
		at   format.Addr
		size int
	}
	var nodes []block
	err := btree.Blocks(&reader, s.root, func(a format.Addr, kind format.Kind) (bool, error) {
		if kind != format.KindEntry {
			nodes = append(nodes, block{a, int(reader.Size(a))})
		}
		return true, nil
	})
	if err != nil || len(nodes) < 40 {
		t.Fatalf("%d nodes (%v)", len(nodes), err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	err = space.Update(t, func(txn *heap.Txn) error {
		for range 3000 {
			b := nodes[r.IntN(len(nodes))]
			at := b.at + format.HeaderSize + format.Addr(r.IntN(b.size/2)*2)
			p := (*uint16)(unsafe.Add(unsafe.Pointer(nil), uintptr(at)+txn.Delta()))
			before := *p
			switch r.IntN(3) {
			case 0:
				*p ^= 1 << r.IntN(16)
			case 1:
				*p = uint16(r.Uint32())
			default:
				q := nodes[r.IntN(len(nodes))]
				*p = *(*uint16)(unsafe.Add(unsafe.Pointer(nil), uintptr(q.at)+format.HeaderSize))
			}
			if *p != before {
				seen := map[format.Addr]bool{}
				findings := 0
				n, err := btree.Check(&reader, s.root, s.shape, func(a format.Addr, kind format.Kind) (bool, error) {
					known := seen[a]
					seen[a] = true
					if err := reader.Verify(a, kind); err != nil && at >= b.at+format.HeaderSize+16 {
						findings++ // a wrong checksum, or a dangling link
						return false, nil
					}
					return !known, nil
				}, func(format.Addr, string) { findings++ })
				if err == nil && findings == 0 && n == uint64(len(s.model)) {
					t.Fatalf("byte %d of a node went from %#x to %#x, and nothing was found", at-b.at, before, *p)
				}
				useDamaged(s, txn)
			}
			*p = before
		}
		return errAbort
	})
	if err != errAbort {
		t.Fatal(err)
	}
	s.all(&reader)
}

// useDamaged searches a damaged tree. It accepts faults as it accepts errors: a program gets
// an error for either.
func useDamaged(s *subject[string], txn *heap.Txn) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
		}
	}()
	for _, key := range []string{"", "user:00000000", "user:00000777", "user:00001999", "x"} {
		_, _ = btree.Get(&txn.Reader, s.root, s.shape, unsafe.Pointer(&key))
		_, _, _ = btree.Rank(&txn.Reader, s.root, s.shape, unsafe.Pointer(&key))
	}
	_, _ = btree.Nth(&txn.Reader, s.root, 1000)
	for _, back := range []bool{false, true} {
		n := 0
		_ = btree.Range(&txn.Reader, s.root, s.shape, btree.Bound{}, btree.Bound{}, 2000, back, func(unsafe.Pointer) bool { n++; return true })
		if n > 2000 {
			panic(fmt.Sprint("the walk yielded ", n, " entries"))
		}
	}
	root, err, value := s.root, error(nil), "v"
	for _, key := range []string{"user:00000777", "", "user:00000778", "x", "user:00000776x", "user:00000779"} {
		if root, _, _, err = btree.Set(txn, root, s.shape, unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
			return
		}
	}
	for i := range 60 {
		key := fmt.Sprintf("user:%08d", 750+i)
		if root, _, err = btree.Delete(txn, root, s.shape, unsafe.Pointer(&key)); err != nil {
			return
		}
	}
}
