package locks

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/goroutine"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/queue"
)

// Mutex is a handle on a named mutex.
type Mutex struct {
	session *Session
	lock    *lock
}

// Mutex returns a handle on the mutex with a name.
func (s *Session) Mutex(name string) *Mutex {
	m := &Mutex{s, s.lock(lockKey{name: name})}
	runtime.AddCleanup(m, dropped.drop, dropped{s.table, m.lock})
	return m
}

// Lock waits until this call has the mutex. The error is ErrOwnerDied if the call has it, and its
// previous holder died.
func (m *Mutex) Lock(ctx context.Context) (err error) {
	by, l := m.session, m.lock
	if err := by.begin(l); err != nil {
		return err
	}
	queued := false // it has the queue, but not the lock
	defer m.end(debug.SetPanicOnFault(true), &queued, &err)
	if err := by.lockQueue(ctx, l); err != nil {
		return err
	}
	queued = true
	held, err := by.acquire(ctx, l)
	if err != nil {
		return err
	}
	queued = false
	return m.hold(held)
}

// TryLock is Lock without waiting; ok reports whether it has the mutex.
func (m *Mutex) TryLock() (ok bool, err error) {
	by, l := m.session, m.lock
	if err := by.begin(l); err != nil {
		return false, err
	}
	queued := false
	defer m.end(debug.SetPanicOnFault(true), &queued, &err)
	if !l.queue.TryLock() {
		return false, nil
	}
	queued = true
	held, ok, err := by.m.Live.TryTake(l.named)
	if !ok || err != nil {
		return false, err
	}
	queued = false
	err = m.hold(held)
	return err == nil || err == failure.ErrOwnerDied, err
}

// end ends an operation and its guard, and unlocks the queue if queued is set. The handle is not
// garbage before, so the lock stays in the table.
func (m *Mutex) end(before bool, queued *bool, err *error) {
	of := m.session.m
	debug.SetPanicOnFault(before)
	r := recover()
	if r != nil {
		*err = of.Fault(r)
	}
	if *queued {
		m.lock.queue.Unlock()
	}
	of.Exit()
	runtime.KeepAlive(m)
	if r != nil && *err == nil {
		panic(r)
	}
}

// hold notes that the mutex is held. Close first sets closed, and then releases every lock that it
// finds. So either Close finds this one, or hold sees that the session is closed.
func (m *Mutex) hold(held live.HeldLock) error {
	by, l := m.session, m.lock
	l.mutex.held = held
	l.serial.Store(goroutine.GoID())
	l.mutex.by.Store(by)
	if by.closed.Load() {
		if held, ok := l.letGo(by); ok {
			defer l.queue.Unlock()
			by.m.Live.GiveBack(held)
		}
		return failure.ErrClosed
	}
	if held.OwnerDied() {
		return failure.ErrOwnerDied
	}
	return nil
}

// Unlock releases the mutex.
func (m *Mutex) Unlock() (err error) {
	by, l := m.session, m.lock
	if err := by.begin(l); err != nil {
		return err
	}
	queued := false
	defer m.end(debug.SetPanicOnFault(true), &queued, &err)
	held, ok := l.letGo(by)
	if !ok {
		return by.notHeld("%v is not locked by this handle on the space", l)
	}
	queued = true
	by.m.Live.Give(held)
	return nil
}

// Name returns the name.
func (m *Mutex) Name() string { return m.lock.key.name }

// selfLockError is ErrSelf for a mutex.
type selfLockError struct{ lock string }

// Error implements error.
func (e *selfLockError) Error() string {
	return fmt.Sprintf("this goroutine has locked %s already, and would wait for itself", e.lock)
}

// Is reports whether the target is ErrSelf.
func (e *selfLockError) Is(target error) bool { return target == queue.ErrSelf }
