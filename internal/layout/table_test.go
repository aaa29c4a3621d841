package layout

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

type mapHeader map[string][]string

// mapped has built-in maps in all places.
type mapped struct {
	Name   string
	Prefs  map[string]string
	Header mapHeader
	Many   []map[int8]*mapped
	Deep   map[bool]map[place]time.Time
	At     *map[uint16]string
	In     dict[string, map[string]int]
	Last   string
}

// mapTree is a map that contains itself.
type mapTree map[string]mapTree

func someMapped() mapped {
	m := mapped{Name: "a", Last: "z", Prefs: map[string]string{"lang": "en", "": "x"}, Header: mapHeader{"A": {"1", "2"}, "B": nil, "C": {}}}
	both := &mapped{Name: "both", Prefs: map[string]string{}}
	m.Many = []map[int8]*mapped{{1: both, -3: both, 5: nil}, nil, {}}
	m.Deep = map[bool]map[place]time.Time{true: {{"s", 1, true}: time.Unix(5, 6).UTC()}, false: nil}
	m.At = &map[uint16]string{3: "three"}
	m.In = dictFrom(map[string]map[string]int{"x": {"y": 1}, "nil": nil})
	return m
}

func TestTable_RoundTrip(t *testing.T) {
	r := newRegion(t, 1<<20)
	check(t, r, map[string]string{"a": "b"})
	check(t, r, map[string]string(nil))
	check(t, r, map[string]string{})
	check(t, r, map[struct{}]struct{}{{}: {}})
	check(t, r, [2]map[float64]int{{math.Inf(1): 1, 2: 2}, nil})
	check(t, r, mapped{})
	check(t, r, someMapped())
	check(t, r, mapTree{"a": {"b": nil, "c": {}}, "d": {}})
	var none *map[string]int
	check(t, r, &none)
	check(t, r, new(map[string]int))
	deep := mapTree{}
	for range 2500 {
		deep = mapTree{"": deep, "x": nil}
	}
	check(t, r, deep)
	large := map[int]string{}
	for i := range 1000 {
		large[i*i] = strings.Repeat("v", i%30)
	}
	check(t, r, large)
	m := someMapped()
	got := trip(t, r, &m)
	if got.Many[0][1] != got.Many[0][-3] || got.Many[0][1].Prefs == nil {
		t.Error("the entries do not share the pointer any more")
	}
	clone, err := Clone(&m)
	if err != nil {
		t.Fatal(err)
	}
	same(t, *clone, m)
	if clone.Prefs["lang"] = "no"; m.Prefs["lang"] != "en" || clone.Many[0][1] == m.Many[0][1] {
		t.Error("the clone shares a map")
	}
}

// A map that contains itself is refused before anything is stored, and so is NaN.
func TestTable_Refused(t *testing.T) {
	tree := mapTree{}
	tree["self"] = tree
	if _, err := Clone(&tree); !errors.Is(err, ErrCyclicMap) {
		t.Errorf("got %v", err)
	}
	typ := typeFor[mapTree](t)
	if _, err := typ.Stored(unsafe.Pointer(&tree)); !errors.Is(err, ErrCyclicMap) {
		t.Errorf("got %v", err)
	}
	for _, n := range []int{1, 20} {
		m := map[float32]int{}
		for range n {
			m[float32(math.NaN())] = 1
		}
		if _, err := typeFor[map[float32]int](t).Stored(unsafe.Pointer(&m)); !errors.Is(err, ErrNaN) {
			t.Errorf("got %v", err)
		}
	}
	_, err := For[struct{ A map[string]chan int }]()
	if err == nil || !strings.Contains(err.Error(), "field A.value (chan int)") {
		t.Errorf("got %v", err)
	}
	if _, err := For[map[any]int](); err == nil {
		t.Error("a map with keys that are interfaces is accepted")
	}
	for _, c := range []struct {
		typ  *Type
		want string
	}{
		{typeFor[mapped](t), "everheap: values of type layout.mapped cannot be read in place: field Prefs (map[string]string) is made anew for each copy; use Get or Copies, or store everheap.Dict[string, string]"},
		{typeFor[mapHeader](t), "everheap: values of type layout.mapHeader cannot be read in place (layout.mapHeader) is made anew for each copy; use Get or Copies, or store everheap.Dict[string, []string]"},
		{typeFor[[]struct{ X dict[int, *[2]mapHeader] }](t), "field [].X.value[] (layout.mapHeader)"},
	} {
		if err := c.typ.CopyOnly(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if err := typeFor[profile](t).CopyOnly(); err != nil {
		t.Errorf("got %v", err)
	}
}

// hasMethods is a struct with a map, and methods that know what it means.
type hasMethods struct{ m map[string]int }

func (h hasMethods) MarshalBinary() ([]byte, error) { return fmt.Append(nil, len(h.m)), nil }
func (h *hasMethods) UnmarshalBinary(b []byte) error {
	h.m = map[string]int{string(b): 1}
	return nil
}

// A type with marshaling methods is stored by them, even if it has maps.
func TestTable_MethodsComeFirst(t *testing.T) {
	type outer struct {
		In   hasMethods
		Next *outer
	}
	for range 2 {
		if typ := typeFor[outer](t); typ.CopyOnly() != nil || !typ.Coded() || typ.fields[0].Type.Kind() != Binary {
			t.Errorf("got %v", typ.fields[0].Type.Kind())
		}
	}
	type both struct {
		M  map[string]int
		In hasMethods
	}
	if typ := typeFor[both](t); typ.CopyOnly() == nil || typ.fields[1].Type.Kind() != Binary {
		t.Errorf("got %v", typ.fields[1].Type.Kind())
	}
}

// mapLinked reaches a map through a type that is still being compiled when the compiler meets
// *mapLinked.
type mapLinked struct {
	Next *mapLinked
	M    map[string]int
}

// byItself has methods, and reaches a map only through mapLinked.
type byItself struct{ P *mapLinked }

func (byItself) MarshalBinary() ([]byte, error)  { return []byte("b"), nil }
func (*byItself) UnmarshalBinary(b []byte) error { return nil }

// The stored form of a type does not depend on the types compiled before it.
func TestTable_MethodsComeFirstInAnyOrder(t *testing.T) {
	type outer struct {
		A mapLinked
		B byItself
	}
	if typ := typeFor[outer](t); typ.fields[1].Type.Kind() != Binary {
		t.Errorf("behind the other type: got %v", typ.fields[1].Type.Kind())
	}
	if typ := typeFor[byItself](t); typ.Kind() != Binary {
		t.Errorf("alone: got %v", typ.Kind())
	}
}

// A map converts to a Dict and a Dict to a map; a nil map stays nil if the new type is a map.
func TestTable_Convert(t *testing.T) {
	type v1 struct {
		A, B, C map[string]int8
		D       dict[int16, string]
		E       mapTree
	}
	type v2 struct {
		A, B map[string]int
		C    dict[string, int]
		D    map[int32]string
		E    mapTree
		F    map[string]bool
	}
	before := v1{A: map[string]int8{"x": 1}, B: map[string]int8{}, C: map[string]int8{"y": 2}, D: dictFrom(map[int16]string{-1: "n", 300: "p"}), E: mapTree{"a": nil}}
	c := NewConversion(typeFor[v1](t), typeFor[v2](t), nil)
	if !c.Possible(true) {
		t.Fatal(c.Lines())
	}
	wantLine(t, c.Lines(), "~ A.value int8 -> int")
	wantLine(t, c.Lines(), "~ C map[string]int8 -> layout.dict[string,int]")
	wantLine(t, c.Lines(), "+ F map[string]bool")
	r, r2 := newRegion(t, 1<<20), newRegion(t, 1<<20)
	for _, before := range []v1{before, {}} {
		src, err := c.From.Stored(unsafe.Pointer(&before))
		if err != nil {
			t.Fatal(err)
		}
		p, b := r.storeStored(t, c.From, src)
		made, err := c.NewConverter().Convert(p, b)
		if err != nil {
			t.Fatal(err)
		}
		q, b2 := r2.storeStored(t, c.To, made)
		var after v2
		if err := c.To.CopyOut(unsafe.Pointer(&after), q, b2); err != nil {
			t.Fatal(err)
		}
		want := v2{D: map[int32]string{}, E: before.E}
		if before.A != nil {
			want = v2{A: map[string]int{"x": 1}, B: map[string]int{}, C: dictFrom(map[string]int{"y": 2}), D: map[int32]string{-1: "n", 300: "p"}, E: before.E}
		}
		same(t, after, want)
		runtime.KeepAlive(src)
	}
}

// Two keys with the same stored form are refused: one value would be lost, by chance.
func TestTable_Twins(t *testing.T) {
	at := time.Unix(1e9, 0)
	for n := range 3 {
		m := map[time.Time]int{at.UTC(): 1, at.In(time.FixedZone("x", 3600)): 2}
		for i := range 10 * n {
			m[time.Unix(int64(i), 0).UTC()] = i
		}
		if _, err := typeFor[map[time.Time]int](t).Stored(unsafe.Pointer(&m)); !errors.Is(err, errTwin) {
			t.Errorf("%d entries: got %v", len(m), err)
		}
	}
}

// Tables that share entries are damage, since each map has its own: otherwise a value of a few bytes
// could expand to any size. Dicts may share entries, and the walk checks each Dict's index.
func TestTable_SharedEntries(t *testing.T) {
	r := newRegion(t, 1<<20)
	typ := typeFor[[2]mapTree](t)
	v := [2]mapTree{{"a": nil, "b": {}}, {"a": nil, "b": {}}}
	p, b := r.store(t, typ, unsafe.Pointer(&v))
	at := func(off uintptr) uintptr { return word(p, off) - b.Lo + dictEntries }
	copy(r.rw[at(8):][:8], r.rw[at(0):][:8])
	if err := typ.Check(p, b); err == nil || !strings.Contains(err.Error(), "two tables with the same entries") {
		t.Errorf("got %v", err)
	}

	dicts := typeFor[[2]folders](t)
	in := map[string]folders{}
	for i := range 20 {
		in[fmt.Sprint(i)] = folders{}
	}
	d := [2]folders{{Kids: dictFrom(in)}}
	d[1].Kids = d[0].Kids
	p, b = r.store(t, dicts, unsafe.Pointer(&d))
	if word(p, 16+dictEntries) != word(p, dicts.elem.size+16+dictEntries) {
		t.Fatal("the Dicts do not share their entries")
	}
	index := word(p, dicts.elem.size+16) - b.Lo
	if copy(r.rw[index:], r.rw[index+4:][:4]); dicts.Check(p, b) == nil {
		t.Error("a wrong index of shared entries is accepted")
	}
}

// A Dict does not convert to a map that can contain itself, since Dicts may share entries.
func TestTable_ConvertShared(t *testing.T) {
	type tree struct {
		Name string
		Kids map[string]tree
	}
	if c := NewConversion(typeFor[folders](t), typeFor[tree](t), nil); c.Possible(true) {
		t.Error(c.Lines())
	}
	if c := NewConversion(typeFor[tree](t), typeFor[folders](t), nil); !c.Possible(true) {
		t.Error(c.Lines())
	}
}

// A pointer in a map that points into another part is refused, and the error has its path.
func TestTable_InteriorPointer(t *testing.T) {
	type v struct {
		All []place
		By  map[string]*place
	}
	x := v{All: []place{{}, {}}}
	x.By = map[string]*place{"own": {No: 1}, "second": &x.All[1]}
	_, err := typeFor[v](t).Stored(unsafe.Pointer(&x))
	if err == nil || !strings.Contains(err.Error(), "field By[1].Value (*layout.place) cannot be stored; it points into All") {
		t.Errorf("got %v", err)
	}
}

// Measuring a large map that contains itself ends soon.
func TestTable_LargeCycle(t *testing.T) {
	tree := mapTree{}
	for i := range 5000 {
		tree[fmt.Sprint(i)] = nil
	}
	tree["self"] = tree
	if _, err := typeFor[mapTree](t).Stored(unsafe.Pointer(&tree)); !errors.Is(err, ErrCyclicMap) {
		t.Errorf("got %v", err)
	}
}

// Dicts that share entries at each of many levels are refused by JSON and the compact form.
func TestDict_SharedTooOften(t *testing.T) {
	r := newRegion(t, 1<<20)
	typ := typeFor[folders](t)
	d := folders{}
	for range 60 {
		d = folders{Kids: dictFrom(map[string]folders{"a": d, "b": d})}
	}
	p, b := r.store(t, typ, unsafe.Pointer(&d))
	if _, err := typ.AppendJSON(nil, p, b); !errors.Is(err, ErrTooShared) {
		t.Errorf("JSON: got %v", err)
	}
	if _, err := typ.AppendCompact(nil, p, b); !errors.Is(err, ErrTooShared) {
		t.Errorf("compact: got %v", err)
	}
	var out folders
	if err := typ.CopyOut(unsafe.Pointer(&out), p, b); err != nil {
		t.Error(err)
	}
}

func init() {
	catalogue = append(catalogue, reflect.TypeFor[map[string]string](), reflect.TypeFor[mapped](), reflect.TypeFor[mapTree](), reflect.TypeFor[map[time.Time][]*node]())
	addDict[string, map[string]int]()
}

func (g *generator) fillMap(v reflect.Value) {
	rt, c := v.Type(), g.byte()
	if c < 50 {
		return
	}
	m := reflect.MakeMap(rt)
	for range c % 13 {
		k, e := reflect.New(rt.Key()).Elem(), reflect.New(rt.Elem()).Elem()
		g.fill(k)
		g.fill(e)
		m.SetMapIndex(k, e)
	}
	v.Set(m)
}
