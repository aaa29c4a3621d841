package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// page is a value with something of everything.
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
	s := scratch(t)
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
	other, _, _ := pages(t)
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
