package rewrite

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// knot is a value with parts of all kinds, which refers to itself and to others.
type knot struct {
	Name  string
	Self  everheap.Ref[knot]
	Line  everheap.List[knot]
	Next  *knot
	Words []string
	Ways  map[string]everheap.Ref[knot] // refers to others, as Signs does
	Signs everheap.Dict[int, map[string]*knot]
}

// knotOf returns a value that is circular in itself.
func knotOf(i int) knot {
	k := knot{Name: fmt.Sprint("knot ", i), Words: strings.Fields(strings.Repeat("word ", i%7))}
	k.Next = &knot{Name: strings.Repeat("next", i%50)}
	k.Next.Next = k.Next
	k.Signs = everheap.DictOf(map[int]map[string]*knot{i: {"next": k.Next, "none": nil}, -1: nil, -2: {}})
	return k
}

// tie fills a space with lists and references, and cuts some of what it has made.
func tie(t *testing.T, s *everheap.Space) {
	t.Helper()
	first, err := everheap.OpenRef(s, "first", knot{})
	spacetest.Must(t, err)
	texts, err := everheap.OpenList[string](s, "texts")
	spacetest.Must(t, err)
	empty, err := everheap.OpenList[struct{}](s, "empty values")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		line, err := everheap.NewList[knot](tx)
		if err != nil {
			return err
		}
		for i := range 5000 {
			if err := texts.Append(tx, strings.Repeat(fmt.Sprint(i), i%40)); err != nil {
				return err
			}
		}
		for i := range 300 {
			k := knotOf(i)
			k.Self, k.Line, k.Ways = first, line, map[string]everheap.Ref[knot]{"first": first, "nil": {}}
			if err := line.Append(tx, k); err != nil {
				return err
			}
		}
		k := knotOf(1000)
		k.Self, k.Line = first, line
		return first.Set(tx, k)
	})
	spacetest.Must(t, empty.Append(s, struct{}{}, struct{}{}))
	spacetest.Must(t, texts.Set(s, 7, strings.Repeat("large", 50_000)))
	spacetest.Must(t, s.Checkpoint("whole"))
	spacetest.Must(t, texts.Truncate(s, 1000))
}

// tied verifies the contents made by tie, in a version where the list of texts has n.
func tied(t *testing.T, tx *everheap.Tx, n int) {
	t.Helper()
	first, err := everheap.OpenRef(tx, "first", knot{})
	spacetest.Must(t, err)
	same := func(i int, got knot) {
		want := knotOf(i)
		want.Self, want.Line, want.Ways = got.Self, got.Line, got.Ways
		if !reflect.DeepEqual(got, want) || got.Next.Next != got.Next {
			t.Errorf("knot %d is %+v", i, got)
		}
	}
	k, err := first.Get(tx)
	spacetest.Must(t, err)
	same(1000, k)
	if k.Self != first {
		t.Error("it does not refer to itself")
	}
	if n, err := k.Line.Len(tx); n != 300 || err != nil {
		t.Errorf("the line has %d elements, %v", n, err)
	}
	for i := range 300 {
		got, err := k.Line.Get(tx, i)
		spacetest.Must(t, err)
		if same(i, got); got.Self != first || got.Ways["first"] != first || len(got.Ways) != 2 || got.Line != k.Line {
			t.Errorf("element %d refers to something else", i)
		}
	}
	texts, err := everheap.OpenList[string](tx, "texts")
	spacetest.Must(t, err)
	if got, err := texts.Len(tx); got != n || err != nil {
		t.Errorf("%d texts, %v", got, err)
	}
	for i, v := range texts.All(tx) {
		want := strings.Repeat(fmt.Sprint(i), i%40)
		if i == 7 {
			want = strings.Repeat("large", 50_000)
		}
		if *v != want {
			t.Errorf("text %d is %.50q", i, *v)
		}
	}
	empty, err := everheap.OpenList[struct{}](tx, "empty values")
	spacetest.Must(t, err)
	if n, err := empty.Len(tx); n != 2 || err != nil {
		t.Errorf("%d values of nothing, %v", n, err)
	}
}

// Lists and references are rewritten like maps.
func TestRewrite_ListsAndReferences(t *testing.T) {
	for name, rewrite := range spacetest.Rewriters {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s := spacetest.Open(t, dir)
			tie(t, s)
			for range 2 {
				spacetest.Must(t, s.Close())
				spacetest.Must(t, rewrite(dir))
				s = spacetest.Open(t, dir, everheap.WithVerify())
				spacetest.View(t, s, func(tx *everheap.Tx) error { tied(t, tx, 1000); return nil })
				spacetest.Must(t, s.ViewAt("whole", func(tx *everheap.Tx) error { tied(t, tx, 5000); return nil }))
				spacetest.CheckSpace(t, s)
			}
			texts, err := everheap.OpenList[string](s, "texts")
			spacetest.Must(t, err)
			spacetest.Must(t, texts.Append(s, "more"))
			spacetest.Must(t, texts.Truncate(s, 1000))
			spacetest.View(t, s, func(tx *everheap.Tx) error { tied(t, tx, 1000); return nil })
		})
	}
}

// Sorted maps are rewritten like others.
func TestRewrite_SortedMaps(t *testing.T) {
	for name, rewrite := range spacetest.Rewriters {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s := spacetest.Open(t, dir)
			m, err := everheap.OpenSorted[string, knot](s, "sorted")
			spacetest.Must(t, err)
			key := func(i int) string { return fmt.Sprintf("%s%05d", strings.Repeat("k", i%3*20), i) }
			fill := func(from, to, step int) {
				spacetest.Update(t, s, func(tx *everheap.Tx) error {
					for i := from; i < to; i += step {
						if err := m.Set(tx, key(i), knotOf(i)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			fill(0, 6000, 1)
			spacetest.Must(t, s.Checkpoint("whole"))
			spacetest.Update(t, s, func(tx *everheap.Tx) error {
				for i := range 6000 {
					if i%10 != 0 {
						if _, err := m.Delete(tx, key(i)); err != nil {
							return err
						}
					}
				}
				return nil
			})
			verify := func(tx *everheap.Tx, step int) error {
				m, err := everheap.OpenSorted[string, knot](tx, "sorted")
				if err != nil {
					return err
				}
				if n, err := m.Len(tx); n != 6000/step || err != nil {
					t.Errorf("%d entries, %v", n, err)
				}
				for i := 0; i < 6000; i += step {
					got, err := m.Get(tx, key(i))
					spacetest.Must(t, err)
					if !reflect.DeepEqual(got, knotOf(i)) {
						t.Fatalf("entry %d is %+v", i, got)
					}
				}
				last, n := "", 0
				for k := range m.Copies(tx) {
					if k < last {
						t.Errorf("%q comes after %q", k, last)
					}
					last, n = k, n+1
				}
				if n != 6000/step {
					t.Errorf("%d entries were walked", n)
				}
				return nil
			}
			for range 2 {
				spacetest.Must(t, s.Close())
				spacetest.Must(t, rewrite(dir))
				s = spacetest.Open(t, dir, everheap.WithVerify())
				spacetest.View(t, s, func(tx *everheap.Tx) error { return verify(tx, 10) })
				spacetest.Must(t, s.ViewAt("whole", func(tx *everheap.Tx) error { return verify(tx, 1) }))
				spacetest.CheckSpace(t, s)
			}
			fill(0, 6000, 1)
			spacetest.View(t, s, func(tx *everheap.Tx) error { return verify(tx, 1) })
		})
	}
}
