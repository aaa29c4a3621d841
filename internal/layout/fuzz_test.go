package layout

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

var (
	rounds = flag.Int("layout.rounds", 2000, "rounds of each randomized test")
	seed   = flag.Uint64("layout.seed", 1, "seed of the randomized tests")
)

// random returns a source of random numbers that -layout.seed repeats.
func random(t *testing.T) *rand.Rand {
	t.Logf("-layout.seed=%d -layout.rounds=%d", *seed, *rounds)
	return rand.New(rand.NewPCG(*seed, 0))
}

// generator makes types and values from bytes; after the last byte it reads zeros.
type generator struct {
	data []byte
	pool map[reflect.Type][]reflect.Value // pointers and slices made so far, to share
	left int                              // how many more values may be made
}

func (g *generator) byte() int {
	if len(g.data) == 0 {
		return 0
	}
	c := g.data[0]
	g.data = g.data[1:]
	return int(c)
}

func (g *generator) uint64() (v uint64) {
	for range 8 {
		v = v<<8 | uint64(g.byte())
	}
	return v
}

var catalogue = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](),
	reflect.TypeFor[int64](), reflect.TypeFor[int](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](),
	reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	reflect.TypeFor[complex64](), reflect.TypeFor[complex128](), reflect.TypeFor[string](), reflect.TypeFor[string](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[struct{}](), reflect.TypeFor[[]byte](), reflect.TypeFor[[5]byte](),
	reflect.TypeFor[node](), reflect.TypeFor[loop](), reflect.TypeFor[tree](), reflect.TypeFor[folder](),
	reflect.TypeFor[profile](), reflect.TypeFor[key](), reflect.TypeFor[time.Duration](), reflect.TypeFor[twisted](),
}

// twisted reaches itself in every possible way.
type twisted struct {
	A  []*twisted
	B  **twisted
	C  *[]twisted
	D  [2][]loop
	E  *[2]*twisted
	OK bool
	S  string
}

func (g *generator) typ(depth int) reflect.Type {
	switch c := g.byte(); {
	case depth <= 0 || c < 150:
		return catalogue[c%len(catalogue)]
	case c < 175:
		return reflect.SliceOf(g.typ(depth - 1))
	case c < 195:
		return reflect.PointerTo(g.typ(depth - 1))
	case c < 210:
		return reflect.ArrayOf(g.byte()%5, g.typ(depth-1))
	default:
		fields := make([]reflect.StructField, g.byte()%6)
		for i := range fields {
			fields[i] = reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: g.typ(depth - 1)}
		}
		return reflect.StructOf(fields)
	}
}

// fill gives v, which is addressable, a value.
func (g *generator) fill(v reflect.Value) {
	if g.left--; g.left < 0 {
		return
	}
	rt := v.Type()
	if fill := dictFillers[rt]; fill != nil {
		v.Set(fill(g))
		return
	}
	if rt == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(int64(g.uint64()), int64(g.byte())).UTC()))
		return
	}
	switch rt.Kind() {
	case reflect.Bool:
		v.SetBool(g.byte()%2 == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(g.uint64()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(g.uint64())
	case reflect.Float32, reflect.Float64:
		v.SetFloat(g.float())
	case reflect.Complex64, reflect.Complex128:
		v.SetComplex(complex(g.float(), g.float()))
	case reflect.String:
		n := min(g.byte()%12, len(g.data))
		v.SetString(string(g.data[:n]))
		g.data = g.data[n:]
	case reflect.Array:
		for i := range v.Len() {
			g.fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if rt.Field(i).Name != "_" {
				f := v.Field(i)
				g.fill(reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem())
			}
		}
	case reflect.Map:
		g.fillMap(v)
	case reflect.Interface:
		g.fillInterface(v)
	case reflect.Slice, reflect.Pointer:
		g.fillReference(v)
	}
}

func (g *generator) float() float64 {
	f := math.Float64frombits(g.uint64())
	if f != f {
		return 0.5 // reflect.DeepEqual says that NaN differs from itself
	}
	return f
}

func (g *generator) fillReference(v reflect.Value) {
	rt, c := v.Type(), g.byte()
	old := g.pool[rt]
	switch {
	case c < 50:
		return
	case c < 100 && len(old) > 0:
		v.Set(old[g.byte()%len(old)])
		return
	case rt.Kind() == reflect.Slice:
		n := c % 5
		v.Set(reflect.MakeSlice(rt, n, n))
		g.pool[rt] = append(old, v.Slice(0, n))
		for i := range n {
			g.fill(v.Index(i))
		}
	default:
		v.Set(reflect.New(rt.Elem()))
		g.pool[rt] = append(old, reflect.ValueOf(v.Interface()))
		g.fill(v.Elem())
	}
}

func generate(data []byte) (*Type, reflect.Value, error) {
	g := generator{data: data, pool: make(map[reflect.Type][]reflect.Value), left: 500}
	rt := g.typ(3)
	t, err := Of(rt)
	v := reflect.New(rt)
	g.fill(v.Elem())
	return t, v, err
}

// layoutTrip takes one generated value through every form.
func layoutTrip(t *testing.T, r *region, data []byte) {
	typ, v, err := generate(data)
	if err != nil {
		t.Fatalf("%v", err)
	}
	p, b := r.store(t, typ, v.UnsafePointer())
	same := func(form string, p unsafe.Pointer, b Bounds) {
		out := reflect.New(typ.GoType())
		if err := typ.CopyOut(out.UnsafePointer(), p, b); err != nil {
			t.Fatalf("%s of %s: CopyOut: %v", form, typ, err)
		}
		if !reflect.DeepEqual(out.Interface(), v.Interface()) {
			t.Fatalf("%s of %s:\ngot  %+v\nwant %+v", form, typ, out.Elem(), v.Elem())
		}
	}
	same("stored form", p, b)
	if err := moveAway(t, typ, p, b); err != nil {
		t.Fatalf("Move of %s: %v", typ, err)
	}
	img, err := typ.Detach(p, b)
	if err != nil {
		t.Fatalf("Detach of %s: %v", typ, err)
	}
	d, err := typ.Attach(img)
	if err != nil {
		t.Fatalf("Attach of %s: %v", typ, err)
	}
	same("detached form", d.Pointer(), d.Bounds())
	text, err := typ.AppendJSON(nil, p, b)
	if err != nil {
		t.Fatalf("AppendJSON of %s: %v", typ, err)
	}
	j, err := typ.ParseJSON(text)
	if err != nil {
		t.Fatalf("ParseJSON of %s: %v\n%s", typ, err, text)
	}
	same("JSON", j.Pointer(), j.Bounds())
	again, err := typ.Detach(j.Pointer(), j.Bounds())
	if err != nil || !bytes.Equal(again, img) {
		t.Fatalf("JSON of %s lost its shape: %v\n%s\n%x\n%x", typ, err, text, img, again)
	}
	runtime.KeepAlive(d)
	runtime.KeepAlive(j)
	packed, err := typ.AppendCompact(nil, p, b)
	if err != nil {
		t.Fatalf("AppendCompact of %s: %v", typ, err)
	}
	c, err := typ.ParseCompact(packed)
	if err != nil {
		t.Fatalf("ParseCompact of %s: %v\n%x", typ, err, packed)
	}
	same("compact form", c.Pointer(), c.Bounds())
	if again, err := typ.Detach(c.Pointer(), c.Bounds()); err != nil || !bytes.Equal(again, img) {
		t.Fatalf("the compact form of %s lost its shape: %v\n%x\n%x\n%x", typ, err, packed, img, again)
	}
	runtime.KeepAlive(c)
	stored, err := Decode(typ.Encode())
	if err != nil || !Same(stored, typ) || stored.String() == "" {
		t.Fatalf("Decode of %s: %v", typ, err)
	}
	if other, err := stored.AppendJSON(nil, p, b); err != nil || !bytes.Equal(other, text) {
		t.Fatalf("decoded %s prints differently: %v\n%s\n%s", typ, err, other, text)
	}
	if other, err := stored.AppendCompact(nil, p, b); err != nil || !bytes.Equal(other, packed) {
		t.Fatalf("decoded %s has another compact form: %v\n%x\n%x", typ, err, other, packed)
	}
}

func seeds(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		b := make([]byte, 20+8*n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
}

func FuzzLayout(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) { layoutTrip(t, newRegion(t, 1<<20), data) })
}

func TestLayout_RandomTypes(t *testing.T) {
	r := newRegion(t, 1<<20)
	rng := random(t)
	buf := make([]byte, 400)
	for range *rounds {
		for i := range buf {
			buf[i] = byte(rng.Uint32())
		}
		layoutTrip(t, r, buf[:rng.IntN(len(buf))])
	}
}

func FuzzDecode(f *testing.F) {
	for _, rt := range catalogue {
		t, err := Of(rt)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(t.Encode())
	}
	f.Add([]byte("\x01\x01\x15\x00\x08\x08\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		typ, err := Decode(data)
		var d *DamageError
		if err != nil {
			if !errors.As(err, &d) {
				t.Fatalf("got %v, want a DamageError", err)
			}
			return
		}
		_ = typ.String()
		_ = Diff(typ, typ)
		if typ.Size() <= 1<<16 {
			tryAll(t, typ, bytes.Repeat([]byte{0, 1, 3}, 1<<15)[:alignUp(typ.Size(), 8)+64])
		}
	})
}

// tryAll attaches the bytes, and if that succeeds uses the value in every way.
func tryAll(t *testing.T, typ *Type, img []byte) {
	d, err := typ.Attach(img)
	if err != nil {
		return
	}
	if err := typ.Check(d.Pointer(), d.Bounds()); err != nil {
		t.Fatalf("Attach accepted what Check refuses: %v", err)
	}
	useAll(t, typ, d.Pointer(), d.Bounds())
	runtime.KeepAlive(d)
}

func useAll(t *testing.T, typ *Type, p unsafe.Pointer, b Bounds) {
	if typ.GoType() != nil {
		out := reflect.New(typ.GoType())
		if err := typ.CopyOut(out.UnsafePointer(), p, b); err != nil && !errors.As(err, new(*ConcreteError)) && !errors.As(err, new(*CodedError)) {
			t.Fatalf("CopyOut of a checked value: %v", err)
		}
	}
	if _, err := typ.AppendJSON(nil, p, b); err != nil && !errors.Is(err, ErrTooDeep) && !errors.Is(err, ErrTooShared) {
		t.Fatalf("AppendJSON of a checked value: %v", err)
	}
	if _, err := typ.Detach(p, b); err != nil {
		t.Fatalf("Detach of a checked value: %v", err)
	}
	if err := typ.Handles(p, b, func(HandleKind, uint64) bool { return true }); err != nil {
		t.Fatalf("Handles of a checked value: %v", err)
	}
	if err := moveAway(t, typ, p, b); err != nil && !errors.As(err, new(*DamageError)) { // overlapping parts
		t.Fatalf("Move of a checked value: %v", err)
	}
	if typ.KeyError() == nil {
		if _, err := typ.Hash(1, p); err == nil && !typ.Equal(p, p) {
			t.Fatal("a key differs from itself")
		}
	}
}

// moveAway moves a copy of a value to another address and back, and verifies that it is unchanged.
func moveAway(t *testing.T, typ *Type, p unsafe.Pointer, b Bounds) error {
	before := bytes.Clone(bytesAt(p, b.Hi-b.Lo))
	mem := make([]uint64, len(before)/8+1)
	at := unsafe.Pointer(&mem[0])
	block := bytesAt(at, uintptr(len(before)))
	copy(block, before)
	lo, off := uintptr(at), uintptr(p)-b.Lo
	if err := typ.Move(block, off, b.Lo, b.Lo+16); err != nil {
		return err
	}
	moved := bytes.Clone(block)
	for i := 0; i+8 <= len(before); i += 8 {
		was, is := word(unsafe.Pointer(&before[i]), 0), word(unsafe.Pointer(&moved[i]), 0)
		if was != is && is != was+16 {
			t.Fatalf("Move of %s changed the word at %d from %#x to %#x", typ, i, was, is)
		}
	}
	if err := typ.Move(block, off, b.Lo+16, lo); err != nil {
		t.Fatalf("Move of %s to where it is: %v", typ, err)
	}
	if err := typ.Check(unsafe.Add(at, off), Bounds{lo, lo + uintptr(len(block))}); err != nil {
		t.Fatalf("Check of a moved %s: %v", typ, err)
	}
	if err := typ.Move(block, off, lo, b.Lo); err != nil {
		t.Fatalf("Move of %s back: %v", typ, err)
	}
	if !bytes.Equal(before, block) {
		t.Fatalf("%s differs after it was moved there and back", typ)
	}
	return nil
}

func FuzzAttach(f *testing.F) {
	f.Add(byte(20), make([]byte, 200))
	f.Fuzz(func(t *testing.T, which byte, img []byte) {
		typ, err := Of(catalogue[int(which)%len(catalogue)])
		if err != nil {
			t.Fatal(err)
		}
		tryAll(t, typ, img)
	})
}

// checkDamaged flips bytes of a stored value: every operation must return an error or an answer.
func checkDamaged(t *testing.T, r *region, data []byte, flips []byte) {
	typ, v, err := generate(data)
	if err != nil {
		t.Fatal(err)
	}
	p, b := r.store(t, typ, v.UnsafePointer())
	size := b.Hi - b.Lo
	for len(flips) >= 3 && size > 0 {
		at := (uintptr(flips[0]) | uintptr(flips[1])<<8) % size
		r.rw[at] ^= flips[2]
		flips = flips[3:]
	}
	if typ.Check(p, b) == nil {
		useAll(t, typ, p, b)
		return
	}
	out := reflect.New(typ.GoType())
	_ = typ.CopyOut(out.UnsafePointer(), p, b)
	_, _ = typ.Detach(p, b)
	_, _ = typ.AppendJSON(nil, p, b)
	_ = typ.Handles(p, b, func(HandleKind, uint64) bool { return true })
}

func FuzzCheckDamaged(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		a, b := make([]byte, 100), make([]byte, 9)
		for i := range a {
			a[i] = byte(rng.Uint32())
			b[i%9] = a[i] * 3
		}
		f.Add(a, b)
	}
	f.Fuzz(func(t *testing.T, data, flips []byte) { checkDamaged(t, newRegion(t, 1<<20), data, flips) })
}

func TestCheck_DamagedValues(t *testing.T) { // LY1, LY5, LY6
	r := newRegion(t, 1<<20)
	rng := random(t)
	data, flips := make([]byte, 300), make([]byte, 12)
	for range *rounds {
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for i := range flips {
			flips[i] = byte(rng.Uint32())
		}
		checkDamaged(t, r, data, flips[:3+3*rng.IntN(4)])
	}
}

func TestAttach_AnyBytes(t *testing.T) {
	rng := random(t)
	for range *rounds {
		typ, v, err := generate([]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), 200, 100, 160, 77, 255, 130})
		if err != nil {
			t.Fatal(err)
		}
		size := alignUp(typ.Size(), 8)
		src, err := typ.Stored(v.UnsafePointer())
		if err != nil {
			t.Fatal(err)
		}
		owned, err := typ.Measure(src)
		if err != nil {
			t.Fatal(err)
		}
		img := make([]byte, size+owned+1)
		if err := typ.flatten(unsafe.Pointer(&img[0]), 1, 0, size, owned, src, nil); err != nil {
			t.Fatal(err)
		}
		for range rng.IntN(4) {
			img[rng.IntN(len(img))] = byte(rng.IntN(len(img) + 2))
		}
		tryAll(t, typ, img[:size+owned])
	}
}
