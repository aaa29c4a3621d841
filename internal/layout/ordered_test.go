package layout

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// ordered writes the form of a value.
func ordered(t *testing.T, typ *Type, p unsafe.Pointer, o Ordering) []byte {
	t.Helper()
	b, err := typ.AppendOrdered(nil, p, everywhere, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// orderedForms tests that forms compare as the values do, whatever follows them, and that they can be
// read back.
func orderedForms[T any](t *testing.T, values ...T) {
	t.Helper()
	typ, err := For[T]()
	if err != nil {
		t.Fatal(err)
	}
	stored := make([]unsafe.Pointer, len(values))
	for i := range values {
		if stored[i], err = typ.Stored(unsafe.Pointer(&values[i])); err != nil {
			t.Fatal(err)
		}
	}
	for i := range values {
		for _, o := range []Ordering{Inside, Last} {
			a := ordered(t, typ, stored[i], o)
			r := ReadOrdered(a)
			if o == Inside {
				r = ReadOrdered(append(bytes.Clone(a), "behind"...))
			}
			got := new(T)
			if err := r.CopyOrdered(typ, unsafe.Pointer(got), o); err != nil {
				t.Fatalf("%v, %v: %v", values[i], o, err)
			}
			again, err := typ.Stored(unsafe.Pointer(got))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ordered(t, typ, again, o), a) || !reflect.DeepEqual(*got, values[i]) && typ.Compare(again, stored[i]) != 0 {
				t.Errorf("%#v was read as %#v", values[i], *got)
			}
			if rest := string(r.Rest()); o == Inside && rest != "behind" || o == Last && rest != "" {
				t.Errorf("%#v: %q is left", values[i], rest)
			}
			for k := range len(a) {
				_ = ReadOrdered(a[:k]).CopyOrdered(typ, unsafe.Pointer(got), Inside) // no panic
			}
			for j := range values {
				b := ordered(t, typ, stored[j], o)
				if want := typ.Compare(stored[i], stored[j]); bytes.Compare(a, b) != want {
					t.Errorf("%#v and %#v compare as %d, their forms as %d", values[i], values[j], want, bytes.Compare(a, b))
				}
			}
		}
	}
}

type orderedPart struct {
	A string
	B int16
	C string
}

func TestAppendOrdered_OrdersAndReadsAgain(t *testing.T) {
	texts := []string{"", "\x00", "\x00\x00", "\x00\xff", "\x00a", "a", "a\x00", "a\x00b", "a\xff", "ab", "b", strings.Repeat("x", 300)}
	orderedForms(t, texts...)
	orderedForms(t, false, true)
	orderedForms[int8](t, -128, -1, 0, 1, 127)
	orderedForms[uint8](t, 0, 1, 255)
	orderedForms[int16](t, math.MinInt16, -1, 0, 1, math.MaxInt16)
	orderedForms[uint16](t, 0, 1, 256, math.MaxUint16)
	orderedForms[int32](t, math.MinInt32, -1, 0, 1, math.MaxInt32)
	orderedForms[uint32](t, 0, 255, 256, math.MaxUint32)
	orderedForms(t, math.MinInt, -1, 0, 1, math.MaxInt)
	orderedForms[uint](t, 0, 1, math.MaxUint)
	orderedForms(t, math.Inf(-1), -1.5, -math.SmallestNonzeroFloat64, 0, math.Copysign(0, -1), 1e-300, 2, math.Inf(1))
	orderedForms(t, float32(math.Inf(-1)), -1.5, 0, 1e-30, 2, float32(math.Inf(1)))
	orderedForms(t, time.Time{}, time.Unix(0, 0), time.Unix(-5, 7), time.Date(2300, 1, 2, 3, 4, 5, 6, time.UTC), time.Date(-300, 1, 2, 3, 4, 5, 6, time.UTC))
	orderedForms(t, [3]string{"a", "", "b"}, [3]string{"a", "\x00", "b"}, [3]string{})
	orderedForms(t, [4]byte{1, 2}, [4]byte{255}, [4]byte{})
	orderedForms(t, netip.Addr{}, netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fe80::1%eth00"))
	orderedForms(t, netip.AddrPort{}, netip.MustParseAddrPort("1.2.3.4:80"), netip.MustParseAddrPort("1.2.3.4:81"), netip.MustParseAddrPort("[::1]:1"))
	orderedForms(t, netip.Prefix{}, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/8"), netip.MustParsePrefix("10.0.0.0/16"))
	var parts []orderedPart
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		parts = append(parts, orderedPart{texts[r.IntN(6)], int16(r.IntN(3) - 1), texts[r.IntN(len(texts))]})
	}
	orderedForms(t, parts...)
}

// NaN has one place: below all numbers.
func TestAppendOrdered_NaN(t *testing.T) {
	typ, _ := For[float64]()
	low := math.Inf(-1)
	for _, f := range []float64{math.NaN(), math.Float64frombits(0xfff8000000000001)} {
		form := ordered(t, typ, unsafe.Pointer(&f), Last)
		if bytes.Compare(form, ordered(t, typ, unsafe.Pointer(&low), Last)) >= 0 || !bytes.Equal(form, make([]byte, 8)) {
			t.Errorf("the form of NaN is %x", form)
		}
		var got float64
		if err := ReadOrdered(form).CopyOrdered(typ, unsafe.Pointer(&got), Last); err != nil || got == got {
			t.Errorf("NaN was read as %v (%v)", got, err)
		}
	}
}

// A stored string outside its block is damage.
func TestAppendOrdered_OutsideItsBlock(t *testing.T) {
	typ, _ := For[string]()
	s := "somewhere"
	p := unsafe.Pointer(&s)
	if _, err := typ.AppendOrdered(nil, p, Bounds{uintptr(p), uintptr(p) + 16}, Last); err == nil {
		t.Error("a string outside its block was read")
	}
}
