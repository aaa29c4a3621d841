package power

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// lostPower returns the space as it is after a power loss at this moment, with all writes on disk. It
// closes the space itself.
func lostPower(t *testing.T, s *everheap.Space) *everheap.Space {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	spacetest.Must(t, os.CopyFS(dir, os.DirFS(s.Stats().Dir)))
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	spacetest.Must(t, s.Close())
	return spacetest.Open(t, dir)
}

// A transaction that stores a new key more than once and then removes it: the journal must not have a
// removal alone.
func TestJournal_KeySetTwiceAndDeleted(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	m := spacetest.MapOf[string, string](t, s)
	spacetest.Must(t, m.Set(s, "stays", "here"))
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 3 {
			if err := m.Set(tx, "new", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		_, err := m.Delete(tx, "new")
		return err
	}, everheap.Durable))
	s = lostPower(t, s)
	if n, err := m.Len(s); err != nil || n != 1 {
		t.Errorf("%d entries (%v)", n, err)
	}
	if v, err := m.Get(s, "stays"); err != nil || v != "here" {
		t.Errorf("%q (%v)", v, err)
	}
}

// mapped owns tables: a Dict, and nested built-in maps; and has values in interfaces.
type mapped struct {
	Any    any
	Fixed  everheap.Dict[string, []string]
	Header map[string][]string
	Deep   map[int]map[string]*mapped
}

func init() { everheap.Register[*mapped]() }

func someMapped(r *rand.Rand, deep int) mapped {
	m := mapped{Header: map[string][]string{}}
	for range r.IntN(20) {
		m.Header[fmt.Sprint("h", r.IntN(30))] = []string{"a", fmt.Sprint(r.IntN(100))}[:r.IntN(3)]
	}
	m.Fixed = everheap.DictOf(m.Header)
	switch r.IntN(4) {
	case 0:
		m.Any = map[string]any{"n": r.IntN(100), "list": []any{"a", 1.5, nil}}
	case 1:
		m.Any = &mapped{Any: fmt.Sprint("inner ", r.IntN(100))}
	}
	if r.IntN(3) == 0 {
		m.Header = nil
	}
	if deep > 0 {
		inner := someMapped(r, deep-1)
		m.Deep = map[int]map[string]*mapped{r.IntN(9): {"x": &inner, "nil": nil}, -1: nil, -2: {}}
	}
	return m
}

// Dicts, built-in maps and interfaces survive a replay of the journal, at another address.
func TestJournal_DictsAndMaps(t *testing.T) {
	spacetest.Rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		s := spacetest.Scratch(t, spacetest.WithoutBackground())
		m := spacetest.MapOf[int, mapped](t, s)
		list, err := everheap.OpenList[mapped](s, "list")
		spacetest.Must(t, err)
		now := map[int]mapped{}
		var all []mapped
		for i := range 60 {
			key, v := r.IntN(12), someMapped(r, 2)
			spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
				if err := list.Append(tx, v); err != nil {
					return err
				}
				return m.Set(tx, key, v)
			}, everheap.Durable))
			now[key], all = v, append(all, v)
			if i == 20 {
				spacetest.Must(t, spacetest.Engine(s).Anchor(false))
			}
		}
		compare := func() {
			t.Helper()
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				got, items := map[int]mapped{}, []mapped(nil)
				for k, v := range m.Copies(tx) {
					got[k] = v
				}
				for _, v := range list.Copies(tx) {
					items = append(items, v)
				}
				if !reflect.DeepEqual(got, now) || !reflect.DeepEqual(items, all) {
					t.Errorf("got %v and %v, want %v and %v", got, items, now, all)
				}
				return nil
			})
			spacetest.CheckSpace(t, s)
		}
		s = lostPower(t, s)
		compare()
		for i := range 12 {
			v := someMapped(r, 1)
			spacetest.Must(t, m.Set(s, i, v))
			now[i] = v
		}
		dir := s.Stats().Dir
		spacetest.Must(t, s.Close())
		spacetest.Must(t, everheap.Rebase(context.Background(), dir, 0))
		s = spacetest.Open(t, dir, everheap.WithVerify())
		compare()
	})
}
