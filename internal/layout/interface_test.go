package layout

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

type shape interface{ Area() float64 }

type circle struct {
	Name   string
	Radius float64
}

func (c circle) Area() float64 { return 3 * c.Radius * c.Radius }

type square struct {
	Side float32
	Next *square
	In   shape
}

func (s *square) Area() float64 { return float64(s.Side * s.Side) }

type group struct {
	Of   []shape
	By   map[string]shape
	Any  any
	Meta map[string]any
}

func (g group) Area() float64 { return 0 }

// unit is a concrete type of no size.
type unit struct{}

func (unit) Area() float64 { return 1 }

// wrong is an error.
type wrong struct{ Code int }

func (w wrong) Error() string { return fmt.Sprint("code ", w.Code) }

// drawing has interfaces in all places.
type drawing struct {
	Title string
	Main  shape
	All   []shape
	Two   [2]shape
	At    *shape
	By    map[string]shape
	In    dict[string, any]
	Any   any
	Err   error
	Next  *drawing
	End   string
}

// mustRegister registers a type.
func mustRegister[T any](name string) {
	if err := Register(reflect.TypeFor[T](), name, false, nil); err != nil {
		panic(err)
	}
}

func init() {
	mustRegister[circle]("circle")
	mustRegister[*square]("")
	mustRegister[group]("group")
	mustRegister[unit]("")
	mustRegister[wrong]("")
	mustRegister[netip.Addr]("")
	mustRegister[mapped]("")
	mustRegister[*node]("")
	mustRegister[loop]("")
	mustRegister[profile]("")
	catalogue = append(catalogue, reflect.TypeFor[any](), reflect.TypeFor[shape](), reflect.TypeFor[drawing](), reflect.TypeFor[map[string]any](), reflect.TypeFor[error]())
	addDict[string, any]()
}

// fillInterface puts a value of a registered type into an interface. The value shares no parts, since
// a round trip does not keep parts that interfaces share.
func (g *generator) fillInterface(v reflect.Value) {
	c := g.byte()
	if c < 50 {
		return
	}
	var fits []*Registered
	for _, name := range []string{"int", "bool", "string", "[]byte", "time.Time", "map[string]any", "[]any", "[]float64", "circle", "*layout.square", "group", "layout.unit", "layout.wrong", "layout.mapped", "*layout.node", "layout.loop"} {
		if r := registeredName(name); r.rt.Implements(v.Type()) {
			fits = append(fits, r)
		}
	}
	in := reflect.New(fits[c%len(fits)].rt).Elem()
	pool := g.pool
	g.pool = map[reflect.Type][]reflect.Value{}
	g.fill(in)
	g.pool = pool
	v.Set(in)
}

func someDrawing() drawing {
	var s shape = &square{Side: 2, Next: &square{Side: 3, In: unit{}}, In: group{Any: 5}}
	d := drawing{Title: "a", End: "z", Main: circle{"c", 1.5}, All: []shape{unit{}, nil, group{Of: []shape{circle{"in", 2}, nil}, By: map[string]shape{"x": nil, "y": unit{}}, Any: "text"}}, At: &s}
	d.Two[1] = circle{}
	d.By = map[string]shape{"one": circle{"1", 1}, "nil": nil}
	d.In = dictFrom(map[string]any{"int": 1, "bytes": []byte{1, 2}, "nil": nil, "strings": []string{}, "none": []string(nil)})
	d.Any = map[string]any{"a": []any{1.5, "x", nil, map[string]any{}}, "t": time.Unix(5, 6).UTC(), "d": time.Second}
	d.Err = wrong{404}
	next := drawing{Any: netip.MustParseAddr("10.0.0.1"), Err: &wrongPointer}
	next.Err = nil
	d.Next = &next
	return d
}

var wrongPointer wrong

func TestInterface_RoundTrip(t *testing.T) {
	r := newRegion(t, 1<<20)
	check(t, r, any(nil))
	check(t, r, any(true))
	check(t, r, any(int8(-7)))
	check(t, r, any("häuser"))
	check(t, r, any([]byte(nil)))
	check(t, r, any([]byte{}))
	check(t, r, any(time.Unix(1, 2).UTC()))
	check(t, r, any(netip.MustParseAddr("::1%eth0")))
	check(t, r, any(netip.Addr{}))
	check(t, r, any((*square)(nil)))
	check(t, r, any(&square{}))
	check(t, r, any(loop{nil, {}, {{}}}))
	check(t, r, any(someMapped()))
	check(t, r, shape(unit{}))
	check(t, r, error(wrong{5}))
	check(t, r, [3]shape{nil, circle{"x", 1}, unit{}})
	check(t, r, map[string]any{"a": map[string]any{"b": []any{nil, 1, "c"}}})
	check(t, r, drawing{})
	check(t, r, someDrawing())
	n := &node{Name: "n"}
	n.Next = n
	if got := trip(t, r, &struct{ X any }{n}); got.X.(*node).Next != got.X.(*node) {
		t.Error("a cycle inside an interface is broken")
	}
	var deep any
	for range maxEnveloped - 1 {
		deep = []any{deep}
	}
	check(t, r, deep)
	d := someDrawing()
	clone, err := Clone(&d)
	if err != nil {
		t.Fatal(err)
	}
	same(t, *clone, d)
	if *clone.At == *d.At {
		t.Error("the clone shares what an interface points at")
	}
}

// An unstorable value in an interface is refused before anything is stored; the error names its type.
func TestInterface_Refused(t *testing.T) {
	type unknown interface{ Nobody() }
	_, err := For[struct{ A []unknown }]()
	if err == nil || !strings.Contains(err.Error(), "field A[] (layout.unknown) cannot be stored; call everheap.Register for its concrete types first") {
		t.Errorf("got %v", err)
	}
	type odd struct{ X int }
	type bad struct{ C chan int }
	mustRegister[bad]("")
	stored := func(v any) error {
		_, err := typeFor[any](t).Stored(unsafe.Pointer(&v))
		return err
	}
	if err := stored(odd{}); !errors.As(err, new(*ConcreteError)) || !strings.Contains(err.Error(), "type layout.odd in a field of type any cannot be stored: the type is not registered; call everheap.Register[layout.odd]() first") {
		t.Errorf("got %v", err)
	}
	if err := stored(&circle{}); !errors.As(err, new(*ConcreteError)) {
		t.Errorf("got %v", err)
	}
	if err := stored(bad{}); !errors.As(err, new(*UnstorableError)) || !strings.Contains(err.Error(), "field C (chan int)") {
		t.Errorf("got %v", err)
	}
	s := &square{}
	s.Next = &square{In: s}
	if err := stored(s); !errors.Is(err, ErrCyclicInterface) {
		t.Errorf("got %v", err)
	}
	m := map[string]any{}
	m["x"] = []any{m}
	if err := stored(m); !errors.Is(err, ErrCyclicInterface) {
		t.Errorf("got %v", err)
	}
	var deep any
	for range maxEnveloped + 2 {
		deep = []any{deep}
	}
	if err := stored(deep); !errors.Is(err, ErrEnveloped) {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{typeFor[any](t).KeyError(), typeFor[struct{ A [2]shape }](t).KeyError(), typeFor[shape](t).OrderError()} {
		if err == nil {
			t.Error("an interface is accepted as a key")
		}
	}
	if _, err := For[map[any]int](); err == nil {
		t.Error("a map with keys that are interfaces is accepted")
	}
	if err := typeFor[drawing](t).CopyOnly(); err == nil || !strings.Contains(err.Error(), "field Main (layout.shape) is made anew for each copy; use Get or Copies, or store a concrete type") {
		t.Errorf("got %v", err)
	}
}

// A part that interfaces share is stored once for each path to it; the value is refused when the
// copies grow without end.
func TestInterface_SharedTooOften(t *testing.T) {
	var v any = strings.Repeat("x", 1<<10)
	for range 40 {
		v = []any{v, v}
	}
	if _, err := typeFor[any](t).Stored(unsafe.Pointer(&v)); !errors.Is(err, ErrResealed) && !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestInterface_Register(t *testing.T) {
	type one struct{ A int }
	type other struct{ A int }
	mustRegister[one]("TestInterface_Register")
	mustRegister[one]("TestInterface_Register")
	for _, c := range []struct {
		rt         reflect.Type
		name, want string
	}{
		{reflect.TypeFor[other](), "TestInterface_Register", `layout.one and layout.other would both be stored as "TestInterface_Register"`},
		{reflect.TypeFor[one](), "", `layout.one is registered as "TestInterface_Register" and as "layout.one"`},
		{reflect.TypeFor[shape](), "", "layout.shape is an interface"},
		{reflect.TypeFor[other](), "\xff", "not UTF-8"},
	} {
		if err := Register(c.rt, c.name, false, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// forget removes a type from the registry until back is called.
func forget(name string) (back func()) {
	r := registeredName(name)
	registry.Lock()
	defer registry.Unlock()
	delete(registry.names, name)
	delete(registry.types, r.rt)
	return func() {
		registry.Lock()
		defer registry.Unlock()
		registry.names[name], registry.types[r.rt] = r, r
	}
}

// A program that has not registered a concrete type cannot read a value of it; the error names the
// type. Without the Go type the value can be checked, printed, parsed and changed.
func TestInterface_Unregistered(t *testing.T) {
	r := newRegion(t, 1<<20)
	v := struct {
		N string
		S shape
	}{"n", circle{"c", 2}}
	typ := typeFor[struct {
		N string
		S shape
	}](t)
	src, err := typ.Stored(unsafe.Pointer(&v))
	if err != nil {
		t.Fatal(err)
	}
	p, b := r.storeStored(t, typ, src)
	defer forget("circle")()
	out := v
	err = typ.CopyOut(unsafe.Pointer(&out), p, b)
	if !errors.As(err, new(*ConcreteError)) || !strings.Contains(err.Error(), `a value of type circle in a field of type layout.shape cannot be read: no type of that name is registered`) {
		t.Errorf("got %v", err)
	}
	if err := typ.Check(p, b); err != nil {
		t.Error(err)
	}
	registry.Lock()
	clear(registry.foreign)
	registry.Unlock()
	const text = `{"N":"n","S":{"type":"circle","value":{"Name":"c","Radius":2}}}`
	unknown := (*JSONError)(nil)
	if _, err := typ.ParseJSON([]byte(text)); !errors.As(err, &unknown) || unknown.Unknown != "circle" || unknown.Path != "S" {
		t.Errorf("got %v", err)
	}
	if err := typ.Learn(p, b); err != nil {
		t.Error(err)
	}
	made, err := typ.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := typ.SameStored(p, b, made.Pointer(), made.Bounds()); err != nil || !same {
		t.Errorf("got %v, %v", same, err)
	}
	if got, err := typ.AppendJSON(nil, made.Pointer(), made.Bounds()); err != nil || string(got) != text {
		t.Errorf("got %s, %v", got, err)
	}
	runtime.KeepAlive(src)
}

func TestInterface_JSONErrors(t *testing.T) {
	typ := typeFor[drawing](t)
	for text, want := range map[string]string{
		`{"Main":5}`:                                                          `field Main: want null or {"type": "…", "value": …}, got the number 5`,
		`{"Main":{"type":"circle"}}`:                                          `field Main: want null or {"type": "…", "value": …}, got a different object`,
		`{"Main":{"type":"nobody","value":{}}}`:                               `field Main: the type "nobody" is not known: let a program that has registered it store a value of it in the collection first`,
		`{"All":[{"type":"circle","value":{"Radius":"x"}}]}`:                  `field All[0].value.Radius: want a number, got a string`,
		`{"Any":{"type":"[]any","value":[{"type":"[]int","value":[1,"a"]}]}}`: `field Any.value[0].value[1]: want a number, got a string`,
	} {
		if _, err := typ.ParseJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	// Only JSON can store a value of a type that does not implement the interface; reading it is
	// refused.
	made, err := typ.ParseJSON([]byte(`{"Main":{"type":"int","value":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	var d drawing
	if err := typ.CopyOut(unsafe.Pointer(&d), made.Pointer(), made.Bounds()); !errors.As(err, new(*ConcreteError)) || !strings.Contains(err.Error(), "int, which is registered by that name, does not implement the interface") {
		t.Errorf("got %v", err)
	}
}

// Reading a concrete value converts it to the program's type, if the program allows that.
func TestInterface_Evolve(t *testing.T) {
	type v1 struct {
		Gone int
		Old  int8
		Same string
		In   any
	}
	type v2 struct {
		New  bool
		Now  int `everheap:"was=Old"`
		Same string
		In   any
	}
	const name = "TestInterface_Evolve"
	mustRegister[v1](name)
	var x any = v1{1, -2, "s", v1{In: 7}}
	typ := typeFor[any](t)
	src, err := typ.Stored(unsafe.Pointer(&x))
	if err != nil {
		t.Fatal(err)
	}
	r := newRegion(t, 1<<20)
	p, b := r.storeStored(t, typ, src)
	back := forget(name)
	defer back()
	mustRegister[v2](name)
	defer forget(name)
	var got any
	var ce *ConcreteError
	if err := typ.CopyOut(unsafe.Pointer(&got), p, b); !errors.As(err, &ce) || len(ce.Lines) == 0 {
		t.Fatalf("got %v", err)
	}
	wantLine(t, ce.Lines, "- Gone int")
	wantLine(t, ce.Lines, "~ Old -> Now")
	if err := Register(reflect.TypeFor[v2](), name, true, nil); err != nil {
		t.Fatal(err)
	}
	if err := typ.CopyOut(unsafe.Pointer(&got), p, b); err != nil {
		t.Fatal(err)
	}
	same(t, got, any(v2{Now: -2, Same: "s", In: v2{In: 7}}))
	step, err := NewStep(func(old v1) (v2, error) { return v2{New: true, Same: old.Same + "!", In: old.In}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := Register(reflect.TypeFor[v2](), name, false, []*Step{step}); err != nil {
		t.Fatal(err)
	}
	if err := typ.CopyOut(unsafe.Pointer(&got), p, b); err != nil {
		t.Fatal(err)
	}
	same(t, got, any(v2{New: true, Same: "s!", In: v2{New: true, Same: "!", In: 7}}))
	runtime.KeepAlive(src)
}

// A step takes types by layout only if keys have the same layout, too.
func TestConvert_AlikeComparesKeys(t *testing.T) {
	if alike(typeFor[dict[string, int]](t), typeFor[dict[int, int]](t), map[[2]*Type]bool{}) {
		t.Error("Dicts of other keys are alike")
	}
	if alike(typeFor[map[string]int](t), typeFor[map[int]int](t), map[[2]*Type]bool{}) {
		t.Error("maps of other keys are alike")
	}
}

// Any interface type converts to any other: each value says its own type.
func TestInterface_Convert(t *testing.T) {
	type v1 struct{ A, B shape }
	type v2 struct {
		B    any
		A    shape
		More error
	}
	c := NewConversion(typeFor[v1](t), typeFor[v2](t), nil)
	if !c.Possible(true) {
		t.Fatal(c.Lines())
	}
	wantLine(t, c.Lines(), "~ B layout.shape -> any")
	r, r2 := newRegion(t, 1<<20), newRegion(t, 1<<20)
	before := v1{circle{"a", 1}, unit{}}
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
	same(t, after, v2{B: unit{}, A: circle{"a", 1}})
	if c := NewConversion(typeFor[struct{ A string }](t), typeFor[struct{ A any }](t), nil); c.Possible(true) {
		t.Error("a string becomes an interface")
	}
	runtime.KeepAlive(src)
}

// A type with marshaling methods and an interface is stored by its methods, registered or not.
func TestInterface_MethodsComeFirst(t *testing.T) {
	if typ := typeFor[hasInterface](t); typ.Kind() != Binary || typ.CopyOnly() != nil {
		t.Errorf("got %v", typ.Kind())
	}
}

type hasInterface struct{ V any }

func (h hasInterface) MarshalBinary() ([]byte, error) { return []byte("x"), nil }
func (h *hasInterface) UnmarshalBinary([]byte) error  { return nil }

// The walk visits handles in interfaces, with their types.
func TestInterface_Handles(t *testing.T) {
	type linked struct {
		R link[string]
		M map[string]any
	}
	mustRegister[linked]("TestInterface_Handles")
	v := []any{1, linked{R: link[string]{id: 7}, M: map[string]any{"x": linked{R: link[string]{id: 9}}}}}
	typ := typeFor[[]any](t)
	src, err := typ.Stored(unsafe.Pointer(&v))
	if err != nil {
		t.Fatal(err)
	}
	p, b := newRegion(t, 1<<20).storeStored(t, typ, src)
	var ids []uint64
	if err := typ.Handles(p, b, func(kind HandleKind, id uint64) bool { ids = append(ids, id); return kind == Ref }); err != nil || !reflect.DeepEqual(ids, []uint64{7, 9}) {
		t.Errorf("got %v, %v", ids, err)
	}
	refused := errors.New("refused")
	err = typ.Judge(p, b, func(handle *Type, id uint64) error {
		if id == 9 && Same(handle, typeFor[link[string]](t)) {
			return refused
		}
		return nil
	})
	if err != refused {
		t.Errorf("got %v", err)
	}
	ids = nil
	if _ = typ.Handles(p, b, func(_ HandleKind, id uint64) bool { ids = append(ids, id); return false }); len(ids) != 1 {
		t.Errorf("got %v after the walk was stopped", ids)
	}
	runtime.KeepAlive(src)
}

// BenchmarkInterface copies a value with an interface in and out.
func BenchmarkInterface(b *testing.B) {
	for _, v := range []any{5, circle{"a", 1}, map[string]any{"a": 1.5, "b": []any{"x", true}}} {
		b.Run(fmt.Sprintf("%T", v), func(b *testing.B) {
			t, _ := For[any]()
			b.ReportAllocs()
			for b.Loop() {
				src, err := t.Stored(unsafe.Pointer(&v))
				if err != nil {
					b.Fatal(err)
				}
				n, _ := t.Measure(src)
				var out any
				if err := t.CopyOut(unsafe.Pointer(&out), src, Bounds{uintptr(src), uintptr(src) + 16 + n}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// link is a handle of one object.
type link[T any] struct {
	_  RefOf[T]
	id uint64
}
