package everheap

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/engine"
)

// Mutex is a lock with a name that all processes of a space share: one call of Lock
// at a time has it, of all goroutines of all processes. It protects what the program
// says it does, inside the space or outside; transactions need none. It may be used
// by any number of goroutines; any of them may unlock it.
//
// The mutex is robust: if its holder dies, the next Lock returns ErrOwnerDied with the
// lock held. Lock waits for a holder that is only stopped. After a power loss, or once a machine
// has started anew, all locks are free, and nobody is told.
//
// Fairness: inside a process, calls get the mutex in the order in which they came.
// Between processes, whoever comes first gets it at first, which is fast; but once a
// process has waited for a millisecond, each of the others gets it once more at the
// most before it does. A process that is handed the mutex and does not take it within
// 100 ms, since it stands still, may lose its turn.
//
// Waiting costs no processor time but a look at the holder some times a second. It
// occupies a thread for each mutex that a process waits for. A caller of Lock inside
// Update keeps all others from writing while it waits: lock first, update then.
type Mutex struct {
	space  *Space
	engine *engine.Mutex
}

// Mutex returns the mutex of that name, of up to 128 bytes. It need not be created,
// and costs nothing while nobody holds or waits for it; of those that somebody does,
// a space can have 1024, semaphores included. A mutex and a semaphore of one name are
// two locks.
func (s *Space) Mutex(name string) *Mutex { return &Mutex{s, s.locks.Mutex(name)} }

// Lock waits until the mutex is free, and locks it. ctx ends the waiting with
// ErrBusy, which names the process that has it; a mutex that is free is locked
// whatever ctx says.
//
// ErrOwnerDied is returned with the mutex locked: the previous holder died, or ended
// without unlocking it. What the mutex protects may be inconsistent: the caller repairs
// it, and unlocks the mutex as usual. If the caller dies or closes the space before that,
// the next Lock returns ErrOwnerDied again.
//
// Other errors: ErrSelf (this goroutine has locked it, and it was not unlocked since;
// it cannot wait for another goroutine to do that), ErrTooManyLocks, ErrTooLarge (the
// name is), ErrClosed, also if the space is closed meanwhile.
func (m *Mutex) Lock(ctx context.Context) error { return m.wrap("lock", m.engine.Lock(ctx)) }

// TryLock locks the mutex if nobody has it, and reports whether it did: also together
// with ErrOwnerDied, see Lock.
func (m *Mutex) TryLock() (bool, error) {
	ok, err := m.engine.TryLock()
	return ok, m.wrap("lock", err)
}

// Unlock unlocks the mutex, which was locked by the same handle on the space. Closing
// that does so as well. Errors: ErrNotHeld, ErrClosed.
func (m *Mutex) Unlock() error { return m.wrap("unlock", m.engine.Unlock()) }

// Name returns the name.
func (m *Mutex) Name() string { return m.engine.Name() }

// wrap says what was done when an error occurred, once.
func (m *Mutex) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return m.space.wrap(fmt.Sprintf("%s %q", op, m.Name()), err)
}
