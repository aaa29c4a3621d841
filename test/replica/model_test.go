package replica

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A leader is a space that changes at random, in all possible ways.
type leader struct {
	t     testing.TB
	r     *rand.Rand
	dir   string
	space *everheap.Space
	pins  map[string]bool
	specs [2]int // of users and sorted: which of the types they have
}

var userSpecs = []string{
	"map[string]User\ntype User struct { Name string; Age int; Tags []string }",
	"map[string]User\ntype User struct { Name string; Age int64; Tags []string; City string }",
	"map[string]User\ntype User struct { Name string; Age int; Tags []string; Notes map[string]string }",
}

var sortedSpecs = []string{
	"sorted[int]Post\ntype Post struct { Title string; Score int }",
	"sorted[int]Post\ntype Post struct { Title string; Score int; By string }",
}

func (l *leader) collection(name, spec string) *everheap.Collection {
	l.t.Helper()
	c, err := l.space.Create(name, spec)
	spacetest.Must(l.t, err)
	return c
}

// step makes one random change.
func (l *leader) step() string {
	t, r := l.t, l.r
	t.Helper()
	pin := fmt.Sprint("pin", r.IntN(4))
	switch n := r.IntN(100); {
	case n < 40:
		c, err := l.space.Collection("users")
		spacetest.Must(t, err)
		key := fmt.Sprintf("%q", fmt.Sprint("u", r.IntN(200)))
		if r.IntN(4) == 0 {
			_, err = c.DeleteJSON(l.space, []byte(key))
			spacetest.Must(t, err)
			return "delete"
		}
		spacetest.Must(t, c.SetJSON(l.space, []byte(key), fmt.Appendf(nil, `{"Name": %q, "Age": %d, "Tags": [%q]}`, strings.Repeat("n", r.IntN(60)), r.IntN(90), fmt.Sprint(r.IntN(9)))))
		return "set"
	case n < 55:
		c, err := l.space.Collection("posts")
		spacetest.Must(t, err)
		spacetest.Must(t, c.SetJSON(l.space, fmt.Append(nil, r.IntN(300)), fmt.Appendf(nil, `{"Title": "t%d", "Score": %d}`, r.IntN(1000), r.IntN(100))))
		return "post"
	case n < 65:
		list, err := everheap.OpenList[string](l.space, "log")
		spacetest.Must(t, err)
		if r.IntN(5) == 0 {
			n, err := list.Len(l.space)
			spacetest.Must(t, err)
			spacetest.Must(t, list.Truncate(l.space, r.IntN(n+1)))
			return "truncate"
		}
		for range r.IntN(40) {
			spacetest.Must(t, list.Append(l.space, strings.Repeat("x", r.IntN(30))))
		}
		return "append"
	case n < 70:
		ref, err := everheap.OpenRef(l.space, "single", "start")
		spacetest.Must(t, err)
		spacetest.Must(t, ref.Set(l.space, fmt.Sprint("value ", r.IntN(1000))))
		return "ref"
	case n < 75:
		spacetest.Must(t, l.many())
		return "many"
	case n < 79:
		if l.pins[pin] {
			spacetest.Must(t, l.space.DropCheckpoint(pin))
		} else {
			spacetest.Must(t, l.space.Checkpoint(pin))
		}
		l.pins[pin] = !l.pins[pin]
		return "pin"
	case n < 82:
		if l.pins[pin] {
			spacetest.Must(t, l.space.Restore(context.Background(), pin))
			return "restore"
		}
		return "nothing"
	case n < 85:
		l.specs[0] = r.IntN(len(userSpecs))
		spacetest.Must(t, l.space.EvolveCollection("users", userSpecs[l.specs[0]], everheap.Evolve()))
		return "evolve users"
	case n < 88:
		l.specs[1] = r.IntN(len(sortedSpecs))
		spacetest.Must(t, l.space.EvolveCollection("posts", sortedSpecs[l.specs[1]], everheap.Evolve()))
		return "evolve posts"
	case n < 91:
		return l.index()
	case n < 93:
		_, err := l.space.Collect(context.Background())
		spacetest.Must(t, err)
		return "collect"
	case n < 96:
		name := fmt.Sprint("extra", r.IntN(3))
		removed, err := everheap.DropCollection(l.space, name)
		spacetest.Must(t, err)
		if !removed {
			c := l.collection(name, "map[int]string")
			spacetest.Must(t, c.SetJSON(l.space, []byte("1"), []byte(`"one"`)))
		}
		return "extra"
	case n < 97:
		_, err := l.space.Compact(context.Background())
		spacetest.Must(t, err)
		return "compact"
	default:
		spacetest.Must(t, l.space.Close())
		l.open()
		return "reopen"
	}
}

// index declares or drops an index, or how entries expire.
func (l *leader) index() string {
	t := l.t
	if l.r.IntN(2) == 0 {
		dropped, err := everheap.DropIndex(l.space, "users", "by_name")
		spacetest.Must(t, err)
		if !dropped {
			spacetest.Must(t, everheap.CreateIndex(l.space, "users", "by_name", "Name"))
		}
		return "index"
	}
	dropped, err := everheap.DropExpiry(l.space, "posts")
	spacetest.Must(t, err)
	if !dropped {
		spacetest.Must(t, everheap.SetTTL(l.space, "posts", time.Hour))
	}
	return "expiry"
}

// many changes several things in one transaction.
func (l *leader) many() error {
	return l.space.Update(context.Background(), func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[int, everheap.List[string]](tx, "lists")
		if err != nil {
			return err
		}
		for range l.r.IntN(60) {
			key := l.r.IntN(30)
			if l.r.IntN(3) == 0 {
				if _, err := m.Delete(tx, key); err != nil {
					return err
				}
				continue
			}
			list, err := everheap.NewList[string](tx)
			if err == nil {
				err = list.Append(tx, fmt.Sprint(key))
			}
			if err == nil {
				err = m.Set(tx, key, list)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *leader) open() {
	l.t.Helper()
	var err error
	l.space, err = everheap.Open(l.dir)
	spacetest.Must(l.t, err)
}

// newLeader makes a leader with a subscription, and a replica of it.
func newLeader(t *testing.T, seed uint64) (*leader, *everheap.Replica) {
	t.Helper()
	l := &leader{t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: filepath.Join(t.TempDir(), "leader"), pins: map[string]bool{}}
	l.open()
	l.collection("users", userSpecs[0])
	l.collection("posts", sortedSpecs[0])
	_, err := l.space.Subscribe("replica", 0)
	spacetest.Must(t, err)
	return l, follower(t, l.space)
}

// follower makes a replica from a snapshot.
func follower(t *testing.T, leader *everheap.Space) *everheap.Replica {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "replica")
	spacetest.Must(t, everheap.RestoreReplica(dir, bytes.NewReader(spacetest.BackupOf(t, leader)), "the leader of the test"))
	s := spacetest.Open(t, dir)
	r, err := s.AsReplica("the leader of the test")
	spacetest.Must(t, err)
	return r
}

// newest returns the newest version of a space.
func newest(t testing.TB, s *everheap.Space) (v everheap.Version) {
	t.Helper()
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error { v = tx.Version(); return nil }))
	return v
}

// follow applies frames until the replica has the leader's newest version.
func follow(t *testing.T, leader *everheap.Space, r *everheap.Replica) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	want := newest(t, leader)
	spacetest.Must(t, leader.Sync(ctx))
	at, err := r.Version()
	spacetest.Must(t, err)
	if at == want {
		return
	}
	for f, err := range leader.ChangesSince(ctx, at) {
		spacetest.Must(t, err)
		if at++; f.Version() != at {
			t.Fatalf("a frame of version %d, want %d", f.Version(), at)
		}
		f, err = everheap.ParseFrame(bytes.Clone(f.Bytes()))
		spacetest.Must(t, err)
		spacetest.Must(t, r.Apply(ctx, f))
		if at >= want {
			return
		}
	}
}

// A replica has the contents of its leader after every change of every kind.
func TestModel(t *testing.T) {
	seeds := 4
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			l, r := newLeader(t, uint64(seed))
			defer func() { l.space.Close() }()
			var did []string
			for range 300 {
				did = append(did, l.step())
				follow(t, l.space, r)
				spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, r.Space())), spacetest.ReadDump(t, spacetest.BackupOf(t, l.space)))
				if t.Failed() {
					t.Fatalf("after %q", did[max(0, len(did)-5):])
				}
			}
		})
	}
}
