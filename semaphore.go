package everheap

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/locks"
)

// Semaphore is a named number of permits that all processes of a space share: each permit
// has one holder at a time. It is as fair and as robust as a Mutex, and waits for holders
// that are only stopped.
type Semaphore struct {
	space  *Space
	engine *locks.Semaphore
}

// Semaphore returns the semaphore with a name of up to 128 bytes and n permits in total, 1
// to 1024. All semaphores in use can have 4096 permits together. Everyone who uses the name
// must agree on n: while a living process holds a permit or waits for one, another n is
// ErrUnitsDiffer. The semaphore need not be created.
func (s *Space) Semaphore(name string, n int) *Semaphore {
	return &Semaphore{s, s.session.Semaphore(name, n)}
}

// Acquire waits until a permit is free, and takes it. ctx ends the waiting with ErrBusy,
// which names a holder.
//
// A holder that dies gives its permits back. The caller that gets such a permit holds it and
// receives ErrOwnerDied: as many calls receive it as permits were held, but a permit that
// nobody needs tells nobody. Other errors: ErrUnitsDiffer, ErrTooManyLocks, ErrTooLarge (the
// name), ErrClosed.
//
// A goroutine that holds a permit may acquire another. Acquire does not detect a goroutine
// that waits for itself.
func (s *Semaphore) Acquire(ctx context.Context) error {
	return s.wrap("acquire", s.engine.Acquire(ctx))
}

// TryAcquire takes a permit if one is free, and reports whether it did, even together with
// ErrOwnerDied; see Acquire.
func (s *Semaphore) TryAcquire() (bool, error) {
	ok, err := s.engine.TryAcquire()
	return ok, s.wrap("acquire", err)
}

// Release gives back one permit that the same handle on the space has acquired, in whichever
// goroutine. Closing the handle gives back all its permits. Errors: ErrNotHeld, ErrClosed.
func (s *Semaphore) Release() error { return s.wrap("release", s.engine.Release()) }

func (s *Semaphore) Name() string { return s.engine.Name() }

// Units returns the number of permits in total.
func (s *Semaphore) Units() int { return s.engine.Units() }

// wrap says what was done when an error occurred, once.
func (s *Semaphore) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return s.space.wrap(fmt.Sprintf("%s %q", op, s.Name()), err)
}
