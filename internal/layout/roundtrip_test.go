package layout

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
	"unsafe"
)

type address struct {
	Street string
	Zip    int32
	ok     bool
}

type profile struct {
	ID      int64
	Name    string
	Tags    []string
	Avatar  []byte
	Scores  []float32
	Home    address
	Others  []address
	Manager *profile
	When    time.Time
	Matrix  [2][3]uint16
	Z       complex128
	_       int
	Empty   struct{}
}

type node struct {
	Name string
	Next *node
	Prev *node
	Kids []node
}

type loop []loop

type tree struct{ Left, Right *tree }

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func check[T any](t *testing.T, r *region, v T) {
	t.Helper()
	same(t, trip(t, r, &v), v)
	typ := typeFor[T](t)

	// The value survives Detach and Attach, and JSON.
	p, b := r.store(t, typ, unsafe.Pointer(&v))
	img, err := typ.Detach(p, b)
	if err != nil {
		t.Fatalf("Detach: %v", err)
	}
	d, err := typ.Attach(img)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	var out T
	if err := typ.CopyOut(unsafe.Pointer(&out), d.Pointer(), d.Bounds()); err != nil {
		t.Fatalf("CopyOut: %v", err)
	}
	same(t, out, v)
	again, err := typ.Detach(d.Pointer(), d.Bounds())
	if err != nil || !bytes.Equal(again, img) {
		t.Errorf("Detach is not canonical: %v\n%x\n%x", err, img, again)
	}
	text, err := typ.AppendJSON(nil, p, b)
	if err != nil {
		t.Fatalf("AppendJSON: %v", err)
	}
	j, err := typ.ParseJSON(text)
	if err != nil {
		t.Fatalf("ParseJSON(%s): %v", text, err)
	}
	var parsed T
	if err := typ.CopyOut(unsafe.Pointer(&parsed), j.Pointer(), j.Bounds()); err != nil {
		t.Fatalf("CopyOut: %v", err)
	}
	same(t, parsed, v)
	if again, err := typ.Detach(j.Pointer(), j.Bounds()); err != nil || !bytes.Equal(again, img) {
		t.Errorf("JSON %s lost something: %v\n%x\n%x", text, err, img, again)
	}
	runtime.KeepAlive(d)
	runtime.KeepAlive(j)

	packed, err := typ.AppendCompact(nil, p, b)
	if err != nil {
		t.Fatalf("AppendCompact: %v", err)
	}
	c, err := typ.ParseCompact(packed)
	if err != nil {
		t.Fatalf("ParseCompact(%x): %v", packed, err)
	}
	var unpacked T
	if err := typ.CopyOut(unsafe.Pointer(&unpacked), c.Pointer(), c.Bounds()); err != nil {
		t.Fatalf("CopyOut: %v", err)
	}
	same(t, unpacked, v)
	if again, err := typ.Detach(c.Pointer(), c.Bounds()); err != nil || !bytes.Equal(again, img) {
		t.Errorf("the compact form %x lost something: %v\n%x\n%x", packed, err, img, again)
	}
	runtime.KeepAlive(c)
}

func TestRoundTrip_Kinds(t *testing.T) {
	r := newRegion(t, 1<<20)
	check(t, r, true)
	check(t, r, int8(-5))
	check(t, r, int64(math.MinInt64))
	check(t, r, uint64(math.MaxUint64))
	check(t, r, uint16(65535))
	check(t, r, float32(0.1))
	check(t, r, math.Copysign(0, -1))
	check(t, r, math.Inf(-1))
	check(t, r, math.SmallestNonzeroFloat64)
	check(t, r, complex64(complex(1, -2)))
	check(t, r, "")
	check(t, r, "häuser \"x\" \\ \x00\n\u2028")
	check(t, r, "\xff\xfe no UTF-8")
	check(t, r, []byte(nil))
	check(t, r, []byte{})
	check(t, r, []byte("abc"))
	check(t, r, [3]byte{1, 2, 3})
	check(t, r, [0]string{})
	check(t, r, []string{"a", "", "ccc"})
	check(t, r, []struct{}{{}, {}})
	check(t, r, []struct{}{})
	check(t, r, [][]int16{nil, {}, {1, 2}, {3}})
	check(t, r, struct{}{})
	check(t, r, &struct{}{})
	check(t, r, time.Date(2024, 2, 29, 1, 2, 3, 4, time.UTC))
	check(t, r, time.Date(-5, 2, 28, 1, 2, 3, 4, time.UTC))
	check(t, r, time.Time{})
	check(t, r, [20]time.Time{3: time.Unix(1, 2).UTC()})
	check(t, r, time.Second)
	check(t, r, [40]string{7: "seven"})
	check(t, r, [20]address{7: {"seven", 7, true}})
	x := 7
	px := &x
	check(t, r, px)
	check(t, r, &px)
	check(t, r, (*int)(nil))
	check(t, r, new(*int))
	check(t, r, new([]byte))
	check(t, r, []*int{&x, nil, &x})
	check(t, r, []**int{&px, &px, new(*int)})
}

func TestRoundTrip_Struct(t *testing.T) {
	r := newRegion(t, 1<<20)
	boss := &profile{Name: "boss", Tags: []string{}}
	p := profile{
		ID: 1, Name: "Ada", Tags: []string{"x", "", "yy"}, Avatar: []byte{1, 2, 3}, Scores: []float32{1, 2.5},
		Home: address{"Main St", 12345, true}, Others: []address{{"A", 1, false}, {"B", 2, true}},
		Manager: boss, When: time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC), Z: complex(1, 2),
	}
	p.Matrix[1][2] = 9
	check(t, r, p)
	check(t, r, []profile{p, *boss, {}})
	check(t, r, []*profile{&p, boss, boss, nil})
}

func TestRoundTrip_TimeIsNormalised(t *testing.T) { // LY4
	r := newRegion(t, 1<<16)
	now := time.Now().In(time.FixedZone("X", 3600))
	got := trip(t, r, &now)
	if !got.Equal(now) || got.Location() != time.UTC || got != got.Round(0) {
		t.Errorf("got %v, want %v in UTC", got, now)
	}
}

func TestRoundTrip_SharingAndCycles(t *testing.T) { // LY5
	r := newRegion(t, 1<<20)
	a, b := &node{Name: "a"}, &node{Name: "b"}
	a.Next, b.Next, a.Prev, b.Prev = b, a, b, a
	a.Kids = []node{{Name: "kid", Next: a}}
	b.Kids = a.Kids
	got := trip(t, r, &a)
	if got.Next.Next != got || got.Kids[0].Next != got || &got.Kids[0] != &got.Next.Kids[0] {
		t.Errorf("cycle lost its shape: %+v", got)
	}
	check(t, r, a)
	check(t, r, *a)
	check(t, r, []*node{a, b, a})

	l := make(loop, 3)
	l[0], l[1] = l, loop{}
	if got := trip(t, r, &l); &got[0][0] != &got[0] || got[1] == nil || got[2] != nil {
		t.Errorf("slice that holds itself: %v", len(got))
	}
	typ := typeFor[loop](t)
	p, bounds := r.store(t, typ, unsafe.Pointer(&l))
	text, err := typ.AppendJSON(nil, p, bounds)
	if want := `{"$id":1,"$value":[{"$ref":1},[],null]}`; err != nil || string(text) != want {
		t.Errorf("got %s (%v), want %s", text, err, want)
	}
	d, err := typ.ParseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := typ.AppendJSON(nil, d.Pointer(), d.Bounds())
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("got %s (%v), want %s", again, err, text)
	}
	runtime.KeepAlive(d)
}

func TestRoundTrip_PointerToItself(t *testing.T) {
	r := newRegion(t, 1<<16)
	n := &node{Name: "self"}
	n.Next = n
	check(t, r, *n)
	c, err := Clone(n)
	if err != nil || c.Next != c || c == n {
		t.Errorf("Clone: %v, %v", c, err)
	}
}

func TestRoundTrip_LongLinkedList(t *testing.T) {
	const n = 200_000
	defer debug.SetMaxStack(debug.SetMaxStack(32 << 20)) // a frame for each node would not fit
	r := newRegion(t, 16<<20)
	var head *node
	for range n {
		head = &node{Next: head}
	}
	got := trip(t, r, &head)
	count := 0
	for ; got != nil; got = got.Next {
		count++
	}
	if count != n {
		t.Errorf("got %d nodes, want %d", count, n)
	}
	typ := typeFor[*node](t)
	p, b := r.store(t, typ, unsafe.Pointer(&head))
	if _, err := typ.AppendJSON(nil, p, b); !errors.Is(err, ErrTooDeep) {
		t.Errorf("AppendJSON: %v, want ErrTooDeep", err)
	}
}

func TestFlatten_ErrChanged(t *testing.T) { // LY3
	r := newRegion(t, 1<<16)
	v := struct {
		S string
		B []byte
		T []string
	}{"abc", []byte{1}, []string{"x"}}
	typ := typeFor[struct {
		S string
		B []byte
		T []string
	}](t)
	owned, err := typ.Measure(unsafe.Pointer(&v))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(){
		"string":         func() { v.S += "defghijklm" },
		"slice":          func() { v.B = make([]byte, 100) },
		"strings":        func() { v.T = append(v.T, "y", "z") },
		"string in them": func() { v.T[0] = "0123456789" },
	} {
		t.Run(name, func(t *testing.T) {
			before := v
			before.T = append([]string(nil), v.T...)
			change()
			d := r.target(1 << 12)
			for i := range r.rw {
				r.rw[i] = 0xaa
			}
			if err := typ.Flatten(d, 64, 128, owned, unsafe.Pointer(&v)); !errors.Is(err, ErrChanged) {
				t.Errorf("got %v, want ErrChanged", err)
			}
			for i, c := range r.rw {
				inside := i >= 64 && i < 64+int(typ.Size()) || i >= 128 && i < 128+int(owned)
				if !inside && c != 0xaa {
					t.Fatalf("byte %d was written", i)
				}
			}
			v = before
		})
	}
}

// Flatten writes through the write view only: the read view, here Go memory, stays as it was. It
// stores addresses of the read view; so with GOEXPERIMENT=cgocheck2 (make pointers) a typed pointer
// store throws.
func TestFlatten_WriteViewOnly(t *testing.T) { // LY2
	r := newRegion(t, 1<<16)
	store := func(typ *Type, src unsafe.Pointer) {
		t.Helper()
		src, err := typ.Stored(src)
		if err != nil {
			t.Fatal(err)
		}
		owned, err := typ.Measure(src)
		if err != nil {
			t.Fatal(err)
		}
		fixed := alignUp(typ.Size(), 8)
		ro := make([]byte, fixed+owned)
		r.poison()
		d := Target{RW: r.addr(r.rw), RO: r.addr(ro), Size: fixed + owned}
		if err := typ.Flatten(d, 0, fixed, owned, src); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ro, make([]byte, len(ro))) {
			t.Errorf("%s: Flatten has written to the read view", typ)
		}
		copy(ro, r.rw) // now the addresses in the value are right
		if err := typ.Check(unsafe.Pointer(&ro[0]), Bounds{d.RO, d.RO + d.Size}); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		runtime.KeepAlive(ro)
	}
	home := address{Street: "Main Street", Zip: 7}
	everything := profile{Name: "Ada", Tags: []string{"a", "", "b"}, Avatar: []byte{1, 2}, Scores: []float32{}, Home: home,
		Others: []address{home, {}}, Manager: &profile{Name: "Bob", When: time.Unix(1, 2)}, When: time.Unix(3, 4)}
	store(typeFor[profile](t), unsafe.Pointer(&everything))
	ring := node{Name: "ring", Kids: []node{{Name: "kid"}}}
	ring.Next, ring.Prev = &ring, &node{Next: &ring}
	store(typeFor[node](t), unsafe.Pointer(&ring))
	empty := tree{Left: &tree{}, Right: &tree{}}
	store(typeFor[tree](t), unsafe.Pointer(&empty))
	nothing := &struct{}{}
	store(typeFor[*struct{}](t), unsafe.Pointer(&nothing))
	coded := markedStored{L: labels{"a": "b"}, R: regexp.MustCompile("a+"), P: &labels{"c": "d"}, When: time.Unix(5, 6)}
	store(typeFor[markedStored](t), unsafe.Pointer(&coded))
}

func TestFlatten_PaddingIsZero(t *testing.T) { // LY4
	r := newRegion(t, 1<<16)
	type padded struct {
		A int8
		B int64
		C int8
		_ int32
		S string
		D bool
		N []int64
	}
	v := []padded{{1, 2, 3, 4, "odd", true, []int64{5}}, {1, 2, 3, 5, "odd", true, []int64{5}}}
	for i := range v {
		for off := range unsafe.Sizeof(v[i]) { // dirty the padding after A and C
			if off > 0 && off < 8 || off > 16 && off < 24 {
				*(*byte)(unsafe.Add(unsafe.Pointer(&v[i]), off)) = byte(0xf0 + i)
			}
		}
	}
	typ := typeFor[padded](t)
	p, b := r.store(t, typ, unsafe.Pointer(&v[0]))
	one, err := typ.Detach(p, b)
	if err != nil {
		t.Fatal(err)
	}
	p, b = r.store(t, typ, unsafe.Pointer(&v[1]))
	two, err := typ.Detach(p, b)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("equal values differ: %v\n%x\n%x", err, one, two)
	}
}

func TestMeasure_ErrTooLarge(t *testing.T) {
	many := make([]struct{}, maxEmpty+1)
	if _, err := typeFor[[]struct{}](t).Measure(unsafe.Pointer(&many)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	big := make([]byte, 1<<20)
	shares := make([][]byte, 1<<11)
	for i := range shares {
		shares[i] = big
	}
	if _, err := typeFor[[][]byte](t).Measure(unsafe.Pointer(&shares)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestCopyOut_StringsShareOneAllocation(t *testing.T) {
	r := newRegion(t, 1<<16)
	type five struct{ A, B, C, D, E string }
	v := five{"one", "two", "three", "four", "five"}
	typ := typeFor[five](t)
	p, b := r.store(t, typ, unsafe.Pointer(&v))
	var out five
	n := testing.AllocsPerRun(100, func() {
		if err := typ.CopyOut(unsafe.Pointer(&out), p, b); err != nil {
			t.Fatal(err)
		}
	})
	if n != 1 || out != v {
		t.Errorf("got %v allocations and %v", n, out)
	}
}

func TestNoEscape_KeepsValueOnStack(t *testing.T) { // LY7
	r := newRegion(t, 1<<16)
	typ := typeFor[address](t)
	n := testing.AllocsPerRun(100, func() {
		v := address{"Main", 1, true}
		owned, _ := typ.Measure(NoEscape(&v))
		if err := typ.Flatten(r.target(4096), 0, 64, owned, NoEscape(&v)); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestCopyOut_UnderGarbageCollection(t *testing.T) {
	r := newRegion(t, 1<<20)
	a := &node{Name: "a", Kids: []node{{Name: "k1"}, {Name: "k2"}}}
	a.Next = a
	typ := typeFor[*node](t)
	p, b := r.store(t, typ, unsafe.Pointer(&a))
	stop := make(chan bool)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	keep := make([]*node, 64)
	for i := range 3000 {
		if err := typ.CopyOut(unsafe.Pointer(&keep[i%64]), p, b); err != nil {
			t.Fatal(err)
		}
		if k := keep[(i*7)%64]; k != nil && (k.Next != k || k.Kids[1].Name != "k2") {
			t.Fatalf("copy is damaged: %+v", k)
		}
	}
	close(stop)
}

// A value that points at itself is copied out twice: to the variable, and to the target of its
// pointer.
func TestCopyOut_RootWithMuchOfItsOwn(t *testing.T) {
	type ring struct {
		Self *ring
		Data []int64
	}
	r := newRegion(t, 1<<20)
	v := ring{Data: make([]int64, 1000)}
	v.Self = &v
	got := trip(t, r, &v)
	if got.Self.Self != got.Self || len(got.Data) != 1000 || len(got.Self.Data) != 1000 {
		t.Errorf("got %p %p, %d and %d", got.Self, got.Self.Self, len(got.Data), len(got.Self.Data))
	}
}
