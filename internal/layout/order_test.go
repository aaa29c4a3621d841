package layout

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// orderedKey is a key of many parts, with strings where something follows them.
type orderedKey struct {
	S string
	I int16
	N [2]struct {
		T string
		B bool
	}
	F float32
	W time.Time
	E struct{}
	A [3]byte
	R testRef[int]
	L [2]string
}

type namedString string

// orderedTypes are the types that the tests of the order try.
var orderedTypes = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[namedString](), reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[int16](),
	reflect.TypeFor[int32](), reflect.TypeFor[int64](), reflect.TypeFor[int](), reflect.TypeFor[uint8](),
	reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[uint](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](),
	reflect.TypeFor[[16]byte](), reflect.TypeFor[[3]byte](), reflect.TypeFor[[0]string](), reflect.TypeFor[[3]string](),
	reflect.TypeFor[[5]int32](), reflect.TypeFor[[40][2]uint16](), reflect.TypeFor[struct{}](), reflect.TypeFor[key](),
	reflect.TypeFor[orderedKey](), reflect.TypeFor[struct {
		A string
		B string
	}](), reflect.TypeFor[struct {
		T [11]byte
		U uint64
	}](), reflect.TypeFor[testRef[int]](),
}

// compareParts compares two values part by part, by Go's rules.
func compareParts(a, b reflect.Value) int {
	if a.Type() == reflect.TypeFor[time.Time]() {
		x, y := a.Interface().(time.Time), b.Interface().(time.Time)
		return x.Compare(y)
	}
	less := func(ab, ba bool) int {
		switch {
		case ab:
			return -1
		case ba:
			return 1
		}
		return 0
	}
	switch k := a.Kind(); {
	case k == reflect.Bool:
		return less(!a.Bool() && b.Bool(), a.Bool() && !b.Bool())
	case a.CanInt():
		return less(a.Int() < b.Int(), b.Int() < a.Int())
	case a.CanUint():
		return less(a.Uint() < b.Uint(), b.Uint() < a.Uint())
	case a.CanFloat():
		return less(a.Float() < b.Float(), b.Float() < a.Float())
	case k == reflect.String:
		return bytes.Compare([]byte(a.String()), []byte(b.String()))
	case k == reflect.Array:
		for i := range a.Len() {
			if c := compareParts(a.Index(i), b.Index(i)); c != 0 {
				return c
			}
		}
	case k == reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).Name != "_" {
				if c := compareParts(a.Field(i), b.Field(i)); c != 0 {
					return c
				}
			}
		}
	default:
		panic(k)
	}
	return 0
}

// fillKey gives v one of few values, so that parts are often equal.
func fillKey(v reflect.Value, r *rand.Rand) {
	v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
	if v.Type() == reflect.TypeFor[time.Time]() {
		list := []time.Time{{}, time.Unix(5, 6), time.Unix(5, 7).In(time.FixedZone("Z", 60)), time.Unix(-1<<40, 0),
			time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 5), time.Now(), time.Unix(int64(r.Uint64()), int64(r.Uint32()%1e9))}
		v.Set(reflect.ValueOf(list[r.IntN(len(list))]))
		return
	}
	bits := r.Uint64() >> r.IntN(64)
	if r.IntN(2) == 0 {
		bits = -bits
	}
	switch k := v.Kind(); {
	case k == reflect.Bool:
		v.SetBool(bits&1 != 0)
	case v.CanInt():
		v.SetInt(int64(bits))
	case v.CanUint():
		v.SetUint(bits)
	case v.CanFloat():
		list := []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat32, -math.MaxFloat32, r.NormFloat64()}
		v.SetFloat(list[r.IntN(len(list))])
	case k == reflect.String:
		alphabet := []string{"\x00", "\xff", "a", "ab", "\x00\xff", "\x00\x00", "prefix ", "é"}
		var s strings.Builder
		for range r.IntN(6) {
			s.WriteString(alphabet[r.IntN(len(alphabet))])
		}
		v.SetString(s.String())
	case k == reflect.Array:
		for i := range v.Len() {
			if i == 0 || r.IntN(3) == 0 {
				fillKey(v.Index(i), r)
			}
		}
	case k == reflect.Struct:
		for i := range v.NumField() {
			if r.IntN(4) > 0 {
				fillKey(v.Field(i), r)
			}
		}
	}
}

func signOf(less, greater bool) int {
	switch {
	case less:
		return -1
	case greater:
		return 1
	}
	return 0
}

// checkOrder compares Compare with the reference, and the ordered forms with both.
func checkOrder(t *testing.T, typ *Type, a, b reflect.Value) {
	t.Helper()
	pa, pb := a.Addr().UnsafePointer(), b.Addr().UnsafePointer()
	want := compareParts(a, b)
	if got := typ.Compare(pa, pb); got != want {
		t.Fatalf("%s: %#v against %#v: %d, want %d", typ, a, b, got, want)
	}
	if eq := typ.Equal(pa, pb); eq != (want == 0) {
		t.Fatalf("%s: %#v and %#v: equal %v, compare as %d", typ, a, b, eq, want)
	}
	const most = 200
	for from := uintptr(0); from < most; from++ {
		if from > 0 && typ.OrderWord(pa, from-1)>>56 != typ.OrderWord(pb, from-1)>>56 {
			break // the words after the first difference have no order
		}
		wa, wb := typ.OrderWord(pa, from), typ.OrderWord(pb, from)
		if c := signOf(wa < wb, wa > wb); c != 0 && c != want {
			t.Fatalf("%s: %#v against %#v is %d, the words from %d are %#x and %#x", typ, a, b, want, from, wa, wb)
		}
		if (want == 0 || from == 0 && typ.OrderDecides()) && (wa == wb) != (want == 0) {
			t.Fatalf("%s: %#v and %#v compare as %d, the words from %d are %#x and %#x", typ, a, b, want, from, wa, wb)
		}
		if next := typ.OrderWord(pa, from+1); next>>8 != wa<<8>>8 {
			t.Fatalf("%s: %#v has %#x from %d and %#x from the next", typ, a, wa, from, next)
		}
	}
	if typ.CheckOrder(pa) != nil {
		t.Fatalf("%s: %#v is refused", typ, a)
	}
}

func TestCompare_Reference(t *testing.T) {
	r := random(t)
	for _, rt := range orderedTypes {
		typ, err := Of(rt)
		if err != nil || typ.OrderError() != nil {
			t.Fatal(rt, err)
		}
		values := make([]reflect.Value, min(*rounds/20, 400))
		for i := range values {
			values[i] = reflect.New(rt).Elem()
			if i > 0 && r.IntN(2) == 0 { // a value close to another one
				values[i].Set(values[r.IntN(i)])
			}
			fillKey(values[i], r)
		}
		for i, a := range values {
			checkOrder(t, typ, a, a)
			for range 10 {
				checkOrder(t, typ, a, values[r.IntN(i+1)])
			}
		}
	}
}

func FuzzCompare(f *testing.F) {
	f.Add(uint8(0), uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, which uint8, x, y uint64) {
		rt := orderedTypes[int(which)%len(orderedTypes)]
		typ, err := Of(rt)
		if err != nil {
			t.Fatal(err)
		}
		a, b := reflect.New(rt).Elem(), reflect.New(rt).Elem()
		fillKey(a, rand.New(rand.NewPCG(x, 0)))
		b.Set(a)
		fillKey(b, rand.New(rand.NewPCG(y, 0)))
		checkOrder(t, typ, a, b)
	})
}

func TestOrderWord_StoredFormIsStable(t *testing.T) {
	n, s := int64(-2), "forty-two"
	k := struct {
		S string
		T time.Time
	}{"a\x00", time.Unix(1, 2)}
	got := fmt.Sprintf("%x %x %x %x", typeFor[int64](t).OrderWord(unsafe.Pointer(&n), 0), typeFor[string](t).OrderWord(unsafe.Pointer(&s), 2),
		typeFor[struct {
			S string
			T time.Time
		}](t).OrderWord(unsafe.Pointer(&k), 0), typeFor[struct {
			S string
			T time.Time
		}](t).OrderWord(unsafe.Pointer(&k), 9))
	if want := "7ffffffffffffffe 7274792d74776f00 6100ff0000800000 7791f70100000002"; got != want {
		t.Errorf("the ordered form changed to %s: sorted maps that were stored cannot be read", got)
	}
}

func TestErrNaN_Order(t *testing.T) {
	k := orderedKey{F: float32(math.NaN())}
	if err := typeFor[orderedKey](t).CheckOrder(unsafe.Pointer(&k)); !errors.Is(err, ErrNaN) {
		t.Errorf("a NaN in a struct: %v", err)
	}
	a := [2]float64{1, math.NaN()}
	if err := typeFor[[2]float64](t).CheckOrder(unsafe.Pointer(&a)); !errors.Is(err, ErrNaN) {
		t.Errorf("a NaN in an array: %v", err)
	}
}

func TestOf_SortedHandleNeedsAnOrder(t *testing.T) {
	type pair struct{ A, B complex64 }
	_, err := For[struct{ M testSorted[pair, int] }]()
	if err == nil || !strings.Contains(err.Error(), "complex numbers, which have no order") {
		t.Error(err)
	}
	if _, err = For[struct{ M testSorted[time.Time, int] }](); err != nil {
		t.Error(err)
	}
	typ := typeFor[struct{ P [2]pair }](t)
	if want, err := "field P[].A (complex64) cannot be the key of a Sorted; use strings, integers, floats, bools, time.Time", typ.OrderError(); err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

func BenchmarkOrderWord(b *testing.B) {
	k := key{A: 1, S: "some key", F: 2, W: time.Now()}
	s := "user:12345678"
	for _, c := range []struct {
		name string
		typ  *Type
		p    unsafe.Pointer
	}{{"struct", typeFor[key](b), unsafe.Pointer(&k)}, {"string", typeFor[string](b), unsafe.Pointer(&s)}, {"time", typeFor[time.Time](b), unsafe.Pointer(&k.W)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				orderSum += c.typ.OrderWord(c.p, 3)
			}
		})
	}
}

var orderSum uint64
