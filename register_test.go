package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// Shape has an area.
type Shape interface{ Area() float64 }

// Circle is a Shape.
type Circle struct{ Radius float64 }

func (c Circle) Area() float64 { return 3 * c.Radius * c.Radius }

// Square is a Shape by its pointer.
type Square struct{ Side float64 }

func (s *Square) Area() float64 { return s.Side * s.Side }

func init() {
	everheap.RegisterName[Circle]("Circle")
	everheap.Register[*Square]() // by its name in Go
}

// A field may be an interface, if the concrete types are registered.
func ExampleRegister() {
	dir, err := os.MkdirTemp("", "everheap-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(dir)
	if err != nil {
		panic(err)
	}
	defer space.Close()
	type Drawing struct {
		Shapes []Shape
		Meta   map[string]any
	}
	drawings, err := everheap.OpenMap[string, Drawing](space, "drawings")
	if err != nil {
		panic(err)
	}
	err = drawings.Set(space, "a", Drawing{[]Shape{Circle{1}, &Square{2}}, map[string]any{"by": "Ada", "rating": 4.5}})
	if err != nil {
		panic(err)
	}
	d, err := drawings.Get(space, "a")
	if err != nil {
		panic(err)
	}
	for _, s := range d.Shapes {
		fmt.Printf("%T has an area of %v\n", s, s.Area())
	}
	// A program that has not registered the types can still print the value.
	c, err := space.Collection("drawings")
	if err != nil {
		panic(err)
	}
	text, err := c.GetJSON(space, []byte(`"a"`))
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	// Output:
	// everheap_test.Circle has an area of 3
	// *everheap_test.Square has an area of 4
	// {"Shapes":[{"type":"Circle","value":{"Radius":1}},{"type":"*everheap_test.Square","value":{"Side":2}}],"Meta":{"by":{"type":"string","value":"Ada"},"rating":{"type":"float64","value":4.5}}}
}

// scene has interfaces in all places.
type scene struct {
	Name  string
	Main  Shape
	Parts []Shape
	By    map[string]Shape
	Meta  any
	Fault error
	Next  *scene
}

func (s *scene) Area() float64 { return 0 }

// stopped is an error.
type stopped struct{ Code int }

func (s stopped) Error() string { return fmt.Sprint("stopped with ", s.Code) }

// holder is a concrete type with a handle.
type holder struct {
	Of   everheap.Ref[string]
	More []any
}

func init() {
	everheap.Register[*scene]()
	everheap.RegisterName[stopped]("stopped")
	everheap.RegisterName[holder]("holder")
}

func someShape(r *rand.Rand, deep int) Shape {
	switch n := r.IntN(6); {
	case n == 0:
		return nil
	case n < 3:
		return Circle{float64(r.IntN(9))}
	case n < 5 || deep == 0:
		return &Square{float64(r.IntN(9))}
	}
	s := someScene(r, deep-1)
	return &s
}

func someMeta(r *rand.Rand, deep int) any {
	switch n := r.IntN(9); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(100)
	case n == 2:
		return fmt.Sprint("text ", r.IntN(100))
	case n == 3:
		return time.Unix(int64(r.IntN(1000)), 0).UTC()
	case n == 4:
		return []byte{byte(n)}[:r.IntN(2)]
	case n < 7 && deep > 0:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, someMeta(r, deep-1))
		}
		return list
	case deep > 0:
		m := map[string]any{}
		for range r.IntN(4) {
			m[fmt.Sprint("k", r.IntN(9))] = someMeta(r, deep-1)
		}
		return m
	}
	return stopped{r.IntN(5)}
}

func someScene(r *rand.Rand, deep int) scene {
	s := scene{Name: fmt.Sprint("s", r.IntN(100)), Main: someShape(r, deep), Meta: someMeta(r, 3)}
	for range r.IntN(4) {
		s.Parts = append(s.Parts, someShape(r, deep))
	}
	if r.IntN(2) == 0 {
		s.By = map[string]Shape{"x": someShape(r, deep), "nil": nil}
	}
	if r.IntN(3) == 0 {
		s.Fault = stopped{r.IntN(9)}
	}
	if deep > 0 && r.IntN(2) == 0 {
		next := someScene(r, deep-1)
		s.Next = &next
	}
	return s
}

// Values with interfaces are equal in copies, after reopening, and in backups.
func TestRegister_Model(t *testing.T) {
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		dir := filepath.Join(t.TempDir(), "s")
		s := spacetest.Open(t, dir)
		m := spacetest.MapOf[int, scene](t, s)
		sorted, err := everheap.OpenSorted[string, any](s, "sorted")
		spacetest.Must(t, err)
		list, err := everheap.OpenList[Shape](s, "list")
		spacetest.Must(t, err)
		one, err := everheap.OpenRef(s, "one", someScene(r, 1))
		spacetest.Must(t, err)
		now, metas := map[int]scene{}, map[string]any{}
		var all []Shape
		for range 40 {
			key, v := r.IntN(10), someScene(r, 2)
			spacetest.Must(t, m.Upsert(s, key, func(old *scene, found bool) error {
				was, has := now[key]
				if found != has {
					t.Errorf("found is %v", found)
				}
				wantSame(t, "upsert", *old, was)
				*old = v
				return nil
			}))
			spacetest.Must(t, sorted.Set(s, v.Name, v.Meta))
			spacetest.Must(t, list.Append(s, v.Main))
			spacetest.Must(t, one.Set(s, v))
			now[key], metas[v.Name] = v, v.Meta
			all = append(all, v.Main)
		}
		compare := func() {
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				n := 0
				for key, v := range m.Copies(tx) {
					wantSame(t, "copies", v, now[key])
					got, err := m.Get(tx, key)
					spacetest.Must(t, err)
					wantSame(t, "get", got, now[key])
					n++
				}
				if n != len(now) {
					t.Errorf("%d of %d entries", n, len(now))
				}
				for key, v := range sorted.Copies(tx) {
					wantSame(t, "sorted", v, metas[key])
				}
				for i, v := range list.Copies(tx) {
					wantSame(t, "list", v, all[i])
				}
				return nil
			})
		}
		compare()
		c, err := s.Collection("m")
		spacetest.Must(t, err)
		for _, codec := range []everheap.Encoding{everheap.JSON, everheap.Binary} {
			entries := map[string][]byte{}
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				for k, v := range c.As(codec).All(tx) {
					entries[string(k)] = bytes.Clone(v)
				}
				return nil
			})
			for k, v := range entries {
				_, err := c.As(codec).Delete(s, []byte(k))
				spacetest.Must(t, err)
				spacetest.Must(t, c.As(codec).Set(s, []byte(k), v))
			}
			compare()
		}
		var image bytes.Buffer
		spacetest.Must(t, s.Backup(&image))
		spacetest.Must(t, s.Close())
		s, err = everheap.Open(dir, everheap.WithVerify())
		spacetest.Must(t, err)
		compare()
		spacetest.Must(t, s.Close())
		copied := filepath.Join(t.TempDir(), "copied")
		spacetest.Must(t, everheap.RestoreBackup(copied, &image, everheap.WithMaxSize(spacetest.Small)))
		s = spacetest.Open(t, copied)
		compare()
	})
}

// Methods that lend values refuse a type with interfaces, and name the field.
func TestRegister_BorrowingIsRefused(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, scene](t, s)
	list, err := everheap.OpenList[[]Shape](s, "list")
	spacetest.Must(t, err)
	for range 2 {
		for want, look := range map[string]func(tx *everheap.Tx){
			"field Main (everheap_test.Shape) is made anew for each copy; use Get or Copies, or store a concrete type": func(tx *everheap.Tx) { m.Peek(tx, "a") },
			"field Main (everheap_test.Shape) ": func(tx *everheap.Tx) { m.All(tx)(func(string, *scene) bool { return true }) },
			"field [] (everheap_test.Shape) ":   func(tx *everheap.Tx) { list.Peek(tx, 0) },
		} {
			err := s.View(func(tx *everheap.Tx) error { look(tx); return nil })
			if !errors.Is(err, everheap.ErrUnstorable) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		spacetest.Must(t, m.Set(s, "a", scene{}))
		spacetest.Must(t, list.Append(s, nil))
	}
	type key struct{ S any }
	if _, err := everheap.OpenMap[key, int](s, "keys"); !errors.Is(err, everheap.ErrUnstorable) {
		t.Errorf("got %v", err)
	}
	for name, path := range map[string]string{"itself": "Main", "below": "Main.Radius", "in a slice": "Parts"} {
		if _, err := everheap.OpenMap[string, scene](s, "m", everheap.WithIndex("i", path)); !errors.Is(err, everheap.ErrUnstorable) {
			t.Errorf("an index on an interface, %s: got %v", name, err)
		}
	}
	type tagged struct {
		S any `everheap:"index"`
	}
	if _, err := everheap.OpenMap[string, tagged](s, "tagged"); !errors.Is(err, everheap.ErrUnstorable) {
		t.Errorf("got %v", err)
	}
}

// Storing an unregistered type is refused, nothing has changed, and the transaction can continue. An
// interface that no registered type implements is refused at first use.
func TestErrUnregistered_Stored(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, scene](t, s)
	type odd struct{ X int }
	spacetest.Must(t, m.Set(s, "a", scene{Name: "old"}))
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		err := m.Set(tx, "a", scene{Name: "new", Meta: []any{odd{}}})
		if !errors.Is(err, everheap.ErrUnregistered) || !strings.Contains(err.Error(), "everheap_test.odd") || !strings.Contains(err.Error(), "everheap.Register[everheap_test.odd]()") {
			t.Errorf("got %v", err)
		}
		err = m.Modify(tx, "a", func(v *scene) error { v.Main = Circle{}; v.Fault = errors.New("text"); return nil })
		if !errors.Is(err, everheap.ErrUnregistered) || !strings.Contains(err.Error(), "*errors.errorString") {
			t.Errorf("got %v", err)
		}
		return m.Set(tx, "b", scene{Name: "b"})
	}))
	for key, want := range map[string]scene{"a": {Name: "old"}, "b": {Name: "b"}} {
		got, err := m.Get(s, key)
		spacetest.Must(t, err)
		wantSame(t, key, got, want)
	}
	type nobody interface{ Nobody() }
	_, err := everheap.OpenMap[string, struct{ N []nobody }](s, "n")
	if !errors.Is(err, everheap.ErrUnstorable) || !strings.Contains(err.Error(), "field N[] (everheap_test.nobody) cannot be stored; call everheap.Register for its concrete types first") {
		t.Errorf("got %v", err)
	}
}

// renamed stores the value of a key again, with the name of a concrete type replaced by another name
// of the same length, as if by a program that has registered another type.
func renamed(t *testing.T, s *everheap.Space, collection, from, to string) {
	t.Helper()
	c, err := s.Collection(collection)
	spacetest.Must(t, err)
	key, _ := c.As(everheap.Binary), 0
	value, err := key.Get(s, []byte("\x01\x00\x00\x00a"))
	spacetest.Must(t, err)
	spacetest.Must(t, key.Set(s, []byte("\x01\x00\x00\x00a"), bytes.ReplaceAll(value, []byte(from), []byte(to))))
}

// A program that has not registered a type cannot read values that contain it; the error has its
// name. Reading without Go types works.
func TestErrUnregistered_Read(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, scene](t, s)
	spacetest.Must(t, m.Set(s, "a", scene{Name: "x", Main: Circle{1}}))
	renamed(t, s, "m", "Circle", "Nobody")
	_, err := m.Get(s, "a")
	if !errors.Is(err, everheap.ErrUnregistered) || !strings.Contains(err.Error(), "type Nobody in a field of type everheap_test.Shape cannot be read: no type of that name is registered") {
		t.Errorf("got %v", err)
	}
	if err := m.Modify(s, "a", func(*scene) error { return nil }); !errors.Is(err, everheap.ErrUnregistered) {
		t.Errorf("got %v", err)
	}
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		c, err := tx.Collection("m")
		spacetest.Must(t, err)
		const want = `{"Name":"x","Main":{"type":"Nobody","value":{"Radius":1}},"Parts":null,"By":null,"Meta":null,"Fault":null,"Next":null}`
		if got, err := c.GetJSON(tx, []byte(`"a"`)); err != nil || string(got) != want {
			t.Errorf("got %s, %v", got, err)
		}
		return nil
	}))
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	// The type comes from a value in the collection.
	spacetest.Must(t, c.SetJSON(s, []byte(`"b"`), []byte(`{"Main":{"type":"Nobody","value":{"Radius":2}}}`)))
	var je *everheap.JSONError
	if err := c.SetJSON(s, []byte(`"c"`), []byte(`{"Main":{"type":"Somebody","value":{}}}`)); !errors.As(err, &je) || je.Path != "Main" || !strings.Contains(je.What, `"Somebody" is not known`) {
		t.Errorf("got %v", err)
	}
	spacetest.CheckSpace(t, s)
	spacetest.Must(t, c.SetJSON(s, []byte(`"a"`), []byte(`{"Main":{"type":"int","value":2}}`)))
	if _, err := m.Get(s, "a"); !errors.Is(err, everheap.ErrUnregistered) || !strings.Contains(err.Error(), "int, which is registered by that name, does not implement the interface") {
		t.Errorf("got %v", err)
	}
	if _, err := m.Delete(s, "a"); err != nil {
		t.Error(err)
	}
}

// partV1 to partV3 are one type in the course of time.
type (
	partV1 struct {
		Count int8
		Old   string
		Sub   any
	}
	partV2 struct {
		Sub   any
		Count int
		Name  string `everheap:"was=Old"`
		Price float64
	}
	partV3 struct{ Count int64 }
)

func init() {
	everheap.RegisterName[partV1]("part.1")
	everheap.RegisterName[partV2]("part.2", everheap.Evolve())
	everheap.RegisterName[partV3]("part.3")
	everheap.RegisterName[partV4]("part.4", everheap.Migrate(func(old partV1) (partV4, error) { return partV4{old.Old + "!"}, nil }))
}

type partV4 struct{ Text string }

// The concrete type may have changed since a value was stored.
func TestRegister_Evolve(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, []any](t, s)
	set := func(name string) {
		spacetest.Must(t, m.Set(s, "a", []any{partV1{1, "old", partV1{Count: 2}}, 5}))
		renamed(t, s, "m", "part.1", name)
	}
	set("part.2")
	got, err := m.Get(s, "a")
	spacetest.Must(t, err)
	wantSame(t, "evolved", got, []any{partV2{partV2{Count: 2}, 1, "old", 0}, 5})
	spacetest.Must(t, m.Modify(s, "a", func(v *[]any) error { *v = append(*v, 6); return nil }))
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	if text, err := c.GetJSON(s, []byte(`"a"`)); err != nil || !strings.Contains(string(text), `"Name":"old","Price":0}`) {
		t.Errorf("got %s, %v", text, err)
	}
	set("part.3")
	var te *everheap.TypeError
	if _, err := m.Get(s, "a"); !errors.Is(err, everheap.ErrTypeChanged) || !errors.As(err, &te) || len(te.Lines) < 3 || !strings.Contains(err.Error(), "- Old string") || !strings.Contains(err.Error(), "everheap.Evolve()") {
		t.Errorf("got %v", err)
	}
	set("part.4")
	got, err = m.Get(s, "a")
	spacetest.Must(t, err)
	wantSame(t, "migrated", got, []any{partV4{"old!"}, 5})
	spacetest.CheckSpace(t, s)
}

// Fields with interfaces are added, dropped, moved and renamed; an interface type changes to another.
func TestRegister_EvolveCollection(t *testing.T) {
	type v1 struct {
		Gone  any
		Main  Shape
		Parts []Shape
	}
	type v2 struct {
		Parts []any
		Best  Shape `everheap:"was=Main"`
		Fault error
	}
	s := spacetest.Scratch(t)
	m := mapCalled[string, v1](t, s, "m")
	spacetest.Must(t, m.Set(s, "a", v1{1, Circle{1}, []Shape{&Square{2}, nil}}))
	if _, err := everheap.OpenMap[string, v2](s, "m"); !errors.Is(err, everheap.ErrTypeChanged) {
		t.Errorf("got %v", err)
	}
	m2, err := everheap.OpenMap[string, v2](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	got, err := m2.Get(s, "a")
	spacetest.Must(t, err)
	wantSame(t, "evolved", got, v2{Parts: []any{&Square{2}, nil}, Best: Circle{1}})
}

// A handle in an interface keeps its object, and a dangling one is refused.
func TestRegister_Collect(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, []any](t, s)
	var kept, lost everheap.Ref[string]
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		if kept, err = everheap.New(tx, "kept"); err == nil {
			lost, err = everheap.New(tx, "lost")
		}
		if err == nil {
			err = m.Set(tx, "a", []any{1, holder{More: []any{map[string]any{"x": holder{Of: kept}}}}})
		}
		return err
	}))
	_, err := s.Collect(context.Background())
	spacetest.Must(t, err)
	if v, err := kept.Get(s); err != nil || v != "kept" {
		t.Errorf("got %q, %v", v, err)
	}
	if _, err := lost.Get(s); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := m.Set(s, "b", []any{holder{Of: lost}}); !errors.Is(err, everheap.ErrDangling) {
		t.Errorf("got %v", err)
	}
	_, err = m.Delete(s, "a")
	spacetest.Must(t, err)
	_, err = s.Collect(context.Background())
	spacetest.Must(t, err)
	if _, err := kept.Get(s); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestRegister_Watch(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, any](t, s)
	spacetest.Must(t, m.Set(s, "a", 1))
	steps := []any{int8(1), nil, Circle{2}}
	i := 0
	for c, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if i > 0 {
			wantSame(t, "watch", *c.New, steps[i-1])
		}
		if i == len(steps) {
			break
		}
		spacetest.Must(t, m.Set(s, "a", *c.New)) // no change
		spacetest.Must(t, m.Set(s, "a", steps[i]))
		i++
	}
}

// A collection with interfaces, created from text, is the same as that of the Go type, and its
// printed types create it again.
func TestRegister_Create(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, scene](t, s)
	want := scene{Main: Circle{2}, Meta: []any{1}, Fault: stopped{3}}
	spacetest.Must(t, m.Set(s, "a", want))
	source, err := s.TypeSource()
	spacetest.Must(t, err)
	if !strings.Contains(string(source), "type Shape any\n") {
		t.Errorf("got %s", source)
	}
	other := spacetest.Scratch(t)
	c, err := other.Create("m", string(source))
	spacetest.Must(t, err)
	m2, err := everheap.OpenMap[string, scene](other, "m")
	spacetest.Must(t, err)
	from, err := s.Collection("m")
	spacetest.Must(t, err)
	text, err := from.GetJSON(s, []byte(`"a"`))
	spacetest.Must(t, err)
	spacetest.Must(t, c.SetJSON(other, []byte(`"a"`), text))
	got, err := m2.Get(other, "a")
	spacetest.Must(t, err)
	wantSame(t, "get", got, want)
	if _, err := s.Create("plain", "map[string]struct{ A any; B error; C interface{ Area() float64 } }"); err != nil {
		t.Error(err)
	}
}

// Registering an impossible type panics.
func TestRegister_Panics(t *testing.T) {
	type other struct{}
	for want, register := range map[string]func(){
		`everheap: Register: everheap_test.Circle and everheap_test.other would both be stored as "Circle"`: func() { everheap.RegisterName[other]("Circle") },
		`everheap_test.Circle is registered as "Circle" and as "everheap_test.Circle"`:                      func() { everheap.Register[Circle]() },
		`everheap_test.Shape is an interface`:                                                               func() { everheap.Register[Shape]() },
		`cannot be stored`: func() {
			everheap.Register[other](everheap.Migrate(func(chan int) (other, error) { return other{}, nil }))
		},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			}()
			register()
		}()
	}
	everheap.RegisterName[Circle]("Circle") // registering again has no effect
}

// A value that contains itself through an interface is refused, and nothing has changed.
func TestRegister_Cyclic(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, any](t, s)
	a := &scene{}
	a.Next = &scene{Main: a}
	spacetest.Must(t, m.Set(s, "a", 1))
	if err := m.Set(s, "a", a); err == nil || !strings.Contains(err.Error(), "contains itself by way of an interface") {
		t.Errorf("got %v", err)
	}
	if v, err := m.Get(s, "a"); err != nil || v != 1 {
		t.Errorf("got %v, %v", v, err)
	}
}
