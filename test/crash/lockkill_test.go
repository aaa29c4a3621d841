package crash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// A lockworker only takes and releases locks.
func init() { spacetest.Children["lockworker"] = lockWorkerChild }

func lockWorkerChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	w, err := spacetest.NewLockWork(s, c.Id, c.Has("count"))
	if err != nil {
		return spacetest.Failed("opening the marks", err)
	}
	spacetest.Say("start", 0)
	var group sync.WaitGroup
	w.Run(&group, &c.Ended, c.Rng.Uint64())
	for last := uint64(0); !c.Ended.Load(); time.Sleep(time.Millisecond) {
		if n := w.Steps.Load(); n != last {
			spacetest.Ack(n)
			last = n
		}
	}
	group.Wait()
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// lockers is a space with children that take locks. Children with ids from 1 on are never killed.
type lockers struct {
	t      *testing.T
	space  *everheap.Space
	stable []*spacetest.Child
	starts uint64
}

func newLockers(t *testing.T, n int) *lockers {
	l := &lockers{t: t, space: spacetest.Scratch(t)}
	for id := 1; id <= n; id++ {
		l.stable = append(l.stable, l.start(id, "count"))
	}
	for _, c := range l.stable {
		c.AwaitStart()
	}
	return l
}

// start starts a child.
func (l *lockers) start(id int, work string, more ...string) *spacetest.Child {
	l.starts++
	return spacetest.StartChild(l.t, "lockworker", append(spacetest.Env(l.space.Stats().Dir, id, work, *spacetest.SeedFlag+l.starts), more...)...)
}

// progress fails the test if a stable child gets no locks any more.
func (l *lockers) progress() {
	l.t.Helper()
	now := time.Now().UnixNano()
	for _, c := range l.stable {
		from := c.Acked.Load()
		c.Await("some more locks", func() bool { return c.AckedAt.Load() > now && c.Acked.Load() > from+20 })
	}
}

// end ends the children; then all locks must be free.
func (l *lockers) end() {
	for _, c := range l.stable {
		c.Tell("end")
	}
	for _, c := range l.stable {
		c.Await("its end", c.Gone)
	}
	for i := range spacetest.WorkUnits {
		ok, err := l.space.Semaphore("some", spacetest.WorkUnits).TryAcquire()
		if !ok {
			l.t.Errorf("only %d units are left of %d (%v)", i, spacetest.WorkUnits, err)
		}
	}
	if ok, _ := l.space.Semaphore("some", spacetest.WorkUnits).TryAcquire(); ok {
		l.t.Error("there is a unit too many")
	}
	list, err := l.space.Locks()
	spacetest.Must(l.t, err)
	for _, i := range list {
		for _, h := range i.Holders {
			if !h.Dead && !h.Self {
				l.t.Errorf("%s %s is held: %+v", i.Kind, i.Name, h)
			}
		}
	}
}

func TestKill_LockHoldersAtRandomMoments(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		l := newLockers(t, 2)
		for range spacetest.Scaled(20) {
			victims := []*spacetest.Child{l.start(3, ""), l.start(4, "")}
			for _, v := range victims {
				v.AwaitStart()
			}
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
			for _, v := range victims {
				v.Kill()
			}
			if l.progress(); t.Failed() {
				return
			}
		}
		l.end()
	})
}

// isLockPoint reports whether a point is one of named locks.
func isLockPoint(point string) bool {
	return strings.HasPrefix(point, "name.") || strings.HasPrefix(point, "mutex.")
}

func TestKill_LockHoldersAtPoints(t *testing.T) {
	atLockPoints(t, "kill", func(l *lockers, c *spacetest.Child) {
		c.Await("its death", c.Gone)
		l.progress()
	})
}

func TestSuspend_LockHoldersAtPoints(t *testing.T) {
	atLockPoints(t, "stop", func(l *lockers, c *spacetest.Child) {
		c.Await("standing still", c.Stopped)
		l.progress()
		c.Resume()
		l.progress()
		c.Kill()
		l.progress()
	})
}

// arm starts a child that dies or stops at a point. If the point is taking a lock from a dead holder,
// other children die.
func (l *lockers) arm(point, how string, count int) *spacetest.Child {
	if !takesOthers(point) {
		return l.start(3, "", fmt.Sprintf("EVERHEAP_POINT=%s:%d:%s", point, count, how))
	}
	c := l.start(3, "", fmt.Sprintf("EVERHEAP_POINT=%s:1:%s", point, how))
	for range 40 {
		v := l.start(4, "", "EVERHEAP_POINT=mutex.held:200:kill")
		v.Await("its death", v.Gone)
		if spacetest.Wait(300*time.Millisecond, func() bool { return c.Gone() || c.Stopped() }) {
			break
		}
	}
	return c
}

// atLockPoints lets a child die or stop at each point of named locks.
func atLockPoints(t *testing.T, how string, then func(l *lockers, c *spacetest.Child)) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		l := newLockers(t, 2)
		for _, point := range invariant.Points {
			for range spacetest.Scaled(4) {
				if !isLockPoint(point) {
					continue
				}
				if then(l, l.arm(point, how, 1+r.IntN(20))); t.Failed() {
					t.Fatalf("at the point %s", point)
				}
			}
		}
		l.end()
	})
}
