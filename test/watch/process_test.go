package watch

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// Writers are killed at random moments, and so are watchers; the remaining watchers reach the last
// state each time.
func TestWatch_WhileProcessesAreKilled(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		const writers = 3
		f := spacetest.NewFleet(t, r, writers, "reopen")
		stays := []*spacetest.Child{f.StartWatching("readonly"), f.StartWatching("")}
		for range spacetest.Scaled(16) {
			goes := f.StartWatching([]string{"", "readonly"}[r.IntN(2)])
			time.Sleep(time.Duration(r.IntN(80)) * time.Millisecond)
			if r.IntN(2) == 0 {
				goes.Hears(1)
			}
			goes.Kill()
			victim := 1 + r.IntN(writers)
			f.Kill(victim)
			n := f.Transactions()
			for _, w := range stays {
				w.Hears(n)
			}
			f.Restart(victim)
			f.Progress(time.Now())
			if t.Failed() {
				return
			}
		}
		f.Everybody(false)
		n := f.Transactions()
		for _, w := range stays {
			w.Hears(n)
			w.Comes("after the last kill")
			w.Tell("close")
			w.AwaitLine("closed")
		}
		slotsGo(f)
		f.Verify()
	})
}

// slotsGo waits until no version is held: the slots of dead processes are reaped.
func slotsGo(f *spacetest.Fleet) {
	f.T.Helper()
	held := 0
	if !spacetest.Wait(spacetest.Patience, func() bool {
		readers, err := f.Space.Readers()
		spacetest.Must(f.T, err)
		held = len(readers)
		return held == 0
	}) {
		f.T.Errorf("%d versions are held, but no process is left", held)
	}
}

// Watchers are suspended and continue: no process waits for them, and they reach the last state.
func TestWatch_WhileProcessesAreSuspended(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		const writers = 2
		f := spacetest.NewFleet(t, r, writers, "")
		w, stays := f.StartWatching(""), f.StartWatching("readonly")
		w.Hears(1)
		for i := range spacetest.Scaled(8) {
			time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
			w.Stop()
			f.Progress(time.Now())
			if i%2 == 1 { // a writer as well
				f.Children[1].Stop()
				f.Progress(time.Now(), 1)
			}
			spacetest.Must(t, spacetest.Sweep(f.Space))
			stays.Hears(f.Transactions())
			f.Children[1].Resume()
			w.Resume()
			w.Hears(f.Transactions())
			f.Progress(time.Now())
			if t.Failed() {
				return
			}
		}
		f.Everybody(false)
		for _, c := range []*spacetest.Child{w, stays} {
			c.Hears(f.Transactions())
			c.Comes("after the last suspension")
		}
		w.Stop() // for good: its hold ends only with the process
		w.Kill()
		stays.Tell("close")
		stays.AwaitLine("closed")
		slotsGo(f)
		f.Verify()
	})
}

// A watcher is killed at each of its points; once it is reaped, it has left nothing behind.
func TestWatch_KilledAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 2, "")
		stays := f.StartWatching("readonly")
		for _, point := range invariant.Points {
			if !strings.HasPrefix(point, "watch.") || point == "watch.disarmed" { // which only writers pass
				continue
			}
			c := f.StartWatching("", fmt.Sprintf("EVERHEAP_POINT=%s:%d:kill", point, 1+r.IntN(50)))
			c.Await("its death at "+point, c.Gone)
			stays.Hears(f.Transactions())
			f.Progress(time.Now())
		}
		f.Everybody(false)
		stays.Hears(f.Transactions())
		stays.Comes("after the last kill")
		stays.Kill()
		slotsGo(f)
		f.Verify()
	})
}

// A committing process dies, or is suspended, after it has cleared the mark of waiters and before it
// has woken any: the watcher finds the commit by itself.
func TestWatch_WakerDies(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"kill", "stop"} {
		t.Run(how, func(t *testing.T) {
			spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
				f := spacetest.NewFleet(t, r, 0, "")
				stays := f.StartWatching("")
				for range 5 {
					c := f.Start(1, "", fmt.Sprintf("EVERHEAP_POINT=watch.disarmed:%d:%s", 1+r.IntN(30), how))
					if how == "kill" {
						c.Await("its death", c.Gone)
						f.Bury(1)
					} else {
						c.Await("standing still", c.Stopped)
					}
					stays.Hears(f.Transactions())
					if how == "stop" {
						f.Kill(1)
					}
				}
				stays.Comes("after the last commit")
			})
		})
	}
}

// While no process commits, a watcher uses no processor time.
func TestWatch_IdleUsesNoProcessorTime(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 1, "")
		f.Progress(time.Now())
		f.Everybody(false)
		w := f.StartWatching("readonly")
		w.Hears(f.Transactions())
		w.Comes("before it waits")
		w.Tell("cpu")
		var used int
		if _, err := fmt.Sscan(w.AwaitLine("used"), &used); err != nil {
			t.Fatal(err)
		}
		t.Logf("in a second five idle watchers of one process used %d ms of processor time", used)
		if used > 200 { // a loop would use 1000
			t.Errorf("waiting used %d ms of processor time in a second", used)
		}
	})
}
