package crash

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
	"github.com/everheap/everheap/internal/spacetest"
)

func TestSuspend_AtRandomMoments(t *testing.T) {
	t.Parallel() // it mostly waits
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, spacetest.FleetSize, "locks watch collect")
		stops := spacetest.Scaled(12)
		for i := range stops {
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
			stopped := spacetest.Ids(spacetest.FleetSize)
			r.Shuffle(len(stopped), func(i, j int) { stopped[i], stopped[j] = stopped[j], stopped[i] })
			stopped = stopped[:1+i%2]
			for _, id := range stopped {
				f.Children[id].Stop()
			}
			f.Progress(time.Now(), stopped...)
			if err := spacetest.Sweep(f.Space); err != nil && !errors.Is(err, everheap.ErrSuspended) {
				t.Error(err)
			}
			f.Verify()
			resumed := time.Now()
			for _, id := range stopped {
				f.Children[id].Resume()
			}
			f.Progress(resumed)
			if t.Failed() {
				return
			}
		}
		f.Verify()
		taken := int64(0)
		for _, c := range f.Children {
			taken += c.Suspended.Load()
		}
		t.Logf("%d suspensions; %d transactions were taken over; the longest that others were kept from their next commit: %v", stops, taken, f.Slowest)
	})
}

func TestSuspend_AtPoints(t *testing.T) { // E3
	t.Parallel() // it mostly waits
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, pointsFleet(), "")
		const armed = spacetest.FleetSize + 1
		taken := int64(0)
		for i, point := range invariant.Points {
			if hasOwnTest(point) || testing.Short() && !leftOut(i) { // package test/windows stops at all of them, too
				continue
			}
			c := arm(f, point, "stop")
			if !provoke(f, point, c.Stopped) {
				t.Errorf("no child passed the point %s", point)
				f.Kill(armed)
				continue
			}
			f.Progress(time.Now(), armed)
			if err := spacetest.Sweep(f.Space); err != nil && !errors.Is(err, everheap.ErrSuspended) {
				t.Errorf("sweep: %v", err)
			}
			f.Verify()
			resumed := time.Now()
			c.Resume()
			f.Progress(resumed)
			f.Found(armed)
			f.Verify()
			taken += c.Suspended.Load()
			f.Kill(armed)
			if t.Failed() {
				t.Fatalf("after a suspension at the point %s", point)
			}
		}
		f.Verify()
		t.Logf("%d points; %d transactions were taken over; the longest that others were kept from their next commit: %v", len(invariant.Points), taken, f.Slowest)
	})
}

// A process is suspended while it sweeps or compacts, at a moment when it does not use its lists:
// another process does the work instead. When the first continues, it does no harm, and gets an
// error.
func TestSuspend_Sweeper(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 2, "")
		for _, point := range []string{"sweep.held", "sweep.marked", "punch.synced"} {
			c := spacetest.StartChild(t, "compactor", append(spacetest.Env(f.Dir, 1, "", 1), "EVERHEAP_POINT="+point+":1:stop")...)
			c.Await("standing still at "+point, c.Stopped)
			for range 2 {
				_, err := f.Space.Compact(context.Background())
				spacetest.Must(t, err)
			}
			f.Progress(time.Now())
			f.Verify()
			c.Resume()
			if got := c.AwaitLine("compacted"); got != "suspended" {
				t.Errorf("the process suspended at %s got %s", point, got)
			}
			c.Await("its end", c.Gone)
			f.Progress(time.Now())
			f.Verify()
		}
	})
}

func init() { spacetest.Children["compactor"] = compactorChild }

func compactorChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open(spacetest.WithoutBackground())
	if err != nil {
		return spacetest.Failed("open", err)
	}
	if _, err = s.Compact(context.Background()); errors.Is(err, everheap.ErrSuspended) {
		err = nil
		spacetest.Say("compacted", "suspended")
	} else {
		spacetest.Say("compacted", err)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return spacetest.Failed("compact", err)
	}
	return 0
}

// A process is suspended while it writes an anchor; others write newer anchors and reuse blocks that
// older ones no longer protect. The first process continues, or does not. Then power is lost:
// whichever anchor counts, its version is whole.
func TestSuspend_AnchorWriterThenPowerLoss(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 2, "busy")
		for i := range 8 {
			point := []string{"anchor.claimed", "anchor.synced", "anchor.written", "anchor.confirmed"}[i/2]
			c := arm(f, point, "stop")
			c.Await("standing still at "+point, c.Stopped)
			time.Sleep(300 * time.Millisecond)
			f.Progress(time.Now(), spacetest.FleetSize+1)
			if i%2 == 1 {
				c.Resume()
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
			f.Everybody(true)
			spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
			f.Open()
			f.Forget()
			f.Restart(1, 2)
			if t.Failed() {
				t.Fatalf("after a suspension at the point %s", point)
			}
		}
	})
}

// A writer waits inside its transaction until its parent lets it continue.
func init() { spacetest.Children["writer"] = writerChild }

func writerChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, int](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		if err := m.Set(tx, "by", 1); err != nil {
			return err
		}
		spacetest.Say("inside")
		<-c.Asked
		for i := range 1000 {
			if err := m.Set(tx, fmt.Sprint(i), i); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, everheap.ErrSuspended):
		spacetest.Say("result", "suspended")
	case err != nil:
		return spacetest.Failed("update", err)
	default:
		spacetest.Say("result", "committed")
	}
	<-c.Asked
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// suspendedSpace is a space with one map, and a child inside an Update of it.
func suspendedSpace(t *testing.T) (*everheap.Space, everheap.Map[string, int], *spacetest.Child) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	c := spacetest.StartChild(t, "writer", spacetest.Env(s.Stats().Dir, 1, "", 1)...)
	c.AwaitLine("inside")
	return s, m, c
}

func TestSuspend_InsideUpdate(t *testing.T) {
	t.Parallel() // it mostly waits
	t.Run("taken over: nothing has changed", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		c.Stop()
		began := time.Now()
		spacetest.Must(t, m.Set(s, "by", 2))
		t.Logf("the take-over took %v", time.Since(began))
		for i := range 5000 {
			spacetest.Must(t, m.Set(s, fmt.Sprint("x", i%10), i))
		}
		c.Resume()
		c.Tell("go")
		if result := c.AwaitLine("result"); result != "suspended" {
			t.Errorf("the transaction that was taken over: %s", result)
		}
		if by, err := m.Get(s, "by"); by != 2 || err != nil {
			t.Error(by, err)
		}
		if n, err := m.Len(s); n != 11 || err != nil {
			t.Error(n, err)
		}
		c.Tell("close")
		c.Await("its end", c.Gone)
	})
	t.Run("not taken over: committed", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		c.Stop()
		time.Sleep(1500 * time.Millisecond) // no other process writes
		c.Resume()
		c.Tell("go")
		if result := c.AwaitLine("result"); result != "committed" {
			t.Errorf("the transaction that no process took over: %s", result)
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
		if !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint(c.Process.Pid)) {
			t.Errorf("writing while process %d does: %v", c.Process.Pid, err)
		}
		c.Tell("go")
		if result := c.AwaitLine("result"); result != "committed" {
			t.Errorf("a transaction of two seconds: %s", result)
		}
		spacetest.Must(t, m.Set(s, "by", 2))
	})
	t.Run("killed while it stands still", func(t *testing.T) {
		s, m, c := suspendedSpace(t)
		c.Stop()
		c.Kill()
		spacetest.Must(t, m.Set(s, "by", 2))
		if n, err := m.Len(s); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

// A suspended reader sees its version when it continues, whatever was written, reclaimed and swept
// meanwhile.
func TestSuspend_Reader(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[uint64, spacetest.Record](t, s)
	const entries = 2000
	fill := func(seq uint64) {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for k := range uint64(entries) {
				if err := m.Set(tx, k, spacetest.NewRecord(seq, 50)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	fill(1)
	c := spacetest.StartChild(t, "holder", spacetest.Env(s.Stats().Dir, 1, "", 1)...)
	c.AwaitLine("holding")
	c.Stop()
	for round := range uint64(20) {
		fill(round + 2)
		spacetest.Must(t, spacetest.Sweep(s))
	}
	c.Resume()
	c.Tell("look")
	c.AwaitLine("same")
	c.Kill()
	fill(100)
	spacetest.Must(t, spacetest.Sweep(s))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			if v.Seq != 100 || v.Sum != v.Checksum() {
				return fmt.Errorf("record %d is of round %d", k, v.Seq)
			}
		}
		return nil
	})
}
