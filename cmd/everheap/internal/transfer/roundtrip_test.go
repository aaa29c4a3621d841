package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// open opens a space of the test's own.
func open(t testing.TB) *everheap.Space {
	t.Helper()
	s, err := everheap.Open(filepath.Join(t.TempDir(), "space"), everheap.WithMaxSize(1<<30))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// typist makes types.
type typist struct {
	r     *rand.Rand
	decls []string
	key   bool
}

func (w *typist) text(depth int) string {
	simple := []string{"bool", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "string", "string", "time.Time", "[4]byte", "netip.Addr"}
	if !w.key {
		simple = append(simple, "float32", "float64", "float64", "complex128", "[]byte", "[]byte", "netip.Prefix", "*string", "*int", "[]string")
	}
	if depth == 0 || w.r.IntN(3) > 0 {
		return simple[w.r.IntN(len(simple))]
	}
	if w.key {
		return w.structure(depth)
	}
	switch w.r.IntN(5) {
	case 0:
		return "[]" + w.text(depth-1)
	case 1:
		return "*" + w.text(depth-1)
	case 2:
		return fmt.Sprintf("[%d]%s", 1+w.r.IntN(3), w.text(depth-1))
	}
	return w.structure(depth)
}

func (w *typist) structure(depth int) string {
	name := fmt.Sprintf("T%d", len(w.decls))
	i := len(w.decls)
	w.decls = append(w.decls, "")
	var fields []string
	for f := range 1 + w.r.IntN(5) {
		fields = append(fields, fmt.Sprintf("F%d %s", f, w.text(depth-1)))
	}
	if !w.key && w.r.IntN(4) == 0 {
		fields = append(fields, "Next *"+name)
	}
	if w.r.IntN(6) == 0 {
		fields = append(fields, "key string")
	}
	w.decls[i] = "type " + name + " struct { " + strings.Join(fields, "; ") + " }"
	return name
}

// typeFor makes the type of a collection.
func typeFor(r *rand.Rand, kind string) string {
	w := &typist{r: r}
	value := w.text(3)
	if r.IntN(2) == 0 {
		value = w.structure(3)
	}
	spec := map[string]string{"list": "[]", "ref": "*"}[kind] + value
	if kind == "map" || kind == "sorted" {
		w.key = true
		spec = kind + "[" + w.text(2) + "]" + value
	}
	for _, d := range w.decls {
		spec += "; " + d
	}
	return spec
}

// valuer appends the binary form of a value without shared parts. A pointer is nil, or refers to a
// new part, or now and then to the value itself.
type valuer struct {
	r     *rand.Rand
	root  *everheap.TypeInfo
	parts uint32
	later []*everheap.TypeInfo
}

func value(r *rand.Rand, t *everheap.TypeInfo) []byte {
	v := valuer{r: r, root: t, parts: 1}
	b := v.append(nil, t)
	for i := 0; i < len(v.later); i++ {
		b = v.append(b, v.later[i])
	}
	return b
}

func (v *valuer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = v.textOrByte()
	}
	return b
}

func (v *valuer) textOrByte() byte {
	if v.r.IntN(2) == 0 {
		const hard = "\",\r\n ;\t{}nul\\"
		return hard[v.r.IntN(len(hard))]
	}
	return byte(v.r.Uint32())
}

func (v *valuer) string() []byte {
	list := []string{"", "null", " ", "é\u2028", "a,b", "\r\n", "\"", "{}", "0", "NaN", "\xff\xfe", "\xef\xbb\xbf", "true", "[1]", "-"}
	if v.r.IntN(2) == 0 {
		return []byte(list[v.r.IntN(len(list))])
	}
	return v.bytes(v.r.IntN(12))
}

func (v *valuer) append(b []byte, t *everheap.TypeInfo) []byte {
	le := binary.LittleEndian
	length := func(n int) []byte { return le.AppendUint32(b, uint32(n)) }
	switch t.Kind {
	case "bool":
		return append(b, byte(v.r.IntN(2)))
	case "string":
		s := v.string()
		return append(length(len(s)), s...)
	case "time.Time":
		sec := []int64{-62135596800, 0, 253402300800, -99999999999, 1700000000, 1 << 40}[v.r.IntN(6)]
		return le.AppendUint32(le.AppendUint64(b, uint64(sec)), uint32(v.r.IntN(1e9)))
	case "struct":
		for _, f := range t.Fields {
			b = v.append(b, f.Type)
		}
		return b
	case "array":
		for range t.Len {
			b = v.append(b, t.Elem)
		}
		return b
	case "slice":
		if v.r.IntN(3) == 0 {
			return le.AppendUint32(b, math.MaxUint32)
		}
		n := v.r.IntN(4)
		if t.Elem.Kind == "uint8" && v.r.IntN(4) == 0 { // base64 of these is "null"
			return append(length(3), 0x9e, 0xe9, 0x65)
		}
		b = length(n)
		for range n {
			b = v.append(b, t.Elem)
		}
		return b
	case "pointer":
		switch {
		case len(v.later) > 20 || v.r.IntN(3) == 0:
			return le.AppendUint32(b, 0)
		case t.Elem == v.root && v.r.IntN(3) == 0:
			return le.AppendUint32(b, 1)
		}
		v.parts++
		v.later = append(v.later, t.Elem)
		return le.AppendUint32(b, v.parts)
	case "netip.Addr", "netip.Prefix":
		if v.r.IntN(3) == 0 {
			return le.AppendUint32(b, math.MaxUint32)
		}
		if t.Kind == "netip.Addr" {
			return append(length(4), 10, byte(v.r.Uint32()), 0, 1)
		}
		return append(length(5), 10, 0, 0, 0, 8)
	case "float32":
		return le.AppendUint32(b, []uint32{0x7fc00001, 0xffc12345, 0x80000000, 0x7f800000, v.r.Uint32() & 0x7f7fffff}[v.r.IntN(5)])
	case "float64", "complex128":
		for range map[string]int{"float64": 1, "complex128": 2}[t.Kind] {
			b = le.AppendUint64(b, []uint64{0x7ff8000000000001, 0xfff8000000012345, 1 << 63, 0x7ff0000000000000, 0xfff0000000000000, v.r.Uint64() & 0x7fefffffffffffff}[v.r.IntN(6)])
		}
		return b
	}
	n := map[string]int{"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4}[t.Kind]
	if n == 0 {
		n = 8
	}
	whole := []uint64{0, math.MaxUint64, 1<<53 + 1, math.MaxInt64, 1 << 63, v.r.Uint64()}[v.r.IntN(6)]
	return append(b, le.AppendUint64(nil, whole)[:n]...)
}

// contents returns the entries of a collection in the binary form.
func contents(t testing.TB, s *everheap.Space, name string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.View(func(tx *everheap.Tx) error {
		c, err := tx.Collection(name)
		if err != nil {
			return err
		}
		for k, v := range c.As(everheap.Binary).All(tx) {
			all[hex.EncodeToString(k)] = hex.EncodeToString(v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fill stores random entries.
func fill(t testing.TB, r *rand.Rand, s *everheap.Space, c *everheap.Collection) {
	t.Helper()
	e := c.As(everheap.Binary)
	for range 1 + r.IntN(20) {
		v := value(r, c.ValueInfo())
		var err error
		switch c.Kind() {
		case "list":
			err = e.Append(s, v)
		case "ref":
			err = e.Set(s, nil, v)
		default:
			err = e.Set(s, value(r, c.KeyInfo()), v)
		}
		if err != nil {
			t.Fatalf("%s of %s: %v", c.Kind(), c.ValueType(), err)
		}
	}
}

// Export followed by import keeps the values of any type.
func TestRoundTrip_LosesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := open(t)
	kinds := []string{"map", "sorted", "list", "ref"}
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	for i := range rounds {
		kind := kinds[r.IntN(len(kinds))]
		spec := typeFor(r, kind)
		c, err := s.Create("from", spec)
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		fill(t, r, s, c)
		want := contents(t, s, "from")
		for _, shape := range []Shape{{Format: JSON}, {Format: CSV}, {Format: CSV, Delimiter: ';'}, {Format: JSON, Bare: true}} {
			if shape.Bare && hasKeys(c) {
				continue
			}
			var b bytes.Buffer
			if err := s.View(func(tx *everheap.Tx) error { return Export(tx, c, &b, shape, func() error { return nil }) }); err != nil {
				t.Fatalf("round %d, %s: %v", i, spec, err)
			}
			if _, err := s.Create("to", spec); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			_, err := Import(context.Background(), s, strings.NewReader(text), Options{Shape: shape, Collection: "to"})
			if err != nil {
				t.Fatalf("round %d, %s as %v: %v\n%s", i, spec, shape, err, text)
			}
			got := contents(t, s, "to")
			for k, v := range want {
				if got[k] != v {
					t.Fatalf("round %d, %s as %v: the value of %s was %s and is %s\n%s", i, spec, shape, k, v, got[k], text)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("round %d, %s as %v: there were %d entries, and there are %d", i, spec, shape, len(want), len(got))
			}
			drop(t, s, "to")
		}
		drop(t, s, "from")
	}
}

func drop(t testing.TB, s *everheap.Space, name string) {
	t.Helper()
	if _, err := everheap.DropCollection(s, name); err != nil {
		t.Fatal(err)
	}
}
