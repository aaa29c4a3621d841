package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// handles holds one handle of each kind, by value and owned.
type handles struct {
	Map  everheap.Map[string, int]
	List everheap.List[int]
	Refs []everheap.Ref[int]
}

// holders are a collection of each kind, whose values have handles, and a map whose
// keys are handles.
type holders struct {
	m    everheap.Map[string, handles]
	keys everheap.Map[everheap.Ref[int], bool]
	list everheap.List[handles]
	ref  everheap.Ref[handles]
}

func openHolders(t testing.TB, s *everheap.Space) (h holders) {
	t.Helper()
	var err error
	h.m, err = everheap.OpenMap[string, handles](s, "map")
	spacetest.Must(t, err)
	h.keys, err = everheap.OpenMap[everheap.Ref[int], bool](s, "keys")
	spacetest.Must(t, err)
	h.list, err = everheap.OpenList[handles](s, "list")
	spacetest.Must(t, err)
	h.ref, err = everheap.OpenRef(s, "ref", handles{})
	spacetest.Must(t, err)
	spacetest.Must(t, h.list.Append(s, handles{}))
	spacetest.Must(t, h.m.Set(s, "there", handles{}))
	return h
}

// ways returns all the ways to store a value.
func (h holders) ways() map[string]func(sc everheap.Scope, v handles) error {
	put := func(v handles) func(p *handles) error { return func(p *handles) error { *p = v; return nil } }
	return map[string]func(sc everheap.Scope, v handles) error{
		"Map.Set":    func(sc everheap.Scope, v handles) error { return h.m.Set(sc, "a", v) },
		"Map.Modify": func(sc everheap.Scope, v handles) error { return h.m.Modify(sc, "there", put(v)) },
		"Map.Upsert": func(sc everheap.Scope, v handles) error {
			return h.m.Upsert(sc, "b", func(p *handles, _ bool) error { *p = v; return nil })
		},
		"List.Append":          func(sc everheap.Scope, v handles) error { return h.list.Append(sc, v) },
		"List.Append, several": func(sc everheap.Scope, v handles) error { return h.list.Append(sc, append(make([]handles, 100), v)...) },
		"List.Set":             func(sc everheap.Scope, v handles) error { return h.list.Set(sc, 0, v) },
		"List.Modify":          func(sc everheap.Scope, v handles) error { return h.list.Modify(sc, 0, put(v)) },
		"Ref.Set":              func(sc everheap.Scope, v handles) error { return h.ref.Set(sc, v) },
		"Ref.Modify":           func(sc everheap.Scope, v handles) error { return h.ref.Modify(sc, put(v)) },
		"New": func(sc everheap.Scope, v handles) error {
			if tx, ok := sc.(*everheap.Tx); ok {
				_, err := everheap.New(tx, v)
				return err
			}
			return sc.(*everheap.Space).Update(context.Background(), func(tx *everheap.Tx) error { _, err := everheap.New(tx, v); return err })
		},
		"OpenRef":    func(sc everheap.Scope, v handles) error { _, err := everheap.OpenRef(sc, "new", v); return err },
		"key of Map": func(sc everheap.Scope, v handles) error { return h.storeKeys(sc, v) },
	}
}

// storeKeys stores the references as keys, and other handles as values.
func (h holders) storeKeys(sc everheap.Scope, v handles) error {
	for _, r := range v.Refs {
		if r.IsNil() {
			continue // a key like any other
		}
		if err := h.keys.Set(sc, r, true); err != nil {
			return err
		}
	}
	return h.m.Set(sc, "keys", handles{Map: v.Map, List: v.List})
}

// makeHandles makes an object of each kind. If lost is set, it does so in a transaction that aborts.
func makeHandles(t testing.TB, s *everheap.Space, lost bool) (v handles) {
	t.Helper()
	err := s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		v.Map, err = everheap.NewMap[string, int](tx)
		spacetest.Must(t, err)
		v.List, err = everheap.NewList[int](tx)
		spacetest.Must(t, err)
		r, err := everheap.New(tx, 5)
		spacetest.Must(t, err)
		v.Refs = []everheap.Ref[int]{{}, r}
		if lost {
			return spacetest.ErrOfTest
		}
		return nil
	})
	if lost != errors.Is(err, spacetest.ErrOfTest) {
		t.Fatal(err)
	}
	return v
}

// each splits handles into values with one handle each.
func each(v handles) map[string]handles {
	return map[string]handles{"a Map": {Map: v.Map}, "a List": {List: v.List}, "a Ref": {Refs: v.Refs}}
}

// A handle is stored only if its object exists in this space, with its kind and its types. A refused
// handle leaves the transaction and the space as they were.
func TestErrDangling_Matrix(t *testing.T) {
	s, other := spacetest.Scratch(t), spacetest.Scratch(t)
	for spacetest.Engine(s).Tag() == spacetest.Engine(other).Tag() { // one time in 32768
		other = spacetest.Scratch(t)
	}
	h := openHolders(t, s)
	good := makeHandles(t, s, false)
	wrong := handles{ // each is a handle of an object of another kind
		Map: spacetest.Convert[everheap.List[int], everheap.Map[string, int]](good.List), List: spacetest.Convert[everheap.Ref[int], everheap.List[int]](good.Refs[1]),
		Refs: []everheap.Ref[int]{spacetest.Convert[everheap.Map[string, int], everheap.Ref[int]](good.Map)},
	}
	var typed handles // of the kind, with another type
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewMap[string, uint](tx)
		spacetest.Must(t, err)
		l, err := everheap.NewList[string](tx)
		spacetest.Must(t, err)
		r, err := everheap.New(tx, "text")
		spacetest.Must(t, err)
		typed = handles{spacetest.Convert[everheap.Map[string, uint], everheap.Map[string, int]](m), spacetest.Convert[everheap.List[string], everheap.List[int]](l),
			[]everheap.Ref[int]{spacetest.Convert[everheap.Ref[string], everheap.Ref[int]](r)}}
		return nil
	})
	before := digestHolders(t, s, h)
	for name, bad := range map[string]struct {
		v    handles
		err  error
		text string
	}{
		"another space":    {makeHandles(t, other, false), everheap.ErrDangling, "another space"},
		"never committed":  {makeHandles(t, s, true), everheap.ErrDangling, "does not exist"},
		"of another kind":  {wrong, everheap.ErrTypeChanged, "stored:  a "},
		"with other types": {typed, everheap.ErrTypeChanged, "stored:  a "},
	} {
		for which, v := range each(bad.v) {
			for way, store := range h.ways() {
				t.Run(strings.Join([]string{name, which, way}, "/"), func(t *testing.T) {
					spacetest.ExpectError(t, store(s, v), bad.err, bad.text, "everheap.", "everheap: ")
					spacetest.Update(t, s, func(tx *everheap.Tx) error {
						spacetest.ExpectError(t, store(tx, v), bad.err, bad.text)
						return h.m.Set(tx, "after", handles{}) // the transaction is usable
					})
					_, err := h.m.Delete(s, "after")
					spacetest.Must(t, err)
				})
			}
		}
	}
	if after := digestHolders(t, s, h); after != before {
		t.Errorf("a refused handle has changed something:\n%s\n%s", before, after)
	}
	for way, store := range h.ways() {
		if err := store(s, good); err != nil {
			t.Errorf("%s of good handles: %v", way, err)
		}
		if err := store(s, handles{}); err != nil {
			t.Errorf("%s of nil handles: %v", way, err)
		}
	}
}

// digestHolders describes the contents of the collections.
func digestHolders(t testing.TB, s *everheap.Space, h holders) (text string) {
	t.Helper()
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		var lines []string
		for k, v := range h.m.All(tx) {
			lines = append(lines, fmt.Sprint("map ", k, *v))
		}
		slices.Sort(lines)
		n, err := h.keys.Len(tx)
		spacetest.Must(t, err)
		lines = append(lines, fmt.Sprint("keys ", n))
		for i, v := range h.list.All(tx) {
			lines = append(lines, fmt.Sprint("list ", i, *v))
		}
		text = strings.Join(append(lines, fmt.Sprint("ref ", *h.ref.Peek(tx))), "\n")
		return nil
	})
	return text
}

// A transaction can store a handle of an object that it has just made.
func TestHandles_OfTheSameTransaction(t *testing.T) {
	s := spacetest.Scratch(t)
	h := openHolders(t, s)
	for way, store := range h.ways() {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			m, err := everheap.NewMap[string, int](tx)
			spacetest.Must(t, err)
			l, err := everheap.NewList[int](tx)
			spacetest.Must(t, err)
			r, err := everheap.New(tx, 1)
			spacetest.Must(t, err)
			if err := store(tx, handles{m, l, []everheap.Ref[int]{r}}); err != nil {
				t.Errorf("%s: %v", way, err)
			}
			return nil
		})
	}
}

// An object of one kind cannot be opened as another kind, by name or by ID.
func TestErrTypeChanged_Kinds(t *testing.T) {
	for _, opts := range [][]everheap.Option{nil, {everheap.WithVerify()}} {
		s := spacetest.Scratch(t, opts...)
		m, err := everheap.OpenMap[string, int](s, "map")
		spacetest.Must(t, err)
		l, err := everheap.OpenList[int](s, "list")
		spacetest.Must(t, err)
		r, err := everheap.OpenRef(s, "ref", 1)
		spacetest.Must(t, err)
		opened := func(name string, err error) {
			t.Helper()
			spacetest.ExpectError(t, err, everheap.ErrTypeChanged, name+" is stored with another type", "stored:  a "+name, "program: a ")
			var e *everheap.TypeError
			if !errors.As(err, &e) || e.Name != name {
				t.Errorf("the details are %+v", e)
			}
		}
		for _, sc := range []func(fn func(sc everheap.Scope)){
			func(fn func(sc everheap.Scope)) { fn(s) },
			func(fn func(sc everheap.Scope)) {
				spacetest.Update(t, s, func(tx *everheap.Tx) error { fn(tx); return nil })
			},
			func(fn func(sc everheap.Scope)) {
				spacetest.View(t, s, func(tx *everheap.Tx) error { fn(tx); return nil })
			},
		} {
			sc(func(sc everheap.Scope) {
				_, err := everheap.OpenMap[string, int](sc, "list")
				opened("list", err)
				_, err = everheap.OpenMap[string, int](sc, "ref")
				opened("ref", err)
				_, err = everheap.OpenList[int](sc, "map")
				opened("map", err)
				_, err = everheap.OpenList[int](sc, "ref")
				opened("ref", err)
				_, err = everheap.OpenRef(sc, "map", 1)
				opened("map", err)
				_, err = everheap.OpenRef(sc, "list", 1)
				opened("list", err)
				_, err = everheap.OpenList[string](sc, "list")
				spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "list of int", "list of string")
				_, err = everheap.OpenRef(sc, "ref", "")
				spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "ref of int", "ref of string")
			})
		}
		_, err = spacetest.Convert[everheap.Map[string, int], everheap.List[int]](m).Get(s, 0)
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		_, err = spacetest.Convert[everheap.List[int], everheap.Ref[int]](l).Get(s)
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		_, err = spacetest.Convert[everheap.Ref[int], everheap.Map[string, int]](r).Get(s, "x")
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		_, err = spacetest.Convert[everheap.Ref[int], everheap.Ref[uint]](r).Get(s)
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		spacetest.ExpectError(t, spacetest.Convert[everheap.List[int], everheap.List[uint]](l).Append(s, 1), everheap.ErrTypeChanged)
		spacetest.ExpectError(t, spacetest.Convert[everheap.List[int], everheap.Ref[int]](l).Set(s, 1), everheap.ErrTypeChanged)
		spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error {
			spacetest.Convert[everheap.List[int], everheap.Ref[int]](l).Peek(tx)
			return nil
		}), everheap.ErrTypeChanged)
	}
}

// profile is the value type of the nested collections: a struct with a map.
type profile struct {
	Name   string
	Visits everheap.Map[string, int]
	Mentor everheap.Ref[profile]
}

// team is a list of references to profiles.
type team = everheap.List[everheap.Ref[profile]]

// A map of lists of references to structs that hold maps.
func TestHandles_Nested(t *testing.T) {
	const teams, members = 20, 30
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	byName, err := everheap.OpenMap[string, team](s, "teams")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		var mentor everheap.Ref[profile]
		for i := range teams {
			list, err := everheap.NewList[everheap.Ref[profile]](tx)
			spacetest.Must(t, err)
			for j := range members {
				visits, err := everheap.NewMap[string, int](tx)
				spacetest.Must(t, err)
				spacetest.Must(t, visits.Set(tx, "home", i*j))
				p, err := everheap.New(tx, profile{Name: fmt.Sprint(i, ".", j), Visits: visits, Mentor: mentor})
				spacetest.Must(t, err)
				spacetest.Must(t, list.Append(tx, p))
				mentor = p
			}
			spacetest.Must(t, byName.Set(tx, fmt.Sprint("team ", i), list))
		}
		return nil
	})
	verify := func(tx *everheap.Tx) error {
		n := 0
		for name, list := range byName.All(tx) {
			var i int
			fmt.Sscanf(name, "team %d", &i)
			for j, ref := range list.All(tx) {
				n++
				p := ref.Peek(tx)
				visits := p.Visits.Peek(tx, "home")
				if p.Name != fmt.Sprint(i, ".", j) || visits == nil || *visits != i*j {
					return fmt.Errorf("member %d of %s is %+v, visits %v", j, name, p, visits)
				}
				if p.Mentor.IsNil() {
					if i+j > 0 {
						return fmt.Errorf("%s has no mentor", p.Name)
					}
				} else if m := p.Mentor.Peek(tx); m.Name == p.Name {
					return fmt.Errorf("%s is his own mentor", p.Name)
				}
			}
		}
		if n != teams*members {
			return fmt.Errorf("%d members", n)
		}
		return nil
	}
	spacetest.View(t, s, verify)
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	s = spacetest.Open(t, dir)
	spacetest.View(t, s, verify)
}

// A handle as key: its object may change, the key does not.
func TestHandles_AsKeys(t *testing.T) {
	s := spacetest.Scratch(t)
	names, err := everheap.OpenMap[everheap.Ref[int], string](s, "names")
	spacetest.Must(t, err)
	var refs []everheap.Ref[int]
	for i := range 100 {
		r := newRef(t, s, i)
		spacetest.Must(t, names.Set(s, r, fmt.Sprint(i)))
		refs = append(refs, r)
	}
	for i, r := range refs {
		spacetest.Must(t, r.Set(s, -i))
		if v, err := names.Get(s, r); err != nil || v != fmt.Sprint(i) {
			t.Errorf("%d: %q (%v)", i, v, err)
		}
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for r, name := range names.All(tx) {
			if fmt.Sprint(-*r.Peek(tx)) != *name {
				t.Errorf("%d is called %s", *r.Peek(tx), *name)
			}
		}
		return nil
	})
	if _, err := names.Get(s, everheap.Ref[int]{}); !spacetest.IsNotFound(err) { // looking for a dangling handle is allowed
		t.Error(err)
	}
}
