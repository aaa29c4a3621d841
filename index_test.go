package everheap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/inside"
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
	// Changing the tags leaves no old index entries, and deleting an entry removes it from all indexes.
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

// The second entry with a unique value is refused by every operation, and nothing has changed.
func TestErrDuplicate(t *testing.T) {
	s := spacetest.Scratch(t)
	people := spacetest.MapOf[string, citizen](t, s)
	spacetest.Must(t, people.Set(s, "ann", citizen{Email: "a@x", Age: 1}))
	spacetest.Must(t, people.Set(s, "ann", citizen{Email: "a@x", Age: 2})) // the value is her own
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
		t.Errorf("a value set as JSON: %+v (%v)", p, err)
	}
}

// Declaring an index on existing entries builds it, with progress. An index that cannot be built is
// refused, and nothing has changed. A dropped index is gone, and the map can still be used.
func TestWithIndex_OfWhatIsThere(t *testing.T) {
	s := spacetest.Scratch(t)
	type line struct {
		Text string
		N    int
	}
	lines, err := everheap.OpenMap[int, line](s, "lines")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 3000 {
			if err := lines.Set(tx, i, line{fmt.Sprint("text ", i%100), i}); err != nil {
				return err
			}
		}
		return nil
	})
	open := func(opts ...everheap.TypeOption) error {
		_, err := everheap.OpenMap[int, line](s, "lines", opts...)
		return err
	}
	if err := open(everheap.WithIndex("text", "Text", everheap.Unique)); !errors.Is(err, everheap.ErrDuplicate) {
		t.Fatal(err)
	}
	last, total := 0, 0
	spacetest.Must(t, open(everheap.WithIndex("text", "Text"), everheap.WithIndex("n", "N", everheap.Unique), everheap.WithProgress(func(done, of int) { last, total = done, of })))
	if last != 3000 || total != 3000 {
		t.Errorf("progress ended with %d of %d", last, total)
	}
	byText := everheap.IndexOf[line, string](lines, "text")
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if n := byText.Count(tx, everheap.Including("text 7"), everheap.Including("text 7")); n != 30 {
			t.Errorf("%d lines have text 7", n)
		}
		return nil
	})
	version := s.Stats().Version
	spacetest.Must(t, open(everheap.WithIndex("text", "Text"), everheap.WithIndex("n", "N", everheap.Unique)))
	if now := s.Stats().Version; now != version {
		t.Errorf("declaring the index again makes version %d of %d", now, version)
	}
	spacetest.ExpectError(t, open(everheap.WithIndex("n", "N")), everheap.ErrExists, "an index n, unique on N; drop it first")
	spacetest.Must(t, open(everheap.WithIndex("n", "N"), everheap.Evolve()))
	spacetest.ExpectError(t, open(everheap.WithIndex("x", "Nothing")), everheap.ErrUnstorable, "has no field Nothing")
	for _, list := range [][]everheap.IndexInfo{{{Name: "n", Path: "N", Len: 3000}, {Name: "text", Path: "Text", Len: 3000}}, {{Name: "text", Path: "Text", Len: 3000}}, nil} {
		infos, err := s.Collections()
		spacetest.Must(t, err)
		if !slices.Equal(infos[0].Indexes, list) {
			t.Errorf("the indexes are %+v, want %+v", infos[0].Indexes, list)
		}
		if len(list) > 0 {
			removed, err := everheap.DropIndex(s, "lines", list[0].Name)
			if !removed || err != nil {
				t.Fatal(removed, err)
			}
		}
	}
	spacetest.Must(t, lines.Set(s, 0, line{"another", 0}))
	if _, err := byText.Get(s, "another"); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("an index that is dropped: %v", err)
	}
	stats, err := s.Collect(t.Context())
	if err != nil || stats.Dropped < 3 {
		t.Errorf("of three trees %d objects were dropped (%v)", stats.Dropped, err)
	}
	_, err = everheap.OpenList[int](s, "l", everheap.WithIndex("x", "X"))
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "a list")
}

// Dropping a collection drops its declarations and the trees of its indexes (IX7).
func TestIndex_OfDroppedCollection(t *testing.T) { // IX7
	s := spacetest.Scratch(t)
	people := spacetest.MapOf[string, citizen](t, s)
	spacetest.Must(t, people.Set(s, "ann", citizen{Email: "a"}))
	before := s.Stats().Objects
	if removed, err := everheap.DropCollection(s, "m"); !removed || err != nil {
		t.Fatal(removed, err)
	}
	stats, err := s.Collect(t.Context())
	if err != nil || stats.Dropped != 5 { // the map, and the trees of Email, City and Name, Age and Tags
		t.Errorf("dropped %d of %d (%v)", stats.Dropped, before, err)
	}
	people = spacetest.MapOf[string, citizen](t, s)
	spacetest.Must(t, people.Set(s, "bob", citizen{Email: "a"}))
}

// Evolution keeps indexes: with new types, renamed fields, and values made by a function. It refuses
// to drop the field of an index.
func TestEvolve_Indexed(t *testing.T) { // IX1
	s := spacetest.Scratch(t)
	type first struct {
		Mail string `everheap:"unique"`
		Size int8   `everheap:"index"`
	}
	m, err := everheap.OpenMap[int, first](s, "m")
	spacetest.Must(t, err)
	for i := range 50 {
		spacetest.Must(t, m.Set(s, i, first{fmt.Sprint("m", i), int8(i % 5)}))
	}
	type second struct {
		More    []string
		Address string `everheap:"was=Mail,unique"`
		Size    int64  `everheap:"index"`
	}
	n, err := everheap.OpenMap[int, second](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	if err := n.Set(s, 1, second{Address: "m2"}); !errors.Is(err, everheap.ErrDuplicate) {
		t.Errorf("after the evolution: %v", err)
	}
	for _, name := range []string{"Mail", "Address"} {
		if v, err := everheap.IndexOf[second, string](n, name).Get(s, "m7"); err != nil || v.Size != 2 {
			t.Errorf("%s: %+v (%v)", name, v, err)
		}
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if n := everheap.IndexOf[second, int64](n, "Size").Count(tx, everheap.Including[int64](4), everheap.Unbounded[int64]()); n != 10 {
			t.Errorf("%d have size 4", n)
		}
		return nil
	})
	type third struct{ Size int64 }
	_, err = everheap.OpenMap[int, third](s, "m", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "drop the index first")
	_, err = everheap.OpenMap[int, third](s, "m", everheap.Migrate(func(o second) (third, error) { return third{o.Size}, nil }))
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "drop the index first")
	type fourth struct {
		Address string
		Size    int64
	}
	_, err = everheap.OpenMap[int, fourth](s, "m", everheap.Migrate(func(o second) (fourth, error) { return fourth{"one", o.Size}, nil }))
	spacetest.ExpectError(t, err, everheap.ErrDuplicate, "the key")
	if v, err := n.Get(s, 3); err != nil || v.Address != "m3" {
		t.Errorf("%+v (%v)", v, err)
	}
}

// A tag in the text of a type declares an index, too.
func TestCreate_Indexed(t *testing.T) {
	s := spacetest.Scratch(t)
	c, err := s.Create("users", "map[string]User\n\ntype User struct {\n\tMail string `everheap:\"unique\"`\n}")
	spacetest.Must(t, err)
	spacetest.Must(t, c.SetJSON(s, []byte(`"ann"`), []byte(`{"Mail":"a"}`)))
	spacetest.ExpectError(t, c.SetJSON(s, []byte(`"bob"`), []byte(`{"Mail":"a"}`)), everheap.ErrDuplicate, `the key "bob" cannot have "a" in Mail`)
	spacetest.Must(t, everheap.CreateIndex(s, "users", "again", "Mail"))
	spacetest.ExpectError(t, everheap.CreateIndex(s, "none", "again", "Mail"), everheap.ErrNotFound, "none")
	if _, err := s.Collection("\x00indexes"); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("the registry: %v", err)
	}
	if _, err := everheap.OpenMap[string, int](s, "\x00indexes"); !errors.Is(err, everheap.ErrExists) {
		t.Errorf("the registry: %v", err)
	}
}

// A loop over an index sees the version in which it began, whatever its body does.
func TestIndex_ChangesInTheLoop(t *testing.T) { // IX3
	s := spacetest.Scratch(t)
	people := spacetest.MapOf[string, citizen](t, s)
	byAge := everheap.IndexOf[citizen, int](people, "Age")
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 200 {
			if err := people.Set(tx, fmt.Sprintf("%03d", i), citizen{Email: fmt.Sprint(i), Age: i}); err != nil {
				return err
			}
		}
		seen := 0
		for key, p := range byAge.All(tx) {
			if p.Age != seen {
				t.Errorf("%s is the one with index %d", key, seen)
			}
			seen++
			if seen%2 == 0 {
				if _, err := people.Delete(tx, key); err != nil {
					return err
				}
			} else if err := people.Modify(tx, key, func(p *citizen) error { p.Age += 1000; return nil }); err != nil {
				return err
			}
		}
		if n := byAge.Rank(tx, 1000); seen != 200 || n != 0 || byAge.Len(tx) != 100 {
			t.Errorf("seen %d, left %d, in all %d", seen, n, byAge.Len(tx))
		}
		return nil
	})
}

// The word with the type of a map's keys has a mark if the map has indexes. A program that does not
// know the mark finds no type by that word.
func TestIndex_MarksTheMap(t *testing.T) { // IX2
	s := spacetest.Scratch(t)
	c, err := s.Create("words", "map[string]Word; type Word struct { First string }")
	spacetest.Must(t, err)
	expect := func(when string, want bool) {
		t.Helper()
		tx, err := inside.Engine(s).View()
		spacetest.Must(t, err)
		defer tx.DropView()
		m, object, err := tx.MapByID(format.ID(c.ID()))
		spacetest.Must(t, err)
		if marked := object.Key != object.KeyType(); marked != want || m.Indexed() != want {
			t.Errorf("%s: the map is marked: %v, and says that it has indexes: %v", when, marked, m.Indexed())
		}
		if _, err := tx.StoredType(object.Key); (err != nil) != want {
			t.Errorf("%s: the type of the word is found with the error %v", when, err)
		}
	}
	expect("before", false)
	spacetest.Must(t, everheap.CreateIndex(s, "words", "first", "First"))
	expect("with an index", true)
	_, err = everheap.DropIndex(s, "words", "first")
	spacetest.Must(t, err)
	expect("after it was dropped", false)
}

// A program without Go types can read an index: by values of its first fields, and bounds of the
// next.
func TestEncoded_Indexed(t *testing.T) {
	s := spacetest.Scratch(t)
	c, err := s.Create("parts", "map[int]Part; type Part struct { Shelf string `everheap:\"index=Shelf,Bin\"`; Bin uint8; Marks []string `everheap:\"index\"` }")
	spacetest.Must(t, err)
	for i := range 12 {
		spacetest.Must(t, c.SetJSON(s, fmt.Append(nil, i), fmt.Appendf(nil, `{"Shelf":"h%d","Bin":%d,"Marks":["a","m%d","a"]}`, i%2, 255-i, i%3)))
	}
	list, err := c.Indexes(s)
	spacetest.Must(t, err)
	if len(list) != 2 || list[0] != (everheap.IndexInfo{Name: "Marks", Path: "Marks", Len: 24}) || list[1].Len != 12 {
		t.Errorf("the indexes are %+v", list)
	}
	text := func(list ...string) (all [][]byte) {
		for _, s := range list {
			all = append(all, []byte(s))
		}
		return all
	}
	in, out := func(s string) everheap.Bound[[]byte] { return everheap.Including([]byte(s)) }, func(s string) everheap.Bound[[]byte] { return everheap.Excluding([]byte(s)) }
	all := everheap.Unbounded[[]byte]()
	for _, x := range []struct {
		name     string
		equal    [][]byte
		from, to everheap.Bound[[]byte]
		keys     string
	}{
		{"Shelf,Bin", text(`"h1"`), all, all, "11 9 7 5 3 1"},
		{"Shelf,Bin", nil, out(`"h0"`), all, "11 9 7 5 3 1"},
		{"Shelf,Bin", nil, all, out(`"h1"`), "10 8 6 4 2 0"},
		{"Shelf,Bin", text(`"h1"`), in("248"), out("252"), "7 5"},
		{"Shelf,Bin", text(`"h1"`), out("248"), in("252"), "5 3"},
		{"Shelf,Bin", text(`"h0"`), in("255"), all, "0"},
		{"Shelf,Bin", text(`"h0"`), out("255"), all, ""},
		{"Shelf,Bin", text(`"h0"`), in("252"), in("250"), ""},
		{"Shelf,Bin", text(`"h0"`, "251"), all, all, "4"},
		{"Shelf,Bin", text(`"h"`), all, all, ""},
		{"Marks", text(`"m2"`), all, all, "2 5 8 11"},
		{"Marks", nil, in(`"m1"`), in(`"m2"`), "1 4 7 10 2 5 8 11"},
	} {
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			var keys []string
			for k, v := range c.As(everheap.JSON).Indexed(tx, x.name, x.equal, x.from, x.to) {
				if want, err := c.GetJSON(tx, k); err != nil || string(v) != string(want) {
					t.Errorf("the entry %s is %s, not %s (%v)", k, v, want, err)
				}
				keys = append(keys, string(k))
			}
			if got := strings.Join(keys, " "); got != x.keys {
				t.Errorf("%s %s from %v to %v: %s, want %s", x.name, x.equal, x.from, x.to, got, x.keys)
			}
			var back []string
			for k := range c.As(everheap.JSON).IndexedBackward(tx, x.name, x.equal, x.from, x.to) {
				back = append(back, string(k))
			}
			if slices.Reverse(back); !slices.Equal(back, keys) {
				t.Errorf("%s %s from %v to %v, backward: %s, want %s", x.name, x.equal, x.from, x.to, back, keys)
			}
			return nil
		})
	}
	for _, bad := range []struct {
		name  string
		equal [][]byte
		what  string
	}{
		{"none", nil, "the map has no index none"},
		{"Shelf,Bin", text("7"), "string"},
		{"Shelf,Bin", text(`"a"`, "1", "2"), "the index Shelf,Bin has only 2 fields"},
	} {
		err := s.View(func(tx *everheap.Tx) error {
			for range c.As(everheap.JSON).Indexed(tx, bad.name, bad.equal, all, all) {
				t.Error("there is an entry")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), bad.what) {
			t.Errorf("%s: %v", bad.name, err)
		}
	}
}
