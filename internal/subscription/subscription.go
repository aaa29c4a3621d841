// Package subscription has the words by which processes know of the subscriptions to all changes
// of a space, and of what copies of it have said. What they are for is told by package changes.
//
// Start reading at Make and Acknowledge.
package subscription

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Subscriptions keep segments of the journal for who reads it later (CH1 and CH2 of package
// changes). A subscription is a slot. One word of it says everything that can change while it
// is in use: which of the subscriptions that had the slot so far this one is, and the version
// after which it needs all. So whoever was suspended and writes late, for one that is not
// there any more, writes nothing: its compare-and-swap fails.

// A Slot names a subscription in its slot.
type Slot struct {
	slot   int
	serial uint64
}

const (
	serialShift = 48
	used        = 1 // no incarnation: they are larger
)

// Info is what live knows of a subscription.
type Info struct {
	Slot
	Name    string
	Version format.Version   // all versions after it are kept; live.LostVersion: none is
	Limit   format.ByteCount // that may be kept for it
}

// Make takes a slot for a subscription that needs everything after a version, which is not
// newer than the newest one. ok is false if there is no free slot.
//
// A process that dies in it leaves a slot that is nobody's: the next one takes that.
func Make(v *live.Live, name string, version format.Version, limit format.ByteCount) (s Slot, ok bool) {
	for i := range v.Words().Subscriptions {
		w := &v.Words().Subscriptions[i]
		by := w.Used.Load()
		if by == used || by != 0 && v.Alive(format.Incarnation(by)) || !w.Used.CompareAndSwap(by, uint64(v.Incarnation())) {
			continue
		}
		putName(&w.Name, name)
		w.Limit.Store(uint64(limit))
		serial := (w.Position.Load()>>serialShift + 1) & (1<<16 - 1)
		w.Position.Store(serial<<serialShift | uint64(version))
		if !w.Used.CompareAndSwap(uint64(v.Incarnation()), used) {
			continue
		}
		v.Assure() // L16
		return Slot{i, serial}, true
	}
	return s, false
}

// List lists the subscriptions.
func List(v *live.Live) (list []Info) {
	for i := range v.Words().Subscriptions {
		w := &v.Words().Subscriptions[i]
		if w.Used.Load() != used {
			continue
		}
		position := w.Position.Load()
		s := Info{Slot: Slot{i, position >> serialShift},
			Version: format.Version(position & format.AddrMask), Limit: format.ByteCount(w.Limit.Load())}
		s.Name = nameIn(&w.Name)
		list = append(list, s)
	}
	return list
}

// Confirm says that a subscription needs nothing up to a version any more. It reports false if
// the subscription is lost, or not there any more.
func Confirm(v *live.Live, s Slot, version format.Version) bool {
	w := &v.Words().Subscriptions[s.slot].Position
	for {
		old := w.Load()
		at := format.Version(old & format.AddrMask)
		if old>>serialShift != s.serial || at == live.LostVersion {
			return false
		}
		if at >= version || w.CompareAndSwap(old, s.serial<<serialShift|uint64(version)) {
			return true
		}
	}
}

// Lose ends what a subscription keeps, if it still begins at the version.
func Lose(v *live.Live, s Slot, at format.Version) {
	v.Words().Subscriptions[s.slot].Position.CompareAndSwap(s.serial<<serialShift|uint64(at), s.serial<<serialShift|uint64(live.LostVersion))
}

// End frees the slot of a subscription, if that has it still.
func End(v *live.Live, s Slot) {
	w := &v.Words().Subscriptions[s.slot]
	if w.Position.Load()>>serialShift == s.serial {
		w.Used.CompareAndSwap(used, 0)
	}
}

// LoseBehind ends what those subscriptions keep that keep more of the journal than they may.
// extra is what they need beside the journal.
func LoseBehind(v *live.Live, extra format.ByteCount) {
	for _, s := range List(v) {
		if s.Version != live.LostVersion && v.JournalBytes(s.Version)+extra > s.Limit {
			Lose(v, s.Slot, s.Version)
		}
	}
}
