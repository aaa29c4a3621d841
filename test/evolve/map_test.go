package evolve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/recast"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/google/go-cmp/cmp"
)

func TestEvolve_Map(t *testing.T) {
	const n = 3000
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	old := spacetest.FillPeople(t, s, n)
	other := spacetest.MapOf[string, spacetest.PersonV1](t, s)
	spacetest.Must(t, other.Set(s, "x", spacetest.PersonOf(3)))

	_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "- Gone bool", "open it with the option Evolve")
	var calls [][2]int
	progress := everheap.WithProgress(func(done, total int) { calls = append(calls, [2]int{done, total}) })
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve(), progress)
	spacetest.Must(t, err)
	if len(calls) == 0 || calls[len(calls)-1] != [2]int{n, n} {
		t.Errorf("progress was reported as %v", calls)
	}
	calls = nil
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve(), progress)
	spacetest.Must(t, err)
	if len(calls) != 0 {
		t.Errorf("there was nothing to be done, and progress was reported: %v", calls)
	}
	m := spacetest.VerifyPeople(t, s, n)

	_, err = old.Get(s, "key 1")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	spacetest.ExpectError(t, old.Set(s, "key 1", spacetest.PersonOf(1)), everheap.ErrTypeChanged)
	_, err = old.Len(s)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error {
		for range old.All(tx) {
			t.Error("an entry of another type")
		}
		return nil
	}), everheap.ErrTypeChanged)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { old.Peek(tx, "key 1"); return nil }), everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, spacetest.PersonV1](s, "people")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	if v, err := other.Get(s, "x"); err != nil || v.Age != 3 {
		t.Errorf("another map has %+v, %v", v, err)
	}

	spacetest.Must(t, m.Set(s, "new", spacetest.PersonV2{Title: "new"}))
	_, err = m.Delete(s, "new")
	spacetest.Must(t, err)
	spacetest.CheckSpace(t, s)
	spacetest.Must(t, s.Close())
	s = spacetest.Open(t, dir)
	spacetest.VerifyPeople(t, s, n)
}

// The converted entries are right, whatever the hashes are.
func TestEvolve_FewBitsOfHash(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithHashBits(5))
	spacetest.FillPeople(t, s, 500)
	_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.VerifyPeople(t, s, 500)
}

// An open View keeps its version, with the types of that version.
func TestEvolve_OpenViewGoesOn(t *testing.T) {
	s := spacetest.Scratch(t)
	old := spacetest.FillPeople(t, s, 100)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		p := old.Peek(tx, "key 5")
		_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
		spacetest.Must(t, err)
		for i := range 50 { // reuse what can be reused
			spacetest.Must(t, spacetest.MapOf[int, string](t, s).Set(s, i, strings.Repeat("x", 200)))
		}
		if p.Name != "name 5" || p.Age != 5 {
			t.Errorf("a borrowed value has become %+v", *p)
		}
		if v, err := old.Get(tx, "key 6"); err != nil || v.Name != "name 6" {
			t.Errorf("got %+v, %v", v, err)
		}
		n := 0
		for k, v := range old.All(tx) {
			if n++; k != "key "+v.Name[len("name "):] {
				t.Errorf("%s has %+v", k, *v)
			}
		}
		if n != 100 {
			t.Errorf("%d entries", n)
		}
		_, err = everheap.OpenMap[string, spacetest.PersonV2](tx, "people", everheap.Evolve())
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		spacetest.ExpectError(t, err, everheap.ErrReadOnly, "takes a writing transaction")
		return nil
	})
	_, err := old.Get(s, "key 6")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
}

func TestEvolve_InsideUpdate(t *testing.T) {
	s := spacetest.Scratch(t)
	old := spacetest.FillPeople(t, s, 200)
	failed := errors.New("failed")
	do := func(outcome error) error {
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			spacetest.Must(t, old.Set(tx, "key 200", spacetest.PersonOf(200)))
			p := old.Peek(tx, "key 200")
			for k := range old.All(tx) {
				if k == "key 7" {
					_, err := old.Delete(tx, k)
					spacetest.Must(t, err)
					spacetest.Must(t, old.Set(tx, k, spacetest.PersonOf(7)))
					m, err := everheap.OpenMap[string, spacetest.PersonV2](tx, "people", everheap.Evolve())
					spacetest.Must(t, err)
					spacetest.Must(t, m.Set(tx, "last", spacetest.PersonV2{Title: "last"}))
				}
			}
			if p.Name != "name 200" {
				t.Errorf("a borrowed value has become %+v", *p)
			}
			_, err := old.Get(tx, "key 3")
			spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
			spacetest.ExpectError(t, old.Set(tx, "key 3", spacetest.PersonOf(1)), everheap.ErrTypeChanged)
			m, err := everheap.OpenMap[string, spacetest.PersonV2](tx, "people")
			spacetest.Must(t, err)
			if v, err := m.Get(tx, "last"); err != nil || v.Title != "last" {
				t.Errorf("got %+v, %v", v, err)
			}
			_, err = m.Delete(tx, "last")
			spacetest.Must(t, err)
			spacetest.VerifyPeople(t, tx, 201)
			return outcome
		})
	}
	spacetest.ExpectError(t, do(failed), failed)
	if v, err := old.Get(s, "key 7"); err != nil || v.Name != "name 7" {
		t.Errorf("after the abort: %+v, %v", v, err)
	}
	if n, err := old.Len(s); err != nil || n != 200 {
		t.Errorf("after the abort there are %d people, %v", n, err)
	}
	spacetest.Must(t, do(nil))
	spacetest.VerifyPeople(t, s, 201)
}

// An aborted transaction's knowledge of types is forgotten: the next transaction can give their
// indexes to other types.
func TestEvolve_AbortedTypesAreForgotten(t *testing.T) {
	type one struct{ A, B int32 }
	type two struct{ A, B int64 }
	type three struct{ B, A int64 }
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, one](t, s)
	spacetest.Must(t, m.Set(s, "x", one{1, 2}))
	var stale everheap.Map[string, two]
	failed := errors.New("failed")
	spacetest.ExpectError(t, s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		stale, err = everheap.OpenMap[string, two](tx, "m", everheap.Evolve())
		spacetest.Must(t, err)
		v, err := stale.Get(tx, "x")
		if err != nil || v != (two{1, 2}) {
			t.Errorf("got %v, %v", v, err)
		}
		spacetest.Must(t, stale.Set(tx, "y", v))
		return failed
	}), failed)
	_, err := stale.Get(s, "x")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	handle, err := layout.For[everheap.Map[string, three]]() // as in another process: no binding is cached here
	spacetest.Must(t, err)
	spacetest.Must(t, spacetest.Engine(s).Alone(false).ChangeTypes("m", handle, &recast.TypeChange{Evolve: true}))
	if v, err := stale.Get(s, "x"); !errors.Is(err, everheap.ErrTypeChanged) {
		t.Errorf("by a handle of an aborted transaction: %v, %v", v, err)
	}
	third := spacetest.MapOf[string, three](t, s)
	if v, err := third.Get(s, "x"); err != nil || v != (three{B: 2, A: 1}) {
		t.Errorf("got %v, %v", v, err)
	}
}

// Entries that the same transaction has written can be converted, too, more than once.
func TestEvolve_WhatTheSameUpdateWrote(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[string, int8](tx, "m")
		spacetest.Must(t, err)
		for i := range 5000 {
			spacetest.Must(t, m.Set(tx, fmt.Sprint(i), int8(i)))
		}
		_, err = everheap.OpenMap[string, int32](tx, "m", everheap.Evolve())
		spacetest.Must(t, err)
		_, err = everheap.OpenMap[string, float64](tx, "m", everheap.Evolve())
		spacetest.Must(t, err)
		_, err = everheap.OpenMap[string, *float64](tx, "m", everheap.Evolve())
		return err
	})
	m := spacetest.MapOf[string, *float64](t, s)
	for i := range 5000 {
		if v, err := m.Get(s, fmt.Sprint(i)); err != nil || *v != float64(int8(i)) {
			t.Fatal(i, v, err)
		}
	}
}

func TestEvolve_Refused(t *testing.T) {
	type narrow struct {
		Name string
		Age  int8
	}
	s := spacetest.Scratch(t)
	old := spacetest.FillPeople(t, s, 10)
	version := s.Stats().Version
	_, err := everheap.OpenMap[string, narrow](s, "people", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "! Age int32 -> int8", "Evolve does not accept the lines")
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[string, narrow](tx, "people", everheap.Evolve())
		spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
		return old.Set(tx, "more", spacetest.PersonOf(1)) // it was refused before it changed anything
	})
	spacetest.Must(t, err)
	if got := s.Stats().Version; got != version+1 {
		t.Errorf("versions %d to %d", version, got)
	}
	if n, err := old.Len(s); n != 11 || err != nil {
		t.Error(n, err)
	}
}

// The whole text of the error.
func TestErrTypeChanged_Text(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.FillPeople(t, s, 1)
	_, err := everheap.OpenMap[int32, spacetest.PersonV2](s, "people")
	want := `everheap: opening the map people (s): people is stored with another type:
  stored:  map of string to spacetest.PersonV1
  program: map of int32 to spacetest.PersonV2
keys:
! string -> int32  Evolve refuses it: they have nothing in common; use Migrate
values:
~ spacetest.PersonV1 -> spacetest.PersonV2      Evolve renames the type
~ Name -> Title                                 Evolve renames it
~ Age int32 -> int64                            Evolve widens it
- Gone bool                                     Evolve drops it
~ Mails[] spacetest.MailV1 -> spacetest.MailV2  Evolve renames the type
~ Mails[].Count uint8 -> int                    Evolve widens it
~ Mails[].Addr moved                            Evolve moves it
+ Mails[].Seen []uint8                          Evolve sets it to zero
~ Mails, Title moved                            Evolve moves them
+ Joined time.Time                              Evolve sets it to zero
Evolve does not accept the lines that begin with an exclamation mark; Migrate can convert such values`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
}

func TestEvolve_ReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	spacetest.FillPeople(t, s, 10)
	spacetest.Must(t, s.Close())
	r, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	_, err = everheap.OpenMap[string, spacetest.PersonV2](r, "people", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrReadOnly, "takes a writing transaction", "Gone")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	spacetest.Must(t, r.Close())

	s = spacetest.Open(t, dir)
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	r, err = everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	_, err = everheap.OpenMap[string, spacetest.PersonV2](r, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.VerifyPeople(t, r, 10)
	spacetest.Must(t, r.Close())
}

// With the option, a missing map is created.
func TestEvolve_Creates(t *testing.T) {
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "key 0", spacetest.PersonV2{}))
	s2, err := everheap.OpenMap[string, chan int](s, "x", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrUnstorable)
	if !s2.IsNil() {
		t.Error("there is a map of channels")
	}
	spacetest.Must(t, s.Close())
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrClosed)
}

func TestEvolve_CheckpointHasTheOldTypes(t *testing.T) {
	s := spacetest.Scratch(t)
	old := spacetest.FillPeople(t, s, 100)
	spacetest.Must(t, s.Checkpoint("before"))
	_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.Must(t, s.ViewAt("before", func(tx *everheap.Tx) error {
		v, err := old.Get(tx, "key 3")
		if err != nil || v.Name != "name 3" {
			t.Error(v, err)
		}
		_, err = everheap.OpenMap[string, spacetest.PersonV2](tx, "people", everheap.Evolve())
		spacetest.ExpectError(t, err, everheap.ErrReadOnly)
		return nil
	}))
	m := spacetest.VerifyPeople(t, s, 100)
	spacetest.Must(t, s.Restore(context.Background(), "before"))
	if v, err := old.Get(s, "key 3"); err != nil || v.Name != "name 3" {
		t.Error(v, err)
	}
	_, err = m.Get(s, "key 3")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.VerifyPeople(t, s, 100)
}

// A damaged entry is not converted into one that looks intact.
func TestEvolve_Damage(t *testing.T) { // R4
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	old := spacetest.FillPeople(t, s, 300)
	spacetest.Must(t, s.Close())
	heap, err := os.ReadFile(filepath.Join(dir, "heap"))
	spacetest.Must(t, err)
	at := bytes.Index(heap, []byte("name 77"))
	heap[at]++
	spacetest.Must(t, os.WriteFile(filepath.Join(dir, "heap"), heap, 0o600))
	s, err = everheap.Open(dir)
	spacetest.Must(t, err)
	defer s.Close()
	_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrCorrupt, "opening the map people")
	if v, err := old.Get(s, "key 78"); err != nil || v.Name != "name 78" {
		t.Error(v, err)
	}
}

// A large map: its old blocks are left to a sweep, which finds all of them.
func TestEvolve_LargeMap(t *testing.T) {
	const n = 300_000
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	old := spacetest.MapOf[int32, int32](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range int32(n) {
			if err := old.Set(tx, i, -i); err != nil {
				return err
			}
		}
		return nil
	})
	var calls []int
	m, err := everheap.OpenMap[int64, int64](s, "m", everheap.Evolve(), everheap.WithProgress(func(done, total int) {
		if total != n {
			t.Errorf("%d of %d", done, total)
		}
		calls = append(calls, done)
	}))
	spacetest.Must(t, err)
	if !slices.IsSorted(calls) || calls[len(calls)-1] != n {
		t.Errorf("progress: %v", calls)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		seen := 0
		for k, v := range m.All(tx) {
			if seen++; *v != -k {
				t.Fatalf("%d has %d", k, *v)
			}
		}
		if seen != n {
			t.Errorf("%d entries", seen)
		}
		return nil
	})
	before := s.Stats()
	if before.Leaked < n*32 {
		t.Errorf("%d bytes are left to a sweep", before.Leaked)
	}
	spacetest.Must(t, s.Sync(context.Background()))
	found, err := spacetest.Engine(s).Sweep()
	spacetest.Must(t, err)
	if uint64(found) < before.Leaked {
		t.Errorf("the sweep has found %d bytes of %d", found, before.Leaked)
	}
}

// Random people under random keys, with changes before and after, as a model.
func TestEvolve_AsModel(t *testing.T) {
	s := spacetest.Scratch(t)
	type v1 struct {
		Bytes []byte
		N     int16
		Pairs [][2]uint8
	}
	type v2 struct {
		Pairs [][3]uint64
		N     float32
		Bytes []byte
		More  *string
	}
	old := spacetest.MapOf[int32, v1](t, s)
	model := map[int64]v2{}
	r := s.Stats().Base // any number
	next := func(n uint64) uint64 { r = r*6364136223846793005 + 1442695040888963407; return r >> 33 % n }
	for range 4000 {
		k := int32(next(1000)) - 500
		if next(4) == 0 {
			_, err := old.Delete(s, k)
			spacetest.Must(t, err)
			delete(model, int64(k))
			continue
		}
		v := v1{N: int16(next(1 << 16))}
		w := v2{N: float32(v.N)}
		if next(2) == 0 {
			v.Bytes = []byte(strings.Repeat("b", int(next(300))))
			w.Bytes = v.Bytes
		}
		for range next(4) {
			p := [2]uint8{uint8(next(256)), uint8(next(256))}
			v.Pairs = append(v.Pairs, p)
			w.Pairs = append(w.Pairs, [3]uint64{uint64(p[0]), uint64(p[1])})
		}
		spacetest.Must(t, old.Set(s, k, v))
		model[int64(k)] = w
	}
	m, err := everheap.OpenMap[int64, v2](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	got := map[int64]v2{}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			got[k] = *everheap.Clone(v)
		}
		return nil
	})
	if diff := cmp.Diff(model, got); diff != "" {
		t.Error(diff)
	}
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if ok, err := m.Delete(s, k); !ok || err != nil {
			t.Fatal(k, ok, err)
		}
	}
	if n, err := m.Len(s); n != 0 || err != nil {
		t.Error(n, err)
	}
}
