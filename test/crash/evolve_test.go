package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

func init() {
	spacetest.Children["old types"] = childOldTypes
	spacetest.Children["new types"] = childNewTypes
}

const crowd = 400 // people in these tests

// childOldTypes uses collections with their old types until that is an error. From then on, every use
// must be an error.
func childOldTypes() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("opening", err)
	}
	o, err := openOld(s)
	if err != nil {
		return spacetest.Failed("opening the collections", err)
	}
	for n := uint64(1); !c.Ended.Load(); n++ {
		err := spacetest.Again(func() error { return useOld(c, s, o) })
		if errors.Is(err, everheap.ErrTypeChanged) {
			spacetest.Say("changed")
			for range 50 {
				for _, use := range oldUses {
					if err := spacetest.Again(func() error { return use(s, o, c.Rng.IntN(crowd)) }); !errors.Is(err, everheap.ErrTypeChanged) {
						return spacetest.Failed("after the change", fmt.Errorf("there was no error for the types, but: %v", err))
					}
				}
			}
			spacetest.Say("refused")
			break
		}
		if err != nil {
			return spacetest.Failed("before the change", err)
		}
		spacetest.Ack(n)
	}
	if err := s.Close(); err != nil {
		return spacetest.Failed("closing", err)
	}
	return 0
}

// oldPeople has collections with their old types.
type oldPeople struct {
	m everheap.Map[string, spacetest.PersonV1]
	l everheap.List[spacetest.PersonV1]
	r everheap.Ref[spacetest.PersonV1]
}

// openOld opens the collections, and makes missing ones.
func openOld(s *everheap.Space) (o oldPeople, err error) {
	if o.m, err = everheap.OpenMap[string, spacetest.PersonV1](s, "people"); err != nil {
		return o, err
	}
	if o.l, err = everheap.OpenList[spacetest.PersonV1](s, "list of people"); err != nil {
		return o, err
	}
	o.r, err = everheap.OpenRef(s, "somebody", spacetest.PersonOf(7))
	return o, err
}

// useOld uses a collection once in some way.
func useOld(c *spacetest.InChild, s *everheap.Space, o oldPeople) error {
	return oldUses[c.Rng.IntN(len(oldUses))](s, o, c.Rng.IntN(crowd))
}

// oldUses are the ways to use the map. They verify the values, and leave them unchanged.
var oldUses = []func(s *everheap.Space, o oldPeople, i int) error{
	func(s *everheap.Space, o oldPeople, i int) error {
		p, err := o.m.Get(s, fmt.Sprint("key ", i))
		if err != nil {
			return err
		}
		return spacetest.SamePersonV1(&p, i)
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return o.m.Set(s, fmt.Sprint("key ", i), spacetest.PersonOf(i))
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return o.m.Modify(s, fmt.Sprint("key ", i), func(p *spacetest.PersonV1) error { return spacetest.SamePersonV1(p, i) })
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.View(func(tx *everheap.Tx) error {
			for j := range 20 {
				if err := spacetest.SamePersonV1(o.m.Peek(tx, fmt.Sprint("key ", (i+j)%crowd)), (i+j)%crowd); err != nil {
					return err
				}
			}
			return nil
		})
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.View(func(tx *everheap.Tx) error {
			n := 0
			for k, p := range o.m.All(tx) {
				j, err := strconv.Atoi(k[len("key "):])
				if err == nil {
					err = spacetest.SamePersonV1(p, j)
				}
				if err != nil {
					return err
				}
				n++
			}
			if n != crowd {
				return fmt.Errorf("%d people", n)
			}
			return nil
		})
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			for j := range 10 {
				key := fmt.Sprint("key ", (i+j)%crowd)
				if _, err := o.m.Delete(tx, key); err != nil {
					return err
				}
				if err := o.m.Set(tx, key, spacetest.PersonOf((i+j)%crowd)); err != nil {
					return err
				}
			}
			return nil
		})
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		_, err := everheap.OpenMap[string, spacetest.PersonV1](s, "people")
		return err
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		p, err := o.l.Get(s, i)
		if err != nil {
			return err
		}
		return spacetest.SamePersonV1(&p, i)
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			if err := o.l.Append(tx, spacetest.PersonOf(crowd)); err != nil {
				return err
			}
			if err := o.l.Set(tx, i, spacetest.PersonOf(i)); err != nil {
				return err
			}
			return o.l.Truncate(tx, crowd)
		})
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.View(func(tx *everheap.Tx) error {
			for j, p := range o.l.All(tx) {
				if err := spacetest.SamePersonV1(p, j); err != nil {
					return err
				}
			}
			return spacetest.SamePersonV1(o.r.Peek(tx), 7)
		})
	},
	func(s *everheap.Space, o oldPeople, _ int) error { return o.r.Set(s, spacetest.PersonOf(7)) },
	func(s *everheap.Space, o oldPeople, _ int) error {
		return o.r.Modify(s, func(p *spacetest.PersonV1) error { return spacetest.SamePersonV1(p, 7) })
	},
}

// childNewTypes opens the map "people" with the new types, by a function of its own,
// and prints how many values it has converted. Its work can be "slow" and a number: it prints a line
// at that person, and waits; "durable"; or "race": it waits before it opens the map.
func childNewTypes() int {
	c := spacetest.NewInChild()
	durability := everheap.Periodic
	if c.Has("durable") {
		durability = everheap.Durable
	}
	s, err := c.Open(everheap.WithDurability(durability))
	if err != nil {
		return spacetest.Failed("opening", err)
	}
	if c.Has("race") {
		spacetest.Say("ready")
		<-c.Asked
	}
	calls := 0
	err = spacetest.Again(func() error {
		calls = 0
		_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Migrate(func(p spacetest.PersonV1) (spacetest.PersonV2, error) {
			if calls++; c.Has(fmt.Sprint("slow ", calls, ".")) {
				spacetest.Say("middle")
				<-c.Asked
			}
			return spacetest.Evolved(p), nil
		}))
		return err
	})
	if err != nil {
		return spacetest.Failed("opening the map", err)
	}
	spacetest.Say("converted", calls)
	if !c.Has("stay") {
		if err := s.Close(); err != nil {
			return spacetest.Failed("closing", err)
		}
		return 0
	}
	<-c.Asked
	return 0
}

// crowded makes a space with the map "people", a list and a value, and closes it.
func crowded(t testing.TB) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.TestWindow))
	spacetest.Must(t, err)
	spacetest.FillPeople(t, s, crowd)
	o, err := openOld(s)
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range crowd {
			if err := o.l.Append(tx, spacetest.PersonOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
	spacetest.Must(t, s.Close())
	return dir
}

// Processes use the old types in all ways while another process changes them: they see correct values
// until the first error, and only errors from then on.
func TestEvolve_BesideProcessesWithTheOldTypes(t *testing.T) { // R1
	spacetest.Rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		dir := crowded(t)
		var old []*spacetest.Child
		for id := range 3 {
			c := spacetest.StartChild(t, "old types", spacetest.Env(dir, id, "", r.Uint64())...)
			old = append(old, c)
		}
		for _, c := range old {
			c.Await("some uses", func() bool { return c.Acked.Load() > 20 })
		}
		s := spacetest.Open(t, dir)
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			_, err := everheap.OpenMap[string, spacetest.PersonV2](tx, "people", everheap.Evolve())
			if err != nil {
				return err
			}
			if _, err = everheap.OpenList[spacetest.PersonV2](tx, "list of people", everheap.Evolve()); err != nil {
				return err
			}
			_, err = everheap.OpenRef(tx, "somebody", spacetest.PersonV2{}, everheap.Evolve())
			return err
		})
		for _, c := range old {
			c.AwaitLine("refused")
			c.Await("its end", c.Gone)
		}
		spacetest.VerifyPeople(t, s, crowd)
	})
}

// Several processes migrate at once: one does it, the others find it done.
func TestMigrate_Race(t *testing.T) {
	spacetest.Rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		dir := crowded(t)
		var list []*spacetest.Child
		for id := range 3 {
			list = append(list, spacetest.StartChild(t, "new types", spacetest.Env(dir, id, "race", r.Uint64())...))
		}
		for _, c := range list {
			c.AwaitLine("ready")
		}
		for _, c := range list {
			fmt.Fprintln(c.In, "go")
		}
		total := 0
		for _, c := range list {
			n, err := strconv.Atoi(c.AwaitLine("converted"))
			spacetest.Must(t, err)
			total += n
		}
		if total != crowd {
			t.Errorf("%d conversions of %d people", total, crowd)
		}
		spacetest.VerifyPeople(t, spacetest.Open(t, dir), crowd)
	})
}

// The migrating process is killed in the middle: nothing has changed.
func TestMigrate_KilledInTheMiddle(t *testing.T) {
	spacetest.Rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		dir := crowded(t)
		c := spacetest.StartChild(t, "new types", spacetest.Env(dir, 1, fmt.Sprintf("slow %d.", 1+r.IntN(crowd)), r.Uint64())...)
		c.AwaitLine("middle")
		c.Kill()
		s := spacetest.Open(t, dir)
		m, err := everheap.OpenMap[string, spacetest.PersonV1](s, "people")
		spacetest.Must(t, err)
		for i := range crowd {
			p, err := m.Get(s, fmt.Sprint("key ", i))
			spacetest.Must(t, err)
			spacetest.Must(t, spacetest.SamePersonV1(&p, i))
		}
		spacetest.CheckSpace(t, s)
		_, err = everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
		spacetest.Must(t, err)
		spacetest.VerifyPeople(t, s, crowd)
	})
}

// The migrating process is suspended in the middle; another process takes over and migrates. When the
// first continues, its transaction fails, and then it finds the migration done.
func TestMigrate_SuspendedInTheMiddle(t *testing.T) {
	dir := crowded(t)
	c := spacetest.StartChild(t, "new types", spacetest.Env(dir, 1, "slow 100.", 1)...)
	c.AwaitLine("middle")
	c.Stop()
	s := spacetest.Open(t, dir)
	_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.VerifyPeople(t, s, crowd)
	c.Resume()
	fmt.Fprintln(c.In, "go")
	if n := c.AwaitLine("converted"); n != "0" || c.Suspended.Load() != 1 {
		t.Errorf("the sleeper converted %s, and was suspended %d times", n, c.Suspended.Load())
	}
	c.Await("its end", c.Gone)
	spacetest.VerifyPeople(t, s, crowd)
}

// A migration that returned in a durable space survives the loss of all that is not
// on disk, as well as a process can be made to lose it.
func TestMigrate_Durable(t *testing.T) {
	dir := crowded(t)
	c := spacetest.StartChild(t, "new types", spacetest.Env(dir, 1, "durable stay", 1)...)
	c.AwaitLine("converted")
	c.Kill()
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	spacetest.VerifyPeople(t, spacetest.Open(t, dir), crowd)
}

// The migrating process dies at each point of its commit and after it: the whole map has the old
// types, or the new ones.
func TestMigrate_KilledAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{
		"begin.ready", "grow.carved", "commit.sealed", "commit.swap", "commit.swapped", "commit.freed", "commit.end",
		"anchor.claimed", "anchor.synced", "anchor.written", "anchor.confirmed",
	} {
		for _, lost := range []bool{false, true} {
			dir := crowded(t)
			c := spacetest.StartChild(t, "new types", append(spacetest.Env(dir, 1, "durable", 1), "EVERHEAP_POINT="+point+":1:kill")...)
			c.Await("its death", c.Gone)
			if lost {
				spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
			}
			s := spacetest.Open(t, dir)
			if m, err := everheap.OpenMap[string, spacetest.PersonV1](s, "people"); err == nil {
				for i := range crowd {
					p, err := m.Get(s, fmt.Sprint("key ", i))
					spacetest.Must(t, err)
					spacetest.Must(t, spacetest.SamePersonV1(&p, i))
				}
			} else {
				spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
			}
			spacetest.CheckSpace(t, s)
			_, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
			spacetest.Must(t, err)
			spacetest.VerifyPeople(t, s, crowd)
			if t.Failed() {
				t.Fatalf("after a kill at the point %s, live lost: %v", point, lost)
			}
		}
	}
}
