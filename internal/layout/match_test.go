package layout

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

var update = flag.Bool("layout.update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// A kind of numbers widens to another if the other holds all of its values; the test tries the
// extreme ones.
func TestWidens_WhatIsLossless(t *testing.T) {
	kinds := []reflect.Type{
		reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
		reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
		reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	}
	for _, from := range kinds {
		for _, to := range kinds {
			lossless := true
			for _, v := range extremes(from) {
				made := v.Convert(to)
				lossless = lossless && exactly(made).Cmp(exactly(v)) == 0
			}
			a, _ := Of(from)
			b, _ := Of(to)
			if got := widens(a.kind, b.kind); got != lossless {
				t.Errorf("%s to %s: widens is %v, want %v", from, to, got, lossless)
				continue
			}
			if !lossless || a.kind == b.kind {
				continue
			}
			for _, v := range extremes(from) {
				src, dst := reflect.New(from), reflect.New(to)
				src.Elem().Set(v)
				convertNumber(b.kind, a.kind, dst.UnsafePointer(), src.UnsafePointer())
				if !dst.Elem().Equal(v.Convert(to)) {
					t.Errorf("%s to %s: %v becomes %v", from, to, v, dst.Elem())
				}
			}
		}
	}
}

// extremes returns the values of a type of numbers that another type may not hold.
func extremes(rt reflect.Type) (list []reflect.Value) {
	add := func(set func(v reflect.Value)) {
		v := reflect.New(rt).Elem()
		set(v)
		list = append(list, v)
	}
	bits := rt.Bits()
	switch rt.Kind() {
	case reflect.Float32, reflect.Float64:
		most := math.MaxFloat64
		if bits == 32 {
			most = math.MaxFloat32
		}
		for _, f := range []float64{0.5, -1, most} {
			add(func(v reflect.Value) { v.SetFloat(f) })
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		for _, n := range []int64{0, -1, 1<<(bits-1) - 1, -1 << (bits - 1)} {
			add(func(v reflect.Value) { v.SetInt(n) })
		}
	default:
		for _, n := range []uint64{0, 1<<(bits-1) + 1, 1<<bits - 1} {
			add(func(v reflect.Value) { v.SetUint(n) })
		}
	}
	return list
}

// exactly returns the exact number. Converting there and back would prove less: the result for a
// number that does not fit depends on the architecture.
func exactly(v reflect.Value) *big.Float {
	switch {
	case v.CanInt():
		return new(big.Float).SetInt64(v.Int())
	case v.CanUint():
		return new(big.Float).SetUint64(v.Uint())
	}
	return big.NewFloat(v.Float())
}

func TestConversion_Refused(t *testing.T) {
	type meters struct{ N int }
	for _, c := range []struct {
		from, to any
		says     string
	}{
		{int64(0), int32(0), "not every value fits"},
		{uint64(0), int64(0), "not every value fits"},
		{int8(0), uint8(0), "not every value fits"},
		{float64(0), float32(0), "not every value fits"},
		{int64(0), float64(0), "not every value fits"},
		{float32(0), complex64(0), "not every value fits"},
		{"", []byte{}, "nothing in common"},
		{"", 0, "nothing in common"},
		{0, true, "nothing in common"},
		{time.Time{}, int64(0), "nothing in common"},
		{[3]int{}, [2]int{}, "would be lost"},
		{[]int{}, [2]int{}, "nothing in common"},
		{new(int), 0, "may be nil"},
		{new(string), "", "may be nil"},
		{meters{}, struct{ M int }{}, "no field in common"},
		{meters{}, 0, "nothing in common"},
		{0, meters{}, "nothing in common"},
		{testMap[int, int]{}, testSorted[int, int]{}, "nothing in common"},
		{testList[int]{}, testRef[int]{}, "nothing in common"},
		{testMap[int, int64]{}, testMap[int, int32]{}, "! value int64 -> int32"},
		{testMap[int64, int]{}, testMap[int32, int]{}, "! key int64 -> int32"},
		{struct{ A []struct{ B int64 } }{}, struct{ A []struct{ B int32 } }{}, "! A[].B int64 -> int32"},
		{struct{ A []struct{ B int64 } }{}, struct{ A *[]struct{ B int32 } }{}, "! A[].B int64 -> int32"},
	} {
		a, err1 := Of(reflect.TypeOf(c.from))
		b, err2 := Of(reflect.TypeOf(c.to))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		conversion := NewConversion(storedAs(t, a), b, nil)
		if lines := strings.Join(conversion.Lines(), "\n"); conversion.Possible(true) || !strings.Contains(lines, c.says) || !strings.Contains(lines, "! ") {
			t.Errorf("%s to %s: possible %v:\n%s", a, b, conversion.Possible(true), lines)
		}
	}
}

// Comparing a type of pointers to itself ends.
func TestConversion_EndlessTypes(t *testing.T) {
	type p *p
	type s []s
	NewConversion(typeFor[int](t), typeFor[p](t), nil)
	NewConversion(typeFor[p](t), typeFor[s](t), nil)
	NewConversion(typeFor[s](t), typeFor[p](t), nil)
	NewConversion(typeFor[[2]s](t), typeFor[s](t), nil)
	c := NewConversion(typeFor[*int8](t), typeFor[**int16](t), nil)
	if !c.Possible(true) {
		t.Error(c.Lines())
	}
}

func TestConversion_FormerNames(t *testing.T) {
	type a = struct{ A, B int }
	for _, c := range []struct {
		name     string
		from, to any
		want     string // the origin of each field of the new type; "!" if it is refused
	}{
		{"renamed", struct{ A int }{}, struct {
			B int `everheap:"was=A"`
		}{}, "B<-A"},
		{"renamed twice, from the first name", struct{ A int }{}, struct {
			C int `everheap:"was=A,was=B"`
		}{}, "C<-A"},
		{"renamed twice, from the second name", struct{ B int }{}, struct {
			C int `everheap:"was=A,was=B"`
		}{}, "C<-B"},
		{"renamed twice, from both", a{}, struct {
			C int `everheap:"was=A,was=B"`
		}{}, "!"},
		{"renamed long ago", struct{ B int }{}, struct {
			B, C int `everheap:"was=A"`
		}{}, "B<-B C<-0"},
		{"renamed onto another", a{}, struct {
			B int `everheap:"was=A"`
		}{}, "!"},
		{"both are there still", a{}, struct {
			A int
			B int `everheap:"was=A"`
		}{}, "A<-A B<-B"},
		{"the name is used anew, at once", struct{ A int }{}, struct {
			A int
			B int `everheap:"was=A"`
		}{}, "!"},
		{"the name is used anew, since", struct {
			B int `everheap:"was=A"`
			A int
		}{}, struct {
			B int `everheap:"was=A"`
			A int
			C int
		}{}, "B<-B A<-A C<-0"},
		{"the name was used anew, and is dropped", struct {
			B int `everheap:"was=A"`
			A int
		}{}, struct {
			B int `everheap:"was=A"`
		}{}, "B<-B"},
		{"two claim it", struct{ A int }{}, struct {
			B int `everheap:"was=A"`
			C int `everheap:"was=A"`
		}{}, "!"},
		{"chain", a{}, struct {
			B int `everheap:"was=A"`
			C int `everheap:"was=B"`
		}{}, "!"},
		{"no former name", a{}, struct{ A, C int }{}, "A<-A C<-0"},
		{"its own name", struct{ A int }{}, struct {
			A int8 `everheap:"was=A"`
		}{}, "!"}, // int does not fit int8
	} {
		old, _ := Of(reflect.TypeOf(c.from))
		program, err := Of(reflect.TypeOf(c.to))
		if err != nil {
			t.Fatal(err)
		}
		conversion := NewConversion(storedAs(t, old), program, nil)
		got := "!"
		if conversion.Possible(true) {
			var list []string
			for _, f := range program.Fields() {
				from := "0"
				for _, s := range conversion.root.steps {
					if s.to == f.Offset {
						i := slices.IndexFunc(old.Fields(), func(g Field) bool { return g.Offset == s.from })
						from = old.Fields()[i].Name
					}
				}
				list = append(list, f.Name+"<-"+from)
			}
			got = strings.Join(list, " ")
		}
		if got != c.want && !Same(old, program) {
			t.Errorf("%s: got %s, want %s\n%s", c.name, got, c.want, strings.Join(conversion.Lines(), "\n"))
		}
	}
}

func TestOf_BadTag(t *testing.T) {
	for _, tag := range []string{"wsa=A", "was=", "was=A B", "was=A,", "A", "was=3"} {
		rt := reflect.StructOf([]reflect.StructField{{Name: "In", Type: reflect.StructOf([]reflect.StructField{
			{Name: "B", Type: reflect.TypeFor[int](), Tag: reflect.StructTag(fmt.Sprintf("everheap:%q", tag))}})}})
		_, err := Of(rt)
		var u *UnstorableError
		if !errors.As(err, &u) || u.Path != "In.B" || !strings.Contains(u.Advice, "was=OldName") {
			t.Errorf("the tag %q: %v", tag, err)
		}
	}
	type good struct {
		Bär int `everheap:"was=Pelz,was=_x1"`
	}
	if _, err := For[good](); err != nil {
		t.Error(err)
	}
}

// The stored types amount, price and item of these tests.
type (
	amountV1 struct{ Cents int32 }
	amountV2 struct{ Cents, Unit int64 }
	amountV3 struct {
		Value string
		Unit  int64
	}
	itemV1 struct {
		Name   string
		Price  amountV1
		Others []*amountV1
		Again  *amountV1
	}
	itemV3 struct {
		Name   string
		Price  amountV3
		Others []*amountV3
		Again  *amountV3
	}
)

func step[Old, New any](t *testing.T, fn func(Old) (New, error)) *Step {
	t.Helper()
	s, err := NewStep(fn)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStep_ChainInsideValues(t *testing.T) {
	calls := 0
	one := step(t, func(a amountV1) (amountV2, error) {
		calls++
		return amountV2{int64(a.Cents), 100}, nil
	})
	two := step(t, func(a amountV2) (amountV3, error) { return amountV3{fmt.Sprint(a.Cents), a.Unit}, nil })
	p := amountV1{7}
	src := itemV1{"x", amountV1{5}, []*amountV1{&p, nil, &p}, &p}
	c := NewConversion(storedAs(t, typeFor[itemV1](t)), typeFor[itemV3](t), []*Step{two, one})
	if c.Possible(false) || !c.Possible(true) { // the type of the item has another name
		t.Fatal(c.Lines())
	}
	r := newTwoRegions(t)
	img := r.convert(t, c, typeFor[itemV1](t), unsafe.Pointer(&src))
	d, err := c.To.Attach(img)
	if err != nil {
		t.Fatal(err)
	}
	var got itemV3
	if err := c.To.CopyOut(unsafe.Pointer(&got), d.Pointer(), d.Bounds()); err != nil {
		t.Fatal(err)
	}
	seven := &amountV3{"7", 100}
	same(t, got, itemV3{"x", amountV3{"5", 100}, []*amountV3{seven, nil, seven}, seven})
	if got.Again != got.Others[0] || got.Again != got.Others[2] || calls != 2 {
		t.Errorf("the shared part is not shared, or was converted more than once: %d calls", calls)
	}
}

// A step applies to a stored type of another name if it is the only step whose layout matches; a step
// with the very name takes precedence.
func TestStep_ByNameAndByLayout(t *testing.T) {
	rename := func(typ *Type, name string) *Type {
		named := *storedAs(t, typ)
		named.name = name
		return &named
	}
	toV2 := step(t, func(a amountV1) (amountV2, error) { return amountV2{}, nil })
	program := typeFor[amountV2](t)
	if c := NewConversion(rename(typeFor[amountV1](t), "shop.amount"), program, []*Step{toV2}); !c.Possible(false) {
		t.Errorf("by layout: %v", c.Lines())
	}
	type twin struct{ Cents int32 }
	other := step(t, func(a twin) (amountV2, error) { return amountV2{}, nil })
	c := NewConversion(rename(typeFor[amountV1](t), "shop.amount"), program, []*Step{toV2, other})
	if c.Possible(true) || !strings.Contains(strings.Join(c.Lines(), ""), "more than one Migrate fits") {
		t.Errorf("two by layout: %v", c.Lines())
	}
	c = NewConversion(storedAs(t, typeFor[twin](t)), program, []*Step{toV2, other})
	if !c.Possible(false) || c.root.chain[0] != other {
		t.Errorf("by name: %v", c.Lines())
	}
	c = NewConversion(storedAs(t, typeFor[amountV3](t)), program, []*Step{toV2, other})
	if c.Possible(false) || len(c.root.chain) > 0 {
		t.Errorf("none: %v", c.Lines())
	}
	c = NewConversion(storedAs(t, typeFor[amountV2](t)), program, []*Step{toV2, other})
	if !c.Possible(false) || !c.Same() {
		t.Errorf("there already: %v", c.Lines())
	}
	around := step(t, func(a amountV2) (amountV1, error) { return amountV1{}, nil })
	c = NewConversion(storedAs(t, typeFor[amountV1](t)), program, []*Step{toV2, around})
	if !c.Possible(false) || len(c.root.chain) != 1 {
		t.Errorf("in a circle: %v", c.Lines())
	}
}

// Handles in values that steps make have the program's types: the former type declares its handles
// with the types that the objects have now.
func TestStep_Handles(t *testing.T) {
	type item struct{ N int32 }
	type newItem struct{ N int64 }
	type holder struct {
		Items testMap[string, item]
		N     int32
	}
	type oldHolder struct {
		Items testMap[string, newItem]
		N     int32
	}
	type newHolder struct {
		N     string
		Items testMap[string, newItem]
	}
	s := step(t, func(h oldHolder) (newHolder, error) { return newHolder{fmt.Sprint(h.N), h.Items}, nil })
	c := NewConversion(storedAs(t, typeFor[holder](t)), typeFor[newHolder](t), []*Step{s})
	if !c.Possible(false) || !c.Affects(typeFor[testMap[string, newItem]](t)) {
		t.Fatal(c.Lines())
	}
	src := holder{N: 3}
	src.Items.id = 77
	r := newTwoRegions(t)
	img := r.convert(t, c, typeFor[holder](t), unsafe.Pointer(&src))
	d, err := c.To.Attach(img)
	if err != nil {
		t.Fatal(err)
	}
	var got newHolder
	if err := c.To.CopyOut(unsafe.Pointer(&got), d.Pointer(), d.Bounds()); err != nil || got.N != "3" || got.Items.id != 77 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStep_Error(t *testing.T) {
	no := errors.New("no")
	s := step(t, func(a amountV1) (amountV2, error) { return amountV2{}, no })
	c := NewConversion(storedAs(t, typeFor[[]amountV1](t)), typeFor[[]amountV2](t), []*Step{s})
	src := []amountV1{{1}}
	r := newRegion(t, 1<<16)
	p, b := r.store(t, typeFor[[]amountV1](t), unsafe.Pointer(&src))
	if _, err := c.NewConverter().Convert(p, b); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if _, err := NewStep(func(a chan int) (amountV2, error) { return amountV2{}, nil }); err == nil {
		t.Error("a channel was accepted")
	}
}

// A step may return any Go value: times with a location, parts shared with other values, memory that
// nothing else refers to.
func TestStep_MakesGoValues(t *testing.T) {
	type made struct {
		When time.Time
		Tags []string
		Self *made
	}
	zone := time.FixedZone("Z", 3600)
	shared := []string{"a", "b"}
	s := step(t, func(n int32) (made, error) {
		m := made{time.Unix(int64(n), 0).In(zone), shared, nil}
		m.Self = &made{Tags: []string{fmt.Sprint("tag", n)}}
		return m, nil
	})
	src := make([]int32, 500)
	for i := range src {
		src[i] = int32(i)
	}
	c := NewConversion(storedAs(t, typeFor[[]int32](t)), typeFor[[]made](t), []*Step{s})
	r := newTwoRegions(t)
	p, b := r.from.store(t, typeFor[[]int32](t), unsafe.Pointer(&src))
	x := c.NewConverter()
	v, err := x.Convert(p, b)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC() // the memory that the value refers to must still be there
	runtime.GC()
	p, b = r.to.store(t, c.To, v)
	runtime.KeepAlive(x)
	var got []made
	if err := c.To.CopyOut(unsafe.Pointer(&got), p, b); err != nil {
		t.Fatal(err)
	}
	for i, m := range got {
		if m.When != time.Unix(int64(i), 0).UTC() || !slices.Equal(m.Tags, shared) || m.Self.Tags[0] != fmt.Sprint("tag", i) {
			t.Fatalf("element %d is %+v", i, m)
		}
	}
}

// The golden file has all kinds of differences, as the error prints them.
func TestDiff_Golden(t *testing.T) {
	type Inner struct{ X, Y int }
	type Color int8
	type User struct {
		Age     int32
		Old     string
		Gone    bool
		Name    string
		In      []Inner
		When    time.Time
		Color   Color
		Friends testMap[int32, Inner]
		Best    *User
		Pair    [2]float32
		Tail    [3]uint8
	}
	var program *Type
	{
		type Inner struct{ Y, X int }
		type Color int16
		type Shade Color
		type Person struct {
			Age     int64
			Title   string `everheap:"was=Old"`
			Name    string
			Active  bool
			When    *time.Time
			In      []Inner
			Color   Shade
			Friends testMap[int64, Inner]
			Best    *Person
			Pair    [4]float64
			Tail    [2]uint8
			New     []byte
		}
		program = typeFor[Person](t)
	}
	golden(t, "diff.txt", strings.Join(Diff(typeFor[User](t), program), "\n")+"\n")
}
