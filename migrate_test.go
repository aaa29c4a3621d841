package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

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
