package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// shop has Dicts in all places.
type shop struct {
	Name  string
	Stock everheap.Dict[string, item]
	By    []everheap.Dict[int32, everheap.Dict[string, *item]]
	Refs  everheap.Dict[place2, everheap.Ref[string]]
}

type item struct {
	Count int
	Tags  everheap.Dict[string, []string]
}

type place2 struct {
	Row  string
	Shed uint8
}

func ExampleDict() {
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
	type Page struct {
		Title  string
		Header everheap.Dict[string, []string]
	}
	pages, err := everheap.OpenMap[string, Page](space, "pages")
	if err != nil {
		panic(err)
	}
	header := map[string][]string{"Content-Type": {"text/html"}, "Accept": {"text/html", "text/plain"}}
	if err := pages.Set(space, "/", Page{"Home", everheap.DictOf(header)}); err != nil {
		panic(err)
	}
	err = pages.Modify(space, "/", func(p *Page) error {
		p.Header = p.Header.With("Age", []string{"10"}) // a Dict never changes: this is another one
		return nil
	})
	if err != nil {
		panic(err)
	}
	err = space.View(func(tx *everheap.Tx) error {
		page := pages.Peek(tx, "/") // the lookup reads the space, without a copy
		types, ok := page.Header.Get("Content-Type")
		fmt.Println(types, ok, page.Header.Len())
		for name, values := range page.Header.All() {
			fmt.Println(name, values)
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// [text/html] true 3
	// Accept [text/html text/plain]
	// Age [10]
	// Content-Type [text/html]
}

// someStock returns a random map, and a shop with it.
func someShop(r *rand.Rand) (map[string]item, shop) {
	stock := map[string]item{}
	for range r.IntN(30) {
		tags := map[string][]string{}
		for range r.IntN(3) {
			tags[fmt.Sprint("t", r.IntN(5))] = []string{"a", "b"}[:r.IntN(3)]
		}
		stock[fmt.Sprint("item", r.IntN(40))] = item{r.IntN(100), everheap.DictOf(tags)}
	}
	s := shop{Name: "s", Stock: everheap.DictOf(stock)}
	for range r.IntN(3) {
		both := &item{Count: r.IntN(9)}
		s.By = append(s.By, everheap.DictOf(map[int32]everheap.Dict[string, *item]{
			int32(r.IntN(5)): everheap.DictOf(map[string]*item{"x": both, "y": both, "": nil}), -1: {}}))
	}
	return stock, s
}

func wantStock(t *testing.T, what string, got everheap.Dict[string, item], want map[string]item) {
	t.Helper()
	if got.Len() != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
	last := ""
	for key, v := range got.All() {
		if key < last {
			t.Fatalf("%s: %q comes after %q", what, key, last)
		}
		last = key
		at, ok := got.Get(key)
		if !ok || at.Count != v.Count || want[key].Count != v.Count || !got.Has(key) {
			t.Fatalf("%s: %q is %v", what, key, at)
		}
	}
	for i := range 40 {
		key := fmt.Sprint("item", i)
		if _, has := want[key]; has != got.Has(key) {
			t.Fatalf("%s: has %q: %v", what, key, got.Has(key))
		}
	}
}

// A Dict in a value has the entries of the map: in place, after reopening, in a backup, and for a
// program without the type.
func TestDict_Model(t *testing.T) {
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		dir := filepath.Join(t.TempDir(), "s")
		s := spacetest.Open(t, dir)
		shops := spacetest.MapOf[int, shop](t, s)
		now := map[int]map[string]item{}
		for range 100 {
			key := r.IntN(10)
			stock, v := someShop(r)
			switch was, found := now[key]; {
			case found && r.IntN(2) == 0:
				id := fmt.Sprint("item", r.IntN(40))
				spacetest.Must(t, shops.Modify(s, key, func(v *shop) error {
					wantStock(t, "modify", v.Stock, was)
					if r.IntN(2) == 0 {
						was[id] = item{Count: -1}
						v.Stock = v.Stock.With(id, was[id])
					} else {
						delete(was, id)
						v.Stock = v.Stock.Without(id)
					}
					return nil
				}))
			default:
				spacetest.Must(t, shops.Set(s, key, v))
				now[key] = stock
			}
		}
		compare := func() {
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				for key, v := range shops.All(tx) {
					wantStock(t, "all", v.Stock, now[key])
					got, err := shops.Get(tx, key)
					spacetest.Must(t, err)
					wantStock(t, "get", got.Stock, now[key])
					wantStock(t, "clone", everheap.Clone(v).Stock, now[key])
					for _, by := range got.By {
						for _, items := range by.All() {
							if x, _ := items.Get("x"); items.Len() > 0 {
								if y, _ := items.Get("y"); x != y {
									t.Error("a shared pointer is two")
								}
							}
						}
					}
				}
				return nil
			})
		}
		compare()
		var image bytes.Buffer
		spacetest.Must(t, s.Backup(&image))
		c, err := s.Collection("m")
		spacetest.Must(t, err)
		type entry struct{ key, value []byte }
		var entries []entry
		for _, codec := range []everheap.Encoding{everheap.JSON, everheap.Binary} {
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				entries = nil
				for k, v := range c.As(codec).All(tx) {
					entries = append(entries, entry{bytes.Clone(k), bytes.Clone(v)})
				}
				return nil
			})
			for _, e := range entries {
				_, err := c.As(codec).Delete(s, e.key)
				spacetest.Must(t, err)
				spacetest.Must(t, c.As(codec).Set(s, e.key, e.value))
			}
			compare()
		}
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

// Objects behind handles in a Dict are kept, and dangling handles are refused.
func TestDict_Handles(t *testing.T) {
	s := spacetest.Scratch(t)
	shops := spacetest.MapOf[string, shop](t, s)
	at := place2{"a", 1}
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		ref, err := everheap.New(tx, "found")
		spacetest.Must(t, err)
		return shops.Set(tx, "s", shop{Refs: everheap.DictOf(map[place2]everheap.Ref[string]{at: ref, {}: {}})})
	}))
	_, err := s.Collect(context.Background())
	spacetest.Must(t, err)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		ref, ok := shops.Peek(tx, "s").Refs.Get(at)
		if got := ref.Peek(tx); !ok || *got != "found" {
			t.Errorf("got %v", *got)
		}
		return nil
	})
	other := spacetest.Scratch(t)
	spacetest.Must(t, other.Update(context.Background(), func(tx *everheap.Tx) error {
		ref, err := everheap.New(tx, "elsewhere")
		spacetest.Must(t, err)
		err = shops.Set(s, "s", shop{Refs: everheap.DictOf(map[place2]everheap.Ref[string]{at: ref})})
		if !errors.Is(err, everheap.ErrDangling) {
			t.Errorf("got %v", err)
		}
		return nil
	}))
}

func TestDict_WatchAndEvolve(t *testing.T) {
	s := spacetest.Scratch(t)
	type v1 struct{ D everheap.Dict[int8, string] }
	type v2 struct{ D everheap.Dict[int64, *string] }
	m, err := everheap.OpenMap[string, v1](s, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", v1{}))
	steps := 0
	for c, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if steps++; steps == 1 {
			spacetest.Must(t, m.Set(s, "a", v1{everheap.Dict[int8, string]{}.Without(1)})) // no change
			spacetest.Must(t, m.Set(s, "a", v1{everheap.DictOf(map[int8]string{1: "x", -1: "y"})}))
			continue
		}
		if c.Old.D.Len() != 0 || fmt.Sprint(c.New.D) != "map[-1:y 1:x]" {
			t.Errorf("got %v", c)
		}
		break
	}
	_, err = everheap.OpenMap[string, v2](s, "m")
	if !errors.Is(err, everheap.ErrTypeChanged) || !strings.Contains(err.Error(), "D.key int8 -> int64") || !strings.Contains(err.Error(), "D.value string -> *string") {
		t.Errorf("got %v", err)
	}
	m2, err := everheap.OpenMap[string, v2](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	v, err := m2.Get(s, "a")
	spacetest.Must(t, err)
	if y, ok := v.D.Get(-1); !ok || *y != "y" || v.D.Len() != 2 {
		t.Errorf("got %v", v.D)
	}
	m3, err := everheap.OpenMap[string, map2](s, "m", everheap.Migrate(func(o v2) (map2, error) {
		d := map[netip.Addr]int{}
		for k, v := range o.D.All() {
			d[netip.AddrFrom4([4]byte{byte(k)})] = len(*v)
		}
		return map2{everheap.DictOf(d)}, nil
	}))
	spacetest.Must(t, err)
	last, err := m3.Get(s, "a")
	spacetest.Must(t, err)
	if got := fmt.Sprint(last.D.Map()); got != fmt.Sprint(map[netip.Addr]int{netip.AddrFrom4([4]byte{1}): 1, netip.AddrFrom4([4]byte{255}): 1}) {
		t.Errorf("got %v", got)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if !m3.Peek(tx, "a").D.Has(netip.AddrFrom4([4]byte{255})) {
			t.Error("a key that is stored by its bytes is not found")
		}
		return nil
	})
}

type map2 struct {
	D everheap.Dict[netip.Addr, int]
}

func TestDict_Panics(t *testing.T) {
	want := func(target error, fn func()) {
		t.Helper()
		defer func() {
			t.Helper()
			if err, _ := recover().(error); !errors.Is(err, target) {
				t.Errorf("got %v, want %v", err, target)
			}
		}()
		fn()
	}
	want(everheap.ErrUnstorable, func() { everheap.DictOf(map[*int]int{}) })
	want(everheap.ErrUnstorable, func() { everheap.Dict[any, int]{}.With(1, 1) })
	want(everheap.ErrNaN, func() { everheap.DictOf(map[float64]int{math.NaN(): 1}) })
	if m := (everheap.Dict[string, int]{}).Map(); m == nil || !maps.Equal(m, map[string]int{}) {
		t.Errorf("got %v", m)
	}
}

// A collection with Dicts can be made without Go types, and opened with them.
func TestDict_Create(t *testing.T) {
	s := spacetest.Scratch(t)
	c, err := s.Create("things", `map[string]T
// T is stored as everheap_test.item.
type T struct { Count int; Tags everheap.Dict[string, []string] }`)
	spacetest.Must(t, err)
	spacetest.Must(t, c.SetJSON(s, []byte(`"a"`), []byte(`{"Count": 2, "Tags": {"y": ["1"], "x": null}}`)))
	m, err := everheap.OpenMap[string, item](s, "things")
	spacetest.Must(t, err)
	v, err := m.Get(s, "a")
	spacetest.Must(t, err)
	if fmt.Sprint(v.Tags) != "map[x:[] y:[1]]" {
		t.Errorf("got %v", v)
	}
	text, err := c.GetJSON(s, []byte(`"a"`))
	if err != nil || string(text) != `{"Count":2,"Tags":{"x":null,"y":["1"]}}` {
		t.Errorf("got %s, %v", text, err)
	}
}
