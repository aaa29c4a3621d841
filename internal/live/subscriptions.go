package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/oslock"
)

// Subscriptions keep segments of the journal: see package subscription, which makes and ends
// them. Here is what the claims of segments need of them (CH1).

const (
	subscriptionUsed = 1 // no incarnation: they are larger

	// LostVersion takes the place of the version of a subscription that has fallen behind
	// by more than its owner allows. It keeps nothing.
	LostVersion = format.Version(format.MaxVersion)
)

// SubscriptionFloor returns the version up to which no subscription needs anything; LostVersion
// if none keeps anything.
func (v *Live) SubscriptionFloor() format.Version {
	floor := LostVersion
	for i := range v.words.Subscriptions {
		w := &v.words.Subscriptions[i]
		if w.Used.Load() == subscriptionUsed {
			floor = min(floor, format.Version(w.Position.Load()&format.AddrMask))
		}
	}
	return floor
}

// Subscribed reports whether there is a subscription that keeps something.
func (v *Live) Subscribed() bool { return v.SubscriptionFloor() != LostVersion }

// KeptFloor returns the version up to which neither a recovery nor a subscription needs the
// journal.
func (v *Live) KeptFloor() format.Version { return min(v.JournalFloor(), v.SubscriptionFloor()) }

// AwaitCopies waits until a copy says something, but for what was said since seen was loaded.
func (v *Live) AwaitCopies(seen uint32, most time.Duration) {
	oslock.FutexWait(futexWord(&v.words.CopiesFutex), seen, most)
}

// WakeCopies wakes those who wait for copies.
func (v *Live) WakeCopies() {
	v.words.CopiesFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.CopiesFutex), math.MaxInt32)
}
