package everheap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/locks"
)

// LockInfo is a named lock that somebody holds or waits for.
type LockInfo struct {
	Name    string
	Kind    string // mutex, semaphore
	Units   int    // of the semaphore, in total; 1 for a mutex
	Holders []LockHolder
	Waiters int // processes in which somebody has waited for more than a moment
}

// LockHolder is a process that holds a mutex, or units of a semaphore.
type LockHolder struct {
	PID     int       // 0: it died, and cannot be told any more
	Foreign bool      // see ProcessInfo
	Command string    // name of the program
	Since   time.Time // of the first unit, to a tenth of a second
	Units   int
	Dead    bool // it died while it had the lock: the next one gets it, with ErrOwnerDied
	Stopped bool // it is suspended, as far as can be seen
	Self    bool // it is this process
}

// Locks lists the named locks that a process holds, waits for, or held when it died, by
// name.
func (s *Space) Locks() ([]LockInfo, error) {
	if s.closed.Load() {
		return nil, s.wrap("locks", ErrClosed)
	}
	inUse, err := locks.List(&s.engine.Member)
	if err != nil {
		return nil, s.wrap("locks", err)
	}
	list := make([]LockInfo, 0, len(inUse))
	for _, l := range inUse {
		info := LockInfo{Name: l.Name, Kind: "semaphore", Units: l.Units, Waiters: l.Waiters}
		if l.Units == 0 {
			info.Kind, info.Units = "mutex", 1
		}
		for i, h := range l.Holders {
			info.Holders = append(info.Holders, LockHolder{PID: h.PID, Foreign: h.Foreign, Command: h.Command, Since: h.Since,
				Units: h.Units, Dead: h.Dead, Stopped: l.Stopped[i], Self: h.Self})
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b LockInfo) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list, nil
}

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
