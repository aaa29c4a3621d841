package live

import (
	"cmp"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// anchorView is one read of the words of an anchor slot.
type anchorView struct {
	index     int
	owner     format.Incarnation
	state     format.Addr
	version   format.Version
	sequence  uint64
	confirmed bool
}

// anchors reads the words of all anchor slots that have an anchor or are about to get one.
func (v *Live) anchors() []anchorView {
	list := make([]anchorView, 0, format.NumAnchors)
	for i := range v.words.Anchors {
		a := &v.words.Anchors[i]
		view := anchorView{index: i, version: format.Version(a.Version.Load())}
		for again := true; again; { // until state and version are of one moment: NameAnchor sets version 0 in between
			view.owner = format.Incarnation(a.Owner.Load())
			view.state = format.Addr(a.State.Load())
			view.sequence = a.Sequence.Load()
			view.confirmed = a.Confirmed.Load() == 1
			version := format.Version(a.Version.Load())
			view.version, again = version, version != view.version
		}
		list = append(list, view)
	}
	return list
}

// secondNewest returns the slots of the newest and the second newest confirmed
// anchors; -1 where there is none.
func secondNewest(list []anchorView) (newest, second int) {
	newest, second = -1, -1
	older := func(a, b int) bool {
		return cmp.Or(cmp.Compare(list[a].version, list[b].version), cmp.Compare(list[a].sequence, list[b].sequence)) < 0
	}
	for i, a := range list {
		switch {
		case a.version == 0 || !a.confirmed:
		case newest < 0 || older(newest, i):
			newest, second = i, newest
		case second < 0 || older(second, i):
			second = i
		}
	}
	return newest, second
}

// protectedAnchors returns the slots whose versions must stay readable: the second newest
// confirmed one and all newer ones. An anchor whose writer is writing it, or died while
// writing it, may be on disk already: it counts until newer ones are confirmed. If a slot
// changes during the look, the result is that of an earlier moment. It then protects at
// least the versions of all anchors that a recovery may still choose.
func (v *Live) protectedAnchors() []anchorView {
	list := v.anchors()
	_, second := secondNewest(list)
	var floor format.Version
	if second >= 0 {
		floor = list[second].version
	}
	return slices.DeleteFunc(list, func(a anchorView) bool { return a.version == 0 || a.version < floor })
}

// NewestAnchor returns the newest confirmed version; 0 if there is none.
func (v *Live) NewestAnchor() format.Version {
	list := v.anchors()
	if newest, _ := secondNewest(list); newest >= 0 {
		return list[newest].version
	}
	return 0
}

// Anchor is a confirmed anchor.
type Anchor struct {
	Slot     int
	State    format.Addr
	Version  format.Version
	Sequence uint64
}

// AnchorWriters returns the other living processes that are writing an anchor. Each holds
// its version until the anchor is on disk.
func (v *Live) AnchorWriters() (list []format.Incarnation) {
	for _, a := range v.anchors() {
		if a.owner != 0 && a.owner != v.incarnation && v.Alive(a.owner) {
			list = append(list, a.owner)
		}
	}
	return list
}

// UsableAnchors returns the two newest confirmed anchors, the newest first; fewer if there
// are fewer. Their slots and versions do not change until two newer anchors are confirmed.
func (v *Live) UsableAnchors() []Anchor {
	list := v.anchors()
	var usable []Anchor
	newest, second := secondNewest(list)
	for _, i := range []int{newest, second} {
		if i >= 0 {
			usable = append(usable, Anchor{i, list[i].state, list[i].version, list[i].sequence})
		}
	}
	return usable
}

// Usable reports whether an anchor is one of the two newest confirmed ones.
func (v *Live) Usable(a Anchor) bool { return slices.Contains(v.UsableAnchors(), a) }

// AnchorClaim is the right to write one anchor slot.
type AnchorClaim struct {
	Slot     int
	Sequence uint64
	// Doubtful says that a writer died over this slot: the disk may hold its
	// anchor, newer than any confirmed one. It must be wiped and synced before
	// the claim may name another version.
	Doubtful bool
}

// ClaimAnchor claims a slot that is neither one of the two newest confirmed ones nor claimed
// by a living process. ok is false if there is none: living processes, perhaps suspended
// ones, have claimed all others.
func (v *Live) ClaimAnchor() (c AnchorClaim, ok bool) {
	list := v.anchors()
	newest, second := secondNewest(list)
	var floor format.Version
	if second >= 0 {
		floor = list[second].version
	}
	for _, doubtful := range []bool{false, true} { // slots without doubt first
		for i, a := range list {
			if i == newest || i == second || a.owner != 0 && v.Alive(a.owner) {
				continue
			}
			if (a.owner != 0 && a.version >= floor) != doubtful {
				continue
			}
			if !v.words.Anchors[i].Owner.CompareAndSwap(uint64(a.owner), uint64(v.incarnation)) {
				continue
			}
			if v.confirmedSince(i, a) {
				v.words.Anchors[i].Owner.CompareAndSwap(uint64(v.incarnation), 0)
				continue
			}
			c = AnchorClaim{Slot: i, Sequence: v.words.AnchorSequence.Add(1), Doubtful: doubtful}
			v.Assure() // the slot is not one of the two newest, and no other process has it (L16)
			invariant.Point("anchor.claimed")
			return c, true
		}
	}
	return AnchorClaim{}, false
}

// confirmedSince reports whether the slot got another anchor between the look seen and the
// claim.
func (v *Live) confirmedSince(i int, seen anchorView) bool {
	a := &v.words.Anchors[i]
	return a.Sequence.Load() != seen.sequence || format.Version(a.Version.Load()) != seen.version
}

// WipedAnchor says that the claimed slot has no anchor on disk now.
func (v *Live) WipedAnchor(c AnchorClaim) {
	a := &v.words.Anchors[c.Slot]
	a.Confirmed.Store(0)
	a.Version.Store(0)
}

// NameAnchor makes the claim protect the version that the caller is about to write. The
// caller holds a reader slot on it (L5).
func (v *Live) NameAnchor(c AnchorClaim, state format.Addr, version format.Version) {
	a := &v.words.Anchors[c.Slot]
	a.Confirmed.Store(0)
	a.Version.Store(0) // no moment with the old version and the new state
	a.State.Store(uint64(state))
	a.Sequence.Store(c.Sequence)
	a.Version.Store(uint64(version))
}

// ConfirmAnchor says that the anchor in the slot is on disk, and ends the claim.
func (v *Live) ConfirmAnchor(c AnchorClaim) {
	a := &v.words.Anchors[c.Slot]
	a.Confirmed.Store(1)
	if invariant.Enabled {
		v.record.Note(invariant.Anchored, a.State.Load(), a.Version.Load(), uint64(c.Slot))
	}
	invariant.Point("anchor.confirmed")
	a.Owner.CompareAndSwap(uint64(v.incarnation), 0)
}

// AbandonAnchor ends a claim whose write failed. The slot stays in doubt: its version stays
// protected, and the next claimant wipes the slot.
func (v *Live) AbandonAnchor(c AnchorClaim) {
	a := &v.words.Anchors[c.Slot]
	if a.Version.Load() == 0 {
		a.Owner.CompareAndSwap(uint64(v.incarnation), 0)
		return
	}
	a.Owner.CompareAndSwap(uint64(v.incarnation), format.NobodyAlive)
}
