// Package subscription has the words of live that tell all processes of the subscriptions to the
// changes of a space, and of what its copies and its leader have said. Package changes says what
// they are for.
//
// Start reading at slot, Make and Acknowledge.
package subscription

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Subscriptions keep segments of the journal for later readers (CH1 and CH2 of package changes).

// A Slot identifies a subscription in its slot.
type Slot struct {
	slot   int
	serial uint64
}

// Info is what live has about a subscription.
type Info struct {
	Slot
	Name    string
	Version format.Version   // all later versions are kept; live.LostVersion: none
	Limit   format.ByteCount // how much may be kept for it
}

// at returns the slot of a subscription.
func at(v *live.Live, i int) slot {
	w := &v.Words().Subscriptions[i]
	return slot{&w.Maker, &w.Position, &w.Name}
}

// Make takes a slot for a subscription that needs all versions after the given one, which is not
// newer than the newest. ok is false if no slot is free.
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

// Confirm says that a subscription needs no version up to the given one any more. It reports false
// if the subscription is lost, or does not exist any more.
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

// Restart makes a subscription begin after a version, even if it is lost, or needs only later ones:
// its owner begins again. It reports false if the subscription does not exist any more.
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

// Lose makes a subscription lost, if it still begins at the version.
func Lose(v *live.Live, s Slot, version format.Version) {
	at(v, s.slot).swap(s.serial, version, live.LostVersion)
}

// End frees the slot of a subscription, if the subscription still has it.
func End(v *live.Live, s Slot) { at(v, s.slot).end(s.serial) }

// LoseBehind makes those subscriptions lost that keep more than they may. extra returns how much
// they keep after a version beside the journal.
func LoseBehind(v *live.Live, extra func(after format.Version) format.ByteCount) {
	for _, s := range List(v) {
		if s.Version != live.LostVersion && v.JournalBytes(s.Version)+extra(s.Version) > s.Limit {
			Lose(v, s.Slot, s.Version)
		}
	}
}
