package everheap_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

type residence struct{ City, Street string }

type citizen struct {
	Email string `everheap:"unique"`
	Name  string `everheap:"index=City,Name"`
	City  string
	Age   int `everheap:"index"`
	Home  residence
	Tags  []string `everheap:"index"`
	Old   *residence
	Born  time.Time
}

func indexed[K comparable, V any](seq func(yield func(K, *V) bool)) (list []K) {
	for k := range seq {
		list = append(list, k)
	}
	return list
}

func TestIndex_Lookups(t *testing.T) {
	s := spacetest.Scratch(t)
	people, err := everheap.OpenMap[string, citizen](s, "people", everheap.WithIndex("by_street", "Home.Street"), everheap.WithIndex("old", "Old.City"))
	spacetest.Must(t, err)
	for _, p := range []struct {
		key string
		citizen
	}{
		{"a", citizen{Email: "a@x", Name: "Ann", City: "Oslo", Age: 30, Tags: []string{"x", "y", "x"}, Home: residence{"", "Main"}}},
		{"b", citizen{Email: "b@x", Name: "Bob", City: "Oslo", Age: -1, Tags: []string{"y"}, Old: &residence{City: "Rome"}}},
		{"c", citizen{Email: "c@y", Name: "Cid", City: "Bonn", Age: 30}},
	} {
		spacetest.Must(t, people.Set(s, p.key, p.citizen))
	}
	byEmail := everheap.IndexOf[citizen, string](people, "Email")
	byCity := everheap.IndexOf[citizen, string](people, "City,Name")
	byBoth := everheap.IndexOf[citizen, struct{ City, Name string }](people, "City,Name")
	byAge := everheap.IndexOf[citizen, int](people, "Age")
	byTag := everheap.IndexOf[citizen, string](people, "Tags")
	old := everheap.IndexOf[citizen, string](people, "old")
	check := func(tx *everheap.Tx, what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		if k, p := byEmail.Peek(tx, "b@x"); k != "b" || p == nil || p.Name != "Bob" {
			t.Errorf("b@x is of %q, %+v", k, p)
		}
		if k, p := byEmail.Peek(tx, "b@"); k != "" || p != nil {
			t.Errorf("b@ is of %q, %+v", k, p)
		}
		check(tx, "in Oslo", indexed(byCity.Each(tx, "Oslo")), "a", "b")
		check(tx, "by city", indexed(byCity.All(tx)), "c", "a", "b")
		check(tx, "Bob of Oslo", indexed(byBoth.Each(tx, struct{ City, Name string }{"Oslo", "Bob"})), "b")
		check(tx, "B* of Oslo", indexed(byBoth.Prefix(tx, struct{ City, Name string }{"Oslo", "B"})), "b")
		check(tx, "O*", indexed(byCity.Prefix(tx, "O")), "a", "b")
		check(tx, "aged", indexed(byAge.Range(tx, everheap.Excluding(-1), everheap.Unbounded[int]())), "a", "c")
		check(tx, "aged, back", indexed(byAge.Backward(tx, everheap.Including(-1), everheap.Including(30))), "c", "a", "b")
		check(tx, "y", indexed(byTag.Each(tx, "y")), "a", "b")
		check(tx, "old", indexed(old.All(tx)), "b")
		if n := byTag.Len(tx); n != 3 {
			t.Errorf("%d tags", n)
		}
		if n := byAge.Rank(tx, 30); n != 1 {
			t.Errorf("%d are younger than 30", n)
		}
		if n := byAge.Count(tx, everheap.Including(30), everheap.Including(30)); n != 2 {
			t.Errorf("%d are 30", n)
		}
		var tags []string
		for tag, key := range byTag.Values(tx, everheap.Unbounded[string](), everheap.Unbounded[string]()) {
			tags = append(tags, tag+key)
		}
		check(tx, "tags", tags, "xa", "ya", "yb")
		return nil
	}))
	if p, err := byEmail.Get(s, "c@y"); err != nil || p.Name != "Cid" {
		t.Errorf("c@y is %+v (%v)", p, err)
	}
	if _, err := byEmail.Get(s, "d@y"); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("d@y: %v", err)
	}
	// Of a change of the tags nothing is left behind, and a deleted entry leaves all indexes.
	spacetest.Must(t, people.Modify(s, "a", func(p *citizen) error { p.Tags, p.Age = []string{"z"}, 7; return nil }))
	_, err = people.Delete(s, "b")
	spacetest.Must(t, err)
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		check(tx, "tags", indexed(byTag.All(tx)), "a")
		check(tx, "ages", indexed(byAge.All(tx)), "a", "c")
		check(tx, "old", indexed(old.All(tx)))
		return nil
	}))
}

// The second entry with a unique value is refused, in whatever way it comes, and nothing has changed.
func TestErrDuplicate(t *testing.T) {
	s := spacetest.Scratch(t)
	people := spacetest.MapOf[string, citizen](t, s)
	spacetest.Must(t, people.Set(s, "ann", citizen{Email: "a@x", Age: 1}))
	spacetest.Must(t, people.Set(s, "ann", citizen{Email: "a@x", Age: 2})) // it is her own
	spacetest.Must(t, people.Set(s, "bob", citizen{Email: "b@x", Age: 3}))
	err := people.Set(s, "bob", citizen{Email: "a@x", Age: 4})
	var d *everheap.DuplicateError
	if !errors.Is(err, everheap.ErrDuplicate) || !errors.As(err, &d) {
		t.Fatal(err)
	}
	if want := (everheap.DuplicateError{Index: "Email", Path: "Email", Value: `"a@x"`, Key: `"bob"`, Other: `"ann"`}); *d != want {
		t.Errorf("%+v, want %+v", *d, want)
	}
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	if err := c.SetJSON(s, []byte(`"cid"`), []byte(`{"Email":"b@x"}`)); !errors.Is(err, everheap.ErrDuplicate) {
		t.Errorf("as JSON: %v", err)
	}
	byEmail := everheap.IndexOf[citizen, string](people, "Email")
	if p, err := byEmail.Get(s, "b@x"); err != nil || p.Age != 3 {
		t.Errorf("%+v (%v)", p, err)
	}
	spacetest.Must(t, c.SetJSON(s, []byte(`"cid"`), []byte(`{"Email":"c@x","Age":9}`)))
	if p, err := byEmail.Get(s, "c@x"); err != nil || p.Age != 9 {
		t.Errorf("what was set as JSON: %+v (%v)", p, err)
	}
}
