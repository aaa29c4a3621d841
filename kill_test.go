package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// A fleet is a space with a bank in it, the children that work on it, and what
// the test knows they were told.
type fleet struct {
	t        testing.TB
	dir      string
	seed     uint64
	rng      *rand.Rand
	space    *everheap.Space // this process's own handle; nil: closed
	bank     bank
	children map[int]*child
	work     map[int]string
	known    map[int]uint64 // transactions of children that are gone, at the least
	durable  map[int]uint64 // those of them that survive power loss, at the least
	starts   uint64
	dropped  uint64        // objects that this process has collected
	slowest  time.Duration // for which a child was kept from its next commit
	point    string        // where a child was armed last
}

// newFleet creates the space and starts n children, with ids from 1.
func newFleet(t *testing.T, r *rand.Rand, n int, work string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: filepath.Join(t.TempDir(), "bank"), seed: r.Uint64(), rng: r,
		children: map[int]*child{}, work: map[int]string{}, known: map[int]uint64{}, durable: map[int]uint64{}}
	f.open()
	must(t, f.bank.found(f.space))
	t.Cleanup(func() {
		if t.Failed() && f.point != "" {
			t.Logf("the last point at which a child was to die or stop: %s", f.point)
		}
		if f.space != nil {
			f.space.Close()
		}
	})
	for id := 1; id <= n; id++ {
		f.start(id, work)
	}
	for id := 1; id <= n; id++ {
		f.arrive(id)
	}
	return f
}

// open opens the space in this process.
func (f *fleet) open() {
	f.t.Helper()
	var err error
	f.space, err = everheap.Open(f.dir, everheap.WithMaxSize(testWindow))
	must(f.t, err)
	f.bank, err = openBank(f.space)
	must(f.t, err)
}

// close closes the space in this process.
func (f *fleet) close() {
	f.t.Helper()
	must(f.t, f.space.Close())
	f.space = nil
}

// start starts a child.
func (f *fleet) start(id int, work string, more ...string) *child {
	f.t.Helper()
	f.starts++
	c := startChild(f.t, "bank", append(env(f.dir, id, work, f.seed+f.starts), more...)...)
	f.children[id], f.work[id] = c, work
	return c
}

// arrive waits until a child works, and compares what it found with what its
// predecessor was told: all of that, and at most one transaction more.
func (f *fleet) arrive(id int) {
	f.t.Helper()
	c := f.children[id]
	c.awaitStart()
	f.found(id)
}

// found compares what a child found when it started, if it came that far, with
// what its predecessor was told.
func (f *fleet) found(id int) {
	if c := f.children[id]; c.started.Load() {
		f.survived(id, c.first.Load())
		f.known[id] = max(f.known[id], c.acked.Load())
	}
}

// survived fails the test unless n is what can be left of a dead child's work.
func (f *fleet) survived(id int, n uint64) {
	f.t.Helper()
	if known := f.known[id]; n < known || n > known+1 {
		f.t.Errorf("child %d: %d transactions had returned when it died, %d are there", id, known, n)
	}
}

// kill kills a child and remembers what it was told last.
func (f *fleet) kill(id int) {
	c := f.children[id]
	c.kill()
	f.bury(id)
}

// bury takes note of a child that is gone.
func (f *fleet) bury(id int) {
	f.known[id] = max(f.known[id], f.children[id].acked.Load())
	f.durable[id] = max(f.durable[id], f.children[id].durable.Load())
	delete(f.children, id)
}

// progress fails the test if one of the children other than those given does not
// commit in time, counted from the given moment.
func (f *fleet) progress(since time.Time, except ...int) {
	f.t.Helper()
	skip := map[int]bool{}
	for _, id := range except {
		skip[id] = true
	}
	for id, c := range f.children {
		if skip[id] {
			continue
		}
		c.await(fmt.Sprintf("a commit of child %d", id), func() bool { return c.ackedAt.Load() > since.UnixNano() })
		f.slowest = max(f.slowest, time.Duration(c.ackedAt.Load()-since.UnixNano()))
	}
}

// verify audits the newest version and checks the space.
func (f *fleet) verify() {
	f.t.Helper()
	told := map[int]uint64{}
	for id, c := range f.children {
		if c.started.Load() {
			told[id] = c.acked.Load()
		}
	}
	err := f.space.View(func(tx *everheap.Tx) error {
		owns, err := f.bank.audit(tx)
		if err != nil {
			return err
		}
		for id, n := range told {
			if owns[own(id)] < n {
				f.t.Errorf("child %d: %d transactions have returned, %d are there", id, n, owns[own(id)])
			}
		}
		for id := range f.known {
			if f.children[id] == nil {
				f.survived(id, owns[own(id)])
			}
		}
		return nil
	})
	if err != nil {
		f.t.Error(err)
	}
	if f.rng.IntN(3) == 0 { // also if a child collects, or did when it died
		stats, err := f.space.Collect(context.Background())
		must(f.t, err)
		f.dropped += stats.Dropped
		must(f.t, f.space.View(func(tx *everheap.Tx) error { return second(f.bank.audit(tx)) }))
	}
	pins, err := f.space.Checkpoints()
	must(f.t, err)
	for _, pin := range pins {
		err := f.space.ViewAt(pin.Name, func(tx *everheap.Tx) error { _, err := f.bank.audit(tx); return err })
		if err != nil && !errors.Is(err, everheap.ErrNotFound) { // a child has dropped it
			f.t.Errorf("checkpoint %s: %v", pin.Name, err)
		}
	}
	checkSpace(f.t, f.space)
}

// forget gives up what is known, and takes what is there for it: power is lost,
// and what was on disk counts. That is all that was durable, at the least.
func (f *fleet) forget() {
	f.t.Helper()
	err := f.space.View(func(tx *everheap.Tx) error {
		owns, err := f.bank.audit(tx)
		if err != nil {
			return err
		}
		for id, known := range f.known {
			n := owns[own(id)]
			if n > known+1 || n < f.durable[id] {
				f.t.Errorf("child %d: %d transactions had returned when it died, %d of them durable; %d are there", id, known, f.durable[id], n)
			}
			f.known[id] = n
		}
		return nil
	})
	must(f.t, err)
	checkSpace(f.t, f.space)
}

// everybody kills all children, and closes this process's handle before that if
// last is set: so the last one to use the space dies.
func (f *fleet) everybody(last bool) {
	f.t.Helper()
	if last {
		f.close()
	}
	for id := range f.children {
		f.kill(id)
	}
}

// restart starts children that are gone.
func (f *fleet) restart(ids ...int) {
	f.t.Helper()
	for _, id := range ids {
		f.start(id, f.work[id])
	}
	for _, id := range ids {
		f.arrive(id)
	}
}

// ids returns the ids 1 to n.
func ids(n int) (list []int) {
	for id := 1; id <= n; id++ {
		list = append(list, id)
	}
	return list
}

const fleetSize = 4

func TestKill_AtRandomMoments(t *testing.T) {
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, fleetSize, "reopen locks watch collect")
		kills := scaled(40)
		for i := range kills {
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
			victims := r.Perm(fleetSize)[:1+r.IntN(2)]
			var gone []int
			for _, v := range victims {
				f.kill(v + 1)
				gone = append(gone, v+1)
			}
			f.progress(time.Now())
			if i%4 == 3 {
				f.verify()
			}
			f.restart(gone...)
			if t.Failed() {
				return
			}
		}
		f.everybody(false)
		f.verify()
		f.restart(ids(fleetSize)...)
		f.progress(time.Now())
		t.Logf("%d rounds of kills; the longest that a kill kept others from their next commit: %v", kills, f.slowest)
	})
}

// The last user of a space dies: the next one finds everything. Without the live
// file it is as after a power loss: an earlier version, whole.
func TestKill_LastUser(t *testing.T) {
	rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 2, "busy")
		for i := range 4 {
			time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
			f.everybody(true)
			lost := i%2 == 1
			if lost {
				must(t, os.Remove(filepath.Join(f.dir, "live")))
			}
			f.open()
			if lost {
				f.forget()
			}
			f.verify()
			f.restart(ids(2)...)
			f.progress(time.Now())
		}
	})
}

// All users die at once and the live file is lost, again and again: what was
// durable is there, although nobody wrote an anchor of it.
func TestKill_DurableCommitsNeedNoLive(t *testing.T) {
	rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 3, "")
		for range scaled(12) {
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
			f.everybody(true)
			must(t, os.Remove(filepath.Join(f.dir, "live")))
			f.open()
			f.forget()
			f.restart(ids(3)...)
			f.progress(time.Now())
			if t.Failed() {
				return
			}
		}
		total := uint64(0)
		for _, n := range f.durable {
			total += n
		}
		if total == 0 {
			t.Error("no transaction was durable")
		}
	})
}

// pointWork returns what a child must do to pass a point often, and how often at
// the most it is to pass it before it is killed or stopped there.
func pointWork(point string) (work string, times int) {
	switch point {
	case "grow.carved", "grow.allocated", "commit.given":
		return "grow", 1
	case "parcel.built", "parcel.pushed", "parcel.taken", "close.handed", "entry.claimed", "segment.chosen", "segment.claimed":
		return "reopen", 4
	case "entry.dead", "entry.retired", "entry.reaped", "lock.takeover", "recover.replayed":
		return "", 1
	case "anchor.claimed", "anchor.synced", "anchor.written", "anchor.confirmed", "reclaim.scanned":
		return "busy", 2
	case "journal.leading", "journal.write", "journal.written", "journal.synced", "sync.begun", "sync.done":
		return "busy", 20
	case "hole.allocated", "punch.marked", "punch.synced", "punch.punched":
		return "compact", 2
	case "sweep.epoch", "sweep.emptied", "sweep.held", "sweep.marked", "sweep.pushed":
		return "busy", 1
	}
	switch {
	case strings.HasPrefix(point, "watch."):
		return "watch", 100
	case strings.HasPrefix(point, "collect."):
		return "collect", 4
	case takesOthers(point):
		return "locks", 1
	case isLockPoint(point):
		return "locks", 20
	}
	return "", 200
}

// takesOthers reports whether a process passes the point only when another one
// died.
func takesOthers(point string) bool {
	return slices.Contains([]string{"lock.takeover", "entry.dead", "entry.retired", "entry.reaped", "mutex.takeover"}, point)
}

// hasOwnTest reports whether a fleet does not come to the point: TestTakeOver_OfJournal
// does, or an opener after a power loss, or who rewrites a closed space, or who closes one
// while others of the process use it, or as the last one, or creates or resizes one. A fleet does not
// fill its space either, so it comes to no point of the reserve: nothing is killed there;
// and its files stay small (package test/rest has those who make them larger, and small again).
func hasOwnTest(point string) bool {
	own := []string{"journal.takeover", "journal.tail", "journal.shorter", "journal.cut", "segment.made", "recover.replayed", "close.waits", "close.last", "resize.told"}
	return slices.Contains(own, point) ||
		strings.HasPrefix(point, "move.") || strings.HasPrefix(point, "shorten.") || strings.HasPrefix(point, "create.") || strings.HasPrefix(point, "reserve.") || rewrites(point)
}

// rewrites reports whether a process passes the point when it rewrites a closed space.
func rewrites(point string) bool { return strings.HasPrefix(point, "rewrite.") }

// provoke does what makes a child pass a point that it does not pass by itself: a
// process dies while it has the writer lock, or a named one. It reports whether the
// child has.
func (f *fleet) provoke(point string, reached func() bool) bool {
	const victim = fleetSize + 2
	if !takesOthers(point) {
		return wait(patience, reached)
	}
	work, death := "", "commit.sealed:10"
	if isLockPoint(point) {
		work, death = "locks", "mutex.held:200"
	}
	for range 40 {
		// Not in step with those who reap: else one of the others may always be first.
		if wait(time.Duration(100+f.rng.IntN(400))*time.Millisecond, reached) { // the dead of former points may do
			return true
		}
		v := f.start(victim, work, "EVERHEAP_POINT="+death+":kill")
		f.arrive(victim)
		v.await("its death", v.gone)
		f.bury(victim)
	}
	return wait(time.Second, reached)
}

// arm starts one more child, which is killed or stopped at a point.
func (f *fleet) arm(point, how string) *child {
	work, times := pointWork(point)
	f.point = fmt.Sprintf("%s:%d:%s", point, 1+f.rng.IntN(times), how)
	return f.start(fleetSize+1, work, "EVERHEAP_POINT="+f.point)
}

func TestKill_AtPoints(t *testing.T) {
	t.Parallel() // it mostly waits
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, fleetSize, "")
		const armed = fleetSize + 1
		for _, point := range invariant.Points {
			if hasOwnTest(point) {
				continue
			}
			c := f.arm(point, "kill")
			if !f.provoke(point, c.gone) {
				t.Errorf("no child passed the point %s", point)
				f.kill(armed)
				continue
			}
			died := time.Now()
			f.found(armed)
			f.bury(armed)
			f.progress(died)
			f.verify()
			if t.Failed() {
				t.Fatalf("after a kill at the point %s", point)
			}
		}
		f.everybody(true)
		f.open()
		f.verify()
		f.everybody(true)
		must(t, os.Remove(filepath.Join(f.dir, "live")))
		f.open()
		f.forget()
		t.Logf("%d points; the longest that a kill kept others from their next commit: %v", len(invariant.Points), f.slowest)
	})
}

// A process stands still while it leads the journal, and the one that takes over
// from it dies, or stands still as well, at that moment: others go on, and nothing
// is lost.
func TestTakeOver_OfJournal(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"kill", "stop"} {
		t.Run(how, func(t *testing.T) {
			rounds(t, 1, func(t *testing.T, r *rand.Rand) {
				f := newFleet(t, r, 0, "")
				f.close()
				first := f.start(1, "busy", fmt.Sprintf("EVERHEAP_POINT=journal.leading:%d:stop", 10+r.IntN(40)))
				first.await("standing still", first.stopped)
				second := f.start(2, "busy", "EVERHEAP_POINT=journal.takeover:1:"+how)
				if how == "kill" {
					second.await("its death", second.gone)
					f.bury(2)
				} else {
					second.await("standing still", second.stopped)
				}
				f.start(3, "busy")
				f.arrive(3)
				f.progress(time.Now(), 1, 2)
				for id, c := range f.children {
					if id != 3 {
						c.resume()
					}
				}
				f.progress(time.Now())
				f.everybody(false)
				must(t, os.Remove(filepath.Join(f.dir, "live")))
				f.open()
				f.forget()
			})
		})
	}
}

// A child that dies at a point of its own death leaves what is on disk whole: the
// last user of the space dies at each point, and the live file is lost.
func TestKill_LastUserAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 0, "")
		for i, point := range invariant.Points {
			if takesOthers(point) || hasOwnTest(point) && point != "recover.replayed" {
				continue
			}
			f.close()
			lost := i%2 == 1
			if point == "recover.replayed" { // takes records after the newest anchor, and that power is lost
				c := f.start(1, "")
				c.await("some transactions", func() bool { return c.durable.Load() > 20 })
				f.kill(1)
				must(t, os.Remove(filepath.Join(f.dir, "live")))
				lost = true
			}
			c := f.arm(point, "kill")
			if !wait(patience, c.gone) {
				t.Errorf("no child passed the point %s", point)
				f.kill(fleetSize + 1)
			} else {
				f.bury(fleetSize + 1)
			}
			if lost {
				if err := os.Remove(filepath.Join(f.dir, "live")); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			f.open()
			if lost {
				f.forget()
			}
			f.verify()
			if t.Failed() {
				t.Fatalf("after a kill at the point %s", point)
			}
		}
	})
}
