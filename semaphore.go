package everheap

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/engine"
)

// Semaphore is a number of permits with a name that all processes of a space share:
// each permit has one holder at a time. It is as fair and as robust as a Mutex, and
// waits for holders that are only stopped.
type Semaphore struct {
	space  *Space
	engine *engine.Semaphore
}

// Semaphore returns the semaphore of that name, of up to 128 bytes, with n permits in
// total. n is 1 to 1024; all semaphores that somebody holds or waits for can have 4096
// permits together. All who use the name must agree on n: while somebody alive holds a
// permit or waits for one, another n is ErrUnitsDiffer. It need not be created.
func (s *Space) Semaphore(name string, n int) *Semaphore {
	return &Semaphore{s, s.locks.Semaphore(name, n)}
}

// Acquire waits until a permit is free, and takes it. ctx ends the waiting with ErrBusy,
// which names a process that has one.
//
// The permits of those who died are given back. Who gets such a permit is told so, by
// ErrOwnerDied, and has the permit: so as many calls are told as permits were held, but a
// permit that nobody needs tells nobody. Other errors: ErrUnitsDiffer, ErrTooManyLocks,
// ErrTooLarge (the name is), ErrClosed.
//
// A goroutine that has a permit may acquire another one. That it waits for itself is not
// detected.
func (s *Semaphore) Acquire(ctx context.Context) error {
	return s.wrap("acquire", s.engine.Acquire(ctx))
}

// TryAcquire takes a permit if one is free, and reports whether it did: also together
// with ErrOwnerDied, see Acquire.
func (s *Semaphore) TryAcquire() (bool, error) {
	ok, err := s.engine.TryAcquire()
	return ok, s.wrap("acquire", err)
}

// Release gives one permit back, which was acquired by the same handle on the space, by
// whichever goroutine. Closing that gives back all of them. Errors: ErrNotHeld,
// ErrClosed.
func (s *Semaphore) Release() error { return s.wrap("release", s.engine.Release()) }

// Name returns the name.
func (s *Semaphore) Name() string { return s.engine.Name() }

// Units returns how many permits the semaphore has in total.
func (s *Semaphore) Units() int { return s.engine.Units() }

// wrap says what was done when an error occurred, once.
func (s *Semaphore) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return s.space.wrap(fmt.Sprintf("%s %q", op, s.Name()), err)
}
