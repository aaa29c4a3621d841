package crash

import (
	"context"
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

func init() { spacetest.Children["sleeper"] = sleeperChild }

// sleeperChild commits one transaction, in which it replaces an entry of its own, and is suspended
// between the swap and the end of the commit; then it makes some more.
func sleeperChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open(spacetest.WithoutBackground())
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, int](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	<-c.Asked
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 40 {
			if err := m.Set(tx, fmt.Sprint("k", i), -1); err != nil {
				return err
			}
		}
		return m.Set(tx, "k0", -2) // drops a block of this transaction
	})
	if err != nil {
		return spacetest.Failed("update", err)
	}
	spacetest.Say("committed")
	<-c.Asked
	for i := range 200 {
		if err := m.Set(s, fmt.Sprint("mine", i), i); err != nil {
			return spacetest.Failed("set", err)
		}
	}
	spacetest.Say("done")
	<-c.Asked
	return 0
}

// A process is suspended between the swap and the end of its commit, and others take over. It must
// not take back blocks of its own that others have freed and own since (I9).
func TestSleeper_AfterTheSwapTakesNothing(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	c := spacetest.StartChild(t, "sleeper", append(spacetest.Env(s.Stats().Dir, 1, "", 1), "EVERHEAP_POINT=commit.swapped:1:stop")...)
	c.Tell("go")
	c.Await("standing still", c.Stopped)
	// Take over the lock; replace all entries of the suspended process, and reuse their blocks.
	for i := range 3000 {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			k := fmt.Sprint("k", i%40)
			if err := m.Set(tx, k, i); err != nil {
				return err
			}
			return m.Set(tx, k, i+1)
		})
	}
	spacetest.Update(t, s, func(tx *everheap.Tx) error { // a transaction that replaces its own entries drops their blocks
		for i := range 2000 {
			if err := m.Set(tx, fmt.Sprint("k", i%40), i); err != nil {
				return err
			}
		}
		return nil
	})
	spacetest.CheckSpace(t, s)
	c.Resume()
	c.AwaitLine("committed")
	c.Tell("more")
	c.AwaitLine("done")
	spacetest.CheckSpace(t, s) // finds blocks in use that are listed as free here
	for i := range 3000 {      // the owner uses its blocks
		if err := m.Set(s, fmt.Sprint("new", i), i); err != nil {
			t.Errorf("setting new%d: %v", i, err)
			break
		}
	}
	lost := 0
	err := s.View(func(tx *everheap.Tx) error {
		for i := range 200 {
			if v := m.Peek(tx, fmt.Sprint("mine", i)); v == nil || *v != i {
				lost++
			}
		}
		return nil
	})
	if lost > 0 || err != nil {
		t.Errorf("%d of 200 committed entries are gone or wrong (%v)", lost, err)
	}
	err = s.View(func(tx *everheap.Tx) error {
		for range m.All(tx) {
		}
		return nil
	})
	if err != nil {
		t.Errorf("reading all: %v", err)
	}
	spacetest.CheckSpace(t, s)
}
