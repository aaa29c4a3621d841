package subscription

import (
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// A copy of the space on another machine says which version it durably has. The process that talks
// to the copies notes it here, for all processes, some of which have commits that wait for copies.
// These notes end with the live file: copies say it again.

// copyAt returns the slot of a copy.
func copyAt(v *live.Live, i int) slot {
	w := &v.Words().Copies[i]
	return slot{&w.Maker, &w.Position, &w.Name}
}

// Acknowledge notes that a copy has a version; ok is false if there is no free slot for another
// copy.
func Acknowledge(v *live.Live, name string, version format.Version) (ok bool) {
	if ok = note(v, name, version); ok {
		v.Assure() // L16
		v.WakeCopies()
	}
	return ok
}

// note enters the version of a copy into its slot, or into a new one if it has none.
func note(v *live.Live, name string, version format.Version) (ok bool) {
	for i := range v.Words().Copies {
		s := copyAt(v, i)
		for serial, at := s.read(); at != 0 && nameIn(s.name) == name; serial, at = s.read() {
			if s.swap(serial, at, version) {
				return true
			}
		}
	}
	for i := range v.Words().Copies {
		if _, ok := copyAt(v, i).take(v, name, version, func() {}); ok {
			return true
		}
	}
	return false
}

// Forget forgets the versions that the copies and the leader have named: they belong to another
// history than the space from now on.
func Forget(v *live.Live) {
	v.Words().LeaderKnown.Store(0)
	v.Words().LeaderHeard.Store(0)
	v.Words().LeaderCaught.Store(0)
	for i := range v.Words().Copies {
		s := copyAt(v, i)
		serial, _ := s.read()
		s.end(serial)
	}
}

// Copies returns the newest version that each copy has acknowledged.
func Copies(v *live.Live) map[string]format.Version {
	copies := map[string]format.Version{}
	for i := range v.Words().Copies {
		s := copyAt(v, i)
		serial, at := s.read()
		name := nameIn(s.name)
		if now, there := s.read(); at != 0 && there != 0 && now == serial {
			copies[name] = max(copies[name], at) // two processes may have made a slot for it at once
		}
	}
	return copies
}

// AwaitCopies returns how many copies have a version; if fewer than n do, it first waits for at
// most the given time.
func AwaitCopies(v *live.Live, version format.Version, n int, most time.Duration) (have int) {
	seen := v.Words().CopiesFutex.Load()
	for _, at := range Copies(v) {
		if at >= version {
			have++
		}
	}
	v.Assure()
	if have < n {
		v.AwaitCopies(seen, most)
	}
	return have
}
