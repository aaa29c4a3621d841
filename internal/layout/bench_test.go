package layout

import (
	"testing"
	"time"
	"unsafe"
)

type person struct {
	First, Last, Mail, City, Phone string
}

type order struct {
	ID    uint64
	Who   string
	Items []string
	Raw   []byte
	When  time.Time
	Total float64
}

func benchmarkType[T any](b *testing.B, v T) {
	r := newRegion(b, 1<<16)
	typ := typeFor[T](b)
	p, bounds := r.store(b, typ, unsafe.Pointer(&v))
	fixed := alignUp(typ.Size(), 8)
	b.Run("MeasureFlatten", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			owned, _ := typ.Measure(NoEscape(&v))
			if err := typ.Flatten(r.target(4096), 0, fixed, owned, NoEscape(&v)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CopyOut", func(b *testing.B) {
		b.ReportAllocs()
		var out T
		for b.Loop() {
			if err := typ.CopyOut(unsafe.Pointer(&out), p, bounds); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Detach", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 4096)
		for b.Loop() {
			n, _ := typ.DetachedSize(p, bounds)
			if err := typ.DetachTo(buf[:n], p, bounds); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Check", func(b *testing.B) {
		for b.Loop() {
			if err := typ.Check(p, bounds); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNumbers(b *testing.B) { benchmarkType(b, [8]int64{1, 2, 3}) }

func BenchmarkStrings(b *testing.B) {
	benchmarkType(b, person{"Ada", "Lovelace", "ada@example.org", "London", "+44 1234 5678"})
}

func BenchmarkOrder(b *testing.B) {
	benchmarkType(b, order{7, "ada", []string{"engine", "paper"}, make([]byte, 64), time.Now(), 9.5})
}

func BenchmarkTree(b *testing.B) {
	benchmarkType(b, &tree{&tree{&tree{}, &tree{}}, &tree{&tree{}, &tree{}}})
}

func BenchmarkHash(b *testing.B) {
	k := key{A: 1, S: "some key", F: 2, W: time.Now()}
	n, s := 7, "user:12345678"
	for _, c := range []struct {
		name string
		typ  *Type
		p    unsafe.Pointer
	}{
		{"struct", typeFor[key](b), unsafe.Pointer(&k)},
		{"int", typeFor[int](b), unsafe.Pointer(&n)},
		{"string", typeFor[string](b), unsafe.Pointer(&s)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.typ.Hash(1, c.p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
