package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// counting is the state of a run that counts in collections of all kinds.
type counting struct {
	N    uint64
	Seen []uint64 // the last few numbers, so that the state is of several sizes
}

// counters has the collections of the run. After N steps the list has the numbers below N, and the
// entries of the map add up to N; so do the entries of the sorted map, which are added and removed.
type counters struct {
	m everheap.Map[uint64, uint64]
	l everheap.List[uint64]
	o everheap.Sorted[uint64, string]
}

func openCounters(s everheap.Scope) (c counters, err error) {
	if c.m, err = everheap.OpenMap[uint64, uint64](s, "map"); err != nil {
		return c, err
	}
	if c.l, err = everheap.OpenList[uint64](s, "list"); err != nil {
		return c, err
	}
	c.o, err = everheap.OpenSorted[uint64, string](s, "sorted")
	return c, err
}

// step does one step, which leaves a trace if it is done twice.
func (c counters) step(s *everheap.Space, st *counting) error {
	n := st.N
	st.N++
	st.Seen = append(st.Seen, n)[max(0, len(st.Seen)-int(n%7)):]
	if err := c.l.Append(s, n); err != nil {
		return err
	}
	if err := c.m.Upsert(s, n%13, func(v *uint64, _ bool) error { *v++; return nil }); err != nil {
		return err
	}
	return s.Update(spacetest.Background, func(tx *everheap.Tx) error {
		if n%3 == 2 {
			if _, err := c.o.Delete(tx, n-1); err != nil {
				return err
			}
		}
		return c.o.Set(tx, n, strings.Repeat("x", int(n%50)))
	})
}

// audit returns the number of steps in a version, or an error if the version is inconsistent.
func audit(tx *everheap.Tx) (uint64, error) {
	ref, err := everheap.OpenRef(tx, "count", counting{})
	if spacetest.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	c, err := openCounters(tx)
	if err != nil {
		return 0, err
	}
	n := ref.Peek(tx).N
	for i, v := range c.l.All(tx) {
		if *v != uint64(i) {
			return n, fmt.Errorf("element %d of the list is %d", i, *v)
		}
	}
	length, err := c.l.Len(tx)
	sum := uint64(0)
	for _, v := range c.m.All(tx) {
		sum += *v
	}
	sorted, err2 := c.o.Len(tx)
	if uint64(length) != n || sum != n || uint64(sorted) != n-n/3 {
		err = fmt.Errorf("the state says %d steps, the list %d, the map %d, the sorted map %d where it should %d", n, length, sum, sorted, n-n/3)
	}
	return n, errors.Join(err, err2)
}

func init() { spacetest.Children["resumer"] = resumerChild }

// resumerChild counts until it is told to end, in small pieces; with "ask" it waits in the middle of
// each.
func resumerChild() int {
	c := spacetest.NewInChild()
	var opts []everheap.Option
	if c.Has("durable") {
		opts = append(opts, everheap.Durable)
	}
	s, err := c.Open(opts...)
	if err != nil {
		return spacetest.Failed("open", err)
	}
	defer s.Close()
	things, err := openCounters(s)
	if err != nil {
		return spacetest.Failed("opening", err)
	}
	err = spacetest.Again(func() error {
		return everheap.Resume(context.Background(), s, "count", counting{}, func(st *counting, checkpoint func() error) error {
			spacetest.Say("start", st.N)
			for !c.Ended.Load() {
				for range 1 + c.Rng.IntN(4) {
					if err := things.step(s, st); err != nil {
						return err
					}
				}
				if c.Has("ask") {
					spacetest.Say("changed")
					<-c.Asked
				}
				if err := checkpoint(); err != nil {
					return err
				}
				spacetest.Ack(st.N)
			}
			return nil
		})
	})
	if err != nil {
		return spacetest.Failed("resume", err)
	}
	return 0
}

// resumers is a space in which children count.
type resumers struct {
	t      *testing.T
	dir    string
	rng    *rand.Rand
	starts uint64
	least  uint64 // steps that the space must have
}

func newResumers(t *testing.T, r *rand.Rand) *resumers {
	return &resumers{t: t, dir: filepath.Join(t.TempDir(), "s"), rng: r}
}

func (r *resumers) start(work string, more ...string) *spacetest.Child {
	r.starts++
	return spacetest.StartChild(r.t, "resumer", append(spacetest.Env(r.dir, 1, work, *spacetest.SeedFlag+r.starts), more...)...)
}

// died notes the acknowledged steps of a dead child.
func (r *resumers) died(c *spacetest.Child) { r.least = max(r.least, c.Acked.Load()) }

// verify fails the test unless the space is consistent and has the acknowledged steps of dead
// children.
func (r *resumers) verify(s *everheap.Space) {
	r.t.Helper()
	err := s.View(func(tx *everheap.Tx) error {
		n, err := audit(tx)
		if n < r.least {
			r.t.Errorf("%d steps have returned, %d are there", r.least, n)
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

// Two processes want to do the same run. The one that does it is killed, again and again, and the
// other one continues where it was. A third one reads.
func TestKill_Resume(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		s, err := everheap.Open(r.dir, everheap.WithMaxSize(spacetest.TestWindow))
		spacetest.Must(t, err)
		defer s.Close()
		running, waiting := r.start(""), r.start("")
		next := func() { // either process may have come first
			t.Helper()
			if !spacetest.Wait(spacetest.Patience, func() bool { return running.Started.Load() || waiting.Started.Load() }) {
				t.Fatal("no process continues")
			}
			if !running.Started.Load() {
				running, waiting = waiting, running
			}
		}
		for range spacetest.Scaled(24) {
			next()
			time.Sleep(time.Duration(rng.IntN(15_000)) * time.Microsecond)
			if waiting.Started.Load() {
				t.Error("two do it at once")
			}
			r.verify(s)
			running.Kill()
			r.died(running)
			r.verify(s)
			running, waiting = waiting, r.start("")
			if t.Failed() {
				return
			}
		}
		next()
		running.Await("a checkpoint", func() bool { return running.Acked.Load() > running.First.Load() })
		if running.First.Load() < r.least {
			t.Errorf("the last one began after %d steps; %d had returned", running.First.Load(), r.least)
		}
		running.Tell("end")
		running.Await("its end", running.Gone)
		r.died(running)
		waiting.Kill()
		r.died(waiting)
		r.verify(s)
		spacetest.CheckSpace(t, s)
		if r.least == 0 {
			t.Error("nothing was done")
		}
		t.Logf("%d steps", r.least)
	})
}

// The last user of the space dies, and power is lost: the space has all steps of a durable run for
// which checkpoint has returned, and no step in part.
func TestKill_ResumeDurable(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		for range spacetest.Scaled(8) {
			c, steps := r.start("durable"), uint64(rng.IntN(40))
			c.Await("some checkpoints", func() bool { return c.Started.Load() && c.Acked.Load() > c.First.Load()+steps })
			c.Kill()
			r.died(c)
			spacetest.Must(t, os.Remove(filepath.Join(r.dir, "live")))
			s, err := everheap.Open(r.dir, everheap.WithMaxSize(spacetest.TestWindow))
			spacetest.Must(t, err)
			r.verify(s)
			spacetest.CheckSpace(t, s)
			spacetest.Must(t, s.Close())
		}
	})
}

// A run dies at each point of the protocols that it passes.
func TestKill_ResumeAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		s, err := everheap.Open(r.dir, everheap.WithMaxSize(spacetest.TestWindow))
		spacetest.Must(t, err)
		defer s.Close()
		for _, point := range invariant.Points {
			protocol, _, _ := strings.Cut(point, ".")
			times := 1 + rng.IntN(60)
			switch point {
			case "mutex.taken", "mutex.held": // needs a mutex whose holder has not died
				spacetest.Must(t, everheap.Resume(spacetest.Background, s, "count", counting{}, func(*counting, func() error) error { return nil }))
				times = 1
			case "mutex.takeover": // needs a mutex whose holder has died
				c := r.start("")
				c.AwaitStart()
				c.Kill()
				r.died(c)
				times = 1
			case "mutex.release", "mutex.released":
				times = 1
			default:
				if protocol != "begin" && protocol != "commit" && point != "lock.taken" && point != "lock.release" {
					continue
				}
			}
			c := r.start("", fmt.Sprintf("EVERHEAP_POINT=%s:%d:kill", point, times))
			if point == "mutex.release" || point == "mutex.released" { // when a run ends
				c.Await("a checkpoint", func() bool { return c.Acked.Load() > 0 })
				c.Tell("end")
			}
			c.Await("its death at "+point, c.Gone)
			if !c.WasKilled() {
				t.Errorf("the run did not pass %s", point)
			}
			r.died(c)
			if r.verify(s); t.Failed() {
				t.Fatalf("after a kill at the point %s", point)
			}
		}
		spacetest.CheckSpace(t, s)
	})
}

// A run is suspended between two checkpoints, and another process takes over. The changes of the run
// are undone, and checkpoint and Resume return ErrSuspended. Resume, called again, repeats those
// steps, once.
func TestSuspend_Resume(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		s, err := everheap.Open(r.dir, everheap.WithMaxSize(spacetest.TestWindow))
		spacetest.Must(t, err)
		defer s.Close()
		c := r.start("ask")
		for i := range 3 {
			c.Await("its changes", func() bool { return c.Heard("changed") == i+1 })
			if i == 1 {
				c.Stop()
				m := spacetest.MapOf[string, int](t, s) // takes over
				spacetest.Must(t, m.Set(s, "other", 1))
				r.died(c)
				r.verify(s)
				c.Resume()
			}
			c.Tell("go on")
		}
		c.Await("its last changes", func() bool { return c.Heard("changed") == 4 })
		if c.Suspended.Load() != 1 {
			t.Errorf("%d runs were taken over", c.Suspended.Load())
		}
		c.Tell("end")
		c.Tell("go on")
		c.Await("its end", c.Gone)
		r.died(c)
		r.verify(s)
		spacetest.CheckSpace(t, s)
	})
}
