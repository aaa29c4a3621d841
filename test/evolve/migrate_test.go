package evolve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestMigrate_Values(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.FillPeople(t, s, 1000)
	type card struct {
		Text string
		When time.Time
	}
	zone := time.FixedZone("Z", 3600)
	toCard := everheap.Migrate(func(a spacetest.PersonV1) (card, error) {
		return card{fmt.Sprintf("%s is %d", a.Name, a.Age), time.Unix(int64(a.Age), 0).In(zone)}, nil
	})
	m, err := everheap.OpenMap[string, card](s, "people", toCard)
	spacetest.Must(t, err)
	for i := range 1000 {
		v, err := m.Get(s, fmt.Sprint("key ", i))
		if want := (card{fmt.Sprintf("name %d is %d", i, i), time.Unix(int64(i), 0).UTC()}); err != nil || v != want {
			t.Fatalf("got %v (%v), want %v", v, err, want)
		}
	}
	version := s.Stats().Version
	_, err = everheap.OpenMap[string, card](s, "people", toCard)
	spacetest.Must(t, err)
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
	s := spacetest.Scratch(t)
	first, err := everheap.OpenMap[string, v1](s, "first")
	spacetest.Must(t, err)
	spacetest.Must(t, first.Set(s, "x", v1{3}))
	second, err := everheap.OpenMap[string, v2](s, "second")
	spacetest.Must(t, err)
	spacetest.Must(t, second.Set(s, "x", v2{5, 6}))
	for name, want := range map[string]string{"first": "3 6", "second": "5 6"} {
		m, err := everheap.OpenMap[string, v3](s, name, two, one)
		spacetest.Must(t, err)
		if v, err := m.Get(s, "x"); err != nil || v.Text != want {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestMigrate_Neither(t *testing.T) {
	type v1 struct{ N int32 }
	type v2 struct{ N string }
	s := spacetest.Scratch(t)
	spacetest.FillPeople(t, s, 3)
	convert := everheap.Migrate(func(a v1) (v2, error) { t.Error("called"); return v2{}, nil })
	_, err := everheap.OpenMap[string, v2](s, "people", convert)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "PersonV1", "no field in common")
	_, err = everheap.OpenMap[string, v2](s, "people", convert, everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[string, v2](s, "people", everheap.Migrate(func(a v1) (chan int, error) { return nil, nil }))
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "Watch")
}

// An error, or a panic, changes nothing.
func TestMigrate_Fails(t *testing.T) {
	type v2 struct{ Text string }
	s := spacetest.Scratch(t)
	old := spacetest.FillPeople(t, s, 500)
	before := s.Stats()
	no := errors.New("no")
	calls := 0
	convert := func(fail func() error) everheap.TypeOption {
		calls = 0
		return everheap.Migrate(func(a spacetest.PersonV1) (v2, error) {
			if calls++; calls == 400 {
				return v2{}, fail()
			}
			return v2{a.Name}, nil
		})
	}
	_, err := everheap.OpenMap[string, v2](s, "people", convert(func() error { return no }))
	spacetest.ExpectError(t, err, no, "opening the map people", `converting the value of the key "key `)
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("the panic is %v", r)
			}
		}()
		_, _ = everheap.OpenMap[string, v2](s, "people", convert(func() error { panic("oh") }))
	}()
	spacetest.ExpectError(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		_, err := everheap.OpenMap[string, v2](tx, "people", convert(func() error { return no }))
		spacetest.ExpectError(t, err, no)
		spacetest.ExpectError(t, old.Set(tx, "x", spacetest.PersonV1{}), no) // it can only fail
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
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[uint32, string](t, s)
	for i := range uint32(300) {
		spacetest.Must(t, old.Set(s, i, fmt.Sprint(i)))
	}
	m, err := everheap.OpenMap[id, string](s, "m", everheap.Migrate(func(n uint32) (id, error) { return id{7, n}, nil }))
	spacetest.Must(t, err)
	for i := range uint32(300) {
		if v, err := m.Get(s, id{7, i}); err != nil || v != fmt.Sprint(i) {
			t.Fatal(i, v, err)
		}
	}
	half := everheap.Migrate(func(n id) (float64, error) { return float64(n.Lo / 2), nil })
	_, err = everheap.OpenMap[float64, string](s, "m", half)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "would become equal")
	_, err = everheap.OpenMap[float64, string](s, "m", everheap.Migrate(func(n id) (float64, error) { return math.NaN(), nil }))
	spacetest.ExpectError(t, err, everheap.ErrNaN, "converting the key")
	n := 0
	spacetest.View(t, s, func(tx *everheap.Tx) error {
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
	s := spacetest.Scratch(t)
	spacetest.FillPeople(t, s, 50)
	convert := everheap.Migrate(func(m spacetest.MailV1) (text, error) { return text{fmt.Sprint(m.Addr, m.Count)}, nil })
	_, err := everheap.OpenMap[string, personV3](s, "people", convert)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "~ Mails[] spacetest.MailV1 -> evolve.text", "Migrate converts it", "the option Evolve")
	m, err := everheap.OpenMap[string, personV3](s, "people", convert, everheap.Evolve())
	spacetest.Must(t, err)
	for i := range 50 {
		want := personV3{Name: spacetest.PersonOf(i).Name, Age: int64(i)}
		for _, mail := range spacetest.PersonOf(i).Mails {
			want.Mails = append(want.Mails, text{fmt.Sprint(mail.Addr, mail.Count)})
		}
		v, err := m.Get(s, fmt.Sprint("key ", i))
		if err != nil || v.Name != want.Name || v.Age != want.Age || !slices.Equal(v.Mails, want.Mails) {
			t.Fatalf("got %+v (%v), want %+v", v, err, want)
		}
	}
}

// A conversion can read the space; a write would wait for itself, and is an error.
func TestMigrate_ReadsTheSpace(t *testing.T) {
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[string, int32](t, s)
	spacetest.Must(t, old.Set(s, "x", 1))
	names, err := everheap.OpenMap[int32, string](s, "names")
	spacetest.Must(t, err)
	spacetest.Must(t, names.Set(s, 1, "one"))
	m, err := everheap.OpenMap[string, string](s, "m", everheap.Migrate(func(n int32) (string, error) {
		spacetest.ExpectError(t, names.Set(s, 2, "two"), everheap.ErrSelf)
		return names.Get(s, n)
	}))
	spacetest.Must(t, err)
	if v, err := m.Get(s, "x"); v != "one" || err != nil {
		t.Error(v, err)
	}
}
