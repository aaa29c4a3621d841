package everheap

import (
	"context"
	"fmt"
	"time"

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
func (m *Mutex) wrap(op string, err error) error { return m.space.wrapNamed(op, m.Name(), err) }

// wrapNamed is wrap for an operation on a named object.
func (s *Space) wrapNamed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return s.wrap(fmt.Sprintf("%s %q", op, name), err)
}

// LockInfo is a named lock that somebody holds or waits for.
type LockInfo struct {
	Name    string
	Kind    string // mutex, semaphore
	Units   int    // of the semaphore, in total; 1 for a mutex
	Holders []LockHolder
	Waiters int // processes in which a goroutine has waited for more than a moment
}

// LockHolder is a process that holds a mutex, or units of a semaphore.
type LockHolder struct {
	PID     int       // 0: the process died, and its number is unknown
	Foreign bool      // see ProcessInfo
	Command string    // name of the program
	Since   time.Time // of the first unit, to a tenth of a second
	Units   int
	Dead    bool // the process died holding the lock: the next holder gets ErrOwnerDied
	Stopped bool // it is suspended, as far as can be seen
	Self    bool // it is this process
}

// Locks lists the named locks that a process holds, waits for, or held when it died, by
// name.
func (s *Space) Locks() ([]LockInfo, error) {
	var inUse []locks.NamedLock
	err := s.ifOpen("locks", func() (err error) { inUse, err = locks.List(&s.engine.Member); return err })
	if err != nil {
		return nil, err
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
func (s *Semaphore) wrap(op string, err error) error { return s.space.wrapNamed(op, s.Name(), err) }
