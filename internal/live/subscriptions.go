package live

import (
	"github.com/everheap/everheap/internal/format"
)

// Subscriptions keep segments of the journal for who reads it later (CH1 and CH2 of package
// changes). A subscription is a slot. One word of it says everything that can change while it
// is in use: which of the subscriptions that had the slot so far this one is, and the version
// after which it needs all. So whoever was suspended and writes late, for one that is not
// there any more, writes nothing: its compare-and-swap fails.

// A Subscription names a subscription in a slot.
type Subscription struct {
	slot   int
	serial uint64
}

const (
	serialShift      = 48
	subscriptionUsed = 1 // no incarnation: they are larger

	// LostVersion takes the place of the version of a subscription that has fallen behind
	// by more than its owner allows. It keeps nothing.
	LostVersion = format.Version(format.MaxVersion)
)

// SubscriptionInfo is what live knows of a subscription.
type SubscriptionInfo struct {
	Subscription
	Name    string
	Version format.Version   // all versions after it are kept; LostVersion: none is
	Limit   format.ByteCount // that may be kept for it
}

// Subscribe takes a slot for a subscription that needs everything after a version, which is not
// newer than the newest one. ok is false if there is no free slot.
//
// A process that dies in it leaves a slot that is nobody's: the next one takes that.
func (v *Live) Subscribe(name string, version format.Version, limit format.ByteCount) (s Subscription, ok bool) {
	for i := range v.words.Subscriptions {
		w := &v.words.Subscriptions[i]
		used := w.Used.Load()
		if used == subscriptionUsed || used != 0 && v.Alive(format.Incarnation(used)) || !w.Used.CompareAndSwap(used, uint64(v.incarnation)) {
			continue
		}
		putName(&w.Name, name)
		w.Limit.Store(uint64(limit))
		serial := (w.Position.Load()>>serialShift + 1) & (1<<16 - 1)
		w.Position.Store(serial<<serialShift | uint64(version))
		if !w.Used.CompareAndSwap(uint64(v.incarnation), subscriptionUsed) {
			continue
		}
		v.Assure() // L16
		return Subscription{i, serial}, true
	}
	return s, false
}

// Subscriptions lists the subscriptions.
func (v *Live) Subscriptions() (list []SubscriptionInfo) {
	for i := range v.words.Subscriptions {
		w := &v.words.Subscriptions[i]
		if w.Used.Load() != subscriptionUsed {
			continue
		}
		position := w.Position.Load()
		s := SubscriptionInfo{Subscription: Subscription{i, position >> serialShift},
			Version: format.Version(position & format.AddrMask), Limit: format.ByteCount(w.Limit.Load())}
		s.Name = nameIn(&w.Name)
		list = append(list, s)
	}
	return list
}

// Subscribed reports whether there is a subscription that keeps something.
func (v *Live) Subscribed() bool { return v.keptFloor() != LostVersion }

// keptFloor returns the version after which some subscription needs everything; LostVersion if
// none needs anything.
func (v *Live) keptFloor() format.Version {
	floor := LostVersion
	for i := range v.words.Subscriptions {
		w := &v.words.Subscriptions[i]
		if w.Used.Load() == subscriptionUsed {
			floor = min(floor, format.Version(w.Position.Load()&format.AddrMask))
		}
	}
	return floor
}

// SubscriptionFloor returns the version up to which no subscription needs anything.
func (v *Live) SubscriptionFloor() format.Version { return v.keptFloor() }

// KeptFloor returns the version up to which neither a recovery nor a subscription needs the
// journal.
func (v *Live) KeptFloor() format.Version { return min(v.JournalFloor(), v.keptFloor()) }

// SubscribedFrom returns the version after which a subscription needs everything; ok is false
// if there is no such subscription any more.
func (v *Live) SubscribedFrom(s Subscription) (version format.Version, ok bool) {
	position := v.words.Subscriptions[s.slot].Position.Load()
	return format.Version(position & format.AddrMask), position>>serialShift == s.serial && v.words.Subscriptions[s.slot].Used.Load() == subscriptionUsed
}

// Confirm says that a subscription needs nothing up to a version any more. It reports false if
// the subscription is lost, or not there any more.
func (v *Live) Confirm(s Subscription, version format.Version) bool {
	w := &v.words.Subscriptions[s.slot].Position
	for {
		old := w.Load()
		at := format.Version(old & format.AddrMask)
		if old>>serialShift != s.serial || at == LostVersion {
			return false
		}
		if at >= version || w.CompareAndSwap(old, s.serial<<serialShift|uint64(version)) {
			return true
		}
	}
}

// LoseSubscription ends what a subscription keeps, if it still begins at the version.
func (v *Live) LoseSubscription(s Subscription, at format.Version) {
	v.words.Subscriptions[s.slot].Position.CompareAndSwap(s.serial<<serialShift|uint64(at), s.serial<<serialShift|uint64(LostVersion))
}

// Unsubscribe frees the slot of a subscription, if that has it still.
func (v *Live) Unsubscribe(s Subscription) {
	w := &v.words.Subscriptions[s.slot]
	if w.Position.Load()>>serialShift == s.serial {
		w.Used.CompareAndSwap(subscriptionUsed, 0)
	}
}

// LoseBehind ends what those subscriptions keep that keep more of the journal than they may.
// extra is what they need beside the journal.
func (v *Live) LoseBehind(extra format.ByteCount) {
	for _, s := range v.Subscriptions() {
		if s.Version != LostVersion && v.JournalBytes(s.Version)+extra > s.Limit {
			v.LoseSubscription(s.Subscription, s.Version)
		}
	}
}
