package model

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"pgregory.net/rapid"
)

// The random program of the model tests, on sorted maps: it also compares the order of the keys with
// a sorted slice.

func TestSorted_Model(t *testing.T) {
	sortedKinds(t)
}

func TestSorted_ModelWithVerify(t *testing.T) {
	rapid.Check(t, modelIn(t, spacetest.StringToCompound, true, everheap.WithVerify()))
}

func FuzzSortedOps(f *testing.F) {
	for i := range 4 {
		seed := make([]byte, fuzzBytes)
		r := rand.NewChaCha8([32]byte{byte(i), 1})
		r.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rapid.MakeFuzz(modelIn(t, spacetest.StringToString, true))(t, data[:min(len(data), fuzzBytes)])
	})
}

// sortedKinds runs the model test for every kind of keys.
func sortedKinds(t *testing.T, opts ...everheap.Option) {
	runSorted(t, spacetest.StringToString, opts...)
	runSorted(t, spacetest.StringToCompound, opts...)
	runSorted(t, spacetest.IntToInt, opts...)
	runSorted(t, spacetest.ArrayToBytes, opts...)
	runSorted(t, spacetest.StructToArray, opts...)
	runSorted(t, spacetest.TimeToUint8, opts...)
	runSorted(t, spacetest.FloatToStruct, opts...)
	runSorted(t, spacetest.Kind[spacetest.Named, int32]{Name: "named string", Key: func(i int) spacetest.Named { return spacetest.Named(fmt.Sprintf("a common beginning/%04d", i*7%100)) }, Value: func(r *rand.Rand) int32 { return r.Int32() }}, opts...)
	runSorted(t, spacetest.Kind[bool, string]{Name: "bool", Key: func(i int) bool { return i%2 == 1 }, Value: spacetest.RandomString}, opts...)
	runSorted(t, spacetest.Kind[everheap.Ref[int], bool]{Name: "reference", Key: func(int) (r everheap.Ref[int]) { return r }, Value: func(r *rand.Rand) bool { return r.IntN(2) == 0 }}, opts...)
	runSorted(t, spacetest.Kind[[2]spacetest.Named, float32]{Name: "strings", Key: func(i int) [2]spacetest.Named {
		return [2]spacetest.Named{spacetest.Named(spacetest.StringKey(i % 5)), spacetest.Named(spacetest.StringKey(i / 5))}
	}, Value: func(r *rand.Rand) float32 { return r.Float32() }}, opts...)
}

func runSorted[K comparable, V any](t *testing.T, k spacetest.Kind[K, V], opts ...everheap.Option) {
	t.Run(k.Name, func(t *testing.T) { rapid.Check(t, modelIn(t, k, true, opts...)) })
}

// inOrder returns the keys of a model, sorted.
func inOrder[K comparable, V any](model map[K]V) []K {
	keys := make([]K, 0, len(model))
	for k := range model {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int { return spacetest.CompareKeys(reflect.ValueOf(a), reflect.ValueOf(b)) })
	return keys
}

// fatal is a test, or a goroutine of one.
type fatal interface{ Fatalf(string, ...any) }

// compareOrder compares the order of the entries, forwards and backwards, and the ends.
func (m *machine[K, V]) compareOrder(t fatal, tx *everheap.Tx, model map[K]V) {
	keys := inOrder(model)
	m.sequence(t, "all", m.in.All(tx), keys, -1)
	slices.Reverse(keys)
	m.sequence(t, "backward", m.in.Backward(tx, everheap.Unbounded[K](), everheap.Unbounded[K]()), keys, -1)
	slices.Reverse(keys)
	if k, v, ok := m.in.First(tx); ok != (len(keys) > 0) || ok != (v != nil) || ok && k != keys[0] {
		t.Fatalf("first: %.100v, %v", k, ok)
	}
	if k, v, ok := m.in.Last(tx); ok != (len(keys) > 0) || ok != (v != nil) || ok && k != keys[len(keys)-1] {
		t.Fatalf("last: %.100v, %v", k, ok)
	}
	for i := -1; i <= len(keys); i += 1 + len(keys)/20 {
		k, v, ok := m.in.Nth(tx, i)
		if want := i >= 0 && i < len(keys); ok != want || ok != (v != nil) || ok && k != keys[i] {
			t.Fatalf("entry %d: %.100v, %v", i, k, ok)
		}
		if ok && m.in.Rank(tx, k) != i {
			t.Fatalf("rank of %.100v: %d, want %d", k, m.in.Rank(tx, k), i)
		}
	}
}

// sequence compares a sequence of entries with keys, up to a number of them if that is
// not negative.
func (m *machine[K, V]) sequence(t fatal, what string, seq iter.Seq2[K, *V], want []K, most int) {
	var got []K
	for k, v := range seq {
		if len(got) == most {
			break
		}
		if v == nil {
			t.Fatalf("%s: key %.100v has no value", what, k)
		}
		got = append(got, k)
	}
	if most >= 0 {
		want = want[:min(most, len(want))]
	}
	if !slices.Equal(got, want) && (len(got) > 0 || len(want) > 0) {
		t.Fatalf("%s: %d keys %.300v, want %d: %.300v", what, len(got), got, len(want), want)
	}
}

// bound draws an end of a range, and returns its index in the keys, as the lower and as the upper
// end.
func (m *machine[K, V]) bound(t *rapid.T, keys []K) (b everheap.Bound[K], lower, upper int) {
	key := m.kind.Key(rapid.IntRange(0, 120).Draw(t, "bound"))
	i, there := spacetest.Index(keys, key)
	after := i
	if there {
		after++
	}
	switch rapid.SampledFrom([]string{"including", "including", "excluding", "excluding", "unbounded"}).Draw(t, "sort of bound") {
	case "including":
		return everheap.Including(key), i, after
	case "excluding":
		return everheap.Excluding(key), after, i
	}
	return everheap.Unbounded[K](), 0, len(keys)
}

// ranges compares ranges, ranks and entries by number, in a View or in an Update that
// has changed something.
func (m *machine[K, V]) ranges(t *rapid.T) {
	if !m.sorted {
		t.Skip("the map is not sorted")
	}
	look := func(tx *everheap.Tx) error {
		keys := inOrder(m.model)
		for range rapid.IntRange(1, 8).Draw(t, "ranges") {
			from, lo, _ := m.bound(t, keys)
			to, _, hi := m.bound(t, keys)
			want := slices.Clone(keys[lo:max(lo, hi)])
			most := rapid.SampledFrom([]int{-1, 0, 1, 5}).Draw(t, "most")
			m.sequence(t, "range", m.in.Range(tx, from, to), want, most)
			slices.Reverse(want)
			m.sequence(t, "backward", m.in.Backward(tx, from, to), want, most)
			key := m.kind.Key(rapid.IntRange(0, 120).Draw(t, "key"))
			if i, _ := spacetest.Index(keys, key); m.in.Rank(tx, key) != i {
				t.Fatalf("rank of %.100v: %d, want %d", key, m.in.Rank(tx, key), i)
			}
		}
		m.compareOrder(t, tx, m.model)
		return nil
	}
	if rapid.Bool().Draw(t, "view") {
		m.ok(t, m.space.View(look))
		return
	}
	m.ok(t, m.space.Update(context.Background(), func(tx *everheap.Tx) error {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "edits"), 0))
		for range 10 {
			m.edit(t, tx, r)
		}
		return look(tx)
	}))
}
