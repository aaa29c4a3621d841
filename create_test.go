package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

const pageSpec = `map[string]page

// page is stored as everheap_test.page.
type page struct {
	Title string
	Tags  []string
	Raw   []byte
	Next  *page
	Rate  float64
}`

// A Go program opens a collection that was created from text with its types.
func TestCreate_AsTheGoTypes(t *testing.T) {
	s := spacetest.Scratch(t)
	c, err := s.Create("pages", pageSpec)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetJSON(s, []byte(`"one"`), []byte(`{"Title":"a","Next":{"Rate":0.5}}`)); err != nil {
		t.Fatal(err)
	}
	m, err := everheap.OpenMap[string, page](s, "pages")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := m.Get(s, "one"); err != nil || v.Title != "a" || v.Next.Rate != 0.5 {
		t.Errorf("%+v: %v", v, err)
	}
	for name, spec := range map[string]string{"sorted": "sorted[string]int", "list": "[]string", "one": "*struct{ A int; B []string }"} {
		if _, err := s.Create(name, spec); err != nil {
			t.Error(err)
		}
	}
	if sorted, err := everheap.OpenSorted[string, int](s, "sorted"); err != nil || sorted.Set(s, "x", 1) != nil {
		t.Error(err)
	}
	if list, err := everheap.OpenList[string](s, "list"); err != nil || list.Append(s, "x") != nil {
		t.Error(err)
	}
	one, err := s.Collection("one")
	spacetest.Must(t, err)
	if text, err := one.GetJSON(s, nil); err != nil || string(text) != `{"A":0,"B":null}` {
		t.Errorf("the value is %s: %v", text, err)
	}
}

// The output of TypeSource creates the same collections in another space.
func TestCreate_FromTypeSource(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.WriteContents(t, s)
	source, err := s.TypeSource()
	spacetest.Must(t, err)
	list, err := s.Collections()
	spacetest.Must(t, err)
	if len(list) < 5 {
		t.Fatalf("there are %d collections", len(list))
	}
	other := spacetest.Scratch(t)
	for _, c := range list {
		if _, err := other.Create(c.Name, string(source)); err != nil {
			t.Fatalf("%v\n%s", err, source)
		}
		if lines, err := s.Differences(c.Name, string(source)); err != nil || len(lines) > 0 {
			t.Errorf("%s differs: %q, %v", c.Name, lines, err)
		}
	}
	again, err := other.TypeSource()
	spacetest.Must(t, err)
	_, was, _ := bytes.Cut(source, []byte("\n"))
	_, is, _ := bytes.Cut(again, []byte("\n"))
	if !bytes.Equal(was, is) {
		t.Errorf("the source was\n%s\nand is\n%s", source, again)
	}
	got, err := other.Collections()
	spacetest.Must(t, err)
	for i, c := range got {
		if w := list[i]; c.Kind != w.Kind || c.Key != w.Key || c.Value != w.Value {
			t.Errorf("it is %+v, not %+v", c, w)
		}
	}
}

// Errors in the text name the place; an error about an existing collection names its type.
func TestCreate_Errors(t *testing.T) {
	s := spacetest.Scratch(t)
	_, err := s.Create("pages", "map[string]User\n\ntype User struct {\n\tDone chan bool\n}")
	if e := (*everheap.SpecError)(nil); !errors.As(err, &e) || e.Line != 4 || e.Column != 7 || !errors.Is(err, everheap.ErrUnstorable) {
		t.Errorf("%v", err)
	}
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "line 4, column 7: a channel cannot be stored")
	if _, err = s.Create("pages", pageSpec); err != nil {
		t.Fatal(err)
	}
	_, err = s.Create("pages", pageSpec)
	spacetest.ExpectError(t, err, everheap.ErrExists, `a collection "pages", which is a map of everheap_test.page; drop or rename it first`)
	if _, err = everheap.OpenCollection(s, "pages", pageSpec); err != nil {
		t.Error(err)
	}
	_, err = everheap.OpenCollection(s, "pages", strings.Replace(pageSpec, "Rate  float64", "Rate int", 1))
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "Rate float64 -> int")
	_, err = everheap.OpenCollection(s, "pages", "[]int")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "stored:  a map")
	_, err = s.Differences("pages", "[]int")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "pages is a map, and not a list")
	err = s.View(func(tx *everheap.Tx) error {
		_, err := tx.Create("other", "[]int")
		return err
	})
	if err == nil {
		t.Error("a View has created a collection")
	}
}

// A collection evolves, with its entries, to a type given as text.
func TestEvolveCollection(t *testing.T) {
	s, m, _ := pages(t)
	spacetest.Must(t, m.Set(s, "one", page{Title: "a", Tags: []string{"x"}, Next: &page{Title: "b", Rate: 2}}))
	spec := strings.NewReplacer("Title string", "Name string `everheap:\"was=Title\"`", "Tags  []string", "Mail *string").Replace(pageSpec)
	lines, err := s.Differences("pages", spec)
	spacetest.Must(t, err)
	if text := strings.Join(lines, "\n"); !strings.Contains(text, "Title") || !strings.Contains(text, "+ Mail *string") || strings.HasPrefix(text, "!") {
		t.Errorf("the differences are\n%s", text)
	}
	spacetest.Must(t, s.EvolveCollection("pages", spec))
	c, err := s.Collection("pages")
	spacetest.Must(t, err)
	if text, err := c.GetJSON(s, []byte(`"one"`)); err != nil || string(text) != `{"Name":"a","Mail":null,"Raw":null,"Next":{"Name":"b","Mail":null,"Raw":null,"Next":null,"Rate":2},"Rate":0}` {
		t.Errorf("%s: %v", text, err)
	}
	if _, err := m.Get(s, "one"); !errors.Is(err, everheap.ErrTypeChanged) {
		t.Errorf("with the old type: %v", err)
	}
	err = s.EvolveCollection("pages", "map[string]struct{ Rate bool }")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "Rate")
	spacetest.Must(t, s.EvolveCollection("pages", spec))
}

// Names can be dropped and reused; objects that no name reaches are collected.
func TestDropAndRenameCollection(t *testing.T) {
	s, m, _ := pages(t)
	for i := range 100 {
		spacetest.Must(t, m.Set(s, strings.Repeat("k", i), page{}))
	}
	_, err := s.Create("other", "[]int")
	spacetest.Must(t, err)
	spacetest.ExpectError(t, everheap.RenameCollection(s, "pages", "other"), everheap.ErrExists, `"other"`)
	spacetest.ExpectError(t, everheap.RenameCollection(s, "none", "other"), everheap.ErrNotFound, `"none"`)
	spacetest.Must(t, everheap.RenameCollection(s, "pages", "sites"))
	if n, err := m.Len(s); n != 100 || err != nil {
		t.Errorf("%d entries by the handle: %v", n, err)
	}
	var names []string
	list, err := s.Collections()
	spacetest.Must(t, err)
	for _, c := range list {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"other", "sites"}) {
		t.Errorf("the names are %q", names)
	}
	removed, err := everheap.DropCollection(s, "sites")
	if !removed || err != nil {
		t.Errorf("dropped: %v, %v", removed, err)
	}
	if removed, err = everheap.DropCollection(s, "sites"); removed || err != nil {
		t.Errorf("dropped again: %v, %v", removed, err)
	}
	if n, err := m.Len(s); n != 100 || err != nil {
		t.Errorf("%d entries before it is collected: %v", n, err)
	}
	stats, err := s.Collect(context.Background())
	if err != nil || stats.Dropped == 0 {
		t.Errorf("collected %+v: %v", stats, err)
	}
	if _, err := m.Len(s); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("after that: %v", err)
	}
}
