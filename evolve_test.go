package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
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

func TestEvolve_Keys(t *testing.T) {
	type keyV1 struct {
		Name string
		N    int8
		Old  bool
	}
	type keyV2 struct {
		N    int
		Name string
	}
	s := scratch(t)
	old := mapOf[keyV1, string](t, s)
	for i := range 200 {
		must(t, old.Set(s, keyV1{fmt.Sprint(i / 2), int8(i%2 - 100), false}, fmt.Sprint("value ", i)))
	}
	_, err := everheap.OpenMap[keyV2, []byte](s, "m", everheap.Evolve())
	expectError(t, err, everheap.ErrTypeChanged, "! string -> []uint8")
	m, err := everheap.OpenMap[keyV2, string](s, "m", everheap.Evolve())
	must(t, err)
	for i := range 200 {
		if v, err := m.Get(s, keyV2{i%2 - 100, fmt.Sprint(i / 2)}); err != nil || v != fmt.Sprint("value ", i) {
			t.Fatalf("key %d has %q, %v", i, v, err)
		}
	}
	if n, err := m.Len(s); n != 200 || err != nil {
		t.Error(n, err)
	}
}

func TestEvolve_KeysBecomeEqual(t *testing.T) {
	type keyV1 struct {
		Name string
		Old  bool
	}
	type keyV2 struct{ Name string }
	s := scratch(t)
	old := mapOf[keyV1, int](t, s)
	must(t, old.Set(s, keyV1{"a", false}, 1))
	must(t, old.Set(s, keyV1{"b", false}, 2))
	must(t, old.Set(s, keyV1{"b", true}, 3))
	_, err := everheap.OpenMap[keyV2, int](s, "m", everheap.Evolve())
	expectError(t, err, everheap.ErrTypeChanged, `the key {"Name":"b","Old":`, "would become equal")
	if n, err := old.Len(s); n != 3 || err != nil {
		t.Error(n, err)
	}
	_, err = old.Delete(s, keyV1{"b", true})
	must(t, err)
	m, err := everheap.OpenMap[keyV2, int](s, "m", everheap.Evolve())
	must(t, err)
	if v, err := m.Get(s, keyV2{"b"}); v != 2 || err != nil {
		t.Error(v, err)
	}
}

// Where only names differ, nothing is rewritten.
func TestEvolve_NamesOnly(t *testing.T) {
	type renamed personV1
	type root struct {
		Name  string
		Age   int32
		Gone  bool
		Mails []mailV1
		Boss  *personV1
	}
	s := scratch(t)
	fillPeople(t, s, 5000)
	before := s.Stats()
	m, err := everheap.OpenMap[string, root](s, "people", everheap.Evolve())
	must(t, err)
	after := s.Stats()
	if grown := int64(after.Live) - int64(before.Live); grown > 4096 || after.Version != before.Version+1 {
		t.Errorf("renaming a type took %d bytes and %d versions", grown, after.Version-before.Version)
	}
	if v, err := m.Get(s, "key 7"); err != nil || v.Name != "name 7" {
		t.Error(v, err)
	}
	n, err := everheap.OpenMap[string, renamed](s, "people", everheap.Evolve())
	must(t, err)
	if v, err := n.Get(s, "key 8"); err != nil || v.Name != "name 8" {
		t.Error(v, err)
	}
}

func TestMigrate_Values(t *testing.T) {
	s := scratch(t)
	fillPeople(t, s, 1000)
	type card struct {
		Text string
		When time.Time
	}
	zone := time.FixedZone("Z", 3600)
	toCard := everheap.Migrate(func(a personV1) (card, error) {
		return card{fmt.Sprintf("%s is %d", a.Name, a.Age), time.Unix(int64(a.Age), 0).In(zone)}, nil
	})
	m, err := everheap.OpenMap[string, card](s, "people", toCard)
	must(t, err)
	for i := range 1000 {
		v, err := m.Get(s, fmt.Sprint("key ", i))
		if want := (card{fmt.Sprintf("name %d is %d", i, i), time.Unix(int64(i), 0).UTC()}); err != nil || v != want {
			t.Fatalf("got %v (%v), want %v", v, err, want)
		}
	}
	version := s.Stats().Version
	_, err = everheap.OpenMap[string, card](s, "people", toCard)
	must(t, err)
	if s.Stats().Version != version {
		t.Error("there was nothing to migrate, and there is a new version")
	}
}

func TestMigrate_Chain(t *testing.T) {
	type v1 struct{ N int32 }
	type v2 struct{ N, Doubled int64 }
	type v3 struct{ Text string }
	one := everheap.Migrate(func(a v1) (v2, error) { return v2{int64(a.N), 2 * int64(a.N)}, nil })
	two := everheap.Migrate(func(a v2) (v3, error) { return v3{fmt.Sprint(a.N, " ", a.Doubled)}, nil })
	s := scratch(t)
	first, err := everheap.OpenMap[string, v1](s, "first")
	must(t, err)
	must(t, first.Set(s, "x", v1{3}))
	second, err := everheap.OpenMap[string, v2](s, "second")
	must(t, err)
	must(t, second.Set(s, "x", v2{5, 6}))
	for name, want := range map[string]string{"first": "3 6", "second": "5 6"} {
		m, err := everheap.OpenMap[string, v3](s, name, two, one)
		must(t, err)
		if v, err := m.Get(s, "x"); err != nil || v.Text != want {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestMigrate_Neither(t *testing.T) {
	type v1 struct{ N int32 }
	type v2 struct{ N string }
	s := scratch(t)
	fillPeople(t, s, 3)
	convert := everheap.Migrate(func(a v1) (v2, error) { t.Error("called"); return v2{}, nil })
	_, err := everheap.OpenMap[string, v2](s, "people", convert)
	expectError(t, err, everheap.ErrTypeChanged, "personV1", "no field in common")
	_, err = everheap.OpenMap[string, v2](s, "people", convert, everheap.Evolve())
	expectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, v2](s, "people", everheap.Migrate(func(a v1) (chan int, error) { return nil, nil }))
	expectError(t, err, everheap.ErrUnstorable, "Watch")
}

// An error, and a panic, leave all as it was.
func TestMigrate_Fails(t *testing.T) {
	type v2 struct{ Text string }
	s := scratch(t)
	old := fillPeople(t, s, 500)
	before := s.Stats()
	no := errors.New("no")
	calls := 0
	convert := func(fail func() error) everheap.TypeOption {
		calls = 0
		return everheap.Migrate(func(a personV1) (v2, error) {
			if calls++; calls == 400 {
				return v2{}, fail()
			}
			return v2{a.Name}, nil
		})
	}
	_, err := everheap.OpenMap[string, v2](s, "people", convert(func() error { return no }))
	expectError(t, err, no, "opening the map people", `converting the value of the key "key `)
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("the panic is %v", r)
			}
		}()
		_, _ = everheap.OpenMap[string, v2](s, "people", convert(func() error { panic("oh") }))
	}()
	expectError(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[string, v2](tx, "people", convert(func() error { return no }))
		expectError(t, err, no)
		expectError(t, old.Set(tx, "x", personV1{}), no) // it can only fail
		return nil
	}), no)
	after := s.Stats()
	if after.Version != before.Version || after.Live != before.Live {
		t.Errorf("something has changed: %+v, before %+v", after, before)
	}
	for i := range 500 {
		if v, err := old.Get(s, fmt.Sprint("key ", i)); err != nil || v.Age != int32(i) {
			t.Fatal(i, v, err)
		}
	}
}

func TestMigrate_Keys(t *testing.T) {
	type id struct{ Hi, Lo uint32 }
	s := scratch(t)
	old := mapOf[uint32, string](t, s)
	for i := range uint32(300) {
		must(t, old.Set(s, i, fmt.Sprint(i)))
	}
	m, err := everheap.OpenMap[id, string](s, "m", everheap.Migrate(func(n uint32) (id, error) { return id{7, n}, nil }))
	must(t, err)
	for i := range uint32(300) {
		if v, err := m.Get(s, id{7, i}); err != nil || v != fmt.Sprint(i) {
			t.Fatal(i, v, err)
		}
	}
	half := everheap.Migrate(func(n id) (float64, error) { return float64(n.Lo / 2), nil })
	_, err = everheap.OpenMap[float64, string](s, "m", half)
	expectError(t, err, everheap.ErrTypeChanged, "would become equal")
	_, err = everheap.OpenMap[float64, string](s, "m", everheap.Migrate(func(n id) (float64, error) { return math.NaN(), nil }))
	expectError(t, err, everheap.ErrNaN, "converting the key")
	n := 0
	view(t, s, func(tx *everheap.Tx) error {
		for range m.All(tx) {
			n++
		}
		return nil
	})
	if n != 300 {
		t.Error(n)
	}
}

// Migrate for a part of the values, Evolve for the rest.
func TestMigrate_AndEvolve(t *testing.T) {
	type text struct{ Full string }
	type personV3 struct {
		Name  string
		Mails []text
		Age   int64
	}
	s := scratch(t)
	fillPeople(t, s, 50)
	convert := everheap.Migrate(func(m mailV1) (text, error) { return text{fmt.Sprint(m.Addr, m.Count)}, nil })
	_, err := everheap.OpenMap[string, personV3](s, "people", convert)
	expectError(t, err, everheap.ErrTypeChanged, "~ Mails[] everheap_test.mailV1 -> everheap_test.text", "Migrate converts it", "the option Evolve")
	m, err := everheap.OpenMap[string, personV3](s, "people", convert, everheap.Evolve())
	must(t, err)
	for i := range 50 {
		want := personV3{Name: personOf(i).Name, Age: int64(i)}
		for _, mail := range personOf(i).Mails {
			want.Mails = append(want.Mails, text{fmt.Sprint(mail.Addr, mail.Count)})
		}
		v, err := m.Get(s, fmt.Sprint("key ", i))
		if err != nil || v.Name != want.Name || v.Age != want.Age || !slices.Equal(v.Mails, want.Mails) {
			t.Fatalf("got %+v (%v), want %+v", v, err, want)
		}
	}
}

// Within a conversion the space can be read; and a write waits for itself, which is
// an error.
func TestMigrate_ReadsTheSpace(t *testing.T) {
	s := scratch(t)
	old := mapOf[string, int32](t, s)
	must(t, old.Set(s, "x", 1))
	names, err := everheap.OpenMap[int32, string](s, "names")
	must(t, err)
	must(t, names.Set(s, 1, "one"))
	m, err := everheap.OpenMap[string, string](s, "m", everheap.Migrate(func(n int32) (string, error) {
		expectError(t, names.Set(s, 2, "two"), everheap.ErrSelf)
		return names.Get(s, n)
	}))
	must(t, err)
	if v, err := m.Get(s, "x"); v != "one" || err != nil {
		t.Error(v, err)
	}
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
