package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

func init() {
	children["mutex-holder"] = func() int {
		c := newInChild()
		s, err := c.open(everheap.WithoutBackground())
		if err != nil {
			return failed("open", err)
		}
		if err := s.Mutex("x").Lock(context.Background()); err != nil {
			return failed("lock", err)
		}
		_ = s.View(func(tx *everheap.Tx) error {
			say("locked")
			<-c.asked
			return nil
		})
		return 0
	}
	children["idler"] = func() int {
		c := newInChild()
		if _, err := c.open(); err != nil {
			return failed("open", err)
		}
		say("opened")
		<-c.asked
		return 0
	}
}

// One who stands still while he cleans up after a dead process must not keep others from
// what the dead one held, nor let it go on holding what nobody needs.
func TestReaper_StandsStill(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{"entry.dead", "entry.retired", "entry.reaped"} {
		t.Run(point, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "s"), everheap.WithoutBackground())
			dir := s.Stats().Dir
			d := startChild(t, "mutex-holder", env(dir, 1, "", 1)...)
			d.awaitLine("locked")
			r := startChild(t, "idler", append(env(dir, 2, "", 1), "EVERHEAP_POINT="+point+":1:stop")...)
			r.awaitLine("opened")
			d.kill()
			r.await("standing still", r.stopped)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := s.Mutex("x").Lock(ctx); !errors.Is(err, everheap.ErrOwnerDied) {
				t.Errorf("locking what the dead one had locked: %v", err)
			}
			other := startChild(t, "idler", env(dir, 3, "", 1)...) // cleans up where the other one does not
			other.awaitLine("opened")
			if !wait(patience, func() bool { return readersOf(t, s, d) == 0 }) {
				t.Errorf("the dead one still holds %d versions", readersOf(t, s, d))
			}
			list, err := s.Processes()
			must(t, err)
			for _, p := range list {
				if p.PID == d.process.Pid {
					t.Error("the dead one is listed")
				}
			}
			if !r.stopped() {
				t.Error("the reaper did not stand still all the time: the test shows nothing")
			}
			r.resume()
			must(t, s.Mutex("x").Unlock())
			must(t, s.Mutex("x").Lock(ctx))
			must(t, s.Mutex("x").Unlock())
		})
	}
}

// readersOf counts the versions that a child holds, dead or alive.
func readersOf(t *testing.T, s *everheap.Space, c *child) (n int) {
	t.Helper()
	readers, err := s.Readers()
	must(t, err)
	for _, r := range readers {
		if r.PID == c.process.Pid || r.PID == 0 { // 0: of one who is gone
			n++
		}
	}
	return n
}

// Whoever cleans up after a process that wrote stands still: the next writer takes over
// in the time that it takes to see the death.
func TestReaper_StandsStillAfterAWriter(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{"entry.dead", "entry.retired", "entry.reaped"} {
		t.Run(point, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "s"), everheap.WithoutBackground())
			m := mapOf[string, int](t, s)
			dir := s.Stats().Dir
			d := startChild(t, "writer", env(dir, 1, "", 1)...)
			d.awaitLine("inside")
			r := startChild(t, "idler", append(env(dir, 2, "", 1), "EVERHEAP_POINT="+point+":1:stop")...)
			r.awaitLine("opened")
			d.kill()
			r.await("standing still", r.stopped)
			within(t, patience, "writing", func() {
				for i := range 100 {
					must(t, m.Set(s, fmt.Sprint(i), i))
				}
			})
			must(t, sweep(s))
			if n, err := m.Len(s); n != 100 || err != nil {
				t.Error(n, err)
			}
			r.resume()
			checkSpace(t, s)
		})
	}
}
