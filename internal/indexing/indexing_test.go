package indexing_test

import (
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
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/spacetest"
)

type item struct {
	A, B  string
	Until time.Time
}

// scratch opens a space without background work.
func scratch(t *testing.T, opts ...everheap.Option) *everheap.Space {
	return spacetest.Scratch(t, append(opts, spacetest.WithoutBackground())...)
}

// items opens a map with some items.
func items(t *testing.T, s *everheap.Space, name string, n int, opts ...everheap.TypeOption) everheap.Map[int, item] {
	t.Helper()
	m, err := everheap.OpenMap[int, item](s, name, opts...)
	spacetest.Must(t, err)
	for i := range n {
		spacetest.Must(t, m.Set(s, i, item{A: fmt.Sprint("a", i), B: fmt.Sprint("b", i)}))
	}
	return m
}

// change runs fn in a transaction of the engine.
func change(t *testing.T, s *everheap.Space, fn func(ed *edit.Editor) error) {
	t.Helper()
	spacetest.Must(t, spacetest.Engine(s).Change(false, func(tx *engine.Tx) error { return fn(&tx.Editor) }))
}

// alone sets an entry without its indexes.
func alone(t *testing.T, s *everheap.Space, m everheap.Map[int, item], key int, value item) {
	t.Helper()
	change(t, s, func(ed *edit.Editor) error {
		of, _, err := ed.MapByID(format.ID(m.ID()))
		if err == nil {
			_, err = of.SetAlone(ed, unsafe.Pointer(&key), unsafe.Pointer(&value))
		}
		return err
	})
}

// registry returns the registry; nil if the space has none.
func registry(ed *edit.Editor) (*edit.Map, *entry.Shape, error) {
	of, err := layout.For[index.Of]()
	if err != nil {
		return nil, nil, err
	}
	declaration, err := layout.For[index.Declaration]()
	if err != nil {
		return nil, nil, err
	}
	sh := ed.Store().Shape(of, declaration)
	at, err := ed.Registry()
	if err != nil || at == 0 {
		return nil, nil, err
	}
	return edit.SortedAt(at, sh), sh, nil
}

// declared lists the indexes in the registry, by name.
func declared(t *testing.T, s *everheap.Space) (names []string) {
	t.Helper()
	change(t, s, func(ed *edit.Editor) error {
		m, sh, err := registry(ed)
		if err != nil || m == nil {
			return err
		}
		object, err := m.Object(ed)
		if err != nil {
			return err
		}
		return m.Each(ed, object, func(e unsafe.Pointer) bool {
			var of index.Of
			err = sh.Key.CopyOut(unsafe.Pointer(&of), sh.KeyOf(e), ed.Bounds(e))
			names = append(names, of.Name)
			return err == nil
		})
	})
	return names
}

// clean checks a space, and that the indexes on some fields find the entries of a map.
func clean(t *testing.T, s *everheap.Space, m everheap.Map[int, item], paths ...string) {
	t.Helper()
	report, err := s.Check(context.Background())
	if err != nil || len(report.Findings) > 0 {
		t.Fatalf("the check finds %+v (%v)", report.Findings, err)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		n, err := m.Len(tx)
		spacetest.Must(t, err)
		for _, path := range paths {
			for _, i := range []int{0, n - 1} {
				v, err := m.Get(tx, i)
				spacetest.Must(t, err)
				by := map[string]string{"A": v.A, "B": v.B}[path]
				if !slices.Contains(slices.Collect(keys(everheap.IndexOf[item, string](m, path).Each(tx, by))), i) {
					t.Errorf("the index on %s does not find %d", path, i)
				}
			}
		}
		return nil
	})
}

func keys[K, V any](seq func(yield func(K, V) bool)) func(yield func(K) bool) {
	return func(yield func(K) bool) { seq(func(k K, _ V) bool { return yield(k) }) }
}

// marks returns the marks of the maps (IX2).
func marks(t *testing.T, s *everheap.Space) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, name := range []string{"plain", "indexed", "expiring"} {
		m, err := everheap.OpenMap[int, item](s, name)
		spacetest.Must(t, err)
		tx, err := spacetest.Engine(s).View()
		spacetest.Must(t, err)
		of, _, err := tx.MapByID(format.ID(m.ID()))
		spacetest.Must(t, err)
		list[name] = fmt.Sprintf("indexed %v, expires %v", of.Indexed(), of.Expires())
		tx.EndView()
	}
	return list
}

// The cached declarations of each map are its own, although the cache has fewer places than there
// are maps.
func TestIndexes_ManyMaps(t *testing.T) { // IX3
	s := scratch(t)
	var all []everheap.Map[int, item]
	for i := range 70 {
		field := []string{"A", "B"}[i%2]
		all = append(all, items(t, s, fmt.Sprint("m", i), 1, everheap.WithIndex("x", field)))
	}
	for round := range 2 {
		for i, m := range all {
			spacetest.Must(t, m.Set(s, 1, item{A: fmt.Sprint("a", round), B: fmt.Sprint("b", i)}))
		}
	}
	for i, m := range all {
		clean(t, s, m, []string{"A", "B"}[i%2])
	}
}

// Cached declarations belong to one block and its birth: the test puts another block of the
// registry where a cached one was.
func TestIndexes_ReusedBlock(t *testing.T) { // IX3
	s := scratch(t)
	m := items(t, s, "m", 5)
	items(t, s, "other", 1)
	at := func() (a format.Addr) {
		change(t, s, func(ed *edit.Editor) error {
			r, _, err := registry(ed)
			spacetest.Must(t, err)
			object, err := r.Object(ed)
			spacetest.Must(t, err)
			a, _ = ed.Written(unsafe.Pointer(object))
			return nil
		})
		return a
	}
	spacetest.Must(t, everheap.CreateIndex(s, "m", "x", "A"))
	spacetest.Must(t, m.Set(s, 5, item{A: "a5"})) // this caches the declaration
	was := at()
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		if _, err := everheap.DropIndex(tx, "m", "x"); err != nil {
			return err
		}
		return everheap.CreateIndex(tx, "m", "x", "B")
	})
	for i := 0; at() != was; i++ {
		if i == 1000 {
			t.Fatal("the block was not reused")
		}
		spacetest.Must(t, everheap.CreateIndex(s, "other", "y", "A"))
		if at() != was {
			_, err := everheap.DropIndex(s, "other", "y")
			spacetest.Must(t, err)
		}
	}
	spacetest.Must(t, m.Set(s, 6, item{B: "b6"}))
	clean(t, s, m, "B")
}

// A transaction made a registry and aborted: a later object with the same index is not taken for
// it.
func TestIndexes_AbortedRegistry(t *testing.T) { // IX3
	s := scratch(t)
	m := items(t, s, "m", 3)
	no := errors.New("no")
	err := s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 3 {
			if err := everheap.CreateIndex(tx, "m", fmt.Sprint("x", i), "A"); err != nil {
				return err
			}
			if err := m.Set(tx, 9, item{A: "9"}); err != nil {
				return err
			}
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	for i := range 8 {
		other, err := everheap.OpenSorted[int, string](s, fmt.Sprint("other", i))
		spacetest.Must(t, err)
		spacetest.Must(t, other.Set(s, i, "text"))
	}
	spacetest.Must(t, everheap.CreateIndex(s, "m", "x", "A"))
	spacetest.Must(t, m.Set(s, 3, item{A: "a3"}))
	clean(t, s, m, "A")
	if names := declared(t, s); !slices.Equal(names, []string{"x"}) {
		t.Errorf("the registry has %q", names)
	}
}

// After a power loss right after a declaration, or after the end of one, the version has it
// completely or not at all, although the journal does not record it.
func TestDeclare_PowerLoss(t *testing.T) { // IX6
	for what, act := range map[string]func(s *everheap.Space) error{
		"an index":        func(s *everheap.Space) error { return everheap.CreateIndex(s, "plain", "x", "A") },
		"the last index":  func(s *everheap.Space) error { _, err := everheap.DropIndex(s, "indexed", "x"); return err },
		"expiry":          func(s *everheap.Space) error { return everheap.ExpireAt(s, "plain", "Until") },
		"a time to live":  func(s *everheap.Space) error { return everheap.SetTTL(s, "plain", time.Hour) },
		"the end of both": func(s *everheap.Space) error { _, err := everheap.DropExpiry(s, "expiring"); return err },
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(spacetest.MemoryDir(t), "s")
			s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20), everheap.WithDurability(everheap.Durable), spacetest.WithoutBackground())
			spacetest.Must(t, err)
			plain := items(t, s, "plain", 50)
			items(t, s, "indexed", 50, everheap.WithIndex("x", "A"))
			items(t, s, "expiring", 50, everheap.WithTTL(time.Hour))
			spacetest.Must(t, act(s))
			spacetest.Must(t, plain.Set(s, 50, item{A: "a50", B: "b50"}))
			infos, err := s.Collections()
			spacetest.Must(t, err)
			marked := marks(t, s)
			lost := dir + "-lost"
			spacetest.Must(t, os.CopyFS(lost, os.DirFS(dir)))
			spacetest.Must(t, s.Close())
			spacetest.Must(t, os.Remove(filepath.Join(lost, "live")))
			s, err = everheap.Open(lost, everheap.WithVerify())
			spacetest.Must(t, err)
			defer s.Close()
			m, err := everheap.OpenMap[int, item](s, "plain")
			spacetest.Must(t, err)
			clean(t, s, m)
			again, err := s.Collections()
			spacetest.Must(t, err)
			for i := range infos {
				if !slices.Equal(infos[i].Indexes, again[i].Indexes) || infos[i].Expiry != again[i].Expiry || infos[i].Len != again[i].Len {
					t.Errorf("%+v became %+v", infos[i], again[i])
				}
			}
			if now := marks(t, s); !maps.Equal(now, marked) {
				t.Errorf("the marks of the maps were %v, and are %v", marked, now)
			}
			spacetest.Must(t, m.Set(s, 51, item{A: "a51", B: "b51"}))
			clean(t, s, m)
		})
	}
}

// A new declaration removes all declarations of a collection that is gone, and keeps those of
// others.
func TestPurge_ByADeclaration(t *testing.T) { // IX7
	s := scratch(t)
	items(t, s, "gone", 3, everheap.WithIndex("x", "A"), everheap.WithIndex("y", "B"), everheap.WithTTL(time.Hour))
	stays := items(t, s, "stays", 3, everheap.WithIndex("a", "A"))
	items(t, s, "next", 3)
	if removed, err := everheap.DropCollection(s, "gone"); !removed || err != nil {
		t.Fatal(removed, err)
	}
	_, err := s.Collect(context.Background()) // this drops it and purges its declarations, so the test declares them again below
	spacetest.Must(t, err)
	change(t, s, func(ed *edit.Editor) error {
		r, _, err := registry(ed)
		for _, name := range []string{"x", "y"} {
			of, d := index.Of{Map: 1 << 30, Name: name}, index.Declaration{Paths: []string{"A"}}
			if err == nil {
				err = r.Set(ed, unsafe.Pointer(&of), unsafe.Pointer(&d))
			}
		}
		return err
	})
	spacetest.Must(t, everheap.CreateIndex(s, "next", "b", "B"))
	if names := declared(t, s); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("the registry has %q", names)
	}
	clean(t, s, stays, "A")
}

// RebuildAll rebuilds everything that it can from parts that do not agree.
func TestRebuildAll_DisagreeingParts(t *testing.T) { // IX1, IX5, IX7
	s := scratch(t)
	m := items(t, s, "m", 20, everheap.WithIndex("a", "A", everheap.Unique), everheap.WithIndex("b", "B", everheap.Unique), everheap.WithTTL(time.Hour))
	other := items(t, s, "other", 20, everheap.WithIndex("a", "A", everheap.Unique))
	alone(t, s, m, 20, item{A: "a7", B: "b20"})     // A is not unique any more
	alone(t, s, other, 20, item{A: "a20", B: "b0"}) // A stays unique
	change(t, s, func(ed *edit.Editor) error {
		r, _, err := registry(ed)
		for of, path := range map[index.Of]string{{Map: format.ID(m.ID()).Index(), Name: "none"}: "Nothing", {Map: 1 << 30, Name: "gone"}: "A"} {
			d := index.Declaration{Paths: []string{path}, Unique: true}
			if err == nil {
				err = r.Set(ed, unsafe.Pointer(&of), unsafe.Pointer(&d))
			}
		}
		return err
	})
	if report, err := s.Check(context.Background()); err == nil && len(report.Findings) == 0 {
		t.Fatal("the check finds nothing before RebuildAll")
	}
	change(t, s, indexing.RebuildAll)
	infos, err := s.Collections()
	spacetest.Must(t, err)
	var got []string
	for _, c := range infos {
		for _, x := range c.Indexes {
			got = append(got, fmt.Sprintf("%s.%s %s %v %d", c.Name, x.Name, x.Path, x.Unique, x.Len))
		}
	}
	if want := "m.a A false 21; m.b B true 21; other.a A true 21"; strings.Join(got, "; ") != want {
		t.Errorf("the indexes are %q, want %s", got, want)
	}
	clean(t, s, m, "A", "B")
	clean(t, s, other, "A")
	for _, name := range declared(t, s) {
		if name == "none" || name == "gone" {
			t.Errorf("%s is still declared", name)
		}
	}
	if err := m.Set(s, 21, item{A: "a21", B: "b3"}); !errors.Is(err, everheap.ErrDuplicate) {
		t.Errorf("a second b3: %v", err)
	}
}
