package everheap

import (
	"cmp"
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
