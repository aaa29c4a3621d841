package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The work of a counting child is "one", to raise a single counter, or "pairs",
// to move units between two of a thousand in one transaction. It acknowledges
// every increment, and says "done" after the number that its task names.
func init() { spacetest.Children["counting"] = countingChild }

const pairCounters = 1000

func countingChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[int, int](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	spacetest.Say("start", 0)
	for line := range c.Asked {
		var n uint64
		if _, err := fmt.Sscan(line, &n); err != nil {
			return spacetest.Failed("the task", err)
		}
		for i := range n {
			if err := spacetest.Again(func() error { return count(c, s, m) }); err != nil {
				return spacetest.Failed("counting", err)
			}
			spacetest.Ack(i + 1)
		}
		spacetest.Say("done")
		if c.Ended.Load() {
			break
		}
	}
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// count is one transaction of a counting child.
func count(c *spacetest.InChild, s *everheap.Space, m everheap.Map[int, int]) error {
	if !c.Has("pairs") {
		return m.Modify(s, 0, func(v *int) error { *v++; return nil })
	}
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		from, to, units := c.Rng.IntN(pairCounters), c.Rng.IntN(pairCounters), c.Rng.IntN(100)
		if err := m.Modify(tx, from, func(v *int) error { *v -= units; return nil }); err != nil {
			return err
		}
		return m.Modify(tx, to, func(v *int) error { *v += units; return nil })
	})
}

// counterSpace is a space with n counters at zero, and counting children.
func counterSpace(t *testing.T, r *rand.Rand, n int, work string) (*everheap.Space, everheap.Map[int, int], []*spacetest.Child) {
	t.Helper()
	s := spacetest.Open(t, filepath.Join(t.TempDir(), "s"))
	m := spacetest.MapOf[int, int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, i, 0); err != nil {
				return err
			}
		}
		return nil
	})
	var cs []*spacetest.Child
	for id := 1; id <= spacetest.FleetSize; id++ {
		cs = append(cs, spacetest.StartChild(t, "counting", spacetest.Env(s.Stats().Dir, id, work, r.Uint64())...))
	}
	for _, c := range cs {
		c.AwaitStart()
	}
	return s, m, cs
}

// sums adds up the counters of one version.
func sums(t *testing.T, s *everheap.Space, m everheap.Map[int, int]) (n, sum int) {
	t.Helper()
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		n, sum = 0, 0
		for _, v := range m.All(tx) {
			n, sum = n+1, sum+*v
		}
		return nil
	})
	return n, sum
}

// awaitDone waits until all children have done their work, and calls fn often.
func awaitDone(t *testing.T, cs []*spacetest.Child, fn func()) {
	t.Helper()
	done := func() bool {
		fn()
		time.Sleep(10 * time.Millisecond)
		for _, c := range cs {
			if len(c.Words()) == 0 && !c.Gone() {
				return false
			}
		}
		return true
	}
	if !spacetest.Wait(spacetest.Long, done) {
		t.Fatal("the children do not end")
	}
	for _, c := range cs {
		if words := c.Words(); len(words) == 0 || words[0] != "done" {
			t.Errorf("child %d ended early: %q", c.Process.Pid, words)
		}
	}
}

func TestCounters_OneCounter(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		s, m, cs := counterSpace(t, r, 1, "one")
		each, began := spacetest.Scaled(50_000), time.Now()
		for _, c := range cs {
			c.Tell(fmt.Sprint(each))
		}
		last := 0
		awaitDone(t, cs, func() {
			v, err := m.Get(s, 0)
			if err != nil || v < last {
				t.Errorf("the counter went from %d to %d (%v)", last, v, err)
			}
			last = v
		})
		if v, err := m.Get(s, 0); v != spacetest.FleetSize*each || err != nil {
			t.Errorf("%d processes counted to %d each: the counter is %d (%v)", spacetest.FleetSize, each, v, err)
		}
		t.Logf("%d increments by %d processes in %v", spacetest.FleetSize*each, spacetest.FleetSize, time.Since(began))
	})
}

func TestCounters_Pairs(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		s, m, cs := counterSpace(t, r, pairCounters, "pairs")
		each, began := spacetest.Scaled(50_000), time.Now()
		for _, c := range cs {
			c.Tell(fmt.Sprint(each))
		}
		awaitDone(t, cs, func() {
			if n, sum := sums(t, s, m); n != pairCounters || sum != 0 {
				t.Errorf("in the middle: %d counters with the sum %d", n, sum)
			}
		})
		if n, sum := sums(t, s, m); n != pairCounters || sum != 0 {
			t.Errorf("%d counters with the sum %d", n, sum)
		}
		t.Logf("%d moves by %d processes in %v", spacetest.FleetSize*each, spacetest.FleetSize, time.Since(began))
	})
}

// Each killed child may have counted one more than was acknowledged; its successor continues to
// count.
func TestCounters_Killed(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		s, m, cs := counterSpace(t, r, 1, "one")
		for _, c := range cs {
			c.Tell("1000000000")
		}
		told, kills := 0, spacetest.Scaled(24)
		for range kills {
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
			i := r.IntN(len(cs))
			cs[i].Kill()
			told += int(cs[i].Acked.Load())
			cs[i] = spacetest.StartChild(t, "counting", spacetest.Env(s.Stats().Dir, i+1, "one", r.Uint64())...)
			cs[i].AwaitStart()
			cs[i].Tell("1000000000")
		}
		for _, c := range cs {
			c.Kill()
			told += int(c.Acked.Load())
		}
		v, err := m.Get(s, 0)
		if err != nil || v < told || v > told+kills+len(cs) {
			t.Errorf("%d increments had returned, %d processes were killed: the counter is %d (%v)", told, kills+len(cs), v, err)
		}
		t.Logf("%d increments had returned, %d had not, of %d processes that were killed", told, v-told, kills+len(cs))
	})
}

// A handle from before another process's commits reads what they wrote.
func TestCounters_SeenByOthers(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	spacetest.Must(t, m.Set(s, 0, 0))
	c := spacetest.StartChild(t, "counting", spacetest.Env(s.Stats().Dir, 1, "one", 1)...)
	c.AwaitStart()
	c.Tell("100")
	c.AwaitLine("done")
	if v, err := m.Get(s, 0); v != 100 || err != nil {
		t.Error(v, err)
	}
	if _, err := m.Get(s, 1); !errors.Is(err, everheap.ErrNotFound) {
		t.Error(err)
	}
}
