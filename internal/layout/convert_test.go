package layout

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// evolve returns a changed type of rt that Evolve accepts.
func evolve(r *rand.Rand, rt reflect.Type) reflect.Type {
	if rt == reflect.TypeFor[time.Time]() {
		return rt
	}
	if wider := widenings[rt.Kind()]; len(wider) > 0 && r.IntN(2) == 0 {
		return wider[r.IntN(len(wider))]
	}
	if rt.Kind() != reflect.Pointer && r.IntN(12) == 0 {
		if to := evolve(r, rt); to.Kind() != reflect.Pointer {
			return reflect.PointerTo(to)
		}
	}
	if rt.Name() != "" {
		return rt
	}
	switch rt.Kind() {
	case reflect.Slice:
		return reflect.SliceOf(evolve(r, rt.Elem()))
	case reflect.Pointer:
		return reflect.PointerTo(evolve(r, rt.Elem()))
	case reflect.Array:
		if r.IntN(4) == 0 {
			return reflect.SliceOf(evolve(r, rt.Elem()))
		}
		return reflect.ArrayOf(rt.Len()+r.IntN(2)*r.IntN(4), evolve(r, rt.Elem()))
	case reflect.Struct:
		return evolveStruct(r, rt)
	}
	return rt
}

// widenings lists the types that hold all numbers of a kind.
var widenings = map[reflect.Kind][]reflect.Type{
	reflect.Int8: {reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
		reflect.TypeFor[int](), reflect.TypeFor[float32](), reflect.TypeFor[float64]()},
	reflect.Int16: {reflect.TypeFor[int32](), reflect.TypeFor[int64](), reflect.TypeFor[float32](), reflect.TypeFor[float64]()},
	reflect.Int32: {reflect.TypeFor[int64](), reflect.TypeFor[int](), reflect.TypeFor[float64]()},
	reflect.Int64: {reflect.TypeFor[int](), reflect.TypeFor[time.Duration]()},
	reflect.Int:   {reflect.TypeFor[int64]()},
	reflect.Uint8: {reflect.TypeFor[uint16](), reflect.TypeFor[uint](), reflect.TypeFor[int16](), reflect.TypeFor[int](),
		reflect.TypeFor[float32]()},
	reflect.Uint16:    {reflect.TypeFor[uint64](), reflect.TypeFor[int32](), reflect.TypeFor[float32]()},
	reflect.Uint32:    {reflect.TypeFor[uint](), reflect.TypeFor[int64](), reflect.TypeFor[float64]()},
	reflect.Uint64:    {reflect.TypeFor[uint]()},
	reflect.Float32:   {reflect.TypeFor[float64]()},
	reflect.Complex64: {reflect.TypeFor[complex128]()},
}

func evolveStruct(r *rand.Rand, rt reflect.Type) reflect.Type {
	var fields []reflect.StructField
	for i := range rt.NumField() {
		f := rt.Field(i)
		if r.IntN(5) == 0 && (i > 0 || rt.NumField() == 1 && r.IntN(2) == 0) {
			continue
		}
		to := reflect.StructField{Name: f.Name, Type: evolve(r, f.Type)}
		if r.IntN(5) == 0 {
			to.Name += "x"
			to.Tag = reflect.StructTag(fmt.Sprintf(`everheap:"was=Never,was=%s"`, f.Name))
		}
		fields = append(fields, to)
	}
	for range r.IntN(3) {
		if len(fields) == 0 && rt.NumField() > 0 {
			break // the types need a field in common, unless one of them has no fields
		}
		fields = append(fields, reflect.StructField{Name: fmt.Sprint("New", len(fields)), Type: catalogue[r.IntN(len(catalogue))]})
	}
	if r.IntN(2) == 0 {
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	return reflect.StructOf(fields)
}

// converted is a pointer that the reference has converted.
type converted struct {
	p        unsafe.Pointer
	from, to reflect.Type
}

// reference converts src to dst as the documentation says, by reflection alone.
func reference(dst, src reflect.Value, seen map[converted]reflect.Value) {
	from, to := src.Type(), dst.Type()
	switch {
	case from == to:
		dst.Set(src)
	case from.Kind() == reflect.Pointer && to.Kind() == reflect.Pointer:
		if src.IsNil() {
			return
		}
		key := converted{src.UnsafePointer(), from, to}
		if _, ok := seen[key]; !ok {
			seen[key] = reflect.New(to.Elem())
			reference(seen[key].Elem(), src.Elem(), seen)
		}
		dst.Set(seen[key])
	case to.Kind() == reflect.Pointer:
		dst.Set(reflect.New(to.Elem()))
		reference(dst.Elem(), src, seen)
	case from.Kind() == reflect.Struct:
		for i := range to.NumField() {
			f := to.Field(i)
			name := f.Name
			if old, ok := strings.CutPrefix(f.Tag.Get("everheap"), "was=Never,was="); ok {
				name = old
			}
			if g := src.FieldByName(name); g.IsValid() {
				reference(dst.Field(i), g, seen)
			}
		}
	case from.Kind() == reflect.Slice && src.IsNil():
	case from.Kind() == reflect.Slice || from.Kind() == reflect.Array:
		if to.Kind() == reflect.Slice {
			dst.Set(reflect.MakeSlice(to, src.Len(), src.Len()))
		}
		for i := range src.Len() {
			reference(dst.Index(i), src.Index(i), seen)
		}
	case src.CanInt() && dst.CanFloat():
		dst.SetFloat(float64(src.Int()))
	case src.CanUint() && dst.CanFloat():
		dst.SetFloat(float64(src.Uint()))
	case src.CanUint() && dst.CanInt():
		dst.SetInt(int64(src.Uint()))
	default:
		dst.Set(src.Convert(to))
	}
}

// storedAs returns the descriptor as a space returns it: decoded.
func storedAs(t testing.TB, typ *Type) *Type {
	t.Helper()
	decoded, err := Decode(typ.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// twoRegions has a region for the stored value, and one for the converted value.
type twoRegions struct{ from, to *region }

func newTwoRegions(t testing.TB) twoRegions {
	return twoRegions{newRegion(t, 1<<20), newRegion(t, 1<<20)}
}

// convert stores values of type old, converts each with the same converter, and returns the last
// result, detached.
func (r twoRegions) convert(t *testing.T, c *Conversion, old *Type, src ...unsafe.Pointer) (img []byte) {
	t.Helper()
	x := c.NewConverter()
	for _, v := range src {
		p, b := r.from.store(t, old, v)
		made, err := x.Convert(p, b)
		if err != nil {
			t.Fatalf("%s to %s: %v", c.From, c.To, err)
		}
		p2, b2 := r.to.storeStored(t, c.To, made)
		img, err = c.To.Detach(p2, b2)
		runtime.KeepAlive(x)
		if err != nil {
			t.Fatalf("%s to %s: %v", c.From, c.To, err)
		}
		if c.Same() {
			if plain, err := c.To.Detach(p, b); err != nil || !bytes.Equal(plain, img) {
				t.Fatalf("%s to %s: Same is true, but the bytes differ: %v", c.From, c.To, err)
			}
		}
	}
	return img
}

func TestConvert_AsReference(t *testing.T) {
	r, regions := random(t), newTwoRegions(t)
	same, different := 0, 0
	for i := range *rounds {
		g := generator{data: make([]byte, 800), pool: map[reflect.Type][]reflect.Value{}, left: 300}
		for i := range g.data {
			g.data[i] = byte(r.Uint32())
		}
		if i%2 == 0 {
			g.data[0] = 255 // a struct
		}
		rt := g.typ(3)
		to := evolve(r, rt)
		old, err := Of(rt)
		if err != nil {
			t.Fatal(err)
		}
		program, err := Of(to)
		if err != nil {
			t.Fatal(err)
		}
		src, want, before := reflect.New(rt), reflect.New(to), reflect.New(rt)
		g.fill(before.Elem())
		g.left = 300
		g.pool = map[reflect.Type][]reflect.Value{src.Type(): {src}} // pointers to the value itself
		g.fill(src.Elem())
		if rt == to {
			want = src
		} else {
			reference(want.Elem(), src.Elem(), map[converted]reflect.Value{{src.UnsafePointer(), src.Type(), want.Type()}: want})
		}
		c := NewConversion(storedAs(t, old), program, nil)
		if !c.Possible(true) {
			t.Fatalf("round %d: %s to %s is refused:\n%s", i, rt, to, strings.Join(c.Lines(), "\n"))
		}
		if c.Possible(false) != Same(old, program) || (len(c.Lines()) == 0) != Same(old, program) {
			t.Fatalf("round %d: %s to %s has no difference", i, rt, to)
		}
		if c.Same() {
			same++
		} else {
			different++
		}
		got := regions.convert(t, c, old, before.UnsafePointer(), src.UnsafePointer())
		p, b := regions.to.store(t, program, want.UnsafePointer())
		expected, err := program.Detach(p, b)
		if err != nil || !bytes.Equal(got, expected) {
			t.Fatalf("round %d: %s to %s of %+v (%v)\ngot  %x\nwant %x", i, rt, to, src.Elem(), err, got, expected)
		}
	}
	if same < *rounds/20 || different < *rounds/4 {
		t.Errorf("%d conversions left the bytes as they were and %d did not: that tests nothing", same, different)
	}
}

// Types before and after a change, each pair in a scope of its own, so that they
// have the same names.
type (
	graphOld struct {
		ID    int32
		Next  *graphOld
		Self  *graphOld
		Kids  []graphOld
		Peers []*graphOld
		Name  string
		When  time.Time
		Any   *int16
		Other *int16
		Kept  *string
		Again *string
	}
	graphNew struct {
		Name  string
		Again *string
		Kept  *string
		Other *int64
		Any   *int64
		When  time.Time
		Peers []*graphNew
		Kids  []graphNew
		Self  *graphNew
		Added *graphNew
		Next  *graphNew
		ID    int64
	}
)

// graphAfter returns the expected value of the graph in the test below, detached.
func graphAfter(t *testing.T, r twoRegions) []byte {
	n, s := int64(-7), "shared"
	a := graphNew{ID: 1, Name: "a", When: time.Unix(1, 2).UTC(), Any: &n, Other: &n, Kept: &s, Again: &s}
	b := graphNew{ID: -2, Name: "b", Next: &a, Any: &n, Kept: &s}
	a.Next, a.Self = &b, &a
	b.Self = &b
	a.Peers = []*graphNew{&a, &b, nil, &b}
	a.Kids = []graphNew{{ID: 3, Next: &a}, {ID: 4, Kids: []graphNew{{ID: 5, Self: &b}}}}
	b.Kids = a.Kids
	p, bounds := r.to.store(t, typeFor[graphNew](t), unsafe.Pointer(&a))
	img, err := typeFor[graphNew](t).Detach(p, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestConvert_KeepsTheShapeOfGraphs(t *testing.T) {
	n, s := int16(-7), "shared"
	a := graphOld{ID: 1, Name: "a", When: time.Unix(1, 2).UTC(), Any: &n, Other: &n, Kept: &s, Again: &s}
	b := graphOld{ID: -2, Name: "b", Next: &a, Any: &n, Kept: &s}
	a.Next, a.Self = &b, &a
	b.Self = &b
	a.Peers = []*graphOld{&a, &b, nil, &b}
	a.Kids = []graphOld{{ID: 3, Next: &a}, {ID: 4, Kids: []graphOld{{ID: 5, Self: &b}}}}
	b.Kids = a.Kids // a slice of a recursive type is shared, too
	c := NewConversion(storedAs(t, typeFor[graphOld](t)), typeFor[graphNew](t), nil)
	if !c.Possible(true) || c.Same() {
		t.Fatal(c.Lines())
	}
	r := newTwoRegions(t)
	img := r.convert(t, c, typeFor[graphOld](t), unsafe.Pointer(&b), unsafe.Pointer(&a))
	if want := graphAfter(t, r); !bytes.Equal(img, want) {
		t.Errorf("got  %x\nwant %x", img, want)
	}
	d, err := c.To.Attach(img)
	if err != nil {
		t.Fatal(err)
	}
	var got graphNew
	if err := c.To.CopyOut(unsafe.Pointer(&got), d.Pointer(), d.Bounds()); err != nil {
		t.Fatal(err)
	}
	gb := got.Next
	root := gb.Next // CopyOut makes a second copy of the root for pointers to it
	switch {
	case got.ID != 1 || got.Name != "a" || !got.When.Equal(a.When) || *got.Any != -7 || got.Any != got.Other || got.Added != nil:
		t.Errorf("got %+v", got)
	case *got.Kept != "shared" || got.Kept != got.Again || gb.Kept != got.Kept || gb.Any != got.Any:
		t.Error("the shared part is not shared any more")
	case gb.ID != -2 || gb.Self != gb || root.Self != root || root.Next != gb:
		t.Error("the cycle is broken")
	case len(got.Peers) != 4 || got.Peers[0] != root || got.Peers[1] != gb || got.Peers[2] != nil || got.Peers[3] != gb:
		t.Errorf("the peers are %v", got.Peers)
	case len(got.Kids) != 2 || got.Kids[0].Next != root || got.Kids[1].Kids[0].Self != gb || &gb.Kids[0] != &got.Kids[0]:
		t.Errorf("the kids are %v", got.Kids)
	}
}

// Converting a long list needs no recursion.
func TestConvert_LongList(t *testing.T) {
	type before struct {
		N    int32
		Next *before
	}
	type after struct {
		Next *after
		N    int64
	}
	var first *before
	for i := range int32(200_000) {
		first = &before{i, first}
	}
	old := typeFor[*before](t)
	owned, err := old.Measure(unsafe.Pointer(&first))
	if err != nil {
		t.Fatal(err)
	}
	r := newRegion(t, int(owned)+8)
	p, b := r.store(t, old, unsafe.Pointer(&first))
	x := NewConversion(storedAs(t, old), typeFor[*after](t), nil).NewConverter()
	made, err := x.Convert(p, b)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(200_000)
	for a := *(**after)(made); a != nil; a = a.Next {
		if n--; a.N != n {
			t.Fatalf("got %d, want %d", a.N, n)
		}
	}
	runtime.KeepAlive(x)
	if n != 0 {
		t.Errorf("%d nodes are missing", n)
	}
}

func TestConvert_Damaged(t *testing.T) { // LY8
	r, regions := random(t), newTwoRegions(t)
	s := "shared"
	v := graphOld{Name: "a name", Kids: []graphOld{{ID: 3, Name: "kid"}}, Kept: &s}
	v.Next = &graphOld{Self: &v, Peers: []*graphOld{&v}}
	old := storedAs(t, typeFor[graphOld](t))
	p, b := regions.from.store(t, typeFor[graphOld](t), unsafe.Pointer(&v))
	x := NewConversion(old, typeFor[graphNew](t), nil).NewConverter()
	bytesOf := regions.from.rw[:b.Hi-b.Lo]
	good := bytes.Clone(bytesOf)
	for range *rounds {
		copy(bytesOf, good)
		for range 1 + r.IntN(3) {
			bytesOf[r.IntN(len(bytesOf))] ^= 1 << r.IntN(8)
		}
		made, err := x.Convert(p, b)
		if err == nil {
			_, err = x.c.To.Measure(made)
		}
		var d *DamageError
		if err != nil && !errors.As(err, &d) && !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
}

func TestConvert_TooLarge(t *testing.T) {
	v := make([][1]int8, 1<<15)
	r := newRegion(t, 1<<20)
	p, b := r.store(t, typeFor[[][1]int8](t), unsafe.Pointer(&v))
	c := NewConversion(typeFor[[][1]int8](t), typeFor[[][1 << 20]int8](t), nil)
	if _, err := c.NewConverter().Convert(p, b); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestConversion_SameBytes(t *testing.T) {
	type color int32
	type was struct {
		A int
		C color
		K []*was
		M testMap[string, was]
	}
	type renamed struct {
		A int64
		C int32
		K []*renamed
		M testMap[string, renamed]
	}
	c := NewConversion(typeFor[was](t), typeFor[renamed](t), nil)
	m := typeFor[renamed](t).Fields()[3].Type
	if !c.Possible(true) || c.Possible(false) || !c.Same() || !c.Affects(m) || !c.AffectsAny() {
		t.Errorf("same bytes %v, affects the map %v:\n%s", c.Same(), c.Affects(m), strings.Join(c.Lines(), "\n"))
	}
	type moved struct {
		C color
		A int
		K []*moved
		M testMap[string, moved]
	}
	if NewConversion(typeFor[was](t), typeFor[moved](t), nil).Same() {
		t.Error("Same is true although fields moved")
	}
	type aligned struct {
		_    [0]uint64
		A, B int32
	}
	type loose struct{ A, B int32 }
	if c := NewConversion(typeFor[loose](t), typeFor[aligned](t), nil); c.Same() || !c.Possible(true) || len(c.Lines()) != 1 {
		t.Errorf("another alignment: %v", c.Lines())
	}
	type first struct {
		A, B struct{}
		N    int
	}
	type second struct {
		B, A struct{}
		N    int
	}
	if NewConversion(typeFor[first](t), typeFor[second](t), nil).Same() {
		t.Error("Same is true although fields of size zero moved, which changes the hash")
	}
	type filled struct {
		A int8
		B int8
		C int32
	}
	type padded struct {
		A int8
		C int32
	}
	if NewConversion(typeFor[padded](t), typeFor[filled](t), nil).Same() {
		t.Error("Same is true although an added field changes the hash")
	}
}
