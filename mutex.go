package everheap

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/locks"
)

// Mutex is a named lock that all processes of a space share: one call of Lock at a time
// holds it, among all goroutines of all processes. It protects what the program says it
// does, inside the space or outside; transactions need none. Any number of goroutines may
// use it, and any of them may unlock it.
//
// The mutex is robust: if its holder dies, the next Lock returns ErrOwnerDied and holds the
// lock. Lock waits for a holder that is only stopped. A power loss or a restart of the
// machine frees all locks, and tells nobody.
//
// Fairness: inside a process, calls get the mutex in the order of their arrival. Between
// processes the first comer gets it, which is fast; but once a process has waited for a
// millisecond, each other process gets the mutex at most once more before it. A process that
// is handed the mutex and does not take it within 100 ms, because it stands still, may lose
// its turn.
//
// Waiting costs no processor time except a few looks a second at the holder. It occupies one
// thread for each mutex that a process waits for. A caller of Lock inside Update keeps all
// others from writing while it waits: lock first, then update.
type Mutex struct {
	space  *Space
	engine *locks.Mutex
}

// Mutex returns the mutex with a name of up to 128 bytes. It need not be created, and costs
// nothing while nobody holds or waits for it. At most 1024 mutexes and semaphores of a space
// can be held or waited for at once. A mutex and a semaphore of the same name are two locks.
func (s *Space) Mutex(name string) *Mutex { return &Mutex{s, s.session.Mutex(name)} }

// Lock waits until the mutex is free, and locks it. ctx ends the waiting with ErrBusy, which
// names the holder; Lock takes a free mutex whatever ctx says.
//
// ErrOwnerDied means that the caller holds the mutex, and that the previous holder died, or
// ended without unlocking it. What the mutex protects may be inconsistent: the caller
// repairs it, and unlocks as usual. If the caller dies or closes the space first, the next
// Lock returns ErrOwnerDied again.
//
// Other errors: ErrSelf (this goroutine locked it and nobody has unlocked it since; it
// cannot wait for another goroutine to do that), ErrTooManyLocks, ErrTooLarge (the name),
// ErrClosed, also if the space is closed meanwhile.
func (m *Mutex) Lock(ctx context.Context) error { return m.wrap("lock", m.engine.Lock(ctx)) }

// TryLock locks the mutex if nobody holds it, and reports whether it did, even together with
// ErrOwnerDied; see Lock.
func (m *Mutex) TryLock() (bool, error) {
	ok, err := m.engine.TryLock()
	return ok, m.wrap("lock", err)
}

// Unlock unlocks the mutex, which the same handle on the space has locked. Closing the
// handle unlocks it as well. Errors: ErrNotHeld, ErrClosed.
func (m *Mutex) Unlock() error { return m.wrap("unlock", m.engine.Unlock()) }

func (m *Mutex) Name() string { return m.engine.Name() }

// wrap says what was done when an error occurred, once.
func (m *Mutex) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return m.space.wrap(fmt.Sprintf("%s %q", op, m.Name()), err)
}
