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

func TestSuspend_AtRandomMoments(t *testing.T) {
	t.Parallel() // it mostly waits
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, fleetSize, "locks watch collect")
		stops := scaled(12)
		for i := range stops {
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
			stopped := ids(fleetSize)
			r.Shuffle(len(stopped), func(i, j int) { stopped[i], stopped[j] = stopped[j], stopped[i] })
			stopped = stopped[:1+i%2]
			for _, id := range stopped {
				f.children[id].stop()
			}
			f.progress(time.Now(), stopped...)
			if err := sweep(f.space); err != nil && !errors.Is(err, everheap.ErrSuspended) {
				t.Error(err)
			}
			f.verify()
			resumed := time.Now()
			for _, id := range stopped {
				f.children[id].resume()
			}
			f.progress(resumed)
			if t.Failed() {
				return
			}
		}
		f.verify()
		taken := int64(0)
		for _, c := range f.children {
			taken += c.suspended.Load()
		}
		t.Logf("%d suspensions; %d transactions were taken over; the longest that others were kept from their next commit: %v", stops, taken, f.slowest)
	})
}

func TestSuspend_AtPoints(t *testing.T) {
	t.Parallel() // it mostly waits
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, fleetSize, "")
		const armed = fleetSize + 1
		taken := int64(0)
		for _, point := range invariant.Points {
			if hasOwnTest(point) {
				continue
			}
			c := f.arm(point, "stop")
			if !f.provoke(point, c.stopped) {
				t.Errorf("no child passed the point %s", point)
				f.kill(armed)
				continue
			}
			f.progress(time.Now(), armed)
			if err := sweep(f.space); err != nil && !errors.Is(err, everheap.ErrSuspended) {
				t.Errorf("sweep: %v", err)
			}
			f.verify()
			resumed := time.Now()
			c.resume()
			f.progress(resumed)
			f.found(armed)
			f.verify()
			taken += c.suspended.Load()
			f.kill(armed)
			if t.Failed() {
				t.Fatalf("after a suspension at the point %s", point)
			}
		}
		f.verify()
		t.Logf("%d points; %d transactions were taken over; the longest that others were kept from their next commit: %v", len(invariant.Points), taken, f.slowest)
	})
}

// A process stands still while it sweeps or compacts, and does not use its lists at that
// moment: another one does it instead. When it goes on, it does no harm, and is told.
func TestSuspend_Sweeper(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 2, "")
		for _, point := range []string{"sweep.held", "sweep.marked", "punch.synced"} {
			c := startChild(t, "compactor", append(env(f.dir, 1, "", 1), "EVERHEAP_POINT="+point+":1:stop")...)
			c.await("standing still at "+point, c.stopped)
			for range 2 {
				_, err := f.space.Compact(context.Background())
				must(t, err)
			}
			f.progress(time.Now())
			f.verify()
			c.resume()
			if got := c.awaitLine("compacted"); got != "suspended" {
				t.Errorf("who stood still at %s is told %s", point, got)
			}
			c.await("its end", c.gone)
			f.progress(time.Now())
			f.verify()
		}
	})
}

func init() { children["compactor"] = compactorChild }

func compactorChild() int {
	c := newInChild()
	s, err := c.open(everheap.WithoutBackground())
	if err != nil {
		return failed("open", err)
	}
	if _, err = s.Compact(context.Background()); errors.Is(err, everheap.ErrSuspended) {
		err = nil
		say("compacted", "suspended")
	} else {
		say("compacted", err)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return failed("compact", err)
	}
	return 0
}

// A process stands still while it writes an anchor, others write newer ones and
// reuse what the older ones no longer protect; it goes on, or does not. Then power
// is lost: whichever anchor counts, its version is whole.
func TestSuspend_AnchorWriterThenPowerLoss(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 2, "busy")
		for i := range 8 {
			point := []string{"anchor.claimed", "anchor.synced", "anchor.written", "anchor.confirmed"}[i/2]
			c := f.arm(point, "stop")
			c.await("standing still at "+point, c.stopped)
			time.Sleep(300 * time.Millisecond)
			f.progress(time.Now(), fleetSize+1)
			if i%2 == 1 {
				c.resume()
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
			f.everybody(true)
			must(t, os.Remove(filepath.Join(f.dir, "live")))
			f.open()
			f.forget()
			f.restart(1, 2)
			if t.Failed() {
				t.Fatalf("after a suspension at the point %s", point)
			}
		}
	})
}

// The parent says when a writer goes on inside its transaction.
func init() { children["writer"] = writerChild }

func writerChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[string, int](s, "m")
	if err != nil {
		return failed("open", err)
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		if err := m.Set(tx, "by", 1); err != nil {
			return err
		}
		say("inside")
		<-c.asked
		for i := range 1000 {
			if err := m.Set(tx, fmt.Sprint(i), i); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, everheap.ErrSuspended):
		say("result", "suspended")
	case err != nil:
		return failed("update", err)
	default:
		say("result", "committed")
	}
	<-c.asked
	if err := s.Close(); err != nil {
		return failed("close", err)
	}
	return 0
}

// tell sends the child a line.
func (c *child) tell(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
}

// suspendedSpace is a space with one map, and a child inside an Update of it.
func suspendedSpace(t *testing.T) (*everheap.Space, everheap.Map[string, int], *child) {
	s := scratch(t)
	m := mapOf[string, int](t, s)
	c := startChild(t, "writer", env(s.Stats().Dir, 1, "", 1)...)
	c.awaitLine("inside")
	return s, m, c
}

func TestSuspend_InsideUpdate(t *testing.T) {
	t.Parallel() // it mostly waits
	t.Run("taken over: nothing has changed", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		c.stop()
		began := time.Now()
		must(t, m.Set(s, "by", 2))
		t.Logf("the take-over took %v", time.Since(began))
		for i := range 5000 {
			must(t, m.Set(s, fmt.Sprint("x", i%10), i))
		}
		c.resume()
		c.tell("go")
		if result := c.awaitLine("result"); result != "suspended" {
			t.Errorf("the transaction that was taken over: %s", result)
		}
		if by, err := m.Get(s, "by"); by != 2 || err != nil {
			t.Error(by, err)
		}
		if n, err := m.Len(s); n != 11 || err != nil {
			t.Error(n, err)
		}
		c.tell("close")
		c.await("its end", c.gone)
	})
	t.Run("not taken over: committed", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		c.stop()
		time.Sleep(1500 * time.Millisecond) // nobody else writes
		c.resume()
		c.tell("go")
		if result := c.awaitLine("result"); result != "committed" {
			t.Errorf("the transaction that nobody took over: %s", result)
		}
		if n, err := m.Len(s); n != 1001 || err != nil {
			t.Error(n, err)
		}
	})
	t.Run("slow, not suspended: waited for", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err := s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, "by", 2) })
		if !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint(c.process.Pid)) {
			t.Errorf("writing while process %d does: %v", c.process.Pid, err)
		}
		c.tell("go")
		if result := c.awaitLine("result"); result != "committed" {
			t.Errorf("a transaction of two seconds: %s", result)
		}
		must(t, m.Set(s, "by", 2))
	})
	t.Run("killed while it stands still", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		c.stop()
		c.kill()
		must(t, m.Set(s, "by", 2))
		if n, err := m.Len(s); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

// The holder keeps a View open and compares what it sees when it is asked.
func init() { children["holder"] = holderChild }

func holderChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, record](s, "m")
	if err != nil {
		return failed("open", err)
	}
	err = s.View(func(tx *everheap.Tx) error {
		digest := func() (n, sum uint64, err error) {
			for key, v := range m.All(tx) {
				if v.Sum != v.sum() {
					return 0, 0, fmt.Errorf("the record %d is damaged", key)
				}
				n, sum = n+1, sum+key*v.Seq
			}
			return n, sum, nil
		}
		n, sum, err := digest()
		if err != nil {
			return err
		}
		say("holding", n)
		for range c.asked {
			if n2, sum2, err := digest(); err != nil || n2 != n || sum2 != sum {
				return fmt.Errorf("what one View sees has changed: %d entries with %d, then %d with %d (%v)", n, sum, n2, sum2, err)
			}
			say("same")
			if c.ended.Load() {
				break
			}
		}
		return nil
	})
	if err != nil {
		return failed("view", err)
	}
	return 0
}

// A reader that stands still sees its version when it goes on, whatever was
// written, reclaimed and swept meanwhile.
func TestSuspend_Reader(t *testing.T) {
	s := scratch(t)
	m := mapOf[uint64, record](t, s)
	const entries = 2000
	fill := func(seq uint64) {
		update(t, s, func(tx *everheap.Tx) error {
			for k := range uint64(entries) {
				if err := m.Set(tx, k, newRecord(seq, 50)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	fill(1)
	c := startChild(t, "holder", env(s.Stats().Dir, 1, "", 1)...)
	c.awaitLine("holding")
	c.stop()
	for round := range uint64(20) {
		fill(round + 2)
		must(t, sweep(s))
	}
	c.resume()
	c.tell("look")
	c.awaitLine("same")
	c.kill()
	fill(100)
	must(t, sweep(s))
	view(t, s, func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			if v.Seq != 100 || v.Sum != v.sum() {
				return fmt.Errorf("record %d is of round %d", k, v.Seq)
			}
		}
		return nil
	})
}
