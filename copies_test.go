package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A field may be a built-in map. Get and Copies make a real one each time.
func ExampleMap_Copies() {
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
	type Request struct {
		Method string
		Header http.Header
	}
	requests, err := everheap.OpenMap[string, Request](space, "requests")
	if err != nil {
		panic(err)
	}
	if err := requests.Set(space, "/", Request{"GET", http.Header{"Accept": {"text/html"}}}); err != nil {
		panic(err)
	}
	err = requests.Modify(space, "/", func(r *Request) error {
		r.Header.Add("Accept", "text/plain") // the map is this program's own
		return nil
	})
	if err != nil {
		panic(err)
	}
	err = space.View(func(tx *everheap.Tx) error {
		for path, r := range requests.Copies(tx) {
			fmt.Println(path, r.Method, r.Header)
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	err = space.View(func(tx *everheap.Tx) error {
		_ = requests.Peek(tx, "/") // there is no map of Go in the space that could be read in place
		return nil
	})
	fmt.Println(errors.Is(err, everheap.ErrUnstorable))
	// Output:
	// / GET map[Accept:[text/html text/plain]]
	// true
}

// request has built-in maps in all places.
type request struct {
	URL    string
	Header http.Header
	Vars   map[string]map[int][]string
	Next   *request
}

func someRequest(r *rand.Rand, next int) request {
	q := request{URL: fmt.Sprint("/", r.IntN(100))}
	if r.IntN(4) > 0 {
		q.Header = http.Header{}
		for range r.IntN(12) {
			q.Header.Add(fmt.Sprint("h", r.IntN(5)), fmt.Sprint(r.IntN(100)))
		}
	}
	if r.IntN(3) > 0 {
		q.Vars = map[string]map[int][]string{"nil": nil, "empty": {}}
		for range r.IntN(3) {
			q.Vars[fmt.Sprint("v", r.IntN(9))] = map[int][]string{r.IntN(9): {"a"}, -1: nil, 1 << 40: {}}
		}
	}
	if next > 0 && r.IntN(2) == 0 {
		other := someRequest(r, next-1)
		q.Next = &other
	}
	return q
}

func wantSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}

// Values with built-in maps are equal in copies, after reopening, and in backups.
func TestCopies_Model(t *testing.T) {
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		dir := filepath.Join(t.TempDir(), "s")
		s := spacetest.Open(t, dir)
		m := spacetest.MapOf[int, request](t, s)
		sorted, err := everheap.OpenSorted[string, http.Header](s, "sorted")
		spacetest.Must(t, err)
		list, err := everheap.OpenList[request](s, "list")
		spacetest.Must(t, err)
		one, err := everheap.OpenRef(s, "one", someRequest(r, 1))
		spacetest.Must(t, err)
		now, heads := map[int]request{}, map[string]http.Header{}
		var all []request
		for range 60 {
			key, v := r.IntN(10), someRequest(r, 2)
			spacetest.Must(t, m.Upsert(s, key, func(old *request, found bool) error {
				was, has := now[key]
				if found != has {
					t.Errorf("found is %v", found)
				}
				wantSame(t, "upsert", *old, was)
				*old = v
				return nil
			}))
			spacetest.Must(t, sorted.Set(s, v.URL, v.Header))
			spacetest.Must(t, list.Append(s, v))
			spacetest.Must(t, one.Set(s, v))
			now[key], heads[v.URL] = v, v.Header
			all = append(all, v)
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
				last := ""
				for key, v := range sorted.Copies(tx) {
					if key <= last {
						t.Errorf("%q comes after %q", key, last)
					}
					last = key
					wantSame(t, "sorted", v, heads[key])
				}
				for i, v := range list.Copies(tx) {
					wantSame(t, "list", v, all[i])
				}
				got, err := one.Get(tx)
				spacetest.Must(t, err)
				wantSame(t, "ref", got, all[len(all)-1])
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

// Methods that lend values refuse a type with maps, even for a missing key, and name the field.
func TestCopies_BorrowingIsRefused(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, request](t, s)
	sorted, err := everheap.OpenSorted[string, request](s, "sorted")
	spacetest.Must(t, err)
	list, err := everheap.OpenList[request](s, "list")
	spacetest.Must(t, err)
	ref, err := everheap.OpenRef(s, "ref", request{})
	spacetest.Must(t, err)
	for range 2 {
		for name, look := range map[string]func(tx *everheap.Tx){
			"Peek":   func(tx *everheap.Tx) { m.Peek(tx, "a") },
			"All":    func(tx *everheap.Tx) { m.All(tx)(func(string, *request) bool { return true }) },
			"sorted": func(tx *everheap.Tx) { sorted.Peek(tx, "a") },
			"Range": func(tx *everheap.Tx) {
				sorted.Range(tx, everheap.Unbounded[string](), everheap.Unbounded[string]())(func(string, *request) bool { return true })
			},
			"First": func(tx *everheap.Tx) { sorted.First(tx) },
			"Nth":   func(tx *everheap.Tx) { sorted.Nth(tx, 0) },
			"list":  func(tx *everheap.Tx) { list.All(tx)(func(int, *request) bool { return true }) },
			"item":  func(tx *everheap.Tx) { list.Peek(tx, 0) },
			"ref":   func(tx *everheap.Tx) { ref.Peek(tx) },
		} {
			err := s.View(func(tx *everheap.Tx) error { look(tx); return nil })
			var te *everheap.TypeError
			if !errors.Is(err, everheap.ErrUnstorable) || !errors.As(err, &te) ||
				!strings.Contains(err.Error(), "field Header (http.Header)") || !strings.Contains(err.Error(), "Copies, or store everheap.Dict[string, []string]") {
				t.Errorf("%s: got %v", name, err)
			}
		}
		spacetest.Must(t, m.Set(s, "a", request{}))
		spacetest.Must(t, sorted.Set(s, "a", request{}))
		spacetest.Must(t, list.Append(s, request{}))
	}
}

func TestCopies_WatchAndEvolve(t *testing.T) {
	s := spacetest.Scratch(t)
	type v1 struct{ H map[string]int8 }
	type v2 struct{ H everheap.Dict[string, int] }
	m, err := everheap.OpenMap[string, v1](s, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", v1{map[string]int8{}}))
	steps := 0
	for c, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		switch steps++; steps {
		case 1:
			spacetest.Must(t, m.Set(s, "a", v1{map[string]int8{}})) // no change
			spacetest.Must(t, m.Set(s, "a", v1{}))
			continue
		case 2:
			if c.Old.H == nil || c.New.H != nil {
				t.Errorf("got %v", c)
			}
			spacetest.Must(t, m.Set(s, "a", v1{map[string]int8{"x": 1}}))
			continue
		}
		wantSame(t, "watch", c.New.H, map[string]int8{"x": 1})
		break
	}
	m2, err := everheap.OpenMap[string, v2](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if x, ok := m2.Peek(tx, "a").H.Get("x"); !ok || x != 1 {
			t.Errorf("got %v", x)
		}
		return nil
	})
}

// An index finds values with built-in maps, and does not lend them either.
func TestCopies_Index(t *testing.T) {
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[int, request](s, "m", everheap.WithIndex("url", "URL"))
	spacetest.Must(t, err)
	want := request{URL: "/b", Header: http.Header{"A": {"1"}}, Vars: map[string]map[int][]string{"x": {1: nil}}}
	spacetest.Must(t, m.Set(s, 1, request{URL: "/a"}))
	spacetest.Must(t, m.Set(s, 1, want))
	spacetest.Must(t, m.Set(s, 2, request{URL: "/c", Header: http.Header{}}))
	byURL := everheap.IndexOf[request, string](m, "url")
	got, err := byURL.Get(s, "/b")
	spacetest.Must(t, err)
	wantSame(t, "get", got, want)
	if _, err := byURL.Get(s, "/a"); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	for name, look := range map[string]func(tx *everheap.Tx){
		"Peek": func(tx *everheap.Tx) { byURL.Peek(tx, "/b") },
		"All":  func(tx *everheap.Tx) { byURL.All(tx)(func(int, *request) bool { return true }) },
		"Each": func(tx *everheap.Tx) { byURL.Each(tx, "/c")(func(int, *request) bool { return true }) },
	} {
		if err := s.View(func(tx *everheap.Tx) error { look(tx); return nil }); !errors.Is(err, everheap.ErrUnstorable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := everheap.OpenMap[int, request](s, "m", everheap.WithIndex("header", "Header")); err == nil {
		t.Error("a built-in map is indexed")
	}
}

// loopMap is a map that can contain itself.
type loopMap map[string]loopMap

// An unstorable value changes nothing.
func TestCopies_Cyclic(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, loopMap](t, s)
	loop := loopMap{}
	loop["self"] = loop
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		spacetest.Must(t, m.Set(tx, "a", loopMap{"b": nil}))
		if err := m.Set(tx, "a", loop); err == nil || !strings.Contains(err.Error(), "contains itself") {
			t.Errorf("got %v", err)
		}
		return nil
	}))
	got, err := m.Get(s, "a")
	spacetest.Must(t, err)
	wantSame(t, "get", got, loopMap{"b": nil})
}
