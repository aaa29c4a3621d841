package locks

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
)

// MaxPermits is the most permits that a semaphore can have.
const MaxPermits = 1024

// Semaphore is a handle on a named semaphore.
type Semaphore struct {
	session *Session
	lock    *lock
}

// Semaphore returns a handle on the semaphore with a name and a number of permits.
func (s *Session) Semaphore(name string, permits int) *Semaphore {
	key := lockKey{name: name, permits: permits}
	if permits < 1 || permits > MaxPermits {
		return &Semaphore{s, &lock{key: key, bad: fmt.Errorf("%w: a semaphore of %d permits; it needs at least one and at most %d", failure.ErrUnitsDiffer, permits, MaxPermits)}}
	}
	sem := &Semaphore{s, s.lock(key)}
	runtime.AddCleanup(sem, dropped.drop, dropped{s.table, sem.lock})
	return sem
}

// Acquire waits until this call has a permit. The error is ErrOwnerDied if the call has one, and
// its previous holder died.
func (s *Semaphore) Acquire(ctx context.Context) (err error) {
	by, l := s.session, s.lock
	if err := by.begin(l); err != nil {
		return err
	}
	defer s.exit()
	defer by.m.EndGuard(debug.SetPanicOnFault(true), &err)
	held, err := s.next(ctx)
	if err != nil {
		return err
	}
	return s.hold(held)
}

// next waits for a permit; the queue lets one goroutine of this process at a time do so.
func (s *Semaphore) next(ctx context.Context) (live.HeldLock, error) {
	if err := s.session.lockQueue(ctx, s.lock); err != nil {
		return live.HeldLock{}, err
	}
	defer s.lock.queue.Unlock()
	return s.session.acquire(ctx, s.lock)
}

// TryAcquire is Acquire without waiting; ok reports whether it has a permit.
func (s *Semaphore) TryAcquire() (ok bool, err error) {
	by, l := s.session, s.lock
	if err := by.begin(l); err != nil {
		return false, err
	}
	defer s.exit()
	defer by.m.EndGuard(debug.SetPanicOnFault(true), &err)
	held, ok, err := by.m.Live.TryTake(l.named)
	if !ok || err != nil {
		return false, err
	}
	err = s.hold(held)
	return err == nil || err == failure.ErrOwnerDied, err
}

// exit ends an operation; it keeps the handle from being garbage before, as Mutex.end does.
func (s *Semaphore) exit() {
	s.session.m.Exit()
	runtime.KeepAlive(s)
}

// hold notes that the permit is held, unless the session was closed.
func (s *Semaphore) hold(held live.HeldLock) error {
	by, l := s.session, s.lock
	l.permits.Lock()
	closed := by.closed.Load()
	if !closed {
		l.permits.held = append(l.permits.held, heldPermit{by, held})
	}
	l.permits.Unlock()
	if closed {
		by.m.Live.GiveBack(held)
		return failure.ErrClosed
	}
	if held.OwnerDied() {
		return failure.ErrOwnerDied
	}
	return nil
}

// Release gives back one permit.
func (s *Semaphore) Release() (err error) {
	by, l := s.session, s.lock
	if err := by.begin(l); err != nil {
		return err
	}
	defer s.exit()
	defer by.m.EndGuard(debug.SetPanicOnFault(true), &err)
	held, ok := l.letPermitGo(by)
	if !ok {
		return by.notHeld("this handle on the space has no permit of %v", l)
	}
	by.m.Live.Give(held)
	return nil
}

// Name returns the name.
func (s *Semaphore) Name() string { return s.lock.key.name }

// Units returns how many permits the semaphore has.
func (s *Semaphore) Units() int { return s.lock.key.permits }
