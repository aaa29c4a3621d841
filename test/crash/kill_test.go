package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestKill_AtRandomMoments(t *testing.T) { // E2
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, spacetest.FleetSize, "reopen locks watch collect")
		kills := spacetest.Scaled(40)
		for i := range kills {
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
			victims := r.Perm(spacetest.FleetSize)[:1+r.IntN(2)]
			var gone []int
			for _, v := range victims {
				f.Kill(v + 1)
				gone = append(gone, v+1)
			}
			f.Progress(time.Now())
			if i%4 == 3 {
				f.Verify()
			}
			f.Restart(gone...)
			if t.Failed() {
				return
			}
		}
		f.Everybody(false)
		f.Verify()
		f.Restart(spacetest.Ids(spacetest.FleetSize)...)
		f.Progress(time.Now())
		t.Logf("%d rounds of kills; the longest that a kill kept others from their next commit: %v", kills, f.Slowest)
	})
}

// The last user of a space dies: the next one finds all commits. Without the live file it finds the
// state after a power loss: an earlier version, whole.
func TestKill_LastUser(t *testing.T) {
	spacetest.Rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 2, "busy")
		for i := range 4 {
			time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
			f.Everybody(true)
			lost := i%2 == 1
			if lost {
				spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
			}
			f.Open()
			if lost {
				f.Forget()
			}
			f.Verify()
			f.Restart(spacetest.Ids(2)...)
			f.Progress(time.Now())
		}
	})
}

// All users die at once and the live file is lost, again and again: all durable commits are there,
// although no process wrote an anchor of them.
func TestKill_DurableCommitsNeedNoLive(t *testing.T) {
	spacetest.Rounds(t, 3, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 3, "")
		for range spacetest.Scaled(20) {
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
			f.Everybody(true)
			spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
			f.Open()
			f.Forget()
			f.Restart(spacetest.Ids(3)...)
			f.Progress(time.Now())
			if t.Failed() {
				return
			}
		}
		total := uint64(0)
		for _, n := range f.Durable {
			total += n
		}
		if total == 0 {
			t.Error("no transaction was durable")
		}
	})
}

// pointWork returns the work by which a child passes a point often, and the maximum number of passes
// before the child is killed or stopped there.
func pointWork(point string) (work string, times int) {
	switch point {
	case "grow.carved", "grow.allocated", "commit.given":
		return "grow", 1
	case "batch.built", "batch.pushed", "batch.taken", "close.handed", "entry.claimed", "segment.chosen", "segment.claimed":
		return "reopen", 4
	case "entry.dead", "entry.retired", "entry.reaped", "lock.takeover", "recover.replayed":
		return "", 1
	case "anchor.claimed", "anchor.synced", "anchor.written", "anchor.confirmed", "reclaim.scanned":
		return "busy", 2
	case "journal.leading", "journal.write", "journal.written", "journal.synced", "sync.begun", "sync.done":
		return "busy", 20
	case "hole.allocated": // seldom: others keep sweeps from beginning
		return "compact", 1
	case "punch.marked", "punch.synced", "punch.punched":
		return "compact", 2
	case "expire.claimed", "expire.removed": // now and then, by one of the processes
		return "", 2
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

// takesOthers reports whether a process passes the point only when another process has died.
func takesOthers(point string) bool {
	return slices.Contains([]string{"lock.takeover", "entry.dead", "entry.retired", "entry.reaped", "mutex.takeover"}, point)
}

// inChanges reports whether a point belongs to subscriptions and replicas, which TestReplica_AtPoints
// tests.
func inChanges(point string) bool {
	return strings.HasPrefix(point, "aside.") || strings.HasPrefix(point, "subscribe.") || strings.HasPrefix(point, "confirm.") || strings.HasPrefix(point, "replica.")
}

// hasOwnTest reports whether a fleet never reaches the point. Such points are reached by
// TestTakeOver_OfJournal, by opening after a power loss, by rewriting a closed space, by closing a
// space while goroutines use it or as its last user, and by creating or resizing a space. A fleet
// does not fill its space either, so it reaches no point of the reserve or of the relief, and no
// process is killed there. Its files stay small (package test/rest makes large files, and shrinks
// them). And no fleet sets the clock back (TestExpiry_RemoverStandsStill does).
func hasOwnTest(point string) bool {
	own := []string{"journal.takeover", "journal.tail", "journal.shorter", "journal.cut", "segment.made", "recover.replayed", "close.waits", "close.last", "resize.told", "expire.marked", "expire.settling"}
	return slices.Contains(own, point) ||
		strings.HasPrefix(point, "move.") || strings.HasPrefix(point, "shorten.") || strings.HasPrefix(point, "create.") || inChanges(point) || strings.HasPrefix(point, "reserve.") || strings.HasPrefix(point, "lowspace.") || rewrites(point)
}

// rewrites reports whether a process passes the point when it rewrites a closed space.
func rewrites(point string) bool { return strings.HasPrefix(point, "rewrite.") }

// provoke makes a child pass a point that it does not pass by itself: it kills a process that has the
// writer lock, or a named lock. It reports whether the child has reached the point.
func provoke(f *spacetest.Fleet, point string, reached func() bool) bool {
	const victim = spacetest.FleetSize + 2
	if !takesOthers(point) {
		return spacetest.Wait(3*spacetest.Patience, reached) // some points are passed seldom
	}
	work, death := "", "commit.sealed:10"
	if isLockPoint(point) {
		work, death = "locks", "mutex.held:200"
	}
	for range 40 {
		// At random times: otherwise another process may always reap first.
		if spacetest.Wait(time.Duration(100+f.Rng.IntN(400))*time.Millisecond, reached) { // the dead of earlier points may suffice
			return true
		}
		v := f.Start(victim, work, "EVERHEAP_POINT="+death+":kill")
		f.Arrive(victim)
		v.Await("its death", v.Gone)
		f.Bury(victim)
	}
	return spacetest.Wait(time.Second, reached)
}

// arm starts one more child, which is killed or stopped at a point.
func arm(f *spacetest.Fleet, point, how string) *spacetest.Child {
	work, times := pointWork(point)
	f.Point = fmt.Sprintf("%s:%d:%s", point, 1+f.Rng.IntN(times), how)
	return f.Start(spacetest.FleetSize+1, work, "EVERHEAP_POINT="+f.Point)
}

// pointsFleet returns how many children work beside the one that dies or stands still at each
// point in turn. They keep the processors busy, and slow the verification.
func pointsFleet() int {
	if testing.Short() {
		return 2
	}
	return spacetest.FleetSize
}

// leftOut reports whether the kill loop leaves the point with an index out, and the suspend loop takes
// it: a short test takes each point in one of the two.
func leftOut(i int) bool { return testing.Short() && i%2 == 1 }

func TestKill_AtPoints(t *testing.T) { // E2
	t.Parallel() // it mostly waits
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, pointsFleet(), "")
		const armed = spacetest.FleetSize + 1
		for i, point := range invariant.Points {
			if hasOwnTest(point) || leftOut(i) {
				continue
			}
			c := arm(f, point, "kill")
			if !provoke(f, point, c.Gone) {
				t.Errorf("no child passed the point %s", point)
				f.Kill(armed)
				continue
			}
			died := time.Now()
			f.Found(armed)
			f.Bury(armed)
			f.Progress(died)
			f.Verify()
			if t.Failed() {
				t.Fatalf("after a kill at the point %s", point)
			}
		}
		f.Everybody(true)
		f.Open()
		f.Verify()
		f.Everybody(true)
		spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
		f.Open()
		f.Forget()
		t.Logf("%d points; the longest that a kill kept others from their next commit: %v", len(invariant.Points), f.Slowest)
	})
}

// A process is suspended while it leads the journal, and the process that takes over dies, or is
// suspended as well, at that moment: others continue, and nothing is lost.
func TestTakeOver_OfJournal(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"kill", "stop"} {
		t.Run(how, func(t *testing.T) {
			spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
				f := spacetest.NewFleet(t, r, 0, "")
				f.Close()
				first := f.Start(1, "busy", fmt.Sprintf("EVERHEAP_POINT=journal.leading:%d:stop", 10+r.IntN(40)))
				first.Await("standing still", first.Stopped)
				second := f.Start(2, "busy", "EVERHEAP_POINT=journal.takeover:1:"+how)
				if how == "kill" {
					second.Await("its death", second.Gone)
					f.Bury(2)
				} else {
					second.Await("standing still", second.Stopped)
				}
				f.Start(3, "busy")
				f.Arrive(3)
				f.Progress(time.Now(), 1, 2)
				for id, c := range f.Children {
					if id != 3 {
						c.Resume()
					}
				}
				f.Progress(time.Now())
				f.Everybody(false)
				spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
				f.Open()
				f.Forget()
			})
		})
	}
}

// The last user of the space dies at each point, and the live file is lost: the files on disk are
// whole.
func TestKill_LastUserAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 0, "")
		third := r.IntN(3) // left out with -short: TestKill_AtPoints reaches all of them
		for i, point := range invariant.Points {
			if takesOthers(point) || hasOwnTest(point) && point != "recover.replayed" || testing.Short() && i%3 == third {
				continue
			}
			f.Close()
			lost := i%2 == 1
			if point == "recover.replayed" { // needs records after the newest anchor, and a power loss
				c := f.Start(1, "")
				c.Await("some transactions", func() bool { return c.Durable.Load() > 20 })
				f.Kill(1)
				spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
				lost = true
			}
			c := arm(f, point, "kill")
			if !spacetest.Wait(spacetest.Patience, c.Gone) {
				t.Errorf("no child passed the point %s", point)
				f.Kill(spacetest.FleetSize + 1)
			} else {
				f.Bury(spacetest.FleetSize + 1)
			}
			if lost {
				if err := os.Remove(filepath.Join(f.Dir, "live")); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			f.Open()
			if lost {
				f.Forget()
			}
			f.Verify()
			if t.Failed() {
				t.Fatalf("after a kill at the point %s", point)
			}
		}
	})
}
