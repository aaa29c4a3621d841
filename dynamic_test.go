package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// page is a value with parts of all kinds.
type page struct {
	Title string
	Tags  []string
	Raw   []byte
	Next  *page
	Rate  float64
}

// pages opens a space with a map of pages.
func pages(t *testing.T) (*everheap.Space, everheap.Map[string, page], *everheap.Collection) {
	t.Helper()
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[string, page](s, "pages")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Collection("pages")
	if err != nil {
		t.Fatal(err)
	}
	return s, m, c
}

func TestCollection_IsWhatTheMapIs(t *testing.T) {
	s, m, c := pages(t)
	if c.Name() != "pages" || c.ID() != m.ID() || c.KeyType() != "string" || !strings.HasSuffix(c.ValueType(), ".page") || !c.StringKeys() || c.StringValues() {
		t.Errorf("%q %x %q %q", c.Name(), c.ID(), c.KeyType(), c.ValueType())
	}
	if _, err := s.Collection("posts"); !errors.Is(err, everheap.ErrNotFound) || !strings.Contains(err.Error(), `"posts"`) {
		t.Error(err)
	}
}

func TestCollection_ReadsWhatTheMapWrote(t *testing.T) {
	s, m, c := pages(t)
	v := page{Title: "a \"b\"", Tags: []string{"x", ""}, Raw: []byte("hi"), Next: &page{Rate: 0.5}}
	if err := m.Set(s, "one", v); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetJSON(s, []byte(`"one"`))
	want := `{"Title":"a \"b\"","Tags":["x",""],"Raw":"aGk=","Next":{"Title":"","Tags":null,"Raw":null,"Next":null,"Rate":0.5},"Rate":0}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	if n, err := c.Len(s); n != 1 || err != nil {
		t.Error(n, err)
	}
	if _, err := c.GetJSON(s, []byte(`"two"`)); !errors.Is(err, everheap.ErrNotFound) {
		t.Error(err)
	}
}

func TestCollection_WritesWhatTheMapReads(t *testing.T) {
	s, m, c := pages(t)
	if err := c.SetJSON(s, []byte(`"one"`), []byte(`{"Title":"t","Next":{"Raw":"aGk="}}`)); err != nil {
		t.Fatal(err)
	}
	v, err := m.Get(s, "one")
	if err != nil || v.Title != "t" || v.Tags != nil || v.Next == nil || string(v.Next.Raw) != "hi" {
		t.Errorf("%+v, %v", v, err)
	}
	if ok, err := c.DeleteJSON(s, []byte(`"one"`)); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := c.DeleteJSON(s, []byte(`"one"`)); ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := m.Has(s, "one"); ok || err != nil {
		t.Error(ok, err)
	}
}

func TestCollection_InTransactions(t *testing.T) {
	s, _, c := pages(t)
	boom := errors.New("boom")
	err := s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 10 {
			if err := c.SetJSON(tx, fmt.Appendf(nil, `"%d"`, i), []byte(`{}`)); err != nil {
				return err
			}
		}
		if n, err := c.Len(tx); n != 10 || err != nil {
			t.Error(n, err)
		}
		return boom
	})
	if n, lenErr := c.Len(s); n != 0 || lenErr != nil || !errors.Is(err, boom) {
		t.Error(n, lenErr, err)
	}
	err = s.View(func(tx *everheap.Tx) error { return c.SetJSON(tx, []byte(`"1"`), []byte(`{}`)) })
	if !errors.Is(err, everheap.ErrReadOnly) {
		t.Error(err)
	}
}

func TestCollection_AllJSON(t *testing.T) {
	s, m, c := pages(t)
	for i := range 50 {
		if err := m.Set(s, fmt.Sprint(i), page{Rate: float64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var all, keys []string
	err := s.View(func(tx *everheap.Tx) error {
		for k, v := range c.AllJSON(tx) {
			all = append(all, string(k))
			if !strings.Contains(string(v), `"Rate":`+strings.Trim(string(k), `"`)+`}`) {
				t.Errorf("%s: %s", k, v)
			}
		}
		for k := range c.KeysJSON(tx) {
			keys = append(keys, string(k))
		}
		for range c.AllJSON(tx) {
			break
		}
		return nil
	})
	if err != nil || len(all) != 50 || !slices.Equal(all, keys) {
		t.Error(len(all), len(keys), err)
	}
}

func TestCollection_JSONErrorNamesTheField(t *testing.T) {
	s, _, c := pages(t)
	for _, test := range []struct{ key, value, part, path string }{
		{`1`, `{}`, "key", ""},
		{`"k"`, `{"Next":{"Tags":["a",2]}}`, "value", "Next.Tags[1]"},
		{`"k"`, `{"Titel":"x"}`, "value", ""},
		{`"k"`, `[`, "value", ""},
	} {
		err := c.SetJSON(s, []byte(test.key), []byte(test.value))
		var e *everheap.JSONError
		if !errors.As(err, &e) || e.Part != test.part || e.Path != test.path {
			t.Errorf("%s: %v", test.value, err)
		}
	}
	if n, err := c.Len(s); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestCollection_OfAnotherSpaceIsErrDangling(t *testing.T) {
	_, _, c := pages(t)
	other, _, own := pages(t)
	for range 3 { // the second time something is remembered of that space's map, which has the same number
		if _, err := own.GetJSON(other, []byte(`"a"`)); !errors.Is(err, everheap.ErrNotFound) {
			t.Error(err)
		}
	}
	if _, err := c.GetJSON(other, []byte(`"a"`)); !errors.Is(err, everheap.ErrDangling) {
		t.Error(err)
	}
	if _, err := c.Len(other); !errors.Is(err, everheap.ErrDangling) {
		t.Error(err)
	}
	err := other.View(func(tx *everheap.Tx) error {
		for range c.AllJSON(tx) {
			t.Error("an entry")
		}
		return nil
	})
	if !errors.Is(err, everheap.ErrDangling) {
		t.Error(err)
	}
}

func TestCollection_OfAList(t *testing.T) {
	s := spacetest.Scratch(t)
	l := listOf[page](t, s)
	spacetest.Must(t, l.Append(s, page{Title: "a"}, page{Title: "b"}))
	c, err := s.Collection("l")
	spacetest.Must(t, err)
	if c.Kind() != "list" || c.KeyType() != "int" || !strings.HasSuffix(c.ValueType(), ".page") || c.StringKeys() || c.ID() != l.ID() {
		t.Errorf("%s %s %s", c.Kind(), c.KeyType(), c.ValueType())
	}
	spacetest.Must(t, c.SetJSON(s, []byte(`2`), []byte(`{"Title":"c"}`))) // appends
	spacetest.Must(t, c.SetJSON(s, []byte(`0`), []byte(`{"Title":"A"}`)))
	spacetest.ExpectError(t, c.SetJSON(s, []byte(`4`), []byte(`{}`)), everheap.ErrNotFound, "index 4", "length 3")
	spacetest.ExpectError(t, c.SetJSON(s, []byte(`-1`), []byte(`{}`)), everheap.ErrNotFound, "index -1")
	if got, err := c.GetJSON(s, []byte(`2`)); err != nil || !strings.HasPrefix(string(got), `{"Title":"c",`) {
		t.Errorf("%s (%v)", got, err)
	}
	_, err = c.GetJSON(s, []byte(`3`))
	spacetest.ExpectError(t, err, everheap.ErrNotFound)
	if _, err := c.DeleteJSON(s, []byte(`1`)); err == nil || !strings.Contains(err.Error(), "only the last") {
		t.Error(err)
	}
	if ok, err := c.DeleteJSON(s, []byte(`7`)); ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := c.DeleteJSON(s, []byte(`2`)); !ok || err != nil {
		t.Error(ok, err)
	}
	if n, err := c.Len(s); n != 2 || err != nil {
		t.Error(n, err)
	}
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		var keys []string
		for k, v := range c.AllJSON(tx) {
			keys = append(keys, string(k))
			spacetest.Must(t, c.SetJSON(tx, k, append([]byte(nil), v...)))
			spacetest.Must(t, l.Append(tx, page{}))
		}
		if fmt.Sprint(keys) != "[0 1]" {
			t.Errorf("%v", keys)
		}
		keys = nil
		for k := range c.KeysJSON(tx) {
			keys = append(keys, string(k))
		}
		if fmt.Sprint(keys) != "[0 1 2 3]" {
			t.Errorf("%v", keys)
		}
		return nil
	})
	if v, err := l.Get(s, 0); err != nil || v.Title != "A" {
		t.Errorf("%+v (%v)", v, err)
	}
}

func TestCollection_OfASingleValue(t *testing.T) {
	s := spacetest.Scratch(t)
	r, err := everheap.OpenRef(s, "r", page{Title: "first"})
	spacetest.Must(t, err)
	c, err := s.Collection("r")
	spacetest.Must(t, err)
	if c.Kind() != "ref" || c.KeyType() != "" || c.StringKeys() || c.ID() != r.ID() {
		t.Errorf("%s %q", c.Kind(), c.KeyType())
	}
	spacetest.Must(t, c.SetJSON(s, nil, []byte(`{"Title":"second"}`)))
	if v, err := r.Get(s); err != nil || v.Title != "second" {
		t.Errorf("%+v (%v)", v, err)
	}
	if got, err := c.GetJSON(s, nil); err != nil || !strings.HasPrefix(string(got), `{"Title":"second",`) {
		t.Errorf("%s (%v)", got, err)
	}
	for _, err := range []error{spacetest.Second(c.GetJSON(s, []byte(`1`))), c.SetJSON(s, []byte(`1`), []byte(`{}`)), spacetest.Second(c.DeleteJSON(s, []byte(`1`)))} {
		if err == nil || !strings.Contains(err.Error(), "no keys") {
			t.Error(err)
		}
	}
	if _, err := c.DeleteJSON(s, nil); err == nil || !strings.Contains(err.Error(), "cannot be deleted") {
		t.Error(err)
	}
	var e *everheap.JSONError
	if err := c.SetJSON(s, nil, []byte(`{"Title":1}`)); !errors.As(err, &e) || e.Path != "Title" {
		t.Error(err)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		n := 0
		for k, v := range c.AllJSON(tx) {
			if n++; k != nil || !strings.HasPrefix(string(v), `{"Title":"second",`) {
				t.Errorf("%s: %s", k, v)
			}
		}
		for range c.KeysJSON(tx) {
			t.Error("a key of a single value")
		}
		if n != 1 {
			t.Error(n)
		}
		return nil
	})
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { return c.SetJSON(tx, nil, []byte(`{}`)) }), everheap.ErrReadOnly)
}

// A handle in JSON is stored only if its object exists and has its type.
func TestCollection_HandlesAreJudged(t *testing.T) {
	s := spacetest.Scratch(t)
	h := openHolders(t, s)
	c, err := s.Collection("map")
	spacetest.Must(t, err)
	list := fmt.Sprintf(`{"List":{"$list":"%016x"}}`, uint64(spacetest.Convert[everheap.List[handles], everheap.List[int]](h.list).ID()))
	spacetest.ExpectError(t, c.SetJSON(s, []byte(`"x"`), []byte(list)), everheap.ErrTypeChanged, "list")
	spacetest.ExpectError(t, c.SetJSON(s, []byte(`"x"`), []byte(`{"Map":{"$map":"00000000000000ff"}}`)), everheap.ErrDangling)
	own := fmt.Sprintf(`{"Map":{"$map":"%016x"}}`, uint64(h.m.ID())&^0xffff|2) // of the space itself
	spacetest.ExpectError(t, c.SetJSON(s, []byte(`"x"`), []byte(own)), everheap.ErrDangling)
	good := makeHandles(t, s, false)
	spacetest.Must(t, c.SetJSON(s, []byte(`"x"`), []byte(fmt.Sprintf(`{"List":{"$list":"%016x"}}`, uint64(good.List.ID())))))
	if v, err := h.m.Get(s, "x"); err != nil || v.List != good.List {
		t.Errorf("%+v (%v)", v, err)
	}
}

func TestCollections_AllKinds(t *testing.T) {
	s := spacetest.Scratch(t)
	openHolders(t, s)
	list, err := s.Collections()
	spacetest.Must(t, err)
	var got []string
	for _, c := range list {
		got = append(got, fmt.Sprint(c.Name, " ", c.Kind, " ", c.Len, " ", strings.ReplaceAll(c.Type(), "github.com/everheap/everheap_test", "everheap_test")))
	}
	want := []string{"keys map 0 map[everheap.Ref[int]]bool", "list list 1 []everheap_test.handles", "map map 1 map[string]everheap_test.handles", "ref ref 1 *everheap_test.handles"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestCollection_OfASortedMap(t *testing.T) {
	s := spacetest.Scratch(t)
	m := sortedOf[spacetest.TripleKey, []int](t, s)
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	if c.Kind() != "sorted" || !c.Ordered() || !strings.HasSuffix(c.KeyType(), ".TripleKey") || c.StringKeys() || c.ID() != m.ID() {
		t.Errorf("%s %s %s", c.Kind(), c.KeyType(), c.ValueType())
	}
	for i := range 200 {
		spacetest.Must(t, c.SetJSON(s, fmt.Appendf(nil, `{"A":"%d","B":%d}`, i%3, 100-i), fmt.Appendf(nil, "[%d]", i)))
	}
	if got, err := c.GetJSON(s, []byte(`{"A":"1","B":99}`)); err != nil || string(got) != "[1]" {
		t.Errorf("%s (%v)", got, err)
	}
	_, err = c.GetJSON(s, []byte(`{"A":"1","B":98}`))
	spacetest.ExpectError(t, err, everheap.ErrNotFound)
	if ok, err := c.DeleteJSON(s, []byte(`{"A":"0","B":100}`)); !ok || err != nil {
		t.Error(ok, err)
	}
	if n, err := c.Len(s); n != 199 || err != nil {
		t.Error(n, err)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		var typed, dynamic []string
		for k, v := range m.All(tx) {
			typed = append(typed, fmt.Sprintf(`{"A":%q,"B":%d,"C":0} [%d]`, k.A, k.B, (*v)[0]))
		}
		for k, v := range c.AllJSON(tx) {
			dynamic = append(dynamic, string(k)+" "+string(v))
		}
		if !slices.Equal(typed, dynamic) || len(typed) != 199 {
			t.Errorf("%q", dynamic)
		}
		i := 0
		for k := range c.KeysJSON(tx) {
			if !strings.HasPrefix(dynamic[i], string(k)+" ") {
				t.Errorf("key %d is %s, not that of %s", i, k, dynamic[i])
			}
			i++
		}
		return nil
	})
	list, err := s.Collections()
	spacetest.Must(t, err)
	if len(list) != 1 || list[0].Kind != "sorted" || list[0].Len != 199 || !strings.HasPrefix(list[0].Type(), "sorted[") || !strings.HasSuffix(list[0].Type(), "][]int") {
		t.Errorf("%+v", list)
	}
	f, err := everheap.OpenSorted[float64, bool](s, "f")
	spacetest.Must(t, err)
	spacetest.Must(t, f.Set(s, -0.5, true))
	c, err = s.Collection("f")
	spacetest.Must(t, err)
	spacetest.Must(t, c.SetJSON(s, []byte("-0"), []byte("true")))
	spacetest.Must(t, c.SetJSON(s, []byte("0.0"), []byte("false")))
	if n, err := c.Len(s); n != 2 || err != nil {
		t.Error(n, err)
	}
}
