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
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The random program for entries that expire, by a clock that the test sets forward: readers see
// exactly the entries that have not expired.

// lease expires at an instant of its own.
type lease struct {
	Holder string    `everheap:"unique"`
	Until  time.Time `everheap:"expires"`
}

// live is a value of the model with the time of its expiry; the zero time is never.
type live[V any] struct {
	v     V
	until time.Time
}

// clocked is a space with entries that expire, and its expected contents, expired entries included.
type clocked struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	wall   *spacetest.Wall
	space  *everheap.Space
	leases everheap.Map[int, lease]
	idle   everheap.Sorted[string, int] // each for so long after it was stored
	now    clockedState
	pins   map[string]clockedState
}

type clockedState struct {
	leases map[int]live[lease]
	idle   map[string]live[int]
}

func (s clockedState) clone() clockedState {
	return clockedState{maps.Clone(s.leases), maps.Clone(s.idle)}
}

const idleTime = 10 * time.Minute

func (c *clocked) open() {
	var err error
	c.space, err = everheap.Open(c.dir, everheap.WithMaxSize(64<<20), spacetest.WithoutBackground(), c.wall.With())
	spacetest.Must(c.t, err)
	c.leases, err = everheap.OpenMap[int, lease](c.space, "leases")
	spacetest.Must(c.t, err)
	c.idle, err = everheap.OpenSorted[string, int](c.space, "idle", everheap.WithTTL(idleTime))
	spacetest.Must(c.t, err)
}

// there returns the value of an entry, and whether it exists.
func there[K comparable, V any](c *clocked, m map[K]live[V], key K) (V, bool) {
	e, ok := m[key]
	if !ok || !e.until.IsZero() && !c.wall.Now().Before(e.until) {
		var none V
		return none, false
	}
	return e.v, true
}

// change changes an entry in a scope and in a model.
func (c *clocked) change(sc everheap.Scope, s clockedState) {
	t, r := c.t, c.r
	if r.IntN(2) == 0 {
		c.changeIdle(sc, s)
		return
	}
	key := r.IntN(40)
	old, has := there(c, s.leases, key)
	if r.IntN(4) == 0 {
		removed, err := c.leases.Delete(sc, key)
		if removed != has || err != nil {
			t.Fatalf("deleting lease %d: %v, %v; it is there: %v", key, removed, err, has)
		}
		delete(s.leases, key)
		return
	}
	v := lease{Holder: fmt.Sprint("holder ", r.IntN(60))}
	if r.IntN(4) > 0 {
		v.Until = c.wall.Now().Add(time.Duration(r.IntN(20)-1) * time.Minute)
	}
	var taken bool
	for k := range s.leases {
		if o, ok := there(c, s.leases, k); ok && k != key && o.Holder == v.Holder {
			taken = true
		}
	}
	err := c.leases.Upsert(sc, key, func(p *lease, found bool) error {
		if found != has || found && (p.Holder != old.Holder || !p.Until.Equal(old.Until)) {
			t.Fatalf("lease %d: %v, found: %v; want %v, %v", key, *p, found, old, has)
		}
		*p = v
		return nil
	})
	// An entry that is stored with a past time takes no unique value, and is never seen.
	gone := !v.Until.IsZero() && !c.wall.Now().Before(v.Until)
	if errors.Is(err, everheap.ErrDuplicate) != taken && !gone || err != nil && !errors.Is(err, everheap.ErrDuplicate) {
		t.Fatalf("lease %d of %s until %v: %v; taken: %v", key, v.Holder, v.Until, err, taken)
	}
	if err == nil {
		s.leases[key] = live[lease]{v, v.Until}
	}
}

func (c *clocked) changeIdle(sc everheap.Scope, s clockedState) {
	t, r := c.t, c.r
	key := fmt.Sprint("key ", r.IntN(40))
	old, has := there(c, s.idle, key)
	until := c.wall.Now().Add(idleTime)
	switch r.IntN(4) {
	case 0:
		removed, err := c.idle.Delete(sc, key)
		if removed != has || err != nil {
			t.Fatalf("deleting %s: %v, %v; it is there: %v", key, removed, err, has)
		}
		delete(s.idle, key)
	case 1:
		found, err := c.idle.Touch(sc, key)
		if found != has || err != nil {
			t.Fatalf("touching %s: %v, %v; it is there: %v", key, found, err, has)
		}
		if has {
			s.idle[key] = live[int]{old, until}
		}
	case 2:
		err := c.idle.Modify(sc, key, func(v *int) error { *v++; return nil })
		if has != (err == nil) || err != nil && !errors.Is(err, everheap.ErrNotFound) {
			t.Fatalf("modifying %s: %v; it is there: %v", key, err, has)
		}
		if has {
			s.idle[key] = live[int]{old + 1, until}
		}
	default:
		v := r.IntN(1000)
		spacetest.Must(t, c.idle.Set(sc, key, v))
		s.idle[key] = live[int]{v, until}
	}
}

// compare compares what a transaction sees with a model.
func (c *clocked) compare(tx *everheap.Tx, s clockedState) {
	t := c.t
	t.Helper()
	n, byHolder := 0, everheap.IndexOf[lease, string](c.leases, "Holder")
	for key := range s.leases {
		want, ok := there(c, s.leases, key)
		if p := c.leases.Peek(tx, key); (p != nil) != ok || ok && (p.Holder != want.Holder || !p.Until.Equal(want.Until)) {
			t.Fatalf("lease %d is %v, want %v, %v", key, p, want, ok)
		}
		if k, p := byHolder.Peek(tx, want.Holder); ok && (p == nil || k != key) {
			t.Fatalf("%s has lease %d, want %d", want.Holder, k, key)
		}
		if ok {
			n++
		}
	}
	seen := 0
	for key := range c.leases.All(tx) {
		if _, ok := there(c, s.leases, key); !ok {
			t.Fatalf("lease %d is walked to, and has expired", key)
		}
		seen++
	}
	if count, err := c.leases.Len(tx); seen != n || count != n || byHolder.Len(tx) != n || err != nil {
		t.Fatalf("%d leases are walked to, of %d, and %d are in the index (%v); want %d", seen, count, byHolder.Len(tx), err, n)
	}
	var want, got []string
	for key := range s.idle {
		if _, ok := there(c, s.idle, key); ok {
			want = append(want, key)
		}
	}
	slices.SortFunc(want, cmp.Compare[string])
	for key, v := range c.idle.Range(tx, everheap.Unbounded[string](), everheap.Unbounded[string]()) {
		if got = append(got, key); *v != s.idle[key].v {
			t.Fatalf("%s is %d, want %d", key, *v, s.idle[key].v)
		}
	}
	if count, err := c.idle.Len(tx); !slices.Equal(got, want) || count != len(want) || err != nil {
		t.Fatalf("%v are there, of %d (%v); want %v", got, count, err, want)
	}
}

func (c *clocked) step() {
	t, r := c.t, c.r
	pin := fmt.Sprint("pin", r.IntN(2))
	switch k := r.IntN(100); {
	case k < 40:
		c.change(c.space, c.now)
	case k < 55:
		was, stop := c.now.clone(), errors.New("stop")
		err := c.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for range 1 + r.IntN(20) {
				c.change(tx, was)
			}
			c.compare(tx, was)
			if r.IntN(3) == 0 {
				return stop
			}
			return nil
		})
		if err == nil {
			c.now = was
		} else if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	case k < 72:
		c.wall.Pass(time.Duration(r.IntN(10)) * 30 * time.Second) // often exactly to an instant of expiry
	case k < 78:
		spacetest.RemoveExpired(t, c.space)
		for name, want := range map[string]int{"leases": alive(c, c.now.leases), "idle": alive(c, c.now.idle)} {
			if n := spacetest.StoredEntries(t, c.space, name); n != uint64(want) {
				t.Fatalf("%d of %s are stored, of which %d have not expired", n, name, want)
			}
		}
	case k < 81:
		if _, is := c.pins[pin]; !is {
			spacetest.Must(t, c.space.Checkpoint(pin))
			c.pins[pin] = c.now.clone()
		}
	case k < 83:
		if was, is := c.pins[pin]; is {
			spacetest.Must(t, c.space.ViewAt(pin, func(tx *everheap.Tx) error { c.compare(tx, was); return nil }))
		}
	case k < 85:
		if was, is := c.pins[pin]; is {
			spacetest.Must(t, c.space.Restore(context.Background(), pin))
			c.now = was.clone()
		}
	case k < 88:
		_, err := c.space.Collect(context.Background())
		spacetest.Must(t, err)
	case k < 91: // as after a power loss: from the journal
		spacetest.Must(t, c.space.Sync(context.Background()))
		was := c.dir
		c.dir = filepath.Join(spacetest.MemoryDir(t), "recovered")
		spacetest.CopySpace(t, was, c.dir)
		spacetest.Must(t, c.space.Close())
		spacetest.Must(t, os.Remove(filepath.Join(c.dir, "live")))
		c.open()
	case k < 93:
		spacetest.Must(t, c.space.Close())
		c.open()
	case k < 95: // a backup, restored
		var b bytes.Buffer
		spacetest.Must(t, c.space.Backup(&b))
		spacetest.Must(t, c.space.Close())
		c.dir = filepath.Join(spacetest.MemoryDir(t), "restored")
		spacetest.Must(t, everheap.RestoreBackup(c.dir, &b, everheap.WithMaxSize(64<<20)))
		c.pins = map[string]clockedState{}
		c.open()
	case k < 96:
		spacetest.Must(t, c.space.Close())
		_, err := everheap.Compact(context.Background(), c.dir)
		spacetest.Must(t, err)
		c.open()
	default:
		report, err := c.space.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			t.Fatal(report.Findings, err)
		}
	}
}

// alive counts the entries that have not expired.
func alive[K comparable, V any](c *clocked, m map[K]live[V]) (n int) {
	for key := range m {
		if _, ok := there(c, m, key); ok {
			n++
		}
	}
	return n
}

func TestExpiry_Model(t *testing.T) { // EX1, EX4, EX7
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		c := &clocked{t: t, r: r, dir: filepath.Join(spacetest.MemoryDir(t), "s"), wall: spacetest.NewWall(), pins: map[string]clockedState{},
			now: clockedState{map[int]live[lease]{}, map[string]live[int]{}}}
		c.open()
		defer func() { _ = c.space.Close() }()
		for range 400 {
			c.step()
			spacetest.View(t, c.space, func(tx *everheap.Tx) error { c.compare(tx, c.now); return nil })
		}
	})
}
