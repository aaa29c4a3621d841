package layout

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// Handles as the public package declares them.
type (
	testMap[K comparable, V any] struct {
		_  MapOf[K, V]
		id uint64
	}
	testList[T any] struct {
		_  ListOf[T]
		id uint64
	}
	testRef[T any] struct {
		_  RefOf[T]
		id uint64
	}
	testSorted[K comparable, V any] struct {
		_  SortedOf[K, V]
		id uint64
	}
)

type folder struct {
	Name string
	Kids testMap[string, folder]
	Log  testList[[]byte]
	Up   []testRef[folder]
	Best testSorted[int, *folder]
}

//lint:ignore U1000 the field makes it look like a lock
type spin struct{ state int32 }

func (*spin) Lock()   {}
func (*spin) Unlock() {}

type embedsMutex struct {
	sync.Mutex
	N int
}

func TestOf_UnstorableError(t *testing.T) {
	type prefs struct {
		Name  string
		Prefs interface{ Nobody() }
	}
	for _, c := range []struct {
		v            any
		path, advice string
	}{
		{prefs{}, "Prefs", "call everheap.Register for its concrete types first"},
		{struct{ A []*prefs }{}, "A[].Prefs", "everheap.Register"},
		{struct{ A [2]struct{ c chan int } }{}, "A[].c", "Watch"},
		{struct{ F func() }{}, "F", "data that selects"},
		{struct{ E context.Context }{}, "E", "everheap.Register"},
		{struct{ U uintptr }{}, "U", "uint64"},
		{struct{ P unsafe.Pointer }{}, "P", "concrete type"},
		{struct{ M sync.Mutex }{}, "M", "Space.Mutex"},
		{embedsMutex{}, "Mutex", "Space.Mutex"},
		{struct{ N atomic.Int64 }{}, "N", "outside"},
		{struct{ S spin }{}, "S", "Space.Mutex"},
		{struct{ V reflect.Value }{}, "V", "value itself"},
		{struct{ L *time.Location }{}, "L", "name of the location"},
		{struct{ F *os.File }{}, "F.file", ""},
		{struct{ K testMap[*int, int] }{}, "", "key"},
		{struct{ K testMap[string, chan int] }{}, "K.value", "Watch"},
		{map[string]chan int{}, "value", "Watch"},
		{(*[1 << 32]int8)(nil), "", "2 GiB"},
		{[1 << 20]struct{}{}, "", "size zero"},
	} {
		rt := reflect.TypeOf(c.v)
		_, err := Of(rt)
		var u *UnstorableError
		if !errors.As(err, &u) {
			t.Errorf("%s: got %v, want an UnstorableError", rt, err)
			continue
		}
		if !strings.HasPrefix(u.Path, c.path) || c.path == "" && u.Path != "" || !strings.Contains(u.Advice, c.advice) {
			t.Errorf("%s: got %v, want path %q and advice %q", rt, err, c.path, c.advice)
		}
		if _, again := Of(rt); again == nil {
			t.Errorf("%s: refused, then accepted", rt)
		}
	}
	_, err := For[prefs]()
	want := "everheap: type layout.prefs: field Prefs (interface { Nobody() }) cannot be stored; call everheap.Register for its concrete types first: no registered type implements it"
	if err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestOf_Concurrent(t *testing.T) {
	type a struct{ B []struct{ C *folder } }
	var group sync.WaitGroup
	types := make([]*Type, 8)
	for i := range types {
		group.Go(func() { types[i], _ = For[a]() })
	}
	group.Wait()
	for _, typ := range types {
		if typ == nil || typ != types[0] {
			t.Fatal("a Go type has more than one descriptor")
		}
	}
}

func TestOf_Handles(t *testing.T) {
	typ := typeFor[folder](t)
	kids := typ.Fields()[1].Type
	if kids.Kind() != Map || kids.Key().Kind() != String || kids.Elem() != typ || kids.Size() != 8 {
		t.Errorf("got %v of %v and %v", kids.Kind(), kids.Key(), kids.Elem())
	}
	r := newRegion(t, 1<<16)
	f := folder{Name: "root", Up: []testRef[folder]{{id: 3}, {}, {id: 4}}}
	f.Kids.id, f.Log.id, f.Best.id = 1, 2, 5
	check(t, r, f)
	p, b := r.store(t, typ, unsafe.Pointer(&f))
	var got []uint64
	err := typ.Handles(p, b, func(kind HandleKind, id uint64) bool {
		got = append(got, uint64(kind)<<8|id)
		return true
	})
	want := []uint64{uint64(Map)<<8 | 1, uint64(List)<<8 | 2, uint64(Ref)<<8 | 3, uint64(Ref)<<8 | 4, uint64(Sorted)<<8 | 5}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %x (%v), want %x", got, err, want)
	}
	count := 0
	err = typ.Handles(p, b, func(HandleKind, uint64) bool { count++; return count < 2 })
	if err != nil || count != 2 {
		t.Errorf("got %d calls (%v), want 2", count, err)
	}
}

func TestEncode_DecodeIsEqual(t *testing.T) {
	for _, typ := range []*Type{
		typeFor[int](t), typeFor[time.Time](t), typeFor[node](t), typeFor[profile](t), typeFor[loop](t),
		typeFor[folder](t), typeFor[map1](t), typeFor[**tree](t), typeFor[time.Duration](t),
	} {
		got, err := Decode(typ.Encode())
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if !Same(got, typ) || got.String() != typ.String() || got.GoType() != nil || len(Diff(got, typ)) != 0 {
			t.Errorf("got %s, want %s", got, typ)
		}
		if !reflect.DeepEqual(len(got.ops), len(typ.ops)) || got.graph != typ.graph || got.owns != typ.owns {
			t.Errorf("%s: decoded descriptor works differently", typ)
		}
	}
}

type map1 struct {
	A [3]struct{ B map2 } `everheap:"was=Old"`
}
type map2 testMap[struct{ X, Y int16 }, []map1]

func TestDecode_DamageError(t *testing.T) {
	good := typeFor[profile](t).Encode()
	for i := range good {
		if _, err := Decode(good[:i]); err == nil {
			t.Errorf("cut to %d bytes: accepted", i)
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			typ, err := Decode(bad)
			var d *DamageError
			if err != nil && !errors.As(err, &d) {
				t.Errorf("got %v, want a DamageError", err)
			}
			if err == nil && !bytes.Equal(typ.Encode(), bad) {
				t.Errorf("byte %d bit %d: decoded, but encodes differently", i, bit)
			}
		}
	}
}

func TestSame_IgnoresTags(t *testing.T) {
	a, _ := Of(reflect.TypeOf(struct{ A int }{}))
	b, _ := Of(reflect.TypeOf(struct {
		A int `everheap:"was=B"`
	}{}))
	if !Same(a, b) || Diff(a, b) != nil || bytes.Equal(a.Encode(), b.Encode()) {
		t.Error("a tag must be stored, but is not a difference")
	}
}

type key struct {
	A int8
	S string
	F float64
	W time.Time
	_ int32
	R [2]int16
}

func TestHash_EqualKeysAreEqual(t *testing.T) {
	typ := typeFor[key](t)
	when := time.Unix(5, 6)
	a := key{1, "x", 0, when.UTC(), 7, [2]int16{1, 2}}
	b := key{1, string([]byte{'x'}), math.Copysign(0, -1), when.In(time.FixedZone("Z", 60)), 8, [2]int16{1, 2}}
	*(*byte)(unsafe.Add(unsafe.Pointer(&b), 3)) = 9 // padding
	ha, err1 := typ.Hash(1, NoEscapeKey(&a))
	hb, err2 := typ.Hash(1, NoEscapeKey(&b))
	if err1 != nil || err2 != nil || ha != hb || !typ.Equal(NoEscapeKey(&a), NoEscapeKey(&b)) {
		t.Errorf("equal keys differ: %x, %x (%v, %v)", ha, hb, err1, err2)
	}
	if other, _ := typ.Hash(2, NoEscapeKey(&a)); other == ha {
		t.Error("the seed does not change the hash")
	}
	for i, change := range []func(*key){
		func(k *key) { k.A++ }, func(k *key) { k.S = "y" }, func(k *key) { k.F = 1 },
		func(k *key) { k.W = k.W.Add(1) }, func(k *key) { k.R[1]++ },
	} {
		c := a
		change(&c)
		if h, _ := typ.Hash(1, NoEscapeKey(&c)); h == ha || typ.Equal(NoEscapeKey(&a), NoEscapeKey(&c)) {
			t.Errorf("change %d does not change the hash", i)
		}
		if x, y := typ.Compare(NoEscapeKey(&a), NoEscapeKey(&c)), typ.Compare(NoEscapeKey(&c), NoEscapeKey(&a)); x != -1 || y != 1 {
			t.Errorf("change %d: compares as %d and %d", i, x, y)
		}
	}
	a.F = math.NaN()
	if _, err := typ.Hash(1, NoEscapeKey(&a)); !errors.Is(err, ErrNaN) {
		t.Errorf("got %v, want ErrNaN", err)
	}
}

func TestHash_StoredFormIsStable(t *testing.T) {
	n, s := int64(42), "forty-two"
	hn, _ := typeFor[int64](t).Hash(7, NoEscapeKey(&n))
	hs, _ := typeFor[string](t).Hash(7, NoEscapeKey(&s))
	if hn != 0xb117e48ca46dc725 || hs != 0x721923f540a1c412 {
		t.Errorf("hashes changed: %#x, %#x; maps that were stored cannot be read", hn, hs)
	}
}

func TestKeyError_Roles(t *testing.T) {
	type bad struct{ A [2]struct{ B []int } }
	for _, c := range []struct {
		typ        *Type
		key, order bool
	}{
		{typeFor[string](t), true, true}, {typeFor[key](t), true, true}, {typeFor[bool](t), true, true},
		{typeFor[complex64](t), true, false}, {typeFor[testRef[int]](t), true, true},
		{typeFor[[]byte](t), false, false}, {typeFor[*int](t), false, false}, {typeFor[bad](t), false, false},
	} {
		if got := c.typ.KeyError() == nil; got != c.key {
			t.Errorf("%s as key: %v", c.typ, c.typ.KeyError())
		}
		if got := c.typ.OrderError() == nil; got != c.order {
			t.Errorf("%s as ordered key: %v", c.typ, c.typ.OrderError())
		}
	}
	want := "everheap: type layout.bad: field A[].B ([]int) cannot be a key; use strings, numbers, time.Time, and arrays and structs of those"
	if err := typeFor[bad](t).KeyError(); err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestParseJSON_Errors(t *testing.T) {
	type zip struct{ Zip int16 }
	type person struct {
		Address zip
		Tags    []string
		Next    *person
		When    time.Time
		Raw     [2]byte
		M       testMap[int, int]
		PP      **int
	}
	typ := typeFor[person](t)
	for text, want := range map[string]string{
		`{"Address":{"Zip":"x"}}`:    "field Address.Zip: want a number, got a string",
		`{"Address":{"Zip":40000}}`:  "field Address.Zip: the number 40000 does not fit int16",
		`{"Address":{"Zip":1.5}}`:    "field Address.Zip: want a whole number for int16, got the number 1.5",
		`{"Tags":["a",7]}`:           "field Tags[1]: want a string, got the number 7",
		`{"Next":{"Next":{"X":1}}}`:  `field Next.Next: unknown field "X"`,
		`{"Next":{"$ref":9}}`:        "field Next: want the $id of an earlier",
		`{"When":"yesterday"}`:       "field When: want a time",
		`{"Raw":"AQID"}`:             "field Raw: want 2 bytes, got 3",
		`{"M":{"$list":"00"}}`:       "field M: want {\"$map\"",
		`{"PP":null,"Address":null}`: "field Address: want an object, got null",
		`{"PP":7}`:                   "field PP: want null or {\"$value\"",
		`{} {}`:                      "more text",
		`{"Tags":`:                   "unexpected EOF",
		"{\"Tags\":[\"\xff\"]}":      "UTF-8",
	} {
		_, err := typ.ParseJSON([]byte(text))
		var j *JSONError
		if !errors.As(err, &j) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	if _, err := typ.ParseJSON([]byte(`{}`)); err != nil {
		t.Errorf("missing fields: %v", err)
	}
}

func TestAppendJSON_Form(t *testing.T) {
	r := newRegion(t, 1<<16)
	x := 1
	px := &x
	v := struct {
		A    int64
		b    []byte
		S    string
		F    []float64
		P, Q *int
		PP   **int
		W    time.Time
		R    testRef[int]
	}{math.MaxInt64, []byte("hi"), "\xff", []float64{math.NaN(), math.Inf(1), 1e300}, px, px, new(*int),
		time.Date(2020, 1, 2, 3, 4, 5, 600, time.UTC), testRef[int]{id: 0xab}}
	typ, err := Of(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	p, b := r.store(t, typ, unsafe.Pointer(&v))
	got, err := typ.AppendJSON(nil, p, b)
	want := `{"A":9223372036854775807,"b":"aGk=","S":{"$bytes":"/w=="},"F":["NaN:7ff8000000000001","Infinity",1e+300],` +
		`"P":{"$id":1,"$value":1},"Q":{"$ref":1},"PP":{"$value":null},"W":"2020-01-02T03:04:05.0000006Z","R":{"$ref":"00000000000000ab"}}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
	if _, err := typ.ParseJSON(got); err != nil {
		t.Error(err)
	}
}
