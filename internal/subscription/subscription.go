// Package subscription has the words by which processes know of the subscriptions to all changes
// of a space, and of what its copies and its leader have said. What they are for is told by package changes.
//
// Start reading at slot, Make and Acknowledge.
package subscription

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Subscriptions keep segments of the journal for who reads it later (CH1 and CH2 of package
// changes).

// A Slot names a subscription in its slot.
type Slot struct {
	slot   int
	serial uint64
}

// Info is what live knows of a subscription.
type Info struct {
	Slot
	Name    string
	Version format.Version   // all versions after it are kept; live.LostVersion: none is
	Limit   format.ByteCount // that may be kept for it
}

// at returns a slot for a subscription.
func at(v *live.Live, i int) slot {
	w := &v.Words().Subscriptions[i]
	return slot{&w.Maker, &w.Position, &w.Name}
}

// Make takes a slot for a subscription that needs everything after a version, which is not
// newer than the newest one. ok is false if there is no free slot.
func Make(v *live.Live, name string, version format.Version, limit format.ByteCount) (s Slot, ok bool) {
	for i := range v.Words().Subscriptions {
		serial, ok := at(v, i).take(v, name, version, func() { v.Words().Subscriptions[i].Limit.Store(uint64(limit)) })
		if ok {
			v.Assure() // L16
			return Slot{i, serial}, true
		}
	}
	return s, false
}

// List lists the subscriptions.
func List(v *live.Live) (list []Info) {
	for i := range v.Words().Subscriptions {
		s := at(v, i)
		serial, version := s.read()
		limit, name := v.Words().Subscriptions[i].Limit.Load(), nameIn(s.name)
		if now, there := s.read(); version != 0 && there != 0 && now == serial {
			list = append(list, Info{Slot{i, serial}, name, version, format.ByteCount(limit)})
		}
	}
	return list
}

// Confirm says that a subscription needs nothing up to a version any more. It reports false if
// the subscription is lost, or not there any more.
func Confirm(v *live.Live, s Slot, version format.Version) bool {
	w := at(v, s.slot)
	for {
		serial, old := w.read()
		if serial != s.serial || old == 0 || old == live.LostVersion {
			return false
		}
		if old >= version || w.swap(serial, old, version) {
			return true
		}
	}
}

// Restart says that a subscription needs what follows a version, also if it is lost, or needs less:
// its owner begins anew. It reports false if it is not there any more.
func Restart(v *live.Live, s Slot, version format.Version) bool {
	w := at(v, s.slot)
	for {
		serial, old := w.read()
		if serial != s.serial || old == 0 {
			return false
		}
		if w.swap(serial, old, version) {
			v.Assure() // L16
			return true
		}
	}
}

// Lose ends what a subscription keeps, if it still begins at the version.
func Lose(v *live.Live, s Slot, version format.Version) {
	at(v, s.slot).swap(s.serial, version, live.LostVersion)
}

// End frees the slot of a subscription, if that has it still.
func End(v *live.Live, s Slot) { at(v, s.slot).end(s.serial) }

// LoseBehind ends what those subscriptions keep that keep more than they may. extra is what they
// need after a version beside what the journal has.
func LoseBehind(v *live.Live, extra func(after format.Version) format.ByteCount) {
	for _, s := range List(v) {
		if s.Version != live.LostVersion && v.JournalBytes(s.Version)+extra(s.Version) > s.Limit {
			Lose(v, s.Slot, s.Version)
		}
	}
}
