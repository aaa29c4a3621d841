package everheap_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// lockWork takes locks and verifies that nobody else has them, by marks in a file: who
// has a mutex writes who he is, and zero before he unlocks it. So whoever locks it
// finds zero, unless he is told that the holder died; and finds his own mark in the
// end.
type lockWork struct {
	s     *everheap.Space
	id    uint64
	marks *os.File
	count bool // others like this one are never killed: so units are counted
	steps atomic.Uint64
}

const (
	workNames = 1500 // more than there are entries
	workUnits = 3
	marksSize = (workNames + 64 + 64) * 8 // of mutexes, and of who has a unit of the semaphores
)

// newLockWork opens the marks of the space. Those of another live file count for
// nothing: all its locks are free.
func newLockWork(s *everheap.Space, id int, count bool) (*lockWork, error) {
	dir := s.Stats().Dir
	live, err := os.Open(filepath.Join(dir, "live"))
	if err != nil {
		return nil, err
	}
	defer live.Close()
	var salt [8]byte
	if _, err := live.ReadAt(salt[:], int64(unsafe.Offsetof(format.Live{}.Salt))); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.%x.marks", dir, salt), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Truncate(marksSize)
	}
	return &lockWork{s: s, id: uint64(id), marks: f, count: count}, err
}

// mark reads a mark.
func (w *lockWork) mark(at int64) (uint64, error) {
	var b [8]byte
	_, err := w.marks.ReadAt(b[:], at)
	return binary.LittleEndian.Uint64(b[:]), err
}

// setMark writes a mark.
func (w *lockWork) setMark(at int64, v uint64) error {
	_, err := w.marks.WriteAt(binary.LittleEndian.AppendUint64(nil, v), at)
	return err
}

// lockPatience is how long the work waits for a holder, who may stand still.
const lockPatience = 200 * time.Millisecond

// mutex locks a mutex for a moment.
func (w *lockWork) mutex(i int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	m, at := w.s.Mutex(fmt.Sprint("lock ", i)), int64(i)*8
	err := m.Lock(ctx)
	if errors.Is(err, everheap.ErrBusy) {
		return nil
	}
	died := errors.Is(err, everheap.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	found, err := w.mark(at)
	if err != nil {
		return err
	}
	if found != 0 && !died {
		return fmt.Errorf("child %d locked the mutex %d and found the mark of child %d; no death was told", w.id, i, found)
	}
	if err := w.setMark(at, w.id); err != nil {
		return err
	}
	if hold > 0 {
		time.Sleep(hold)
	}
	if found, err = w.mark(at); err != nil || found != w.id {
		return fmt.Errorf("child %d has locked the mutex %d and finds the mark of child %d (%v)", w.id, i, found, err)
	}
	if err := w.setMark(at, 0); err != nil {
		return err
	}
	w.steps.Add(1)
	return m.Unlock()
}

// unit has a unit for a moment, in the given place of this child.
func (w *lockWork) unit(name string, n int, place int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	sem := w.s.Semaphore(name, n)
	err := sem.Acquire(ctx)
	if errors.Is(err, everheap.ErrBusy) {
		return nil
	}
	if err != nil && !errors.Is(err, everheap.ErrOwnerDied) {
		return err
	}
	from := int64(workNames+64*min(n-1, 1)) * 8
	at := from + int64(w.id)*16 + int64(place)*8
	if w.count {
		if err := w.setMark(at, w.id); err != nil {
			return err
		}
		have := 0
		for i := range int64(64) {
			found, err := w.mark(from + i*8)
			if err != nil {
				return err
			}
			if found != 0 {
				have++
			}
		}
		if have > n {
			return fmt.Errorf("%d have a unit of %d", have, n)
		}
	}
	time.Sleep(hold)
	if w.count {
		if err := w.setMark(at, 0); err != nil {
			return err
		}
	}
	w.steps.Add(1)
	return sem.Release()
}

// run works until over is set, in goroutines of the group.
func (w *lockWork) run(group *sync.WaitGroup, over *atomic.Bool, seed uint64) {
	loop := func(g uint64, step func(r *rand.Rand) error) {
		group.Go(func() {
			for r := rand.New(rand.NewPCG(seed, g)); !over.Load(); {
				if err := step(r); err != nil {
					failed("locks", err)
					return
				}
			}
		})
	}
	hold := func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(3000)) * time.Microsecond }
	loop(0, func(r *rand.Rand) error {
		for range 20 {
			if err := w.mutex(r.IntN(workNames), 0); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
		return nil
	})
	loop(1, func(r *rand.Rand) error { return w.mutex(r.IntN(2), hold(r)) })
	for g := range 2 { // two, so that a process waits although it is the only one
		loop(2+uint64(g), func(r *rand.Rand) error {
			if r.IntN(2) == 0 {
				return w.unit("one", 1, g, hold(r))
			}
			return w.unit("some", workUnits, g, hold(r))
		})
	}
}

// A lockworker does nothing else.
func init() { children["lockworker"] = lockWorkerChild }

func lockWorkerChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	w, err := newLockWork(s, c.id, c.has("count"))
	if err != nil {
		return failed("opening the marks", err)
	}
	say("start", 0)
	var group sync.WaitGroup
	w.run(&group, &c.ended, c.rng.Uint64())
	for last := uint64(0); !c.ended.Load(); time.Sleep(time.Millisecond) {
		if n := w.steps.Load(); n != last {
			ack(n)
			last = n
		}
	}
	group.Wait()
	if err := s.Close(); err != nil {
		return failed("close", err)
	}
	return 0
}

// lockers is a space with children that take locks, of whom those with the ids from 1
// on are never killed.
type lockers struct {
	t      *testing.T
	space  *everheap.Space
	stable []*child
	starts uint64
}

func newLockers(t *testing.T, n int) *lockers {
	l := &lockers{t: t, space: scratch(t)}
	for id := 1; id <= n; id++ {
		l.stable = append(l.stable, l.start(id, "count"))
	}
	for _, c := range l.stable {
		c.awaitStart()
	}
	return l
}

// start starts a child.
func (l *lockers) start(id int, work string, more ...string) *child {
	l.starts++
	return startChild(l.t, "lockworker", append(env(l.space.Stats().Dir, id, work, *seedFlag+l.starts), more...)...)
}

// progress fails the test if one of the stable children gets no locks any more.
func (l *lockers) progress() {
	l.t.Helper()
	now := time.Now().UnixNano()
	for _, c := range l.stable {
		from := c.acked.Load()
		c.await("some more locks", func() bool { return c.ackedAt.Load() > now && c.acked.Load() > from+20 })
	}
}

// end ends the children; then all is free.
func (l *lockers) end() {
	for _, c := range l.stable {
		c.tell("end")
	}
	for _, c := range l.stable {
		c.await("its end", c.gone)
	}
	for i := range workUnits {
		ok, err := l.space.Semaphore("some", workUnits).TryAcquire()
		if !ok {
			l.t.Errorf("only %d units are left of %d (%v)", i, workUnits, err)
		}
	}
	if ok, _ := l.space.Semaphore("some", workUnits).TryAcquire(); ok {
		l.t.Error("there is a unit too many")
	}
	list, err := l.space.Locks()
	must(l.t, err)
	for _, i := range list {
		for _, h := range i.Holders {
			if !h.Dead && !h.Self {
				l.t.Errorf("%s %s is held: %+v", i.Kind, i.Name, h)
			}
		}
	}
}

func TestKill_LockHoldersAtRandomMoments(t *testing.T) {
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		l := newLockers(t, 2)
		for range scaled(20) {
			victims := []*child{l.start(3, ""), l.start(4, "")}
			for _, v := range victims {
				v.awaitStart()
			}
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
			for _, v := range victims {
				v.kill()
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
	atLockPoints(t, "kill", func(l *lockers, c *child) {
		c.await("its death", c.gone)
		l.progress()
	})
}

func TestSuspend_LockHoldersAtPoints(t *testing.T) {
	atLockPoints(t, "stop", func(l *lockers, c *child) {
		c.await("standing still", c.stopped)
		l.progress()
		c.resume()
		l.progress()
		c.kill()
		l.progress()
	})
}

// arm starts a child that dies or stops at a point. If that is the taking from a dead
// one, others die.
func (l *lockers) arm(point, how string, count int) *child {
	if !takesOthers(point) {
		return l.start(3, "", fmt.Sprintf("EVERHEAP_POINT=%s:%d:%s", point, count, how))
	}
	c := l.start(3, "", fmt.Sprintf("EVERHEAP_POINT=%s:1:%s", point, how))
	for range 40 {
		v := l.start(4, "", "EVERHEAP_POINT=mutex.held:200:kill")
		v.await("its death", v.gone)
		if wait(300*time.Millisecond, func() bool { return c.gone() || c.stopped() }) {
			break
		}
	}
	return c
}

// atLockPoints lets a child die or stop at each point of named locks.
func atLockPoints(t *testing.T, how string, then func(l *lockers, c *child)) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		l := newLockers(t, 2)
		for _, point := range invariant.Points {
			for range 2 {
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
