package layout

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// dict is declared as everheap.Dict is.
type dict[K comparable, V any] struct {
	_       DictOf[K, V]
	index   []uint32
	entries []DictEntry[K, V]
}

func dictFrom[K comparable, V any](m map[K]V) (d dict[K, V]) {
	d.index, d.entries = MakeDict(m)
	return d
}

func (d *dict[K, V]) find(key K) int { return FindDict(d.index, d.entries, key) }

// numbered returns a Dict with n keys that key makes.
func numbered[K comparable](n int, key func(i int) K) dict[K, int] {
	m := map[K]int{}
	for i := range n {
		m[key(i)] = i
	}
	return dictFrom(m)
}

type place struct {
	Street string
	No     uint16
	OK     bool
}

// folders is a Dict that contains itself, by way of its values.
type folders struct {
	Name string
	Kids dict[string, folders]
}

// linked has pointers in the values of a Dict, also to itself.
type linked struct {
	By   dict[int32, *linked]
	Name string
}

func TestDict_RoundTrip(t *testing.T) {
	r := newRegion(t, 1<<20)
	for _, n := range []int{0, 1, 2, dictScan, dictScan + 1, 100, 1000} {
		check(t, r, numbered(n, func(i int) string { return strings.Repeat("k", i%20) + fmt.Sprint(i) }))
		check(t, r, numbered(n, func(i int) int32 { return int32(i * 7919) }))
		check(t, r, numbered(n, func(i int) float64 { return float64(i) - 3.5 }))
		check(t, r, numbered(n, func(i int) complex64 { return complex(float32(i%7), float32(-i)) }))
		check(t, r, numbered(n, func(i int) time.Time { return time.Unix(int64(i*i), int64(i)).UTC() }))
		check(t, r, numbered(n, func(i int) place { return place{fmt.Sprint("s", i%3), uint16(i), i%2 == 0} }))
		check(t, r, numbered(n, func(i int) [2]string { return [2]string{fmt.Sprint(i % 5), fmt.Sprint(i)} }))
	}
	check(t, r, numbered(1, func(int) struct{} { return struct{}{} }))
	check(t, r, dictFrom(map[struct{}]struct{}{{}: {}}))
	check(t, r, dictFrom(map[bool][]string{true: {"a", ""}, false: nil}))
	check(t, r, dictFrom(map[string]dict[int8, string]{"a": dictFrom(map[int8]string{1: "x"}), "$b": {}, "\xff": {}}))
	deep := folders{}
	for range 2000 {
		deep = folders{"", dictFrom(map[string]folders{"": deep})}
	}
	check(t, r, deep)
	check(t, r, folders{"root", dictFrom(map[string]folders{"a": {Name: "a"}, "b": {"b", dictFrom(map[string]folders{"c": {Name: "c"}})}})})
	a := &linked{Name: "a"}
	a.By = dictFrom(map[int32]*linked{1: a, 2: {Name: "b"}})
	p := trip(t, r, &linked{By: dictFrom(map[int32]*linked{1: a, 2: a})})
	if x, y := p.By.entries[0].Value, p.By.entries[1].Value; x != y || x.By.entries[0].Value != x || x.By.entries[1].Value.Name != "b" {
		t.Errorf("got %+v", p)
	}
}

// dictModel compares lookups in a Dict and in its stored form with a map.
func dictModel[K comparable](t *testing.T, r *region, keys func(i int) K) {
	t.Helper()
	for n := range 40 {
		d := numbered(n, keys)
		p, _ := r.store(t, typeFor[dict[K, int]](t), unsafe.Pointer(&d))
		stored := (*dict[K, int])(p)
		for i := range n + 10 {
			at := d.find(keys(i))
			if i < n && (at < 0 || d.entries[at].Value != i) || i >= n && at >= 0 {
				t.Fatalf("of %d entries: %v is at %d", n, keys(i), at)
			}
			if !typeFor[K](t).Coded() && stored.find(keys(i)) != at {
				t.Fatalf("of %d entries: %v is at %d in the stored form, want %d", n, keys(i), stored.find(keys(i)), at)
			}
		}
	}
}

func TestDict_Find(t *testing.T) {
	r := newRegion(t, 1<<20)
	dictModel(t, r, func(i int) string { return strings.Repeat("x", i) })
	dictModel(t, r, func(i int) uint8 { return uint8(i * 3) })
	dictModel(t, r, func(i int) int { return i << 50 })
	dictModel(t, r, func(i int) float32 { return float32(i) / 3 })
	dictModel(t, r, func(i int) complex128 { return complex(float64(i), -1) })
	dictModel(t, r, func(i int) place { return place{"s", uint16(i), true} })
	dictModel(t, r, func(i int) [3]int16 { return [3]int16{1, int16(i), 2} })
	dictModel(t, r, func(i int) time.Time { return time.Unix(int64(i), 5).In(time.FixedZone("x", i*60)) })
	dictModel(t, r, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{1, 2, 3, byte(i)}) })
	dictModel(t, r, func(i int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{1, 2, 3, byte(i)}), 9) })

	zeros := dictFrom(map[float64]string{math.Copysign(0, -1): "zero", 1: "one"})
	if i := zeros.find(0); i < 0 || zeros.entries[i].Value != "zero" {
		t.Errorf("the other zero is at %d", i)
	}
	if i := zeros.find(math.NaN()); i >= 0 {
		t.Errorf("NaN is at %d", i)
	}
	now := time.Now()
	if d := dictFrom(map[time.Time]int{now: 1, now.UTC().Round(0): 1}); len(d.entries) != 1 || d.find(now) != 0 {
		t.Errorf("one instant is there %d times", len(d.entries))
	}
	for _, n := range []int{1, 20} {
		wantPanic(t, ErrNaN, func() { numbered(n, func(i int) float64 { return math.NaN() }) })
		wantPanic(t, ErrNaN, func() { numbered(n, func(i int) complex64 { return complex(1, float32(math.NaN())) }) })
	}
	wantPanic(t, nil, func() { dictFrom(map[*int]int{nil: 1}) })
}

func wantPanic(t *testing.T, want error, fn func()) {
	t.Helper()
	defer func() {
		if err, _ := recover().(error); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("the panic is %v, not %v", err, want)
		}
	}()
	fn()
}

// WithDict and WithoutDict give the Dict of the changed map, byte for byte.
func TestDict_With(t *testing.T) {
	r := newRegion(t, 1<<20)
	rng := random(t)
	m, d := map[uint16]string{}, dict[uint16, string]{}
	typ := typeFor[dict[uint16, string]](t)
	image := func(d dict[uint16, string]) []byte {
		p, b := r.store(t, typ, unsafe.Pointer(&d))
		img, err := typ.Detach(p, b)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	for i := range 300 {
		key := uint16(rng.IntN(30))
		if at := d.find(key); rng.IntN(2) == 0 {
			m[key] = fmt.Sprint(i)
			d.index, d.entries = WithDict(d.entries, key, fmt.Sprint(i))
		} else if _, has := m[key]; has != (at >= 0) {
			t.Fatalf("%d is at %d", key, at)
		} else if has {
			delete(m, key)
			d.index, d.entries = WithoutDict(d.entries, at)
		}
		if !bytes.Equal(image(d), image(dictFrom(m))) {
			t.Fatalf("after %d changes: %v, and the map is %v", i, d, m)
		}
		for i := range d.entries {
			if i > 0 && d.entries[i-1].Key >= d.entries[i].Key {
				t.Fatalf("out of order: %v", d)
			}
		}
	}
}

// A Dict with wrong entries or a wrong index is damaged.
func TestDict_Damage(t *testing.T) { // LY11
	r := newRegion(t, 1<<20)
	typ := typeFor[dict[float64, int]](t)
	for what, harm := range map[string]func(d *dict[float64, int]){
		"order":    func(d *dict[float64, int]) { d.entries[0], d.entries[1] = d.entries[1], d.entries[0] },
		"twice":    func(d *dict[float64, int]) { d.entries[1].Key = d.entries[0].Key },
		"NaN":      func(d *dict[float64, int]) { d.entries[0].Key = math.NaN() },
		"key":      func(d *dict[float64, int]) { d.entries[2].Key += 0.25 },
		"index":    func(d *dict[float64, int]) { slices.Reverse(d.index) },
		"no index": func(d *dict[float64, int]) { d.index = nil },
		"longer":   func(d *dict[float64, int]) { d.index = append(d.index, d.index...) },
		"none":     func(d *dict[float64, int]) { d.index = d.index[:0]; d.entries = d.entries[:0] },
	} {
		for _, n := range []int{4, 20} {
			if n == 4 && (what == "key" || what == "index" || what == "no index" || what == "longer") {
				continue
			}
			d := numbered(n, func(i int) float64 { return float64(i) })
			harm(&d)
			owned, err := typ.Measure(unsafe.Pointer(&d))
			if err != nil {
				t.Fatal(err)
			}
			to := r.target(48 + owned)
			if err := typ.Flatten(to, 0, 48, owned, unsafe.Pointer(&d)); err != nil {
				t.Fatal(err)
			}
			b := Bounds{to.RO, to.RO + to.Size}
			if err := typ.Check(pointerAt(to.RO), b); !errors.As(err, new(*DamageError)) {
				t.Errorf("%s, %d entries: got %v", what, n, err)
			}
		}
	}
}

func TestDict_JSON(t *testing.T) {
	r := newRegion(t, 1<<20)
	text := func(typ *Type, p unsafe.Pointer) string {
		q, b := r.store(t, typ, p)
		out, err := typ.AppendJSON(nil, q, b)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	names := dictFrom(map[string]int{"b": 2, "a": 1})
	wantText(t, text(typeFor[dict[string, int]](t), unsafe.Pointer(&names)), `{"a":1,"b":2}`)
	names = dictFrom(map[string]int{"$b": 2, "a": 1})
	wantText(t, text(typeFor[dict[string, int]](t), unsafe.Pointer(&names)), `[["$b",2],["a",1]]`)
	names = dict[string, int]{}
	wantText(t, text(typeFor[dict[string, int]](t), unsafe.Pointer(&names)), `{}`)
	places := dictFrom(map[place]bool{{"x", 1, true}: true})
	wantText(t, text(typeFor[dict[place, bool]](t), unsafe.Pointer(&places)), `[[{"Street":"x","No":1,"OK":true},true]]`)

	for in, want := range map[string]string{
		`null`: "map[]", `{}`: "map[]", `[]`: "map[]", `[["b",1],["a",2]]`: "map[a:2 b:1]", `{"a":1,"$x":2}`: "map[$x:2 a:1]",
		`[["a",1],["a",2]]`: `everheap: JSON for layout.dict[string,int]: the key "a" is there twice`,
		`[["a"]]`:           `everheap: JSON for layout.dict[string,int]: want an array of arrays [key, value], got an array`,
		`[1]`:               `everheap: JSON for layout.dict[string,int]: want an array of arrays [key, value], got the number 1`,
		`1`:                 `everheap: JSON for layout.dict[string,int]: want an object, got the number 1`,
		`{"a":"x"}`:         `everheap: JSON for layout.dict[string,int]: field ["a"]: want a number, got a string`,
	} {
		typ := typeFor[dict[string, int]](t)
		d, err := typ.ParseJSON([]byte(in))
		got := fmt.Sprint(err)
		if err == nil {
			var out dict[string, int]
			if err := typ.CopyOut(unsafe.Pointer(&out), d.Pointer(), d.Bounds()); err != nil {
				t.Fatal(err)
			}
			m := map[string]int{}
			for _, e := range out.entries {
				m[e.Key] = e.Value
			}
			got = fmt.Sprint(m)
		}
		wantText(t, got, want)
		runtime.KeepAlive(d)
	}
	if _, err := typeFor[dict[int, int]](t).ParseJSON([]byte(`{"1":1}`)); err == nil || !strings.Contains(err.Error(), "want an array of arrays [key, value]") {
		t.Errorf("got %v", err)
	}
}

func wantText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The entries of the compact form may come in any order.
func TestDict_Compact(t *testing.T) {
	typ := typeFor[dict[uint8, string]](t)
	d, err := typ.ParseCompact([]byte("\x02\x00\x00\x00\x07\x01\x00\x00\x00a\x03\x01\x00\x00\x00b"))
	if err != nil {
		t.Fatal(err)
	}
	var out dict[uint8, string]
	if err := typ.CopyOut(unsafe.Pointer(&out), d.Pointer(), d.Bounds()); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(d)
	same(t, out, dictFrom(map[uint8]string{7: "a", 3: "b"}))
	for _, bad := range []string{"\x02\x00\x00\x00\x07\x00\x00\x00\x00\x07\x00\x00\x00\x00", "\xff\xff\xff\xff", "\xff\xff\xff\x00\x01"} {
		if _, err := typ.ParseCompact([]byte(bad)); !errors.As(err, new(*CompactError)) {
			t.Errorf("%x: got %v", bad, err)
		}
	}
	deep := strings.Repeat("\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", 1<<20) + "\x00\x00\x00\x00\x00\x00\x00\x00"
	if _, err := typeFor[folders](t).ParseCompact([]byte(deep)); err == nil || !strings.Contains(err.Error(), "nests deeper") {
		t.Errorf("a value that nests a million times: %v", err)
	}
}

// A conversion sorts and hashes the new keys, and refuses two keys that become equal.
func TestDict_Convert(t *testing.T) {
	type v1 struct {
		Old  int8
		Ages dict[int32, []dict[string, int8]]
		Same dict[string, string]
		By   dict[place, string]
	}
	type newPlace struct {
		No     int
		Street string
		Mail   string
	}
	type v2 struct {
		Same dict[string, string]
		Ages dict[int64, []dict[string, int]]
		By   dict[newPlace, string]
	}
	before := v1{Same: dictFrom(map[string]string{"k": "v"}), By: dictFrom(map[place]string{{"a", 2, true}: "x", {"b", 1, true}: "y"})}
	before.Ages = numberedAges(30)
	c := NewConversion(typeFor[v1](t), typeFor[v2](t), nil)
	if !c.Possible(true) || c.Same() {
		t.Fatal(c.Lines())
	}
	wantLine(t, c.Lines(), "~ Ages.key int32 -> int64")
	wantLine(t, c.Lines(), "- By.key.OK bool")
	r := newRegion(t, 1<<20)
	p, b := r.store(t, c.From, unsafe.Pointer(&before))
	x := c.NewConverter()
	for range 2 {
		made, err := x.Convert(p, b)
		if err != nil {
			t.Fatal(err)
		}
		r2 := newRegion(t, 1<<20)
		q, b2 := r2.store(t, c.To, made)
		var after v2
		if err := c.To.CopyOut(unsafe.Pointer(&after), q, b2); err != nil {
			t.Fatal(err)
		}
		want := v2{Same: before.Same, By: dictFrom(map[newPlace]string{{2, "a", ""}: "x", {1, "b", ""}: "y"})}
		ages := map[int64][]dict[string, int]{}
		for i := range 30 {
			ages[int64(i)*1000] = []dict[string, int]{dictFrom(map[string]int{"n": i}), {}}
		}
		want.Ages = dictFrom(ages)
		same(t, after, want)
	}
	both := v1{By: dictFrom(map[place]string{{"a", 2, true}: "x", {"a", 2, false}: "y"})}
	p, b = r.store(t, c.From, unsafe.Pointer(&both))
	if _, err := x.Convert(p, b); err == nil || !strings.Contains(err.Error(), `the key {"No":2,"Street":"a","Mail":""} is there twice`) {
		t.Errorf("got %v", err)
	}
}

func numberedAges(n int) dict[int32, []dict[string, int8]] {
	m := map[int32][]dict[string, int8]{}
	for i := range n {
		m[int32(i)*1000] = []dict[string, int8]{dictFrom(map[string]int8{"n": int8(i)}), {}}
	}
	return dictFrom(m)
}

func wantLine(t *testing.T, lines []string, want string) {
	t.Helper()
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
		t.Errorf("no line %q in\n%s", want, strings.Join(lines, "\n"))
	}
}

// A type that cannot be a key is refused, and the error names a part that cannot be stored.
func TestDict_Refused(t *testing.T) {
	type bad struct{ Attrs dict[string, chan int] }
	_, err := For[bad]()
	if err == nil || !strings.Contains(err.Error(), "field Attrs.value (chan int) cannot be stored") {
		t.Errorf("got %v", err)
	}
	if _, err = For[dict[*int, int]](); err == nil || !strings.Contains(err.Error(), "its key type *int holds pointers") {
		t.Errorf("got %v", err)
	}
	type holder struct{ D dict[int, int] }
	if err := typeFor[holder](t).KeyError(); err == nil {
		t.Error("a Dict is accepted as a part of a key")
	}
}

// dictFillers make random Dicts of the types in the catalogue.
var dictFillers = map[reflect.Type]func(g *generator) reflect.Value{}

func addDict[K comparable, V any]() reflect.Type {
	rt := reflect.TypeFor[dict[K, V]]()
	dictFillers[rt] = func(g *generator) reflect.Value {
		m := map[K]V{}
		for range g.byte() % 14 {
			var k K
			var v V
			g.fill(reflect.ValueOf(&k).Elem())
			g.fill(reflect.ValueOf(&v).Elem())
			m[k] = v
		}
		return reflect.ValueOf(dictFrom(m))
	}
	return rt
}

func init() {
	catalogue = append(catalogue, addDict[string, string](), addDict[int8, *node](), addDict[time.Time, []loop](), addDict[complex64, folders](),
		reflect.TypeFor[folders](), reflect.TypeFor[linked]())
	addDict[string, folders]()
	addDict[int32, *linked]()
}

// The index finds every entry, whatever the hashes are.
func TestDict_IndexOfAnyHashes(t *testing.T) {
	for _, hash := range []func(i int) uint64{func(i int) uint64 { return 0 }, func(i int) uint64 { return ^uint64(0) }, func(i int) uint64 { return uint64(i) << 40 }} {
		index := DictIndex(100, hash)
		seen := map[uint32]bool{}
		for _, w := range index {
			if w != 0 {
				seen[w&uint32(len(index)-1)] = true
			}
		}
		if len(seen) != 100 || len(index) != 256 {
			t.Errorf("%d of 100 entries in %d places", len(seen), len(index))
		}
	}
}
