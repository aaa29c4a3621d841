package everheap_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"pgregory.net/rapid"
)

// The random program of the model tests, on sorted maps: besides what it does to any
// map, the order of the keys is that of a sorted slice.

func TestSorted_Model(t *testing.T) {
	sortedKinds(t)
}

func TestSorted_ModelWithVerify(t *testing.T) {
	rapid.Check(t, modelIn(t, stringToCompound, true, everheap.WithVerify()))
}

func FuzzSortedOps(f *testing.F) {
	for i := range 4 {
		seed := make([]byte, 4000)
		r := rand.NewChaCha8([32]byte{byte(i), 1})
		r.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rapid.MakeFuzz(modelIn(t, stringToString, true))(t, data)
	})
}

// sortedKinds runs the model test for every kind of keys.
func sortedKinds(t *testing.T, opts ...everheap.Option) {
	runSorted(t, stringToString, opts...)
	runSorted(t, stringToCompound, opts...)
	runSorted(t, intToInt, opts...)
	runSorted(t, arrayToBytes, opts...)
	runSorted(t, structToArray, opts...)
	runSorted(t, timeToUint8, opts...)
	runSorted(t, floatToStruct, opts...)
	runSorted(t, kind[named, int32]{"named string", func(i int) named { return named(fmt.Sprintf("a common beginning/%04d", i*7%100)) }, func(r *rand.Rand) int32 { return r.Int32() }}, opts...)
	runSorted(t, kind[bool, string]{"bool", func(i int) bool { return i%2 == 1 }, randomString}, opts...)
	runSorted(t, kind[everheap.Ref[int], bool]{"reference", func(int) (r everheap.Ref[int]) { return r }, func(r *rand.Rand) bool { return r.IntN(2) == 0 }}, opts...)
	runSorted(t, kind[[2]named, float32]{"strings", func(i int) [2]named { return [2]named{named(stringKey(i % 5)), named(stringKey(i / 5))} }, func(r *rand.Rand) float32 { return r.Float32() }}, opts...)
}

type named string

func runSorted[K comparable, V any](t *testing.T, k kind[K, V], opts ...everheap.Option) {
	t.Run(k.name, func(t *testing.T) { rapid.Check(t, modelIn(t, k, true, opts...)) })
}

// compareKeys orders two keys as the documentation says, part by part.
func compareKeys(a, b reflect.Value) int {
	if x, ok := a.Interface().(time.Time); ok {
		return x.Compare(b.Interface().(time.Time))
	}
	sign := func(less, greater bool) int {
		switch {
		case less:
			return -1
		case greater:
			return 1
		}
		return 0
	}
	switch {
	case a.Kind() == reflect.Bool:
		return sign(!a.Bool() && b.Bool(), a.Bool() && !b.Bool())
	case a.CanInt():
		return sign(a.Int() < b.Int(), a.Int() > b.Int())
	case a.CanUint():
		return sign(a.Uint() < b.Uint(), a.Uint() > b.Uint())
	case a.CanFloat():
		return sign(a.Float() < b.Float(), a.Float() > b.Float())
	case a.Kind() == reflect.String:
		return bytes.Compare([]byte(a.String()), []byte(b.String()))
	case a.Kind() == reflect.Array:
		for i := range a.Len() {
			if c := compareKeys(a.Index(i), b.Index(i)); c != 0 {
				return c
			}
		}
	case a.Type().Implements(reflect.TypeFor[interface{ ID() everheap.ID }]()):
		x, y := a.Interface().(interface{ ID() everheap.ID }).ID(), b.Interface().(interface{ ID() everheap.ID }).ID()
		return sign(x < y, x > y)
	default:
		for i := range a.NumField() {
			if c := compareKeys(a.Field(i), b.Field(i)); c != 0 {
				return c
			}
		}
	}
	return 0
}

// inOrder returns the keys of a model, sorted.
func inOrder[K comparable, V any](model map[K]V) []K {
	keys := make([]K, 0, len(model))
	for k := range model {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int { return compareKeys(reflect.ValueOf(a), reflect.ValueOf(b)) })
	return keys
}

// index returns how many of the sorted keys are less than a key, and whether it is
// among them.
func index[K comparable](keys []K, key K) (int, bool) {
	return slices.BinarySearchFunc(keys, key, func(a, b K) int { return compareKeys(reflect.ValueOf(a), reflect.ValueOf(b)) })
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

// bound draws an end of a range, and returns the index that it is at in the keys, as the
// lower and as the upper end.
func (m *machine[K, V]) bound(t *rapid.T, keys []K) (b everheap.Bound[K], lower, upper int) {
	key := m.kind.key(rapid.IntRange(0, 120).Draw(t, "bound"))
	i, there := index(keys, key)
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
			key := m.kind.key(rapid.IntRange(0, 120).Draw(t, "key"))
			if i, _ := index(keys, key); m.in.Rank(tx, key) != i {
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
