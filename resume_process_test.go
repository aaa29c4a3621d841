package everheap_test

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
)

// counting is the state of a run that counts in everything that a space has.
type counting struct {
	N    uint64
	Seen []uint64 // the last few numbers, so that the state is of several sizes
}

// counters are what it counts in, besides its state: after N steps the list has the
// numbers below N, the entries of the map add up to N, and so do those of the sorted
// map, which come and go.
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

// step does one step: nothing of it can be done twice without a trace.
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
	return s.Update(background, func(tx *everheap.Tx) error {
		if n%3 == 2 {
			if _, err := c.o.Delete(tx, n-1); err != nil {
				return err
			}
		}
		return c.o.Set(tx, n, strings.Repeat("x", int(n%50)))
	})
}

// audit returns the number of steps that a version has, or what is wrong with it.
func audit(tx *everheap.Tx) (uint64, error) {
	ref, err := everheap.OpenRef(tx, "count", counting{})
	if isNotFound(err) {
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

func init() { children["resumer"] = resumerChild }

// resumerChild counts until it is asked to end, in small pieces; "ask": it waits in the
// middle of each.
func resumerChild() int {
	c := newInChild()
	var opts []everheap.Option
	if c.has("durable") {
		opts = append(opts, everheap.Durable)
	}
	s, err := c.open(opts...)
	if err != nil {
		return failed("open", err)
	}
	defer s.Close()
	things, err := openCounters(s)
	if err != nil {
		return failed("opening", err)
	}
	err = again(func() error {
		return everheap.Resume(context.Background(), s, "count", counting{}, func(st *counting, checkpoint func() error) error {
			say("start", st.N)
			for !c.ended.Load() {
				for range 1 + c.rng.IntN(4) {
					if err := things.step(s, st); err != nil {
						return err
					}
				}
				if c.has("ask") {
					say("changed")
					<-c.asked
				}
				if err := checkpoint(); err != nil {
					return err
				}
				ack(st.N)
			}
			return nil
		})
	})
	if err != nil {
		return failed("resume", err)
	}
	return 0
}

// resumers is a space in which children count.
type resumers struct {
	t      *testing.T
	dir    string
	rng    *rand.Rand
	starts uint64
	least  uint64 // steps that must be there
}

func newResumers(t *testing.T, r *rand.Rand) *resumers {
	return &resumers{t: t, dir: filepath.Join(t.TempDir(), "s"), rng: r}
}

func (r *resumers) start(work string, more ...string) *child {
	r.starts++
	return startChild(r.t, "resumer", append(env(r.dir, 1, work, *seedFlag+r.starts), more...)...)
}

// died takes note of what a child that is gone was told.
func (r *resumers) died(c *child) { r.least = max(r.least, c.acked.Load()) }

// verify fails the test unless the space has what the dead were told, whole.
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

// Two processes want to do the same thing; the one that does it is killed, again and
// again, and the other one goes on from where it was. A third one looks on.
func TestKill_Resume(t *testing.T) {
	rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		s, err := everheap.Open(r.dir, everheap.WithMaxSize(testWindow))
		must(t, err)
		defer s.Close()
		running, waiting := r.start(""), r.start("")
		next := func() { // whoever came first may be either
			t.Helper()
			if !wait(patience, func() bool { return running.started.Load() || waiting.started.Load() }) {
				t.Fatal("nobody goes on")
			}
			if !running.started.Load() {
				running, waiting = waiting, running
			}
		}
		for range scaled(24) {
			next()
			time.Sleep(time.Duration(rng.IntN(15_000)) * time.Microsecond)
			if waiting.started.Load() {
				t.Error("two do it at once")
			}
			r.verify(s)
			running.kill()
			r.died(running)
			r.verify(s)
			running, waiting = waiting, r.start("")
			if t.Failed() {
				return
			}
		}
		next()
		running.await("a checkpoint", func() bool { return running.acked.Load() > running.first.Load() })
		if running.first.Load() < r.least {
			t.Errorf("the last one began after %d steps; %d had returned", running.first.Load(), r.least)
		}
		running.tell("end")
		running.await("its end", running.gone)
		r.died(running)
		waiting.kill()
		r.died(waiting)
		r.verify(s)
		checkSpace(t, s)
		if r.least == 0 {
			t.Error("nothing was done")
		}
		t.Logf("%d steps", r.least)
	})
}

// The last user of the space dies, and power is lost: of a durable run everything is
// there that checkpoint has returned for, and nothing is there by half.
func TestKill_ResumeDurable(t *testing.T) {
	rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		for range scaled(8) {
			c, steps := r.start("durable"), uint64(rng.IntN(40))
			c.await("some checkpoints", func() bool { return c.started.Load() && c.acked.Load() > c.first.Load()+steps })
			c.kill()
			r.died(c)
			must(t, os.Remove(filepath.Join(r.dir, "live")))
			s, err := everheap.Open(r.dir, everheap.WithMaxSize(testWindow))
			must(t, err)
			r.verify(s)
			checkSpace(t, s)
			must(t, s.Close())
		}
	})
}

// A run dies at each point of the protocols that it passes.
func TestKill_ResumeAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		s, err := everheap.Open(r.dir, everheap.WithMaxSize(testWindow))
		must(t, err)
		defer s.Close()
		for _, point := range invariant.Points {
			protocol, _, _ := strings.Cut(point, ".")
			times := 1 + rng.IntN(60)
			switch point {
			case "mutex.taken", "mutex.held": // takes one that nobody has died with
				must(t, everheap.Resume(background, s, "count", counting{}, func(*counting, func() error) error { return nil }))
				times = 1
			case "mutex.takeover": // takes one that somebody has died with
				c := r.start("")
				c.awaitStart()
				c.kill()
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
				c.await("a checkpoint", func() bool { return c.acked.Load() > 0 })
				c.tell("end")
			}
			c.await("its death at "+point, c.gone)
			if !c.wasKilled() {
				t.Errorf("the run did not pass %s", point)
			}
			r.died(c)
			if r.verify(s); t.Failed() {
				t.Fatalf("after a kill at the point %s", point)
			}
		}
		checkSpace(t, s)
	})
}

// A run stands still between two checkpoints, and another process takes over: what the
// run has changed is undone, checkpoint is ErrSuspended, and so is Resume; called again,
// it does those steps once more, and only once.
func TestSuspend_Resume(t *testing.T) {
	rounds(t, 1, func(t *testing.T, rng *rand.Rand) {
		r := newResumers(t, rng)
		s, err := everheap.Open(r.dir, everheap.WithMaxSize(testWindow))
		must(t, err)
		defer s.Close()
		c := r.start("ask")
		for i := range 3 {
			c.await("its changes", func() bool { return c.heard("changed") == i+1 })
			if i == 1 {
				c.stop()
				m := mapOf[string, int](t, s) // takes over
				must(t, m.Set(s, "other", 1))
				r.died(c)
				r.verify(s)
				c.resume()
			}
			c.tell("go on")
		}
		c.await("its last changes", func() bool { return c.heard("changed") == 4 })
		if c.suspended.Load() != 1 {
			t.Errorf("%d runs were taken over", c.suspended.Load())
		}
		c.tell("end")
		c.tell("go on")
		c.await("its end", c.gone)
		r.died(c)
		r.verify(s)
		checkSpace(t, s)
	})
}
