package entry_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/layout"
)

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// typeFor compiles a type.
func typeFor[T any](t testing.TB) *layout.Type {
	t.Helper()
	typ, err := layout.For[T]()
	must(t, err)
	return typ
}

// shapeFor returns the shape for two types.
func shapeFor[K, V any](t testing.TB) *entry.Shape {
	return entry.NewShape(typeFor[K](t), typeFor[V](t), 42)
}

// at turns the address of a block into its payload.
func at(a format.Addr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)
}

// same writes an entry for each key and value, and compares the keys and values in the entries.
func same[K comparable, V any](t *testing.T, space *heaptest.Space, keys []K, values []V) {
	t.Helper()
	sh := shapeFor[K, V](t)
	var list []format.Addr
	must(t, space.Update(t, func(txn *heap.Txn) error {
		for i := range keys {
			hash, err := sh.Hash(unsafe.Pointer(&keys[i]))
			must(t, err)
			a, err := sh.New(txn, hash, unsafe.Pointer(&keys[i]), unsafe.Pointer(&values[i]))
			must(t, err)
			list = append(list, a)
		}
		return nil
	}))
	r := space.Heap.Reader(true)
	for i, a := range list {
		must(t, r.Verify(a, format.KindEntry))
		e := at(a)
		bounds := entry.Bounds(&r, e)
		var key K
		var value V
		must(t, sh.Key.CopyOut(unsafe.Pointer(&key), sh.KeyOf(e), bounds))
		must(t, sh.Value.CopyOut(unsafe.Pointer(&value), sh.ValueOf(e), bounds))
		if key != keys[i] || !reflect.DeepEqual(value, values[i]) {
			t.Errorf("entry %d holds %v and %v, not %v and %v", i, key, value, keys[i], values[i])
		}
		if got := sh.Of(sh.ValueOf(e)); got != e {
			t.Errorf("the value of entry %d is of another one", i)
		}
		checked, err := sh.CheckedKey(&r, e)
		must(t, err)
		stored, err := sh.StoredKey(&r, e)
		must(t, err)
		if checked != sh.KeyOf(e) || stored != checked {
			t.Errorf("the key of entry %d is elsewhere", i)
		}
		for k := range keys {
			hash, err := sh.Hash(unsafe.Pointer(&keys[k]))
			must(t, err)
			if got := sh.Matches(e, hash, unsafe.Pointer(&keys[k])); got != (keys[k] == keys[i]) {
				t.Errorf("entry %d has key %d: %t", i, k, got)
			}
			if sh.Matches(e, hash+1, unsafe.Pointer(&keys[k])) {
				t.Errorf("entry %d matches another hash", i)
			}
			equal, err := sh.SameKey(&r, e, &r, at(list[k]))
			must(t, err)
			if equal != (keys[k] == keys[i]) {
				t.Errorf("entries %d and %d have the same key: %t", i, k, equal)
			}
		}
	}
}

// pair is a key with two parts, of which one owns something.
type pair struct {
	Name string
	N    int32
}

// owner is a value that owns much.
type owner struct {
	Flag  bool
	Text  string
	Parts []pair
	Self  *owner
}

// An entry has its key and its value, and matches its own key only. The keys and values are of all
// shapes: with and without owned parts, strings, with gaps.
func TestShape_HoldsKeyAndValue(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	texts := []string{"", "a", "eight by", "a text of some length that takes more than one line of the cache, as they come", strings.Repeat("long ", 20_000)}
	numbers := []uint64{0, 1, 1 << 63, 77, math.MaxUint64}
	same(t, space, texts, texts)
	same(t, space, texts, numbers)
	same(t, space, numbers, texts)
	same(t, space, []int8{-1, 0, 1}, []bool{true, false, true})
	same(t, space, []pair{{"a", 1}, {"a", 2}, {"", 1}}, []owner{
		{}, {Flag: true, Text: "text", Parts: []pair{{"x", 1}, {"y", 2}}}, {Self: &owner{Text: "inside"}, Parts: []pair{}},
	})
}

// dirty leaves free blocks of many sizes, filled with a byte.
func dirty(t *testing.T, txn *heap.Txn, with byte) {
	t.Helper()
	var list []format.Addr
	for size := format.ByteCount(8); size < 120; size += 8 {
		for range 4 {
			a, err := txn.Alloc(format.KindInner, size)
			must(t, err)
			for i := range size {
				*(*byte)(unsafe.Add(txn.Payload(a), i)) = with
			}
			list = append(list, a)
		}
	}
	for _, a := range list {
		txn.Free(a)
	}
}

// Equal entries have equal bytes in any block, and so have equal elements: the gaps between their
// parts are zero, also in a reused block.
func TestNew_SameBytes(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	sh, cell := shapeFor[int8, pair](t), entry.NewItem(typeFor[int8](t), nil)
	key, value := int8(5), pair{"name", 9}
	seen := map[string]bool{}
	for round := range 3 {
		must(t, space.Update(t, func(txn *heap.Txn) error {
			dirty(t, txn, byte(0xa0+round))
			a, err := sh.New(txn, 3, unsafe.Pointer(&key), unsafe.Pointer(&value))
			must(t, err)
			b := append([]byte(nil), unsafe.Slice((*byte)(txn.Payload(a)), txn.Reader.Size(a))...)
			must(t, sh.Move(b, uintptr(a)+format.HeaderSize, 1<<20))
			c, err := cell.New(txn, 0, unsafe.Pointer(&key))
			must(t, err)
			seen[string(append(b, unsafe.Slice((*byte)(txn.Payload(c)), txn.Reader.Size(c))...))] = true
			return nil
		}))
	}
	if len(seen) != 1 {
		t.Errorf("equal values have %d different stored forms: %q", len(seen), slices.Collect(maps.Keys(seen)))
	}
}

// New returns the error of the check for a handle that must not be stored, and writes no block.
func TestShape_JudgesHandles(t *testing.T) {
	type link struct {
		_  layout.MapOf[string, int]
		ID uint64
	}
	space := heaptest.Open(t, 64<<20)
	sh, cell := shapeFor[uint64, link](t), entry.NewItem(typeFor[link](t), nil)
	refused := errors.New("refused")
	check := func(_ *layout.Type, id uint64) error {
		if id == 13 {
			return refused
		}
		return nil
	}
	sh.CheckHandles(check)
	cell = entry.NewItem(cell.Type, check)
	must(t, space.Update(t, func(txn *heap.Txn) error {
		for _, id := range []uint64{12, 13} {
			v, before := link{ID: id}, txn.Bytes()
			_, err := sh.New(txn, 1, unsafe.Pointer(&id), unsafe.Pointer(&v))
			_, cellErr := cell.New(txn, 0, unsafe.Pointer(&v))
			if bad := id == 13; errors.Is(err, refused) != bad || errors.Is(cellErr, refused) != bad {
				t.Errorf("handle %d: %v, %v", id, err, cellErr)
			} else if taken := txn.Bytes() - before; (taken == 0) != bad {
				t.Errorf("handle %d takes %d bytes", id, taken)
			}
		}
		return nil
	}))
}

// A cell holds one value; a reference's cell has a word before it.
func TestCell_HoldsItsValue(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	item, value := entry.NewItem(typeFor[owner](t), nil), entry.NewValue(typeFor[string](t), nil)
	empty := entry.NewItem(typeFor[struct{}](t), nil)
	var a, b, c format.Addr
	want, text := owner{Text: "text", Parts: []pair{{"p", 1}}}, "a value"
	must(t, space.Update(t, func(txn *heap.Txn) (err error) {
		a, err = item.New(txn, 0, unsafe.Pointer(&want))
		must(t, err)
		b, err = value.New(txn, format.MakeValueType(99), unsafe.Pointer(&text))
		must(t, err)
		c, err = empty.New(txn, 0, unsafe.Pointer(&struct{}{}))
		return err
	}))
	r := space.Heap.Reader(true)
	must(t, errors.Join(r.Verify(a, format.KindItem), r.Verify(b, format.KindValue), r.Verify(c, format.KindItem)))
	var got owner
	must(t, item.Type.CopyOut(unsafe.Pointer(&got), item.ValueOf(at(a)), entry.Bounds(&r, at(a))))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the element is %+v", got)
	}
	if s := *(*string)(value.ValueOf(at(b))); s != text {
		t.Errorf("the value is %q", s)
	}
	if index, ok := format.ValueType(*(*uint64)(at(b))); !ok || index != 99 {
		t.Errorf("it is of type %d: %t", index, ok)
	}
}

// Keys have the order of Go, whether stored or not, and whichever words of their ordered form are
// compared first.
func TestShape_Orders(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "\x00", "\x00\x00", "a", "ab", "abcdefgh", "abcdefgh\x00", "abcdefghi", "\xff"}
	for range 40 {
		texts = append(texts, fmt.Sprint("common beginning ", r.IntN(50)))
	}
	ordered(t, space, texts, cmp.Compare[string])
	var numbers []int32
	for range 40 {
		numbers = append(numbers, int32(r.Uint32()))
	}
	ordered(t, space, append(numbers, 0, -1, 1, math.MinInt32, math.MaxInt32), cmp.Compare[int32])
	ordered(t, space, []pair{{"a", 2}, {"a", -2}, {"", 5}, {"b", 0}, {"a\x00", 0}}, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.N, b.N))
	})
}

// ordered compares each key with the entries of all keys.
func ordered[K any](t *testing.T, space *heaptest.Space, keys []K, compare func(a, b K) int) {
	t.Helper()
	sh := shapeFor[K, uint64](t)
	must(t, entry.CheckKeys(sh.Key, format.KindSorted))
	var list []format.Addr
	must(t, space.Update(t, func(txn *heap.Txn) error {
		for i := range keys {
			value := uint64(i)
			a, err := sh.New(txn, 0, unsafe.Pointer(&keys[i]), unsafe.Pointer(&value))
			must(t, err)
			list = append(list, a)
		}
		return nil
	}))
	reader := space.Heap.Reader(false)
	for i := range keys {
		for k := range keys {
			want := compare(keys[i], keys[k])
			got, err := sh.Compare(&reader, unsafe.Pointer(&keys[i]), at(list[k]))
			must(t, err)
			if got != want {
				t.Errorf("%v and the entry of %v: %d, not %d", keys[i], keys[k], got, want)
			}
			stored := sh.KeyOf(at(list[k]))
			same := sh.Common(unsafe.Pointer(&keys[i]), stored, 0, 64)
			if a, b := sh.Word(unsafe.Pointer(&keys[i]), same), sh.Word(stored, same); same < 64 && cmp.Compare(a, b) != want && a != b {
				t.Errorf("%v and %v agree in %d bytes, and then %#x and %#x", keys[i], keys[k], same, a, b)
			}
			if want == 0 && same != 64 {
				t.Errorf("%v agrees with itself in %d bytes", keys[i], same)
			}
		}
	}
}

// A key with an address outside its entry is damage, and is not read.
func TestShape_DamagedKeys(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	sh := shapeFor[string, string](t)
	key, value := "key", "value"
	var a format.Addr
	must(t, space.Update(t, func(txn *heap.Txn) (err error) {
		hash, err := sh.Hash(unsafe.Pointer(&key))
		must(t, err)
		if a, err = sh.New(txn, hash, unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
			return err
		}
		head := (*[2]uint64)(unsafe.Add(txn.Payload(a), 8))
		for name, damage := range map[string][2]uint64{"elsewhere": {head[0] + 8, 3}, "too long": {head[0], 1 << 40}, "nowhere": {0, 3}} {
			was := *head
			*head = damage
			r := txn.Reader
			var err *format.DamageError
			if _, got := sh.Compare(&r, unsafe.Pointer(&key), at(a)); !errors.As(got, &err) {
				t.Errorf("%s: comparing says %v", name, got)
			}
			if _, got := sh.StoredKey(&r, at(a)); !errors.As(got, &err) {
				t.Errorf("%s: the stored key is %v", name, got)
			}
			if sh.Matches(at(a), hash, unsafe.Pointer(&key)) {
				t.Errorf("%s: it matches", name)
			}
			if _, got := sh.CheckedKey(&r, at(a)); got == nil {
				t.Errorf("%s: the checked key is there", name)
			}
			*head = was
		}
		return nil
	}))
}

// Types whose values have no hash, or no order, cannot be keys, and some values cannot.
func TestCheckKeys(t *testing.T) {
	must(t, entry.CheckKeys(typeFor[string](t), format.KindMap))
	if err := entry.CheckKeys(typeFor[[]string](t), format.KindMap); err == nil {
		t.Error("a slice is a key")
	}
	sh, nan := shapeFor[float64, int](t), math.NaN()
	if _, err := sh.Hash(unsafe.Pointer(&nan)); err == nil {
		t.Error("a NaN has a hash")
	}
	if err := sh.CheckOrder(unsafe.Pointer(&nan)); err == nil {
		t.Error("a NaN has an order")
	}
	sh.CutHash(3)
	one := 1.0
	if h, err := sh.Hash(unsafe.Pointer(&one)); err != nil || h > 7 {
		t.Errorf("a hash of three bits is %d: %v", h, err)
	}
}
