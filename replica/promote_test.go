package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/faultdisk"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// takeOver lets a follower take over, and leads with its space.
func takeOver(t testing.TB, nc *nats.Conn, f *Follower, o Options, force bool) (*Leader, *everheap.Space) {
	t.Helper()
	dir := f.dir
	spacetest.Must(t, f.Promote(soon(t), force))
	if !errors.Is(f.Err(), ErrLeads) {
		t.Fatalf("the follower ended with %v", f.Err())
	}
	s := spacetest.Open(t, dir)
	return mustLead(t, nc, s, o), s
}

// tails returns the tails that a copy has kept, and the number of their frames.
func tails(t testing.TB, stateDir string) (files []string, frames int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(stateDir, "tail-*.frames"))
	spacetest.Must(t, err)
	for _, file := range files {
		spacetest.Must(t, ReadFrames(file, func(everheap.Frame) error { frames++; return nil }))
	}
	return files, frames
}

// A follower takes over while the leader believes that it leads. The leader's space refuses writes
// and names the new leader; the frames that the log lacks are kept in a file, and the copy joins.
func TestPromote_LeaderAlive(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	fill(t, s, 0, 50, 100)
	oa, ob := testOptions(t, "a"), testOptions(t, "b")
	l := mustLead(t, js.connect(t), s, oa)
	f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), ob)
	fill(t, s, 50, 100, 100)
	caught(t, s, f)
	if err := f.Promote(soon(t), false); !errors.Is(err, ErrLeads) {
		t.Fatalf("it takes over from a leader that is alive: %v", err)
	}
	m, s2 := takeOver(t, js.connect(t), f, ob, true)
	fill(t, s2, 100, 150, 100)
	<-l.Done()
	if !errors.Is(l.Err(), ErrFenced) {
		t.Fatalf("the old leader ended with %v", l.Err())
	}
	mm, err := everheap.OpenMap[int, string](s, "m")
	spacetest.Must(t, err)
	spacetest.ExpectError(t, mm.Set(s, 1, ""), everheap.ErrReadOnly, "write to the leader: b")
	// The copy joins, and continues from its own space, since the log has all of its versions.
	dir := s.Stats().Dir
	spacetest.Must(t, s.Close())
	g := mustFollow(t, js.connect(t), dir, oa)
	caught(t, s2, g)
	alike(t, g.Space(), s2)
	if files, _ := tails(t, dir+".replica"); len(files) > 0 || g.Status().Rebuilt != 0 {
		t.Errorf("the copy kept %v, and is %+v", files, g.Status())
	}
	// And back, by request, after the leader has stopped.
	spacetest.Must(t, m.Stop())
	nc := js.connect(t)
	spacetest.Must(t, AskPromote(soon(t), nc, "s", "a", false))
	<-g.Done()
	s3 := spacetest.Open(t, dir)
	mustLead(t, nc, s3, oa)
	fill(t, s3, 150, 160, 10)
	dir2 := s2.Stats().Dir
	spacetest.Must(t, s2.Close())
	h := mustFollow(t, nc, dir2, ob)
	caught(t, s3, h)
	alike(t, h.Space(), s3)
}

// The versions that a leader has committed while it was cut off are its tail: the copy keeps them in
// a file, and begins again with a snapshot (JS10).
func TestPromote_TailIsKept(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	oa, ob := testOptions(t, "a"), testOptions(t, "b")
	cut := js.connect(t)
	l := mustLead(t, cut, s, oa)
	f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), ob)
	fill(t, s, 0, 50, 100)
	caught(t, s, f)
	spacetest.Must(t, l.Stop())
	fill(t, s, 50, 80, 100) // no copy gets these
	m, s2 := takeOver(t, js.connect(t), f, ob, false)
	fill(t, s2, 50, 60, 50)
	_, err := Lead(soon(t), cut, s, oa)
	if !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), "b, since term 2") {
		t.Fatalf("it leads again: %v", err)
	}
	dir := s.Stats().Dir
	files, frames := tails(t, dir+".replica")
	if len(files) != 1 || frames < 30 || frames > 32 {
		t.Errorf("the tail is %v with %d frames", files, frames)
	}
	g := mustFollow(t, js.connect(t), dir, oa)
	spacetest.Must(t, s.Close())
	caught(t, s2, g)
	alike(t, g.Space(), s2)
	if g.Status().Rebuilt != 1 {
		t.Errorf("the copy is %+v", g.Status())
	}
	if asides, _ := filepath.Glob(dir + ".aside-*"); len(asides) != 1 {
		t.Errorf("put aside: %v", asides)
	}
	spacetest.Must(t, m.Stop())
}

// If several copies claim at once, one leads, and the others follow it (JS1).
func TestPromote_Race(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	l := mustLead(t, js.connect(t), s, testOptions(t, "a"))
	fill(t, s, 0, 50, 100)
	var all []*Follower
	for _, name := range []string{"b", "c", "d"} {
		f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), name), testOptions(t, name))
		caught(t, s, f)
		all = append(all, f)
	}
	errs := make(chan error, len(all))
	for _, f := range all {
		go func() { errs <- f.Promote(soon(t), true) }()
	}
	won := 0
	for range all {
		err := <-errs
		if err == nil {
			won++
		} else if !errors.Is(err, ErrLeads) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d copies lead", won)
	}
	<-l.Done()
	if !errors.Is(l.Err(), ErrFenced) {
		t.Error(l.Err())
	}
}

// When JetStream has lost messages, only the copy that has their versions may lead: no Update that
// has waited for a copy is lost (JS8, JS9).
func TestPromote_LogHasLostWhatACopyHas(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	oa, ob, oc := testOptions(t, "a"), testOptions(t, "b"), testOptions(t, "c")
	oa.batch = 500
	l := mustLead(t, js.connect(t), s, oa)
	f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), ob)
	dirC := filepath.Join(t.TempDir(), "c")
	g := mustFollow(t, js.connect(t), dirC, oc)
	fill(t, s, 0, 50, 100)
	caught(t, s, f)
	caught(t, s, g)
	spacetest.Must(t, g.Stop())
	fill(t, s, 50, 100, 100)
	caught(t, s, f)
	await(t, "the leader has left word of what it has", func() bool {
		o, err := Overview(soon(t), js.connect(t), "s")
		return err == nil && len(o.Copies) > 0 && o.Copies[0].Copy == "a" && o.Copies[0].Durable == l.Status().Version
	})
	spacetest.Must(t, l.Stop()) // the leader's machine is gone
	lose(t, js, "s", 10)
	g = mustFollow(t, js.connect(t), dirC, oc)
	short, cancel := context.WithTimeout(soon(t), 3*time.Second)
	defer cancel()
	if err := g.Promote(short, false); !errors.Is(err, ErrBehind) || !strings.Contains(err.Error(), "b has version") {
		t.Fatalf("the copy that lacks changes leads, or does not say why not: %v", err)
	}
	_, s2 := takeOver(t, js.connect(t), f, ob, false)
	caught(t, s2, g)
	alike(t, g.Space(), s2)
	alike(t, s2, s2)
	spacetest.View(t, s2, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[int, string](tx, "m")
		if err == nil && m.Peek(tx, 99) == nil {
			t.Error("an acknowledged entry is lost")
		}
		return err
	})
}

// A follower takes over by itself from a leader that is silent, and the leader joins when it is back.
func TestRun_TakesOverAlone(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	dirs := map[string]string{}
	stops := map[string]context.CancelFunc{}
	ends := map[string]chan error{}
	start := func(name string, role Role) {
		ctx, cancel := context.WithCancel(soon(t))
		o := testOptions(t, name)
		o.PromoteAfter = time.Second
		end := make(chan error, 1)
		stops[name], ends[name] = cancel, end
		nc := js.connect(t)
		go func() { end <- Run(ctx, nc, dirs[name], role, o) }()
	}
	stop := func(name string) {
		stops[name]()
		spacetest.Must(t, <-ends[name])
	}
	for _, name := range []string{"a", "b", "c"} {
		dirs[name] = filepath.Join(t.TempDir(), name)
	}
	set := func(key int) error {
		for _, dir := range dirs {
			s, err := everheap.Open(dir, testOptions(t, "").Open...)
			spacetest.Must(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			err = s.Update(ctx, func(tx *everheap.Tx) error {
				m, err := everheap.OpenMap[int, string](tx, "m")
				if err == nil {
					err = m.Set(tx, key, "value")
				}
				return err
			}, everheap.WithReplicas(1))
			cancel()
			s.Close()
			if err == nil {
				return nil
			}
		}
		return errors.New("nobody leads")
	}
	start("a", AsLeader)
	start("b", AsFollower)
	start("c", AsFollower)
	for _, dir := range dirs {
		await(t, "the copy is there", func() bool { _, err := os.Stat(filepath.Join(dir, "heap")); return err == nil })
	}
	for i := range spacetest.Scaled(2) {
		await(t, "a write that a copy has", func() bool { return set(i) == nil })
		leader := ""
		nc := js.connect(t)
		await(t, "somebody leads", func() bool {
			o, err := Overview(soon(t), nc, "s")
			leader = o.Leader
			return err == nil
		})
		t.Logf("%d: %s leads; %s stops", i, leader, leader)
		stop(leader)
		await(t, "another one leads", func() bool {
			o, err := Overview(soon(t), nc, "s")
			return err == nil && o.Leader != leader
		})
		await(t, "a write that a copy has", func() bool { return set(100+i) == nil })
		start(leader, AsLeader) // its original role; now it follows
		for name, dir := range dirs {
			for k := range i + 1 {
				await(t, name+" has what was acknowledged", func() bool { return hasKey(t, dir, k) && hasKey(t, dir, 100+k) })
			}
		}
	}
	for name := range dirs {
		stop(name)
	}
}

// A disk was full while a leader was cut off, so a part of its tail has no frames. The file gets the
// existing frames, the space put aside has the rest, and the copy joins nevertheless (JS10).
func TestPromote_TailWithoutFrames(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	disk := faultdisk.New()
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "space"), append(testOptions(t, "").Open, spacetest.WithFiles(disk.OpenFile))...)
	oa, ob := testOptions(t, "a"), testOptions(t, "b")
	cut := js.connect(t)
	l := mustLead(t, cut, s, oa)
	f := mustFollow(t, js.connect(t), filepath.Join(t.TempDir(), "b"), ob)
	fill(t, s, 0, 50, 100)
	caught(t, s, f)
	spacetest.Must(t, l.Stop())
	fill(t, s, 50, 60, 100)
	spacetest.Must(t, s.Sync(soon(t)))
	disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Write, faultdisk.Allocate}, Files: []string{"journal"}, Err: unix.ENOSPC})
	fill(t, s, 60, 70, 100)
	spacetest.Must(t, s.Sync(soon(t)))
	disk.Repair()
	fill(t, s, 70, 80, 100)
	spacetest.Must(t, s.Sync(soon(t)))
	m, s2 := takeOver(t, js.connect(t), f, ob, false)
	fill(t, s2, 50, 60, 50)
	_, err := Lead(soon(t), cut, s, oa)
	if !errors.Is(err, ErrFenced) || errors.Is(err, everheap.ErrNotKept) {
		t.Fatalf("it leads again, or cannot stand down: %v", err)
	}
	dir := s.Stats().Dir
	if files, frames := tails(t, dir+".replica"); len(files) != 1 || frames < 10 || frames > 15 {
		t.Errorf("the tail is %v with %d frames", files, frames)
	}
	spacetest.Must(t, s.Close())
	g := mustFollow(t, js.connect(t), dir, oa)
	caught(t, s2, g)
	alike(t, g.Space(), s2)
	asides, _ := filepath.Glob(dir + ".aside-*")
	if len(asides) != 1 {
		t.Fatalf("put aside: %v", asides)
	}
	if !hasKey(t, asides[0], 79) {
		t.Error("the space put aside lacks a committed entry")
	}
	spacetest.Must(t, m.Stop())
}
