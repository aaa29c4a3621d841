package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// visit is a value with an instant at which its entry expires.
type visit struct {
	Name  string    `everheap:"unique"`
	City  string    `everheap:"index"`
	Until time.Time `everheap:"expires"`
}

// expiring opens a space with a clock of the test's.
func expiring(t *testing.T, opts ...everheap.Option) (*everheap.Space, *spacetest.Wall) {
	wall := spacetest.NewWall()
	return spacetest.Scratch(t, append(opts, wall.With(), spacetest.WithoutBackground())...), wall
}

// An entry exists until its instant; from then on no reader sees it, removed or not.
func TestExpiry_ByTag(t *testing.T) { // EX1, EX4
	for _, removed := range []bool{false, true} {
		s, wall := expiring(t)
		m, err := everheap.OpenSorted[int, visit](s, "visits")
		spacetest.Must(t, err)
		start := wall.Now()
		spacetest.Must(t, m.Set(s, 1, visit{"ada", "Oslo", start.Add(time.Second)}))
		spacetest.Must(t, m.Set(s, 2, visit{"bob", "Oslo", time.Time{}}))
		spacetest.Must(t, m.Set(s, 3, visit{"eve", "Bonn", start.Add(2 * time.Second)}))
		spacetest.Must(t, m.Set(s, 4, visit{"kim", "Bonn", start.Add(-time.Second)})) // is never seen
		byName := everheap.IndexOf[visit, string](m, "Name")
		byCity := everheap.IndexOf[visit, string](m, "City")
		look := func(want ...int) {
			t.Helper()
			if removed {
				spacetest.RemoveExpired(t, s)
			}
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				var keys, back, indexed []int
				for k, v := range m.All(tx) {
					keys = append(keys, k)
					if p := m.Peek(tx, k); p != v {
						t.Fatalf("Peek(%d) = %v, All has %v", k, p, v)
					}
				}
				for k := range m.Backward(tx, everheap.Bound[int]{}, everheap.Bound[int]{}) {
					back = append(back, k)
				}
				slices.Reverse(back)
				for k := range byName.All(tx) {
					indexed = append(indexed, k)
				}
				slices.Sort(indexed)
				n, err := m.Len(tx)
				spacetest.Must(t, err)
				c, err := tx.Collection("visits")
				spacetest.Must(t, err)
				dynamic, err := c.Len(tx)
				spacetest.Must(t, err)
				info, err := tx.Collections()
				spacetest.Must(t, err)
				if !slices.Equal(keys, want) || !slices.Equal(back, want) || !slices.Equal(indexed, want) || n != len(want) || dynamic != len(want) ||
					byName.Len(tx) != len(want) || info[0].Len != uint64(n) || info[0].Indexes[1].Len != uint64(n) || info[0].Expiry != "at Until" {
					t.Fatalf("%v, back %v, indexed %v, Len %d, %d, %d, %+v; want %v", keys, back, indexed, n, dynamic, byName.Len(tx), info[0], want)
				}
				for i, k := range want {
					key, _, ok := m.Nth(tx, i)
					if !ok || key != k || m.Rank(tx, k) != i {
						t.Fatalf("entry %d is %d, %v; rank %d; want %d", i, key, ok, m.Rank(tx, k), k)
					}
				}
				if _, _, ok := m.Nth(tx, len(want)); ok {
					t.Fatal("there is an entry behind the last one")
				}
				last, _, _ := m.Last(tx)
				if len(want) > 0 && last != want[len(want)-1] {
					t.Fatalf("the last is %d of %v", last, want)
				}
				for k := range 5 {
					has, err := m.Has(tx, k)
					spacetest.Must(t, err)
					_, failed := m.Get(s, k)
					if there := slices.Contains(want, k); has != there || (failed == nil) != there || (m.Peek(tx, k) != nil) != there {
						t.Fatalf("%d is there: %v, %v, want %v", k, has, failed, there)
					}
				}
				oslo := 0
				for range byCity.Each(tx, "Oslo") {
					oslo++
				}
				if byCity.Count(tx, everheap.Including("Oslo"), everheap.Including("Oslo")) != oslo {
					t.Fatal("the index counts other entries than it has")
				}
				if _, p := byName.Peek(tx, "ada"); (p != nil) != slices.Contains(want, 1) {
					t.Fatalf("the index finds %v", p)
				}
				return nil
			})
		}
		look(1, 2, 3)
		wall.Pass(time.Second - 1)
		look(1, 2, 3)
		wall.Pass(1)
		look(2, 3)
		if was, err := m.Delete(s, 1); was || err != nil {
			t.Fatal("an expired entry was deleted", was, err)
		}
		// Its key and its unique value are free again.
		spacetest.Must(t, m.Set(s, 5, visit{"ada", "Rome", time.Time{}}))
		if err := m.Set(s, 6, visit{Name: "eve"}); !errors.Is(err, everheap.ErrDuplicate) {
			t.Fatal(err)
		}
		err = m.Upsert(s, 1, func(v *visit, found bool) error {
			if found || *v != (visit{}) {
				t.Error("an expired entry was found", *v)
			}
			*v = visit{Name: "new"}
			return nil
		})
		spacetest.Must(t, err)
		wall.Pass(time.Minute)
		look(1, 2, 5)
		if err := m.Modify(s, 3, func(*visit) error { return nil }); !spacetest.IsNotFound(err) {
			t.Fatal(err)
		}
	}
}

// A transaction has one time.
func TestExpiry_OneTimeForATransaction(t *testing.T) { // EX1
	s, wall := expiring(t)
	m, err := everheap.OpenMap[string, visit](s, "visits")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", visit{Name: "a", Until: wall.Now().Add(time.Second)}))
	look := func(tx *everheap.Tx) error {
		for range 2 {
			n, err := m.Len(tx)
			spacetest.Must(t, err)
			if has, err := m.Has(tx, "a"); !has || err != nil || n != 1 || m.Peek(tx, "a") == nil {
				t.Fatal("the transaction has another time", has, err, n)
			}
			wall.Pass(time.Second)
		}
		return nil
	}
	spacetest.View(t, s, look)
	wall.Pass(-2 * time.Second)
	spacetest.Update(t, s, look)
	if has, err := m.Has(s, "a"); has || err != nil {
		t.Fatal("it is there", err)
	}
}

// Setting the clock back does not bring back an entry that a reader has seen expire. When that entry
// is removed, the clock of the space follows the new time, and entries stored then expire by it.
func TestExpiry_ClockIsPutBack(t *testing.T) { // EX2, EX3
	s, wall := expiring(t)
	m, err := everheap.OpenMap[string, visit](s, "visits")
	spacetest.Must(t, err)
	set := func(name string, d time.Duration) {
		spacetest.Must(t, m.Set(s, name, visit{Name: name, Until: wall.Now().Add(d)}))
	}
	has := func(name string, want bool) {
		t.Helper()
		if has, err := m.Has(s, name); has != want || err != nil {
			t.Fatalf("%s is there: %v, %v", name, has, err)
		}
	}
	set("a", time.Minute)
	set("b", 2*time.Minute)
	wall.Pass(90 * time.Second)
	has("a", false)
	has("b", true)
	wall.Pass(-time.Hour)
	has("a", false)
	has("b", true)
	set("c", time.Second) // the clock of the space is an hour ahead
	has("c", false)
	spacetest.RemoveExpired(t, s)
	has("a", false)
	has("b", true)
	has("c", false)
	set("c", time.Second)
	has("c", true)
	wall.Pass(time.Second)
	has("c", false)
}

// A time to live begins with each change, or with the first one; and with a Touch.
func TestExpiry_TTL(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		var opts []everheap.TTLOption
		if fixed {
			opts = append(opts, everheap.Fixed)
		}
		s, wall := expiring(t)
		type at struct {
			S string
			N int64
		}
		old, err := everheap.OpenMap[at, string](s, "old") // has an entry before the time to live is declared
		spacetest.Must(t, err)
		spacetest.Must(t, old.Set(s, at{"x", -1}, "x"))
		m, err := everheap.OpenMap[at, string](s, "old", everheap.WithTTL(10*time.Second, opts...))
		spacetest.Must(t, err)
		has := func(key at, want bool) {
			t.Helper()
			if has, err := m.Has(s, key); has != want || err != nil {
				t.Fatalf("fixed %v: %v is there: %v, %v", fixed, key, has, err)
			}
			n, err := m.Len(s)
			spacetest.Must(t, err)
			i := 0
			spacetest.View(t, s, func(tx *everheap.Tx) error {
				for range m.All(tx) {
					i++
				}
				return nil
			})
			if i != n {
				t.Fatalf("%d entries, Len says %d", i, n)
			}
		}
		a, b, c, x := at{"a\x00", 1}, at{"b", 2}, at{"c", 3}, at{"x", -1}
		for _, k := range []at{a, b, c} {
			spacetest.Must(t, m.Set(s, k, "1"))
		}
		wall.Pass(6 * time.Second)
		spacetest.Must(t, m.Set(s, a, "2"))
		spacetest.Must(t, m.Modify(s, c, func(v *string) error { return nil }))
		if found, err := m.Touch(s, b); !found || err != nil {
			t.Fatal(found, err)
		}
		wall.Pass(4 * time.Second)
		has(x, false)
		for _, k := range []at{a, b, c} {
			has(k, !fixed)
		}
		if found, err := m.Touch(s, x); found || err != nil {
			t.Fatal("an expired entry was touched", err)
		}
		has(x, false)
		spacetest.Must(t, m.Set(s, x, "again"))
		wall.Pass(6 * time.Second)
		has(a, false)
		has(x, true)
		spacetest.RemoveExpired(t, s)
		has(a, false)
		has(x, true)
		report, err := s.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			t.Fatal(report.Findings, err)
		}
		// Another time to live needs Evolve, and also applies to existing entries.
		if _, err := everheap.OpenMap[at, string](s, "old", everheap.WithTTL(time.Minute)); !errors.Is(err, everheap.ErrExists) {
			t.Fatal(err)
		}
		_, err = everheap.OpenMap[at, string](s, "old", everheap.WithTTL(time.Minute), everheap.Evolve())
		spacetest.Must(t, err)
		wall.Pass(53 * time.Second)
		has(x, true)
		wall.Pass(time.Second)
		has(x, false)
		if was, err := everheap.DropExpiry(s, "old"); !was || err != nil {
			t.Fatal(was, err)
		}
		has(x, false)
		spacetest.Must(t, m.Set(s, x, "for ever"))
		wall.Pass(1e6 * time.Hour)
		has(x, true)
	}
}

// After the clock was put back a Touch makes an entry expire earlier than before: a watch that sees
// the version before it, and then one after that time, reports the removal of the entry.
func TestExpiry_WatchTouched(t *testing.T) { // EX6
	s, wall := expiring(t)
	m, err := everheap.OpenMap[string, int](s, "idle", everheap.WithTTL(10*time.Minute))
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", 1))
	first := true
	for ch, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		if err != nil {
			t.Fatal("it is not told that the entry is gone: ", err)
		}
		if ch.Kind() == everheap.Removed {
			break
		}
		if !first {
			continue
		}
		first = false
		wall.Pass(-5 * time.Minute)
		if found, err := m.Touch(s, "a"); !found || err != nil {
			t.Fatal(found, err)
		}
		wall.Pass(11 * time.Minute)
	}
}

// A watch reports each removal once, whether it sees first that the entry has expired or that it was
// removed.
func TestExpiry_Watch(t *testing.T) { // EX5
	s, wall := expiring(t)
	m, err := everheap.OpenMap[string, visit](s, "visits")
	spacetest.Must(t, err)
	c, err := s.Collection("visits")
	spacetest.Must(t, err)
	told := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for ch, err := range m.Watch(ctx, s, everheap.WithInitial()) {
			if err != nil {
				return
			}
			told <- fmt.Sprint(ch.Key, " ", ch.Kind())
		}
	}()
	dynamic := make(chan string, 100)
	go func() {
		for ch, err := range c.WatchJSON(ctx, everheap.WithInitial()) {
			if err != nil {
				return
			}
			dynamic <- fmt.Sprint(string(ch.Key), " ", ch.Kind)
		}
	}()
	expect := func(want string) {
		t.Helper()
		if got := spacetest.Receive(t, "a change", told); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got := spacetest.Receive(t, "a change", dynamic); got != `"`+want[:1]+`"`+want[1:] {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	set := func(key string, d time.Duration) {
		spacetest.Must(t, m.Set(s, key, visit{Name: key, Until: wall.Now().Add(d)}))
	}
	set("a", time.Minute)
	expect("a added")
	wall.Pass(time.Minute) // no process writes
	expect("a removed")
	spacetest.RemoveExpired(t, s) // not reported again
	set("b", time.Minute)
	expect("b added")
	set("b", 2*time.Minute)
	expect("b updated")
	set("z", -time.Minute) // no reader ever sees it
	wall.Pass(2 * time.Minute)
	spacetest.RemoveExpired(t, s)
	expect("b removed")
	set("c", time.Minute)
	expect("c added")
	wall.Pass(time.Minute)
	expect("c removed")
	set("c", time.Minute) // replaces an expired entry that is still stored
	expect("c added")
	if was, err := everheap.DropExpiry(s, "visits"); !was || err != nil {
		t.Fatal(was, err)
	}
	wall.Pass(time.Hour)
	set("d", 0)
	expect("d added")
}
