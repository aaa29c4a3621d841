package evolve

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestEvolve_List(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 4096, 5000} {
		s := spacetest.Scratch(t)
		old, err := everheap.OpenList[spacetest.PersonV1](s, "people")
		spacetest.Must(t, err)
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := range n {
				if err := old.Append(tx, spacetest.PersonOf(i)); err != nil {
					return err
				}
			}
			return nil
		})
		_, err = everheap.OpenList[spacetest.PersonV2](s, "people")
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "stored:  list of spacetest.PersonV1", "- Gone bool", "the option Evolve")
		done := -1
		l, err := everheap.OpenList[spacetest.PersonV2](s, "people", everheap.Evolve(), everheap.WithProgress(func(k, total int) { done = k }))
		spacetest.Must(t, err)
		if n > 0 && done != n {
			t.Errorf("progress ended at %d of %d", done, n)
		}
		if got, err := l.Len(s); err != nil || got != n {
			t.Fatal(got, err)
		}
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			for i, p := range l.All(tx) {
				if !spacetest.SamePerson(*p, spacetest.Evolved(spacetest.PersonOf(i))) {
					t.Fatalf("element %d is %+v", i, *p)
				}
			}
			return nil
		})
		spacetest.Must(t, l.Append(s, spacetest.PersonV2{Title: "last"}))
		if p, err := l.Get(s, n); err != nil || p.Title != "last" {
			t.Error(p, err)
		}
		spacetest.Must(t, l.Truncate(s, n/2))
		_, err = old.Get(s, 0)
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		spacetest.ExpectError(t, old.Append(s, spacetest.PersonV1{}), everheap.ErrTypeChanged)
		_, err = old.Len(s)
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		renamed, err := everheap.OpenList[*spacetest.PersonV2](s, "people", everheap.Migrate(func(p spacetest.PersonV2) (*spacetest.PersonV2, error) {
			if p.Title == "" {
				return nil, nil
			}
			return &p, nil
		}))
		spacetest.Must(t, err)
		if got, err := renamed.Len(s); err != nil || got != n/2 {
			t.Error(got, err)
		}
	}
}

func TestEvolve_Ref(t *testing.T) {
	s := spacetest.Scratch(t)
	old, err := everheap.OpenRef(s, "config", spacetest.PersonOf(3))
	spacetest.Must(t, err)
	_, err = everheap.OpenRef(s, "config", spacetest.PersonV2{})
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "stored:  ref of spacetest.PersonV1")
	r, err := everheap.OpenRef(s, "config", spacetest.PersonV2{}, everheap.Evolve())
	spacetest.Must(t, err)
	if p, err := r.Get(s); err != nil || !spacetest.SamePerson(p, spacetest.Evolved(spacetest.PersonOf(3))) {
		t.Error(p, err)
	}
	spacetest.Must(t, r.Set(s, spacetest.PersonV2{Title: "new"}))
	_, err = old.Get(s)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	spacetest.ExpectError(t, old.Set(s, spacetest.PersonV1{}), everheap.ErrTypeChanged)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { old.Peek(tx); return nil }), everheap.ErrTypeChanged)
	renamed, err := everheap.OpenRef(s, "config", struct { // names only: the bytes stay, the type does not
		Joined time.Time
		Age    int64
		Boss   *spacetest.PersonV2
		Mails  []spacetest.MailV2
		Title  string
	}{}, everheap.Evolve())
	spacetest.Must(t, err)
	if p, err := renamed.Get(s); err != nil || p.Title != "new" {
		t.Error(p, err)
	}
	// No option accepts a change of the kind.
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "config", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "stored:  a ref", "program: a map")
	_, err = everheap.OpenList[spacetest.PersonV2](s, "config", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
}

// A graph of references, lists and maps, with cycles, from one root.
type (
	hubV1 struct {
		N     int32
		Next  everheap.Ref[hubV1]
		All   everheap.List[everheap.Ref[hubV1]]
		Named everheap.Map[string, everheap.Ref[hubV1]]
		Words everheap.List[string]
	}
	hubV2 struct {
		Words everheap.List[string]
		All   everheap.List[everheap.Ref[hubV2]]
		N     int64
		Named everheap.Map[string, everheap.Ref[hubV2]]
		Next  everheap.Ref[hubV2]
	}
)

// weave makes a ring of hubs, which share a list and a map of all hubs.
func weave(tx *everheap.Tx, n int) (first everheap.Ref[hubV1], err error) {
	all, err := everheap.NewList[everheap.Ref[hubV1]](tx)
	if err != nil {
		return first, err
	}
	named, err := everheap.NewMap[string, everheap.Ref[hubV1]](tx)
	if err != nil {
		return first, err
	}
	words, err := everheap.NewList[string](tx)
	if err != nil {
		return first, err
	}
	if err := words.Append(tx, "a", "b"); err != nil {
		return first, err
	}
	var last everheap.Ref[hubV1]
	for i := range n {
		r, err := everheap.New(tx, hubV1{N: int32(i), Next: last, All: all, Named: named, Words: words})
		if err == nil {
			err = all.Append(tx, r)
		}
		if err == nil {
			err = named.Set(tx, fmt.Sprint("hub ", i), r)
		}
		if err != nil {
			return first, err
		}
		if i == 0 {
			first = r
		}
		last = r
	}
	return first, first.Modify(tx, func(h *hubV1) error { h.Next = last; return nil })
}

func TestEvolve_GraphOfObjects(t *testing.T) {
	const n = 300
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[string, everheap.Ref[hubV1]](t, s)
	var first everheap.Ref[hubV1]
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		if first, err = weave(tx, n); err != nil {
			return err
		}
		return old.Set(tx, "root", first)
	})
	words := everheap.List[string]{}
	spacetest.View(t, s, func(tx *everheap.Tx) error { words = first.Peek(tx).Words; return nil })
	last := [2]int{}
	m, err := everheap.OpenMap[string, everheap.Ref[hubV2]](s, "m", everheap.Evolve(), everheap.WithProgress(func(done, total int) { last = [2]int{done, total} }))
	spacetest.Must(t, err)
	if want := 1 + 3*n; last != [2]int{want, want} { // the root, and each hub with its places in the list and the map
		t.Errorf("progress ended at %v, want %d", last, want)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		r := *m.Peek(tx, "root")
		root := r.Peek(tx)
		for i := range n {
			h := r.Peek(tx)
			if want := int64((n - i) % n); h.N != want || h.All != root.All || h.Named != root.Named || h.Words != words {
				t.Fatalf("hub %d is %+v", want, *h)
			}
			if *root.All.Peek(tx, int(h.N)) != r || *root.Named.Peek(tx, fmt.Sprint("hub ", h.N)) != r {
				t.Fatalf("the list or the map has another hub %d", h.N)
			}
			r = h.Next
		}
		if r.ID() != first.ID() {
			t.Error("the ring does not close")
		}
		if w, err := words.Get(tx, 1); err != nil || w != "b" {
			t.Error(w, err)
		}
		return nil
	})
	_, err = first.Get(s)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	// Handles of the new types can be stored in each other.
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		root := *m.Peek(tx, "root")
		h, err := root.Get(tx)
		spacetest.Must(t, err)
		r, err := everheap.New(tx, hubV2{N: -1, Next: root, All: h.All})
		spacetest.Must(t, err)
		spacetest.Must(t, h.All.Append(tx, r))
		return m.Set(tx, "more", r)
	})
}

// Handles in values that functions of the program make are checked as in stored values.
func TestMigrate_DanglingHandle(t *testing.T) {
	type v1 struct{ N int32 }
	type v2 struct{ R everheap.Ref[string] }
	s, other := spacetest.Scratch(t), spacetest.Scratch(t)
	old := spacetest.MapOf[int, v1](t, s)
	spacetest.Must(t, old.Set(s, 1, v1{1}))
	foreign, err := everheap.OpenRef(other, "r", "x")
	spacetest.Must(t, err)
	here, err := everheap.OpenRef(s, "r", "x")
	spacetest.Must(t, err)
	open := func(r everheap.Ref[string]) error {
		_, err := everheap.OpenMap[int, v2](s, "m", everheap.Migrate(func(v1) (v2, error) { return v2{r}, nil }))
		return err
	}
	if foreign.ID() != here.ID() { // one time in 32768 the spaces have the same tag
		spacetest.ExpectError(t, open(foreign), everheap.ErrDangling, "Migrate has made")
	}
	var gone everheap.Ref[string]
	failed := errors.New("failed")
	spacetest.ExpectError(t, s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		gone, err = everheap.New(tx, "gone")
		spacetest.Must(t, err)
		return failed
	}), failed)
	spacetest.ExpectError(t, open(gone), everheap.ErrDangling)
	if v, err := old.Get(s, 1); err != nil || v.N != 1 {
		t.Error(v, err)
	}
	spacetest.Must(t, open(here))
	m := spacetest.MapOf[int, v2](t, s)
	v, err := m.Get(s, 1)
	spacetest.Must(t, err)
	if text, err := v.R.Get(s); err != nil || text != "x" {
		t.Error(text, err)
	}
	// A function makes a handle itself: the type of its object must fit.
	number, err := everheap.OpenRef(s, "number", 5)
	spacetest.Must(t, err)
	_, err = everheap.OpenMap[int, everheap.Ref[bool]](s, "m", everheap.Migrate(func(v2) (everheap.Ref[bool], error) {
		r, err := everheap.OpenRef(s, "number", 5)
		return spacetest.Convert[everheap.Ref[int], everheap.Ref[bool]](r), err
	}))
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "! int -> bool")
	if n, err := number.Get(s); n != 5 || err != nil {
		t.Error(n, err)
	}
}
