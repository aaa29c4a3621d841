package replica

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A replica refuses every write in every process, with the name of the leader in the error. It can be
// read and watched as any space, also after it was closed and has a new live file.
func TestReplica_ReadOnly(t *testing.T) {
	l := spacetest.Open(t, filepath.Join(t.TempDir(), "leader"))
	set(t, l, 10, 10)
	_, err := l.Subscribe("replica", 0)
	spacetest.Must(t, err)
	r := follower(t, l)
	dir := r.Space().Name()
	for range 2 {
		s := r.Space()
		m := spacetest.MapOf[int, string](t, s)
		refused := map[string]error{
			"Set":            m.Set(s, 1, "x"),
			"Update":         s.Update(context.Background(), func(tx *everheap.Tx) error { return nil }),
			"Checkpoint":     s.Checkpoint("mine"),
			"Restore":        s.Restore(context.Background(), "mine"),
			"CreateIndex":    everheap.CreateIndex(s, "map", "by", ""),
			"WithReplicas":   s.Update(context.Background(), func(tx *everheap.Tx) error { return nil }, everheap.WithReplicas(1)),
			"DropCollection": func() error { _, err := everheap.DropCollection(s, "map"); return err }(),
		}
		for what, err := range refused {
			if !errors.Is(err, everheap.ErrReadOnly) || !strings.Contains(err.Error(), "leader of the test") {
				t.Errorf("%s: %v, want ErrReadOnly with the name of the leader", what, err)
			}
		}
		if lead, is, err := s.Leader(); lead != "the leader of the test" || !is || err != nil {
			t.Errorf("Leader: %q, %v, %v", lead, is, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		changed := make(chan string, 1)
		go func() {
			for c, err := range m.Watch(ctx, s) {
				if err == nil && c.New != nil {
					changed <- *c.New
					return
				}
			}
		}()
		time.Sleep(20 * time.Millisecond)
		lm := spacetest.MapOf[int, string](t, l)
		value := time.Now().String()
		spacetest.Must(t, lm.Set(l, 3, value))
		follow(t, l, r)
		if got, err := m.Get(s, 3); err != nil || got != value {
			t.Errorf("the replica has %q, %v; want %q", got, err, value)
		}
		if got := <-changed; got != value {
			t.Errorf("the watch saw %q, want %q", got, value)
		}
		cancel()
		spacetest.Must(t, s.Close())
		spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
		r, err = spacetest.Open(t, dir).AsReplica("the leader of the test")
		spacetest.Must(t, err)
	}
}

// Frames are applied once, in order, and only if they follow; any other frame is an error, and
// changes nothing.
func TestReplica_Order(t *testing.T) {
	ctx := context.Background()
	l := spacetest.Open(t, filepath.Join(t.TempDir(), "leader"))
	set(t, l, 10, 10)
	u, err := l.Subscribe("replica", 0)
	spacetest.Must(t, err)
	r, other := follower(t, l), follower(t, l)
	set(t, l, 20, 20)
	from, err := u.Version()
	spacetest.Must(t, err)
	list, err := frames(t, l, from)
	spacetest.Must(t, err)
	unchanged := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	unchanged("a later frame first", r.Apply(ctx, list[1]), everheap.ErrOutOfOrder)
	unchanged("no frame", r.Apply(ctx, everheap.Frame{}), everheap.ErrCorrupt)
	for i, f := range list[:10] {
		spacetest.Must(t, r.Apply(ctx, f))
		unchanged("the same frame again", r.Apply(ctx, f), everheap.ErrOutOfOrder)
		unchanged("an older frame", r.Apply(ctx, list[max(0, i-1)]), everheap.ErrOutOfOrder)
	}
	for i := range list[10].Bytes() {
		b := bytes.Clone(list[10].Bytes())
		b[i] ^= 1 << (i % 8)
		_, err := everheap.ParseFrame(b)
		unchanged("a flipped bit", err, everheap.ErrCorrupt)
		_, err = everheap.ParseFrame(b[:i])
		unchanged("a cut frame", err, everheap.ErrCorrupt)
	}
	for _, f := range list[10:] {
		spacetest.Must(t, r.Apply(ctx, f))
	}
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, r.Space())), spacetest.ReadDump(t, spacetest.BackupOf(t, l)))

	// A promoted replica has a history of its own.
	for _, f := range list[:5] {
		spacetest.Must(t, other.Apply(ctx, f))
	}
	spacetest.Must(t, other.Promote(ctx))
	if _, is, err := other.Space().Leader(); is || err != nil {
		t.Errorf("promoted, and a replica still: %v, %v", is, err)
	}
	if err := other.Apply(ctx, list[5]); err == nil || errors.Is(err, everheap.ErrCorrupt) {
		t.Errorf("a frame for one that was promoted: %v", err)
	}
	s := other.Space()
	set(t, s, 3, 7)
	back, err := s.AsReplica("its former leader")
	spacetest.Must(t, err)
	for _, f := range list {
		if err := back.Apply(ctx, f); !errors.Is(err, everheap.ErrDiverged) && !errors.Is(err, everheap.ErrOutOfOrder) {
			t.Errorf("a frame of version %d of the former leader: %v", f.Version(), err)
		}
	}
	stranger := spacetest.Open(t, filepath.Join(t.TempDir(), "stranger"))
	set(t, stranger, 30, 3)
	as, err := stranger.AsReplica("nobody")
	spacetest.Must(t, err)
	unchanged("a frame of another space", as.Apply(ctx, list[0]), everheap.ErrDiverged)
}

// A replica of a replica works, and so do frames of a promoted space.
func TestReplica_OfReplica(t *testing.T) {
	l, r := newLeader(t, 7)
	defer func() { l.space.Close() }()
	_, err := r.Space().Subscribe("next", 0)
	spacetest.Must(t, err)
	second := follower(t, r.Space())
	for range 60 {
		l.step()
		follow(t, l.space, r)
	}
	follow(t, r.Space(), second)
	want := spacetest.ReadDump(t, spacetest.BackupOf(t, l.space))
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, second.Space())), want)
	spacetest.Must(t, r.Promote(context.Background()))
	set(t, r.Space(), 20, 9)
	follow(t, r.Space(), second)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, second.Space())), spacetest.ReadDump(t, spacetest.BackupOf(t, r.Space())))
}

// An Update waits for the requested number of copies, whichever process they report to, and returns
// an error if there are too few.
func TestWithReplicas(t *testing.T) {
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"))
	m := spacetest.MapOf[int, string](t, s)
	put := func(ctx context.Context, n int) error {
		return s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, 1, "one") }, everheap.WithReplicas(n))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	before := newest(t, s)
	err := put(ctx, 1)
	if !errors.Is(err, everheap.ErrNotReplicated) || !strings.Contains(err.Error(), "committed") || newest(t, s) == before {
		t.Errorf("without copies: %v at version %d, before %d", err, newest(t, s), before)
	}
	if err := s.Acknowledge("b", newest(t, s)+1); err == nil {
		t.Error("a copy has a version that is to come")
	}
	over := make(chan struct{})
	defer func() { <-over }()
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			v := s.Stats().Version
			spacetest.Must(t, s.Acknowledge("b", v))
			spacetest.Must(t, s.Acknowledge("c", v))
			time.Sleep(time.Millisecond)
		}
	}()
	spacetest.Must(t, put(context.Background(), 1))
	spacetest.Must(t, put(context.Background(), 2))
	short, end := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer end()
	if err := put(short, 3); !errors.Is(err, everheap.ErrNotReplicated) {
		t.Errorf("three copies, and there are two: %v", err)
	}
	cancel()
	<-over
	r, err := s.AsReplica("somebody")
	spacetest.Must(t, err)
	spacetest.Must(t, r.Promote(context.Background()))
	short, end = context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer end()
	if err := put(short, 1); !errors.Is(err, everheap.ErrNotReplicated) {
		t.Errorf("a report of copies about another history counts: %v", err)
	}
}
