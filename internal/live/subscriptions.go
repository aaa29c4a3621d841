package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/oslock"
)

// Subscriptions keep segments of the journal: see package subscription, which makes and ends
// them. This file has the parts that the claims of segments need (CH1).

// LostVersion replaces the version of a subscription that has exceeded its limit. Such a
// subscription keeps nothing.
const LostVersion = format.Version(format.MaxVersion)

// SubscriptionFloor returns the version up to which no subscription needs a record;
// LostVersion if none keeps anything.
func (v *Live) SubscriptionFloor() format.Version {
	floor := LostVersion
	for i := range v.words.Subscriptions {
		if at := format.Version(v.words.Subscriptions[i].Position.Load() & format.AddrMask); at != 0 { // otherwise the slot is free
			floor = min(floor, at)
		}
	}
	return floor
}

// Subscribed reports whether any subscription keeps something.
func (v *Live) Subscribed() bool { return v.SubscriptionFloor() != LostVersion }

// KeptFloor returns the version up to which neither a recovery nor a subscription needs the
// journal.
func (v *Live) KeptFloor() format.Version { return min(v.JournalFloor(), v.SubscriptionFloor()) }

// AwaitCopies waits until a copy reports something, for at most most. It returns at once if
// a copy has reported since the caller loaded seen.
func (v *Live) AwaitCopies(seen uint32, most time.Duration) {
	oslock.FutexWait(futexWord(&v.words.CopiesFutex), seen, most)
}

// WakeCopies wakes the processes that wait for copies.
func (v *Live) WakeCopies() {
	v.words.CopiesFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.CopiesFutex), math.MaxInt32)
}
