package crash

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

func init() {
	spacetest.Children["mutex-holder"] = func() int {
		c := spacetest.NewInChild()
		s, err := c.Open(spacetest.WithoutBackground())
		if err != nil {
			return spacetest.Failed("open", err)
		}
		if err := s.Mutex("x").Lock(context.Background()); err != nil {
			return spacetest.Failed("lock", err)
		}
		_ = s.View(func(tx *everheap.Tx) error {
			spacetest.Say("locked")
			<-c.Asked
			return nil
		})
		return 0
	}
	spacetest.Children["idler"] = func() int {
		c := spacetest.NewInChild()
		if _, err := c.Open(); err != nil {
			return spacetest.Failed("open", err)
		}
		spacetest.Say("opened")
		<-c.Asked
		return 0
	}
}

// A process that is suspended while it cleans up after a dead process must not keep others from the
// locks of the dead process, and the holds of the dead process must end.
func TestReaper_StandsStill(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{"entry.dead", "entry.retired", "entry.reaped"} {
		t.Run(point, func(t *testing.T) {
			s := spacetest.Open(t, filepath.Join(t.TempDir(), "s"), spacetest.WithoutBackground())
			dir := s.Stats().Dir
			d := spacetest.StartChild(t, "mutex-holder", spacetest.Env(dir, 1, "", 1)...)
			d.AwaitLine("locked")
			r := spacetest.StartChild(t, "idler", append(spacetest.Env(dir, 2, "", 1), "EVERHEAP_POINT="+point+":1:stop")...)
			r.AwaitLine("opened")
			d.Kill()
			r.Await("standing still", r.Stopped)
			ctx, cancel := context.WithTimeout(context.Background(), spacetest.Patience)
			defer cancel()
			if err := s.Mutex("x").Lock(ctx); !errors.Is(err, everheap.ErrOwnerDied) {
				t.Errorf("locking the mutex of the dead process: %v", err)
			}
			other := spacetest.StartChild(t, "idler", spacetest.Env(dir, 3, "", 1)...) // cleans up in place of the suspended process
			other.AwaitLine("opened")
			if !spacetest.Wait(spacetest.Patience, func() bool { return readersOf(t, s, d) == 0 }) {
				t.Errorf("the dead one still holds %d versions", readersOf(t, s, d))
			}
			list, err := s.Processes()
			spacetest.Must(t, err)
			for _, p := range list {
				if p.PID == d.Process.Pid {
					t.Error("the dead one is listed")
				}
			}
			if !r.Stopped() {
				t.Error("the reaper did not stand still all the time: the test shows nothing")
			}
			r.Resume()
			spacetest.Must(t, s.Mutex("x").Unlock())
			spacetest.Must(t, s.Mutex("x").Lock(ctx))
			spacetest.Must(t, s.Mutex("x").Unlock())
		})
	}
}

// readersOf counts the versions that a child holds, dead or alive.
func readersOf(t *testing.T, s *everheap.Space, c *spacetest.Child) (n int) {
	t.Helper()
	readers, err := s.Readers()
	spacetest.Must(t, err)
	for _, r := range readers {
		if r.PID == c.Process.Pid || r.PID == 0 { // 0: of a process that is gone
			n++
		}
	}
	return n
}

// A process is suspended while it cleans up after a dead writer: the next writer takes over as soon
// as it notices the death.
func TestReaper_StandsStillAfterAWriter(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{"entry.dead", "entry.retired", "entry.reaped"} {
		t.Run(point, func(t *testing.T) {
			s := spacetest.Open(t, filepath.Join(t.TempDir(), "s"), spacetest.WithoutBackground())
			m := spacetest.MapOf[string, int](t, s)
			dir := s.Stats().Dir
			d := spacetest.StartChild(t, "writer", spacetest.Env(dir, 1, "", 1)...)
			d.AwaitLine("inside")
			r := spacetest.StartChild(t, "idler", append(spacetest.Env(dir, 2, "", 1), "EVERHEAP_POINT="+point+":1:stop")...)
			r.AwaitLine("opened")
			d.Kill()
			r.Await("standing still", r.Stopped)
			spacetest.Within(t, spacetest.Patience, "writing", func() {
				for i := range 100 {
					spacetest.Must(t, m.Set(s, fmt.Sprint(i), i))
				}
			})
			spacetest.Must(t, spacetest.Sweep(s))
			if n, err := m.Len(s); n != 100 || err != nil {
				t.Error(n, err)
			}
			r.Resume()
			spacetest.CheckSpace(t, s)
		})
	}
}
