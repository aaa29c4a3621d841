package locks

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
)

// MaxUnits is how many units a semaphore can have.
const MaxUnits = 1024

// Semaphore is a handle on a named semaphore.
type Semaphore struct {
	user *User
	lock *lock
}

// Semaphore returns a handle on the semaphore of a name, which has so many units.
func (u *User) Semaphore(name string, units int) *Semaphore {
	key := lockKey{name: name, units: units}
	if units < 1 || units > MaxUnits {
		return &Semaphore{u, &lock{key: key, bad: fmt.Errorf("%w: a semaphore of %d permits; it has at least one, and at most %d", failure.ErrUnitsDiffer, units, MaxUnits)}}
	}
	s := &Semaphore{u, u.lock(key)}
	runtime.AddCleanup(s, dropped.drop, dropped{u.table, s.lock})
	return s
}

// Acquire waits until this process has one unit more. The error is ErrOwnerDied if
// it has it, and who had that unit before died.
func (s *Semaphore) Acquire(ctx context.Context) (err error) {
	u, l := s.user, s.lock
	if err := u.enter(l); err != nil {
		return err
	}
	defer s.exit()
	defer u.m.EndGuard(debug.SetPanicOnFault(true), &err)
	held, err := s.next(ctx)
	if err != nil {
		return err
	}
	return s.hold(held)
}

// next waits for a unit, as the one of this process who does.
func (s *Semaphore) next(ctx context.Context) (live.HeldLock, error) {
	if err := s.user.queueFor(ctx, s.lock); err != nil {
		return live.HeldLock{}, err
	}
	defer s.lock.queue.Unlock()
	return s.user.take(ctx, s.lock)
}

// TryAcquire is Acquire without waiting; ok says whether it has the unit.
func (s *Semaphore) TryAcquire() (ok bool, err error) {
	u, l := s.user, s.lock
	if err := u.enter(l); err != nil {
		return false, err
	}
	defer s.exit()
	defer u.m.EndGuard(debug.SetPanicOnFault(true), &err)
	held, ok, err := u.m.Live.TryTake(l.named)
	if !ok || err != nil {
		return false, err
	}
	err = s.hold(held)
	return err == nil || err == failure.ErrOwnerDied, err
}

// exit ends an operation, as that of a mutex does.
func (s *Semaphore) exit() {
	s.user.m.Exit()
	runtime.KeepAlive(s)
}

// hold notes that the unit is held, unless the handle was closed.
func (s *Semaphore) hold(held live.HeldLock) error {
	u, l := s.user, s.lock
	l.units.Lock()
	closed := u.closed.Load()
	if !closed {
		l.units.held = append(l.units.held, heldUnit{u, held})
	}
	l.units.Unlock()
	if closed {
		u.m.Live.GiveBack(held)
		return failure.ErrClosed
	}
	if held.OwnerDied() {
		return failure.ErrOwnerDied
	}
	return nil
}

// Release gives back one unit.
func (s *Semaphore) Release() (err error) {
	u, l := s.user, s.lock
	if err := u.enter(l); err != nil {
		return err
	}
	defer s.exit()
	defer u.m.EndGuard(debug.SetPanicOnFault(true), &err)
	held, ok := l.letUnitGo(u)
	if !ok {
		return u.notHeld("this handle on the space has no unit of %v", l)
	}
	u.m.Live.Give(held)
	return nil
}

// Name returns the name.
func (s *Semaphore) Name() string { return s.lock.key.name }

// Units returns how many units the semaphore has.
func (s *Semaphore) Units() int { return s.lock.key.units }
