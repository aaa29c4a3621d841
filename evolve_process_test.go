package everheap_test

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
)

func init() {
	children["old types"] = childOldTypes
	children["new types"] = childNewTypes
}

const crowd = 400 // people in these tests

// childOldTypes uses collections by their old types until that is an error; from
// then on every way to use it must be one.
func childOldTypes() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("opening", err)
	}
	o, err := openOld(s)
	if err != nil {
		return failed("opening the collections", err)
	}
	for n := uint64(1); !c.ended.Load(); n++ {
		err := again(func() error { return c.useOld(s, o) })
		if errors.Is(err, everheap.ErrTypeChanged) {
			say("changed")
			for range 50 {
				for _, use := range oldUses {
					if err := again(func() error { return use(s, o, c.rng.IntN(crowd)) }); !errors.Is(err, everheap.ErrTypeChanged) {
						return failed("after the change", fmt.Errorf("there was no error for the types, but: %v", err))
					}
				}
			}
			say("refused")
			break
		}
		if err != nil {
			return failed("before the change", err)
		}
		ack(n)
	}
	if err := s.Close(); err != nil {
		return failed("closing", err)
	}
	return 0
}

// oldPeople are collections by their old types.
type oldPeople struct {
	m everheap.Map[string, personV1]
	l everheap.List[personV1]
	r everheap.Ref[personV1]
}

// openOld opens the collections, making them if they are not there.
func openOld(s *everheap.Space) (o oldPeople, err error) {
	if o.m, err = everheap.OpenMap[string, personV1](s, "people"); err != nil {
		return o, err
	}
	if o.l, err = everheap.OpenList[personV1](s, "list of people"); err != nil {
		return o, err
	}
	o.r, err = everheap.OpenRef(s, "somebody", personOf(7))
	return o, err
}

// useOld uses a collection once in some way.
func (c *inChild) useOld(s *everheap.Space, o oldPeople) error {
	return oldUses[c.rng.IntN(len(oldUses))](s, o, c.rng.IntN(crowd))
}

// samePersonV1 compares a person with what it must be.
func samePersonV1(p *personV1, i int) error {
	want := personOf(i)
	if p == nil || p.Name != want.Name || p.Age != want.Age || !p.Gone || len(p.Mails) != len(want.Mails) || (p.Boss == nil) != (want.Boss == nil) {
		return fmt.Errorf("person %d is %+v", i, p)
	}
	for j, mail := range p.Mails {
		if mail != want.Mails[j] {
			return fmt.Errorf("mail %d of person %d is %+v", j, i, mail)
		}
	}
	return nil
}

// oldUses are the ways to use the map. They verify what they see, and leave things as
// they were.
var oldUses = []func(s *everheap.Space, o oldPeople, i int) error{
	func(s *everheap.Space, o oldPeople, i int) error {
		p, err := o.m.Get(s, fmt.Sprint("key ", i))
		if err != nil {
			return err
		}
		return samePersonV1(&p, i)
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return o.m.Set(s, fmt.Sprint("key ", i), personOf(i))
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return o.m.Modify(s, fmt.Sprint("key ", i), func(p *personV1) error { return samePersonV1(p, i) })
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.View(func(tx *everheap.Tx) error {
			for j := range 20 {
				if err := samePersonV1(o.m.Peek(tx, fmt.Sprint("key ", (i+j)%crowd)), (i+j)%crowd); err != nil {
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
					err = samePersonV1(p, j)
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
				if err := o.m.Set(tx, key, personOf((i+j)%crowd)); err != nil {
					return err
				}
			}
			return nil
		})
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		_, err := everheap.OpenMap[string, personV1](s, "people")
		return err
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		p, err := o.l.Get(s, i)
		if err != nil {
			return err
		}
		return samePersonV1(&p, i)
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			if err := o.l.Append(tx, personOf(crowd)); err != nil {
				return err
			}
			if err := o.l.Set(tx, i, personOf(i)); err != nil {
				return err
			}
			return o.l.Truncate(tx, crowd)
		})
	},
	func(s *everheap.Space, o oldPeople, i int) error {
		return s.View(func(tx *everheap.Tx) error {
			for j, p := range o.l.All(tx) {
				if err := samePersonV1(p, j); err != nil {
					return err
				}
			}
			return samePersonV1(o.r.Peek(tx), 7)
		})
	},
	func(s *everheap.Space, o oldPeople, _ int) error { return o.r.Set(s, personOf(7)) },
	func(s *everheap.Space, o oldPeople, _ int) error {
		return o.r.Modify(s, func(p *personV1) error { return samePersonV1(p, 7) })
	},
}

// childNewTypes opens the map "people" with the new types, by a function of its own,
// and says how many it has converted. Its work can be "slow" and a number: at that
// person it says so, and waits; "durable"; and "race": it waits before it opens.
func childNewTypes() int {
	c := newInChild()
	durability := everheap.Periodic
	if c.has("durable") {
		durability = everheap.Durable
	}
	s, err := c.open(everheap.WithDurability(durability))
	if err != nil {
		return failed("opening", err)
	}
	if c.has("race") {
		say("ready")
		<-c.asked
	}
	calls := 0
	err = again(func() error {
		calls = 0
		_, err := everheap.OpenMap[string, personV2](s, "people", everheap.Migrate(func(p personV1) (personV2, error) {
			if calls++; c.has(fmt.Sprint("slow ", calls, ".")) {
				say("middle")
				<-c.asked
			}
			return evolved(p), nil
		}))
		return err
	})
	if err != nil {
		return failed("opening the map", err)
	}
	say("converted", calls)
	if !c.has("stay") {
		if err := s.Close(); err != nil {
			return failed("closing", err)
		}
		return 0
	}
	<-c.asked
	return 0
}

// crowded makes a space with the map "people", a list and a value, and closes it.
func crowded(t testing.TB) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(testWindow))
	must(t, err)
	fillPeople(t, s, crowd)
	o, err := openOld(s)
	must(t, err)
	update(t, s, func(tx *everheap.Tx) error {
		for i := range crowd {
			if err := o.l.Append(tx, personOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, s.Close())
	return dir
}

// Processes use the old types in all ways while another one changes them: what they
// see is right until it is an error, and then it stays one.
func TestEvolve_BesideProcessesWithTheOldTypes(t *testing.T) {
	rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		dir := crowded(t)
		var old []*child
		for id := range 3 {
			c := startChild(t, "old types", env(dir, id, "", r.Uint64())...)
			old = append(old, c)
		}
		for _, c := range old {
			c.await("some uses", func() bool { return c.acked.Load() > 20 })
		}
		s := open(t, dir)
		update(t, s, func(tx *everheap.Tx) error {
			_, err := everheap.OpenMap[string, personV2](tx, "people", everheap.Evolve())
			if err != nil {
				return err
			}
			if _, err = everheap.OpenList[personV2](tx, "list of people", everheap.Evolve()); err != nil {
				return err
			}
			_, err = everheap.OpenRef(tx, "somebody", personV2{}, everheap.Evolve())
			return err
		})
		for _, c := range old {
			c.awaitLine("refused")
			c.await("its end", c.gone)
		}
		verifyPeople(t, s, crowd)
	})
}

// Several processes migrate at once: one does it, the others find it done.
func TestMigrate_Race(t *testing.T) {
	rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		dir := crowded(t)
		var list []*child
		for id := range 3 {
			list = append(list, startChild(t, "new types", env(dir, id, "race", r.Uint64())...))
		}
		for _, c := range list {
			c.awaitLine("ready")
		}
		for _, c := range list {
			fmt.Fprintln(c.in, "go")
		}
		total := 0
		for _, c := range list {
			n, err := strconv.Atoi(c.awaitLine("converted"))
			must(t, err)
			total += n
		}
		if total != crowd {
			t.Errorf("%d conversions of %d people", total, crowd)
		}
		verifyPeople(t, open(t, dir), crowd)
	})
}

// The process that migrates is killed in the middle: all is as it was.
func TestMigrate_KilledInTheMiddle(t *testing.T) {
	rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		dir := crowded(t)
		c := startChild(t, "new types", env(dir, 1, fmt.Sprintf("slow %d.", 1+r.IntN(crowd)), r.Uint64())...)
		c.awaitLine("middle")
		c.kill()
		s := open(t, dir)
		m, err := everheap.OpenMap[string, personV1](s, "people")
		must(t, err)
		for i := range crowd {
			p, err := m.Get(s, fmt.Sprint("key ", i))
			must(t, err)
			must(t, samePersonV1(&p, i))
		}
		checkSpace(t, s)
		_, err = everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
		must(t, err)
		verifyPeople(t, s, crowd)
	})
}

// The process that migrates stands still in the middle; another one takes over and
// does it. The sleeper finds that nothing of its own was done, and then that it is.
func TestMigrate_SuspendedInTheMiddle(t *testing.T) {
	dir := crowded(t)
	c := startChild(t, "new types", env(dir, 1, "slow 100.", 1)...)
	c.awaitLine("middle")
	c.stop()
	s := open(t, dir)
	_, err := everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
	must(t, err)
	verifyPeople(t, s, crowd)
	c.resume()
	fmt.Fprintln(c.in, "go")
	if n := c.awaitLine("converted"); n != "0" || c.suspended.Load() != 1 {
		t.Errorf("the sleeper converted %s, and was suspended %d times", n, c.suspended.Load())
	}
	c.await("its end", c.gone)
	verifyPeople(t, s, crowd)
}

// A migration that returned in a durable space survives the loss of all that is not
// on disk, as well as a process can be made to lose it.
func TestMigrate_Durable(t *testing.T) {
	dir := crowded(t)
	c := startChild(t, "new types", env(dir, 1, "durable stay", 1)...)
	c.awaitLine("converted")
	c.kill()
	must(t, os.Remove(filepath.Join(dir, "live")))
	verifyPeople(t, open(t, dir), crowd)
}

// The process that migrates dies at each point of its commit and of what follows: the
// map has the old types, or the new ones, as a whole.
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
			c := startChild(t, "new types", append(env(dir, 1, "durable", 1), "EVERHEAP_POINT="+point+":1:kill")...)
			c.await("its death", c.gone)
			if lost {
				must(t, os.Remove(filepath.Join(dir, "live")))
			}
			s := open(t, dir)
			if m, err := everheap.OpenMap[string, personV1](s, "people"); err == nil {
				for i := range crowd {
					p, err := m.Get(s, fmt.Sprint("key ", i))
					must(t, err)
					must(t, samePersonV1(&p, i))
				}
			} else {
				expectError(t, err, everheap.ErrTypeChanged)
			}
			checkSpace(t, s)
			_, err := everheap.OpenMap[string, personV2](s, "people", everheap.Evolve())
			must(t, err)
			verifyPeople(t, s, crowd)
			if t.Failed() {
				t.Fatalf("after a kill at the point %s, live lost: %v", point, lost)
			}
		}
	}
}
