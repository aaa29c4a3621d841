package everheap_test

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
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/layout"
	"github.com/google/go-cmp/cmp"
)

// The types of the people in these tests, before and after. Their names differ, as
// those of types in one program must; in two programs they would be the same.
type (
	personV1 struct {
		Name  string
		Age   int32
		Gone  bool
		Mails []mailV1
		Boss  *personV1
	}
	mailV1 struct {
		Addr  string
		Count uint8
	}
	personV2 struct {
		Joined time.Time
		Age    int64
		Boss   *personV2
		Mails  []mailV2
		Title  string `everheap:"was=Name"`
	}
	mailV2 struct {
		Count int
		Addr  string
		Seen  []byte
	}
)

// personOf makes the i-th person.
func personOf(i int) personV1 {
	a := personV1{Name: fmt.Sprint("name ", i), Age: int32(i), Gone: true}
	for j := range i % 4 {
		a.Mails = append(a.Mails, mailV1{strings.Repeat("m", j*7), uint8(i + j)})
	}
	if i%3 == 0 {
		a.Boss = &personV1{Name: "boss", Age: -1}
		a.Boss.Boss = a.Boss
	}
	return a
}

// evolved is what becomes of a person.
func evolved(a personV1) personV2 {
	b := personV2{Age: int64(a.Age), Title: a.Name}
	for _, m := range a.Mails {
		b.Mails = append(b.Mails, mailV2{Count: int(m.Count), Addr: m.Addr})
	}
	if a.Boss != nil {
		b.Boss = &personV2{Age: int64(a.Boss.Age), Title: a.Boss.Name}
		b.Boss.Boss = b.Boss
	}
	return b
}

// fillPeople makes the map "people" with n of them.
func fillPeople(t testing.TB, s *everheap.Space, n int) everheap.Map[string, personV1] {
	t.Helper()
	m, err := everheap.OpenMap[string, personV1](s, "people")
	must(t, err)
	update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, fmt.Sprint("key ", i), personOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
	return m
}

// verifyPeople compares the map "people" with what it must hold after n of them
// evolved.
func verifyPeople(t testing.TB, sc everheap.Scope, n int) everheap.Map[string, personV2] {
	t.Helper()
	m, err := everheap.OpenMap[string, personV2](sc, "people")
	must(t, err)
	if got, err := m.Len(sc); err != nil || got != n {
		t.Fatalf("there are %d people (%v), want %d", got, err, n)
	}
	for i := range n {
		got, err := m.Get(sc, fmt.Sprint("key ", i))
		must(t, err)
		if want := evolved(personOf(i)); !cmp.Equal(got, want, cmp.Comparer(samePerson)) {
			t.Fatalf("person %d is %+v, want %+v", i, got, want)
		}
		if got.Boss != nil && got.Boss.Boss != got.Boss {
			t.Fatalf("person %d: the boss is not his own any more", i)
		}
	}
	return m
}

// samePerson compares people, whose bosses go round in circles.
func samePerson(a, b personV2) bool {
	if (a.Boss == nil) != (b.Boss == nil) || a.Boss != nil && (a.Boss.Title != b.Boss.Title || a.Boss.Age != b.Boss.Age) {
		return false
	}
	a.Boss, b.Boss = nil, nil
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

func TestEvolve_Map(t *testing.T) {
	const n = 3000
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	old := fillPeople(t, s, n)
	other := mapOf[string, personV1](t, s)
	must(t, other.Set(s, "x", personOf(3)))

	_, err := everheap.OpenMap[string, personV2](s, "people")
	expectError(t, err, everheap.ErrTypeChanged, "- Gone bool", "open it with the option Evolve")
	var calls [][2]int
	progress := everheap.WithProgress(func(done, total int) { calls = append(calls, [2]int{done, total}) })
	_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve(), progress)
	must(t, err)
	if len(calls) == 0 || calls[len(calls)-1] != [2]int{n, n} {
		t.Errorf("progress was reported as %v", calls)
	}
	calls = nil
	_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve(), progress)
	must(t, err)
	if len(calls) != 0 {
		t.Errorf("there was nothing to be done, and progress was reported: %v", calls)
	}
	m := verifyPeople(t, s, n)

	_, err = old.Get(s, "key 1")
	expectError(t, err, everheap.ErrTypeChanged)
	expectError(t, old.Set(s, "key 1", personOf(1)), everheap.ErrTypeChanged)
	_, err = old.Len(s)
	expectError(t, err, everheap.ErrTypeChanged)
	expectError(t, s.View(func(tx *everheap.Tx) error {
		for range old.All(tx) {
			t.Error("an entry of another type")
		}
		return nil
	}), everheap.ErrTypeChanged)
	expectError(t, s.View(func(tx *everheap.Tx) error { old.Peek(tx, "key 1"); return nil }), everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, personV1](s, "people")
	expectError(t, err, everheap.ErrTypeChanged)
	if v, err := other.Get(s, "x"); err != nil || v.Age != 3 {
		t.Errorf("another map has %+v, %v", v, err)
	}

	must(t, m.Set(s, "new", personV2{Title: "new"}))
	_, err = m.Delete(s, "new")
	must(t, err)
	checkSpace(t, s)
	must(t, s.Close())
	s = open(t, dir)
	verifyPeople(t, s, n)
}

// Nothing of what was converted changes, whatever the hashes are.
func TestEvolve_FewBitsOfHash(t *testing.T) {
	s := scratch(t, everheap.WithHashBits(5))
	fillPeople(t, s, 500)
	_, err := everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	must(t, err)
	verifyPeople(t, s, 500)
}

// A View that is open goes on in its version, with the types of that version.
func TestEvolve_OpenViewGoesOn(t *testing.T) {
	s := scratch(t)
	old := fillPeople(t, s, 100)
	view(t, s, func(tx *everheap.Tx) error {
		p := old.Peek(tx, "key 5")
		_, err := everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
		must(t, err)
		for i := range 50 { // reuse what can be reused
			must(t, mapOf[int, string](t, s).Set(s, i, strings.Repeat("x", 200)))
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
		_, err = everheap.OpenMap[string, personV2](tx, "people", everheap.Evolve())
		expectError(t, err, everheap.ErrTypeChanged)
		expectError(t, err, everheap.ErrReadOnly, "takes a writing transaction")
		return nil
	})
	_, err := old.Get(s, "key 6")
	expectError(t, err, everheap.ErrTypeChanged)
}

func TestEvolve_InsideUpdate(t *testing.T) {
	s := scratch(t)
	old := fillPeople(t, s, 200)
	failed := errors.New("failed")
	do := func(outcome error) error {
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			must(t, old.Set(tx, "key 200", personOf(200)))
			p := old.Peek(tx, "key 200")
			for k := range old.All(tx) {
				if k == "key 7" {
					_, err := old.Delete(tx, k)
					must(t, err)
					must(t, old.Set(tx, k, personOf(7)))
					m, err := everheap.OpenMap[string, personV2](tx, "people", everheap.Evolve())
					must(t, err)
					must(t, m.Set(tx, "last", personV2{Title: "last"}))
				}
			}
			if p.Name != "name 200" {
				t.Errorf("a borrowed value has become %+v", *p)
			}
			_, err := old.Get(tx, "key 3")
			expectError(t, err, everheap.ErrTypeChanged)
			expectError(t, old.Set(tx, "key 3", personOf(1)), everheap.ErrTypeChanged)
			m, err := everheap.OpenMap[string, personV2](tx, "people")
			must(t, err)
			if v, err := m.Get(tx, "last"); err != nil || v.Title != "last" {
				t.Errorf("got %+v, %v", v, err)
			}
			_, err = m.Delete(tx, "last")
			must(t, err)
			verifyPeople(t, tx, 201)
			return outcome
		})
	}
	expectError(t, do(failed), failed)
	if v, err := old.Get(s, "key 7"); err != nil || v.Name != "name 7" {
		t.Errorf("after the abort: %+v, %v", v, err)
	}
	if n, err := old.Len(s); err != nil || n != 200 {
		t.Errorf("after the abort there are %d people, %v", n, err)
	}
	must(t, do(nil))
	verifyPeople(t, s, 201)
}

// What a transaction that aborts has learned about types is forgotten: the next one
// can give their places to others.
func TestEvolve_AbortedTypesAreForgotten(t *testing.T) {
	type one struct{ A, B int32 }
	type two struct{ A, B int64 }
	type three struct{ B, A int64 }
	s := scratch(t)
	m := mapOf[string, one](t, s)
	must(t, m.Set(s, "x", one{1, 2}))
	var stale everheap.Map[string, two]
	failed := errors.New("failed")
	expectError(t, s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		stale, err = everheap.OpenMap[string, two](tx, "m", everheap.Evolve())
		must(t, err)
		v, err := stale.Get(tx, "x")
		if err != nil || v != (two{1, 2}) {
			t.Errorf("got %v, %v", v, err)
		}
		must(t, stale.Set(tx, "y", v))
		return failed
	}), failed)
	_, err := stale.Get(s, "x")
	expectError(t, err, everheap.ErrTypeChanged)
	handle, err := layout.For[everheap.Map[string, three]]() // as another process does it: nothing is bound here
	must(t, err)
	must(t, s.Engine().ChangeTypes("m", handle, &engine.TypeChange{Evolve: true}, false))
	if v, err := stale.Get(s, "x"); !errors.Is(err, everheap.ErrTypeChanged) {
		t.Errorf("by a handle of an aborted transaction: %v, %v", v, err)
	}
	third := mapOf[string, three](t, s)
	if v, err := third.Get(s, "x"); err != nil || v != (three{B: 2, A: 1}) {
		t.Errorf("got %v, %v", v, err)
	}
}

// What the same transaction has written can be converted, too, more than once.
func TestEvolve_WhatTheSameUpdateWrote(t *testing.T) {
	s := scratch(t)
	update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[string, int8](tx, "m")
		must(t, err)
		for i := range 5000 {
			must(t, m.Set(tx, fmt.Sprint(i), int8(i)))
		}
		_, err = everheap.OpenMap[string, int32](tx, "m", everheap.Evolve())
		must(t, err)
		_, err = everheap.OpenMap[string, float64](tx, "m", everheap.Evolve())
		must(t, err)
		_, err = everheap.OpenMap[string, *float64](tx, "m", everheap.Evolve())
		return err
	})
	m := mapOf[string, *float64](t, s)
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
	s := scratch(t)
	old := fillPeople(t, s, 10)
	version := s.Stats().Version
	_, err := everheap.OpenMap[string, narrow](s, "people", everheap.Evolve())
	expectError(t, err, everheap.ErrTypeChanged, "! Age int32 -> int8", "Evolve does not accept the lines")
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[string, narrow](tx, "people", everheap.Evolve())
		expectError(t, err, everheap.ErrTypeChanged)
		return old.Set(tx, "more", personOf(1)) // it was refused before anything was done
	})
	must(t, err)
	if got := s.Stats().Version; got != version+1 {
		t.Errorf("versions %d to %d", version, got)
	}
	if n, err := old.Len(s); n != 11 || err != nil {
		t.Error(n, err)
	}
}

// The whole text of the error.
func TestErrTypeChanged_Text(t *testing.T) {
	s := scratch(t)
	fillPeople(t, s, 1)
	_, err := everheap.OpenMap[int32, personV2](s, "people")
	want := `everheap: opening the map people (s): people is stored with another type:
  stored:  map of string to everheap_test.personV1
  program: map of int32 to everheap_test.personV2
keys:
! string -> int32  Evolve refuses it: they have nothing in common; use Migrate
values:
~ everheap_test.personV1 -> everheap_test.personV2  Evolve renames the type
~ Name -> Title                                     Evolve renames it
~ Age int32 -> int64                                Evolve widens it
- Gone bool                                         Evolve drops it
~ Mails[] everheap_test.mailV1 -> everheap_test.mailV2  Evolve renames the type
~ Mails[].Count uint8 -> int                        Evolve widens it
~ Mails[].Addr moved                                Evolve moves it
+ Mails[].Seen []uint8                              Evolve sets it to zero
~ Mails, Title moved                                Evolve moves them
+ Joined time.Time                                  Evolve sets it to zero
Evolve does not accept the lines that begin with an exclamation mark; Migrate can convert such values`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
}

func TestEvolve_ReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	fillPeople(t, s, 10)
	must(t, s.Close())
	r, err := everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	_, err = everheap.OpenMap[string, personV2](r, "people", everheap.Evolve())
	expectError(t, err, everheap.ErrReadOnly, "takes a writing transaction", "Gone")
	expectError(t, err, everheap.ErrTypeChanged)
	must(t, r.Close())

	s = open(t, dir)
	_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	must(t, err)
	must(t, s.Close())
	r, err = everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	_, err = everheap.OpenMap[string, personV2](r, "people", everheap.Evolve())
	must(t, err)
	verifyPeople(t, r, 10)
	must(t, r.Close())
}

// A program that has the option and finds nothing creates the map.
func TestEvolve_Creates(t *testing.T) {
	s := scratch(t)
	m, err := everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	must(t, err)
	must(t, m.Set(s, "key 0", personV2{}))
	s2, err := everheap.OpenMap[string, chan int](s, "x", everheap.Evolve())
	expectError(t, err, everheap.ErrUnstorable)
	if !s2.IsNil() {
		t.Error("there is a map of channels")
	}
	must(t, s.Close())
	_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	expectError(t, err, everheap.ErrClosed)
}

func TestEvolve_CheckpointHasTheOldTypes(t *testing.T) {
	s := scratch(t)
	old := fillPeople(t, s, 100)
	must(t, s.Checkpoint("before"))
	_, err := everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	must(t, err)
	must(t, s.ViewAt("before", func(tx *everheap.Tx) error {
		v, err := old.Get(tx, "key 3")
		if err != nil || v.Name != "name 3" {
			t.Error(v, err)
		}
		_, err = everheap.OpenMap[string, personV2](tx, "people", everheap.Evolve())
		expectError(t, err, everheap.ErrReadOnly)
		return nil
	}))
	m := verifyPeople(t, s, 100)
	must(t, s.Restore(context.Background(), "before"))
	if v, err := old.Get(s, "key 3"); err != nil || v.Name != "name 3" {
		t.Error(v, err)
	}
	_, err = m.Get(s, "key 3")
	expectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	must(t, err)
	verifyPeople(t, s, 100)
}

// Damage is not converted into something that looks sound.
func TestEvolve_Damage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(small))
	must(t, err)
	old := fillPeople(t, s, 300)
	must(t, s.Close())
	heap, err := os.ReadFile(filepath.Join(dir, "heap"))
	must(t, err)
	at := bytes.Index(heap, []byte("name 77"))
	heap[at]++
	must(t, os.WriteFile(filepath.Join(dir, "heap"), heap, 0o600))
	s, err = everheap.Open(dir)
	must(t, err)
	defer s.Close()
	_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	expectError(t, err, everheap.ErrCorrupt, "opening the map people")
	if v, err := old.Get(s, "key 78"); err != nil || v.Name != "name 78" {
		t.Error(v, err)
	}
}

// A large map: its old blocks are left to a sweep, which finds all of them.
func TestEvolve_LargeMap(t *testing.T) {
	const n = 300_000
	s := scratch(t, everheap.WithoutBackground())
	old := mapOf[int32, int32](t, s)
	update(t, s, func(tx *everheap.Tx) error {
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
	must(t, err)
	if !slices.IsSorted(calls) || calls[len(calls)-1] != n {
		t.Errorf("progress: %v", calls)
	}
	view(t, s, func(tx *everheap.Tx) error {
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
	must(t, s.Sync(context.Background()))
	found, err := s.Engine().Sweep()
	must(t, err)
	if uint64(found) < before.Leaked {
		t.Errorf("the sweep has found %d bytes of %d", found, before.Leaked)
	}
}

// Random people under random keys, with changes before and after, as a model.
func TestEvolve_AsModel(t *testing.T) {
	s := scratch(t)
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
	old := mapOf[int32, v1](t, s)
	model := map[int64]v2{}
	r := s.Stats().Base // any number
	next := func(n uint64) uint64 { r = r*6364136223846793005 + 1442695040888963407; return r >> 33 % n }
	for range 4000 {
		k := int32(next(1000)) - 500
		if next(4) == 0 {
			_, err := old.Delete(s, k)
			must(t, err)
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
		must(t, old.Set(s, k, v))
		model[int64(k)] = w
	}
	m, err := everheap.OpenMap[int64, v2](s, "m", everheap.Evolve())
	must(t, err)
	got := map[int64]v2{}
	view(t, s, func(tx *everheap.Tx) error {
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
