package model

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The random program for indexed maps: every index always agrees with the entries.

type placed struct {
	City string
	Code int16
}

type goods struct {
	Serial string   `everheap:"unique"`
	Tags   []string `everheap:"index"`
	Weight float64  `everheap:"index"`
	At     placed
	Others []placed
	Next   *placed
	Note   string
}

// shelf is an indexed map with its expected contents.
type shelf struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	space *everheap.Space
	m     everheap.Indexed[uint32, goods]
	set   func(sc everheap.Scope, key uint32, v goods) error
	del   func(sc everheap.Scope, key uint32) (bool, error)
	now   map[uint32]goods
	pins  map[string]map[uint32]goods
	city  bool // the index by_city is declared
	sort  bool // the map is sorted
}

func (s *shelf) open() {
	var err error
	s.space, err = everheap.Open(s.dir, everheap.WithMaxSize(64<<20), spacetest.WithoutBackground())
	spacetest.Must(s.t, err)
	opts := []everheap.TypeOption{everheap.WithIndex("next", "Next.City,Serial"), everheap.WithIndex("others", "Others.Code", everheap.Unique)}
	if s.city {
		opts = append(opts, everheap.WithIndex("by_city", "At.City,At.Code"))
	}
	if s.sort {
		m, err := everheap.OpenSorted[uint32, goods](s.space, "goods", opts...)
		spacetest.Must(s.t, err)
		s.m, s.set, s.del = m, m.Set, m.Delete
		return
	}
	m, err := everheap.OpenMap[uint32, goods](s.space, "goods", opts...)
	spacetest.Must(s.t, err)
	s.m, s.set, s.del = m, m.Set, m.Delete
}

// random makes a value from few choices, so that many are alike.
func (s *shelf) random() goods {
	r := s.r
	texts := []string{"", "\x00", "a", "a\x00", "ab", "Oslo", "Osl", "Bonn", strings.Repeat("long ", 50)}
	place := func() placed { return placed{texts[r.IntN(len(texts))], int16(r.IntN(5) - 2)} }
	g := goods{Serial: fmt.Sprint("s", r.IntN(400)), Weight: []float64{-1, 0, 2.5, 1e9}[r.IntN(4)], At: place(), Note: fmt.Sprint(r.IntN(3))}
	for range r.IntN(4) {
		g.Tags = append(g.Tags, texts[r.IntN(len(texts))])
	}
	if r.IntN(3) == 0 {
		g.Others = append(g.Others, placed{"", int16(r.IntN(3000))}, placed{"", int16(r.IntN(3000))})
	}
	if r.IntN(2) == 0 {
		p := place()
		g.Next = &p
	}
	return g
}

// taken reports whether another entry has the value of g in a unique index.
func (s *shelf) taken(model map[uint32]goods, key uint32, g goods) bool {
	for k, o := range model {
		if k == key {
			continue
		}
		if o.Serial == g.Serial {
			return true
		}
		for _, a := range o.Others {
			if slices.ContainsFunc(g.Others, func(b placed) bool { return b.Code == a.Code }) {
				return true
			}
		}
	}
	return false
}

// change changes an entry in a scope and in a model.
func (s *shelf) change(sc everheap.Scope, model map[uint32]goods) {
	key := uint32(s.r.IntN(150))
	old, there := model[key]
	var g goods
	switch k := s.r.IntN(10); {
	case k < 2:
		removed, err := s.del(sc, key)
		if err != nil || removed != there {
			s.t.Fatalf("deleting %d, which is there: %v: %v, %v", key, there, removed, err)
		}
		delete(model, key)
		return
	case k < 4 && there: // no indexed field changes
		g = old
		g.Note += "."
	case k < 6 && there:
		g = old
		g.Weight++
	default:
		g = s.random()
	}
	want := s.taken(model, key, g)
	var err error
	if s.r.IntN(3) == 0 {
		c, failed := s.space.Collection("goods")
		if tx, is := sc.(*everheap.Tx); is {
			c, failed = tx.Collection("goods")
		}
		spacetest.Must(s.t, failed)
		text := fmt.Sprintf(`{"Serial":%q,"Weight":%g,"Note":%q,"At":{"City":"json","Code":%d},"Tags":["j","k"]}`, g.Serial, g.Weight, g.Note, g.At.Code)
		g = goods{Serial: g.Serial, Weight: g.Weight, Note: g.Note, At: placed{"json", g.At.Code}, Tags: []string{"j", "k"}}
		want = s.taken(model, key, g)
		err = c.SetJSON(sc, fmt.Append(nil, key), []byte(text))
	} else {
		err = s.set(sc, key, g)
	}
	if errors.Is(err, everheap.ErrDuplicate) != want || !want && err != nil {
		s.t.Fatalf("setting %d, a duplicate: %v: %v", key, want, err)
	}
	if !want {
		model[key] = g
	}
}

func (s *shelf) step() {
	t, r := s.t, s.r
	pin := fmt.Sprint("pin", r.IntN(3))
	switch k := r.IntN(100); {
	case k < 50:
		s.change(s.space, s.now)
	case k < 70:
		was := maps.Clone(s.now)
		stop := errors.New("stop")
		err := s.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for range 1 + r.IntN(20) {
				s.change(tx, was)
			}
			s.compare(tx, was)
			if r.IntN(3) == 0 {
				return stop
			}
			return nil
		})
		if err == nil {
			s.now = was
		} else if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	case k < 76:
		if _, there := s.pins[pin]; !there {
			spacetest.Must(t, s.space.Checkpoint(pin))
			s.pins[pin] = maps.Clone(s.now)
		}
	case k < 80:
		if was, there := s.pins[pin]; there {
			spacetest.Must(t, s.space.Restore(context.Background(), pin))
			s.now = maps.Clone(was)
			s.city = s.declared("by_city")
		}
	case k < 84:
		if s.city = !s.city; s.city {
			spacetest.Must(t, everheap.CreateIndex(s.space, "goods", "by_city", "At.City,At.Code"))
		} else if removed, err := everheap.DropIndex(s.space, "goods", "by_city"); !removed || err != nil {
			t.Fatal(removed, err)
		}
	case k < 87:
		_, err := s.space.Collect(context.Background())
		spacetest.Must(t, err)
	case k < 90:
		spacetest.Must(t, s.space.Sync(context.Background()))
	case k < 93: // as after a power loss: from the journal
		spacetest.Must(t, s.space.Sync(context.Background()))
		was := s.dir
		s.dir = filepath.Join(spacetest.MemoryDir(t), "recovered")
		spacetest.CopySpace(t, was, s.dir)
		spacetest.Must(t, s.space.Close())
		spacetest.Must(t, os.Remove(filepath.Join(s.dir, "live")))
		s.open()
	case k < 95:
		spacetest.Must(t, s.space.Close())
		s.open()
	case k < 97: // a backup, restored
		var b bytes.Buffer
		spacetest.Must(t, s.space.Backup(&b))
		spacetest.Must(t, s.space.Close())
		s.dir = filepath.Join(spacetest.MemoryDir(t), "restored")
		spacetest.Must(t, everheap.RestoreBackup(s.dir, &b, everheap.WithMaxSize(64<<20)))
		s.pins = map[string]map[uint32]goods{}
		s.open()
	case k < 98:
		spacetest.Must(t, s.space.Close())
		_, err := everheap.Compact(context.Background(), s.dir)
		spacetest.Must(t, err)
		s.open()
	default:
		report, err := s.space.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			t.Fatal(report.Findings, err)
		}
	}
}

func (s *shelf) declared(name string) bool {
	list, err := s.space.Collections()
	spacetest.Must(s.t, err)
	return slices.ContainsFunc(list[0].Indexes, func(i everheap.IndexInfo) bool { return i.Name == name })
}

// pair is a value of an index, and the key behind it.
type pair[F any] struct {
	f   F
	key uint32
}

// compareIndex compares an index with the values that a function finds in the entries.
func compareIndex[F any](s *shelf, tx *everheap.Tx, model map[uint32]goods, name string, compare func(a, b F) int, of func(g goods) []F) {
	s.t.Helper()
	x := everheap.IndexOf[goods, F](s.m, name)
	var want []pair[F]
	for key, g := range model {
		values := of(g)
		slices.SortFunc(values, compare)
		for _, f := range slices.CompactFunc(values, func(a, b F) bool { return compare(a, b) == 0 }) {
			want = append(want, pair[F]{f, key})
		}
	}
	both := func(a, b pair[F]) int { return cmp.Or(compare(a.f, b.f), cmp.Compare(a.key, b.key)) }
	slices.SortFunc(want, both)
	i := 0
	for f, key := range x.Values(tx, everheap.Unbounded[F](), everheap.Unbounded[F]()) {
		if i >= len(want) || both(want[i], pair[F]{f, key}) != 0 {
			s.t.Fatalf("%s: value %d is %v of %d, of %d", name, i, f, key, len(want))
		}
		i++
	}
	if i != len(want) || x.Len(tx) != i {
		s.t.Fatalf("%s has %d values, says %d, want %d", name, i, x.Len(tx), len(want))
	}
	if len(want) == 0 {
		return
	}
	a, b := want[s.r.IntN(len(want))].f, want[s.r.IntN(len(want))].f
	from, to := everheap.Including(a), everheap.Excluding(b)
	after := s.r.IntN(2) == 0
	if after {
		from, to = everheap.Excluding(a), everheap.Including(b)
	}
	for _, back := range []bool{false, true} {
		var keys []uint32
		for _, p := range want {
			l, h := compare(p.f, a), compare(p.f, b)
			if (l > 0 || l == 0 && !after) && (h < 0 || h == 0 && after) {
				keys = append(keys, p.key)
			}
		}
		walk := x.Range(tx, from, to)
		if back {
			walk = x.Backward(tx, from, to)
			slices.Reverse(keys)
		}
		var got []uint32
		for key, g := range walk {
			got = append(got, key)
			if g.Serial != model[key].Serial || g.Note != model[key].Note {
				s.t.Fatalf("%s: the entry %d is %+v, not %+v", name, key, g, model[key])
			}
		}
		if !slices.Equal(got, keys) || x.Count(tx, from, to) != len(keys) {
			s.t.Fatalf("%s from %v to %v, back: %v: %v (%d), want %v", name, a, b, back, got, x.Count(tx, from, to), keys)
		}
	}
	first := slices.IndexFunc(want, func(p pair[F]) bool { return compare(p.f, a) == 0 })
	if key, g := x.Peek(tx, a); key != want[first].key || g == nil || x.Rank(tx, a) != first {
		s.t.Fatalf("%s: %v is of %d, rank %d, want %d, %d", name, a, key, x.Rank(tx, a), want[first].key, first)
	}
}

// compare compares all indexes with a model.
func (s *shelf) compare(tx *everheap.Tx, model map[uint32]goods) {
	s.t.Helper()
	compareIndex(s, tx, model, "Serial", strings.Compare, func(g goods) []string { return []string{g.Serial} })
	compareIndex(s, tx, model, "Tags", strings.Compare, func(g goods) []string { return slices.Clone(g.Tags) })
	compareIndex(s, tx, model, "Weight", cmp.Compare[float64], func(g goods) []float64 { return []float64{g.Weight} })
	compareIndex(s, tx, model, "others", cmp.Compare[int16], func(g goods) (list []int16) {
		for _, p := range g.Others {
			list = append(list, p.Code)
		}
		return list
	})
	type next struct{ City, Serial string }
	compareIndex(s, tx, model, "next", func(a, b next) int {
		return cmp.Or(strings.Compare(a.City, b.City), strings.Compare(a.Serial, b.Serial))
	}, func(g goods) []next {
		if g.Next == nil {
			return nil
		}
		return []next{{g.Next.City, g.Serial}}
	})
	if s.city {
		compareIndex(s, tx, model, "by_city", func(a, b placed) int {
			return cmp.Or(strings.Compare(a.City, b.City), cmp.Compare(a.Code, b.Code))
		}, func(g goods) []placed { return []placed{g.At} })
	}
}

func TestIndexed_Model(t *testing.T) { // IX1, IX3, IX4, IX5, IX6
	spacetest.Rounds(t, 6, func(t *testing.T, r *rand.Rand) {
		s := &shelf{t: t, r: r, dir: filepath.Join(spacetest.MemoryDir(t), "s"), now: map[uint32]goods{}, pins: map[string]map[uint32]goods{}, sort: r.IntN(2) == 0}
		s.open()
		for i := range 400 {
			if s.step(); i%5 == 0 {
				spacetest.View(t, s.space, func(tx *everheap.Tx) error { s.compare(tx, s.now); return nil })
			}
		}
		report, err := s.space.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			t.Fatal(report.Findings, err)
		}
		spacetest.Must(t, s.space.Close())
	})
}
