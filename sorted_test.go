package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// sortedOf opens the sorted map "m" of a space.
func sortedOf[K comparable, V any](t testing.TB, s *everheap.Space) everheap.Sorted[K, V] {
	t.Helper()
	m, err := everheap.OpenSorted[K, V](s, "m")
	spacetest.Must(t, err)
	return m
}

// keysOf returns the keys of a sequence of entries.
func keysOf[K, V any](seq func(yield func(K, *V) bool)) (keys []K) {
	for k := range seq {
		keys = append(keys, k)
	}
	return keys
}

func TestSorted_Named(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	err := s.View(func(tx *everheap.Tx) error { _, err := everheap.OpenSorted[int, int](tx, "m"); return err })
	spacetest.ExpectError(t, err, everheap.ErrNotFound, `"m"`)
	m := sortedOf[string, int](t, s)
	spacetest.Must(t, m.Set(s, "b", 2))
	spacetest.Must(t, m.Set(s, "a", 1))
	spacetest.Must(t, s.Close())
	s = spacetest.Open(t, dir)
	if again := sortedOf[string, int](t, s); again != m || again.IsNil() {
		t.Errorf("%x, want %x", again.ID(), m.ID())
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if got := keysOf(m.All(tx)); fmt.Sprint(got) != "[a b]" {
			t.Errorf("%q", got)
		}
		return nil
	})
}

func TestSorted_Nil(t *testing.T) {
	s := spacetest.Scratch(t)
	var m everheap.Sorted[string, int]
	if !m.IsNil() || m.ID() != 0 {
		t.Error("the zero Sorted is not nil")
	}
	spacetest.ExpectError(t, m.Set(s, "x", 1), everheap.ErrNilHandle)
	spacetest.ExpectError(t, spacetest.Second(m.Get(s, "x")), everheap.ErrNilHandle)
	for name, fn := range map[string]func(tx *everheap.Tx){
		"All":   func(tx *everheap.Tx) { keysOf(m.All(tx)) },
		"Range": func(tx *everheap.Tx) { keysOf(m.Range(tx, everheap.Including("a"), everheap.Excluding("b"))) },
		"First": func(tx *everheap.Tx) { m.First(tx) },
		"Last":  func(tx *everheap.Tx) { m.Last(tx) },
		"Nth":   func(tx *everheap.Tx) { m.Nth(tx, 0) },
		"Rank":  func(tx *everheap.Tx) { m.Rank(tx, "a") },
		"Peek":  func(tx *everheap.Tx) { m.Peek(tx, "a") },
	} {
		if err := s.View(func(tx *everheap.Tx) error { fn(tx); return nil }); !errors.Is(err, everheap.ErrNilHandle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSorted_ClosedAndReadOnly(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[string, int](t, s)
	var kept *everheap.Tx
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		spacetest.ExpectError(t, m.Set(tx, "x", 1), everheap.ErrReadOnly)
		spacetest.ExpectError(t, spacetest.Second(m.Delete(tx, "x")), everheap.ErrReadOnly)
		spacetest.ExpectError(t, spacetest.Second(everheap.NewSorted[int, int](tx)), everheap.ErrReadOnly)
		kept = tx
		return nil
	})
	spacetest.ExpectError(t, spacetest.Second(m.Get(kept, "x")), everheap.ErrClosed, "the transaction has ended")
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		spacetest.ExpectError(t, m.Set(s, "x", 1), everheap.ErrSelf)
		kept = tx
		return nil
	})
	spacetest.ExpectError(t, m.Set(kept, "x", 1), everheap.ErrClosed)
	spacetest.Must(t, s.Close())
	for name, err := range map[string]error{
		"Set": m.Set(s, "x", 1), "Get": spacetest.Second(m.Get(s, "x")), "Has": spacetest.Second(m.Has(s, "x")), "Delete": spacetest.Second(m.Delete(s, "x")),
		"Modify": m.Modify(s, "x", func(*int) error { return nil }), "Len": spacetest.Second(m.Len(s)), "Open": spacetest.Second(everheap.OpenSorted[string, int](s, "m")),
	} {
		if !errors.Is(err, everheap.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A sorted map cannot be opened as a map, and a map not as a sorted map, by name or by ID.
func TestErrTypeChanged_Sorted(t *testing.T) {
	for _, opts := range [][]everheap.Option{nil, {everheap.WithVerify()}} {
		s := spacetest.Scratch(t, opts...)
		m, err := everheap.OpenMap[string, int](s, "map")
		spacetest.Must(t, err)
		o, err := everheap.OpenSorted[string, int](s, "sorted")
		spacetest.Must(t, err)
		l, err := everheap.OpenList[int](s, "list")
		spacetest.Must(t, err)
		spacetest.ExpectError(t, spacetest.Second(everheap.OpenSorted[string, int](s, "map")), everheap.ErrTypeChanged, "map is stored with another type", "stored:  a map", "program: a sorted map")
		spacetest.ExpectError(t, spacetest.Second(everheap.OpenMap[string, int](s, "sorted")), everheap.ErrTypeChanged, "sorted is stored", "stored:  a sorted map", "program: a map")
		spacetest.ExpectError(t, spacetest.Second(everheap.OpenSorted[string, int](s, "list")), everheap.ErrTypeChanged, "stored:  a list")
		spacetest.ExpectError(t, spacetest.Second(everheap.OpenSorted[string, uint](s, "sorted")), everheap.ErrTypeChanged, "sorted map of string to int", "sorted map of string to uint")
		spacetest.ExpectError(t, spacetest.Second(everheap.OpenSorted[int, int](s, "sorted")), everheap.ErrTypeChanged, "sorted map of string to int")
		spacetest.Must(t, m.Set(s, "x", 1))
		spacetest.Must(t, o.Set(s, "x", 2))
		for range 2 { // the cached type of one kind is not used for the other
			spacetest.ExpectError(t, spacetest.Second(spacetest.Convert[everheap.Map[string, int], everheap.Sorted[string, int]](m).Get(s, "x")), everheap.ErrTypeChanged)
			spacetest.ExpectError(t, spacetest.Convert[everheap.Sorted[string, int], everheap.Map[string, int]](o).Set(s, "x", 1), everheap.ErrTypeChanged)
			spacetest.ExpectError(t, spacetest.Convert[everheap.List[int], everheap.Sorted[string, int]](l).Set(s, "x", 1), everheap.ErrTypeChanged)
			if v, err := o.Get(s, "x"); v != 2 || err != nil {
				t.Error(v, err)
			}
			if v, err := m.Get(s, "x"); v != 1 || err != nil {
				t.Error(v, err)
			}
		}
	}
}

func TestErrUnstorable_SortedKeys(t *testing.T) {
	type wave struct {
		Name  string
		Parts [2]struct{ Phase complex64 }
	}
	s := spacetest.Scratch(t)
	err := spacetest.Second(everheap.OpenSorted[complex128, int](s, "m"))
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "complex128 cannot be the key of a Sorted", "use strings, integers, floats")
	err = spacetest.Second(everheap.OpenSorted[wave, int](s, "m"))
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "field Parts[].Phase (complex64)", "the key of a Sorted")
	spacetest.ExpectError(t, spacetest.Second(everheap.OpenSorted[*int, int](s, "m")), everheap.ErrUnstorable)
	spacetest.ExpectError(t, spacetest.Second(everheap.OpenSorted[string, chan int](s, "m")), everheap.ErrUnstorable)
	spacetest.ExpectError(t, spacetest.Second(everheap.OpenMap[string, struct {
		M everheap.Sorted[complex64, int]
	}](s, "m")), everheap.ErrUnstorable, "no order")
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		spacetest.ExpectError(t, spacetest.Second(everheap.NewSorted[complex64, int](tx)), everheap.ErrUnstorable)
		return nil
	})
	spacetest.Must(t, spacetest.Second(everheap.OpenSorted[string, wave](s, "m"))) // the type is valid for values, and the refused opens left nothing
}

func TestErrNaN_Sorted(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[float64, string](t, s)
	nan := math.NaN()
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		spacetest.ExpectError(t, m.Set(tx, nan, "x"), everheap.ErrNaN)
		spacetest.ExpectError(t, spacetest.Second(m.Get(tx, nan)), everheap.ErrNaN)
		spacetest.ExpectError(t, spacetest.Second(m.Delete(tx, nan)), everheap.ErrNaN)
		spacetest.Must(t, m.Set(tx, math.Copysign(0, -1), "negative zero")) // the transaction can continue
		spacetest.Must(t, m.Set(tx, 0, "zero"))
		for _, f := range []float64{math.Inf(1), math.Inf(-1), -1, 1, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64} {
			spacetest.Must(t, m.Set(tx, f, ""))
		}
		return nil
	})
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if got := fmt.Sprint(keysOf(m.All(tx))); got != "[-Inf -1 -5e-324 0 5e-324 1 +Inf]" {
			t.Error(got)
		}
		if v := m.Peek(tx, math.Copysign(0, -1)); v == nil || *v != "zero" {
			t.Error("the two zeroes are two keys")
		}
		return nil
	})
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error {
		keysOf(m.Range(tx, everheap.Including(nan), everheap.Unbounded[float64]()))
		return nil
	}), everheap.ErrNaN)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { m.Rank(tx, nan); return nil }), everheap.ErrNaN)
	type point struct{ X, Y float32 }
	p, err := everheap.OpenSorted[[2]point, int](s, "points")
	spacetest.Must(t, err)
	spacetest.ExpectError(t, p.Set(s, [2]point{1: {Y: float32(nan)}}, 1), everheap.ErrNaN)
}

// orderOf sets keys in random order, and compares their order in the map with the reference.
func orderOf[K comparable](t *testing.T, s *everheap.Space, keys ...K) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(len(keys))))
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewSorted[K, int](tx)
		spacetest.Must(t, err)
		var want []K
		for _, i := range r.Perm(len(keys)) {
			if j, there := spacetest.Index(want, keys[i]); !there {
				want = slices.Insert(want, j, keys[i])
			}
			spacetest.Must(t, m.Set(tx, keys[i], i))
		}
		got := keysOf(m.All(tx))
		for i, k := range got {
			if i >= len(want) || spacetest.CompareKeys(reflect.ValueOf(k), reflect.ValueOf(want[i])) != 0 || m.Rank(tx, k) != i {
				t.Errorf("%T: key %d is %v, rank %d", k, i, k, m.Rank(tx, k))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%T: %d keys, want %d", *new(K), len(got), len(want))
		}
		return nil
	})
}

// integers makes keys of an integer type: small ones, and some of every size.
func integers[K int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64 | time.Duration | weekday](r *rand.Rand) (keys []K) {
	for i := range 200 {
		k := K(r.Uint64() >> r.IntN(64))
		keys = append(keys, k, -k, K(i)-50)
	}
	return keys
}

type weekday int8

// Keys of all types have the documented order.
func TestSorted_KeysOfEverySort(t *testing.T) {
	s := spacetest.Scratch(t)
	r := rand.New(rand.NewPCG(7, 7))
	orderOf(t, s, integers[int](r)...)
	orderOf(t, s, integers[int8](r)...)
	orderOf(t, s, integers[int16](r)...)
	orderOf(t, s, integers[int32](r)...)
	orderOf(t, s, integers[int64](r)...)
	orderOf(t, s, integers[uint](r)...)
	orderOf(t, s, integers[uint8](r)...)
	orderOf(t, s, integers[uint16](r)...)
	orderOf(t, s, integers[uint32](r)...)
	orderOf(t, s, integers[uint64](r)...)
	orderOf(t, s, integers[time.Duration](r)...)
	orderOf(t, s, integers[weekday](r)...)
	orderOf(t, s, false, true, false)
	orderOf(t, s, struct{}{}, struct{}{})
	orderOf(t, s, [0]string{})
	var floats []float32
	var times []time.Time
	var strs []string
	var arrays [][20]byte
	var composite []spacetest.TripleKey
	for i := range 300 {
		f := math.Float32frombits(r.Uint32())
		if f == f {
			floats = append(floats, f, -f, float32(i)/8)
		}
		times = append(times, time.Unix(r.Int64N(1<<40)-1<<39, r.Int64N(1e9)), time.Unix(1<<30, int64(i)).In(time.FixedZone("", i)), time.Now(), time.Time{})
		str := strings.Repeat("a long beginning ", r.IntN(4)) + strings.Repeat("\x00", r.IntN(3)) + fmt.Sprint(r.IntN(50))
		strs = append(strs, str, str+"\x00", str+"\xff", strings.Repeat("x", r.IntN(3000)))
		var a [20]byte
		a[r.IntN(20)], a[19] = byte(r.Uint32()), byte(i)
		arrays = append(arrays, a)
		composite = append(composite, spacetest.TripleKey{A: str, B: int32(i%5) - 2, C: float64(i%3) - 1})
	}
	orderOf(t, s, floats...)
	orderOf(t, s, times...)
	orderOf(t, s, strs...)
	orderOf(t, s, arrays...)
	orderOf(t, s, composite...)
	var refs []everheap.Ref[int]
	for i := range 100 {
		refs = append(refs, newRef(t, s, i))
	}
	orderOf(t, s, refs...)
}

func TestSorted_Prefix(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[spacetest.Named, int](t, s)
	all := []spacetest.Named{"", "a", "a\xff", "a\xff\xff", "a\xff\xff\x00", "a\xffb", "ab", "abc", "abcd", "abd", "b", "\xff", "\xff\xff", "\xff\xffz"}
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i, k := range all {
			spacetest.Must(t, m.Set(tx, k, i))
		}
		return nil
	})
	slices.Sort(all)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for _, p := range append([]spacetest.Named{"abx", "c", "a\xff\xff\xff"}, all...) {
			var want []spacetest.Named
			for _, k := range all {
				if strings.HasPrefix(string(k), string(p)) {
					want = append(want, k)
				}
			}
			from, to := everheap.Prefix(p)
			if got := keysOf(m.Range(tx, from, to)); !slices.Equal(got, want) {
				t.Errorf("prefix %q: %q, want %q", p, got, want)
			}
			slices.Reverse(want)
			if got := keysOf(m.Backward(tx, from, to)); !slices.Equal(got, want) {
				t.Errorf("prefix %q, backward: %q, want %q", p, got, want)
			}
		}
		return nil
	})
}

// Loops see the map as it was when they began, however they are nested, and the
// transaction sees its own changes.
func TestSorted_LoopsInLoops(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[int, int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 300 {
			spacetest.Must(t, m.Set(tx, i, i))
		}
		outer := 0
		for k, v := range m.All(tx) {
			if k != outer || *v != k {
				t.Fatalf("outer: key %d, value %d", k, *v)
			}
			outer++
			spacetest.Must(t, m.Set(tx, k, -k))
			spacetest.Must(t, m.Set(tx, 1000+k, k))
			if k%50 == 0 {
				inner := 0
				for range m.Backward(tx, everheap.Unbounded[int](), everheap.Unbounded[int]()) {
					inner++
					if ok, err := m.Delete(tx, 1000+inner-1); err != nil || ok != (inner <= k+1) && k == 0 {
						t.Fatal(ok, err)
					}
					if inner == 400 {
						break
					}
				}
				for j := range k + 1 {
					spacetest.Must(t, m.Set(tx, 1000+j, j))
				}
			}
			if *v != k {
				t.Fatalf("a borrowed value of %d became %d", k, *v)
			}
		}
		if n, err := m.Len(tx); outer != 300 || n != 600 || err != nil {
			t.Errorf("%d entries in the loop, %d after it (%v)", outer, n, err)
		}
		for k, v := range m.Range(tx, everheap.Unbounded[int](), everheap.Excluding(1000)) {
			if *v != -k {
				t.Errorf("key %d has %d", k, *v)
			}
		}
		return nil
	})
}

// Each operation without a transaction is durable if the space is.
func TestSorted_Durable(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithDurability(everheap.Durable), spacetest.WithoutBackground())
	m := sortedOf[string, int](t, s)
	for i, fn := range []func() error{
		func() error { return m.Set(s, "a", 1) },
		func() error { return m.Modify(s, "a", func(v *int) error { *v++; return nil }) },
		func() error { return m.Upsert(s, "b", func(v *int, _ bool) error { *v = 2; return nil }) },
		func() error { return spacetest.Second(m.Delete(s, "a")) },
	} {
		before := s.Stats().Version
		spacetest.Must(t, fn())
		if st := s.Stats(); st.Version == before || st.Durable < st.Version {
			t.Errorf("operation %d: version %d, durable %d", i, st.Version, st.Durable)
		}
	}
}

func TestSorted_NoAllocation(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	type point struct{ X, Y int }
	m := sortedOf[string, point](t, s)
	n, err := everheap.OpenSorted[[2]int, point](s, "n")
	spacetest.Must(t, err)
	for i := range 500 {
		spacetest.Must(t, m.Set(s, fmt.Sprint("key ", i), point{i, i}))
		spacetest.Must(t, n.Set(s, [2]int{i % 10, i}, point{i, i}))
	}
	key := "key 77"
	var tx *everheap.Tx
	spacetest.View(t, s, func(x *everheap.Tx) error {
		tx = x
		for name, fn := range map[string]func(){
			"Peek": func() { m.Peek(tx, key); n.Peek(tx, [2]int{7, 77}) }, "Get": func() { _, _ = m.Get(s, key); _, _ = n.Get(s, [2]int{7, 77}) },
			"Has": func() { _, _ = m.Has(tx, key) }, "Len": func() { _, _ = m.Len(s) }, "Rank": func() { m.Rank(tx, key) },
			"Nth": func() { n.Nth(tx, 100) }, "First": func() { n.First(tx) }, "Last": func() { n.Last(tx) },
		} {
			if n := testing.AllocsPerRun(100, fn); n > 0 {
				t.Errorf("%s allocates %v times", name, n)
			}
		}
		return nil
	})
	i := 0
	for name, fn := range map[string]func(){
		"Set": func() {
			spacetest.Must(t, m.Set(s, key, point{1, 2}))
			spacetest.Must(t, n.Set(s, [2]int{5, 5}, point{1, 2}))
		},
		"Set and Delete": func() {
			i++
			spacetest.Must(t, n.Set(s, [2]int{i}, point{1, 2}))
			spacetest.Must(t, spacetest.Second(n.Delete(s, [2]int{i})))
		},
	} {
		if n := testing.AllocsPerRun(200, fn); n > 0 { // rounded down: lists of what was freed grow now and then
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// Handles of sorted maps can be values, and are checked as others are.
func TestSorted_AsValue(t *testing.T) {
	s := spacetest.Scratch(t)
	type shelf struct{ Books everheap.Sorted[string, int] }
	shelves, err := everheap.OpenSorted[int, shelf](s, "shelves")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 100 {
			books, err := everheap.NewSorted[string, int](tx)
			spacetest.Must(t, err)
			for j := range i % 7 {
				spacetest.Must(t, books.Set(tx, fmt.Sprint("book ", 9-j), j))
			}
			spacetest.Must(t, shelves.Set(tx, -i, shelf{books}))
		}
		return nil
	})
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		i := 99
		for k, v := range shelves.All(tx) {
			if got := len(keysOf(v.Books.All(tx))); k != -i || got != i%7 {
				t.Errorf("shelf %d has %d books", k, got)
			}
			i--
		}
		return nil
	})
	m, err := everheap.OpenMap[string, int](s, "map")
	spacetest.Must(t, err)
	bad := shelf{spacetest.Convert[everheap.Map[string, int], everheap.Sorted[string, int]](m)}
	spacetest.ExpectError(t, shelves.Set(s, 1, bad), everheap.ErrTypeChanged, "stored:  a map")
	var lost everheap.Sorted[string, int]
	err = s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		lost, err = everheap.NewSorted[string, int](tx)
		spacetest.Must(t, err)
		return spacetest.ErrOfTest
	})
	spacetest.ExpectError(t, err, spacetest.ErrOfTest)
	spacetest.ExpectError(t, shelves.Set(s, 1, shelf{lost}), everheap.ErrDangling)
	if n, err := shelves.Len(s); n != 100 || err != nil {
		t.Error(n, err)
	}
}

// A value that cannot be stored leaves the transaction, and the map, as they were.
func TestSorted_RefusedValue(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[string, everheap.Ref[int]](t, s)
	other := spacetest.Scratch(t)
	for spacetest.Engine(s).Tag() == spacetest.Engine(other).Tag() { // one time in 32768
		other = spacetest.Scratch(t)
	}
	r := newRef(t, s, 1)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 100 {
			spacetest.Must(t, m.Set(tx, fmt.Sprint(i), r))
			spacetest.ExpectError(t, m.Set(tx, fmt.Sprint(i, "x"), newRef(t, other, i)), everheap.ErrDangling)
		}
		return nil
	})
	if n, err := m.Len(s); n != 100 || err != nil {
		t.Error(n, err)
	}
}
