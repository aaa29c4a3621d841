//go:build invariants && linux

package heap

import (
	"fmt"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// The ledger names the owner of each piece of the heap: each block of an extent that was cut
// into blocks, and each other extent. All processes share it (invariant.Record). Each change
// of hands asserts the owner before, so a piece with two owners fails when it gets the
// second one, and not when one of them overwrites the other.
//
// A word has the kind of the owner, its incarnation, and the epoch of sweeps under which it
// became the owner. 0 means that nobody has said anything yet: everybody may take such a
// piece.
//
// A process that stands still or dies between a real change and that of the ledger must not
// make others panic. Therefore:
//
//	O1  A process that gives a piece up changes the ledger first, and then really gives it
//	    up; a process that gets one really gets it first, and then changes the ledger. In
//	    between the ledger says that the piece is on its way (Version, Parcel, Freeing,
//	    Reserve). Such an owner is a place and no process, so a process that finds the
//	    piece there may take it; and none finds it there that could not really have it.
//	O2  Only the process that owns a piece (Free, Loose, Taken, Waiting) changes it, alive,
//	    and using its lists. Death leaves it so. Only a sweep takes over from the dead.
//	O3  A sweep changes nothing in the ledger when it begins: it raises the epoch. A process
//	    no longer owns what it had below the floor under an older epoch (I7): so it is
//	    refused a word that says Free, Waiting or Several under another epoch than its
//	    own, below the floor as of when it last forgot. It still owns what its transaction
//	    has: a sweep beside that is the process's own (upkeep.Upkeep.SweepWithin).
//	O4  Nobody has had what a sweep takes since it began, whatever the word says of the time
//	    before: the dead, the lists that were forgotten, versions that are gone. So the word
//	    is of an older epoch. A sweeper that stood still finds another epoch, and takes
//	    nothing.
//
// Hand-over by hand-over, with what a kill between the two changes leaves:
//
//	O5  A transaction takes (Free -> Taken), gives back what is no part of its version
//	    (Taken -> Loose), and what it has written if it aborts (Taken, Version -> Loose): both
//	    owners are the same process, so the order does not matter (O2). What is Loose is in
//	    no list; putting it into one (Loose -> Free) is done once.
//	O6  It seals (Taken -> Version), before the swap. A kill before the swap leaves blocks of a
//	    version that was never published: a sweep takes them. After the swap they belong to
//	    everybody, and any process may free them as soon as it sees them; so the ledger
//	    must be complete before. What is no part of the version stays Taken: the version
//	    does not reach it, and its owner keeps it after the swap (I9).
//	O7  It frees blocks of its base (Version -> Waiting), after the swap: until then they are
//	    its base's, and the swap may fail. One version frees a block, so nobody else does
//	    meanwhile. A kill in between leaves blocks of no version: a sweep takes them.
//	    After a restore a block may be freed again that waits in a list since before (C2):
//	    then several have it (Several), for as long as the restored version is pinned, and
//	    nobody may settle it. A list that was forgotten does not count (O3).
//	O8  Settling (Waiting -> Loose) is of one process (O2).
//	O9  A process enters what goes into a batch before it pushes the chain (Free -> Parcel,
//	    Waiting -> Freeing; the block of the batch itself: Taken -> Parcel), and a process
//	    that has taken the chain enters what it accepts (Parcel -> Free or Loose, Freeing ->
//	    Waiting). A kill before the push, or after the taking, leaves a batch that is in no
//	    stack: a sweep takes it. A stack has one epoch, and so have the words of all that
//	    is in it. A sweep enters what it spares anew, under its epoch, before it pushes it.
//	O10 Cells of the reserve are the same (Free -> Reserve before the swap into the cell,
//	    Reserve -> Free after the swap out of it; if the first swap fails, Reserve -> Free
//	    again, since the extent was never in a cell). But cells outlive sweeps (RV1).
//	O11 A process enters space that nobody ever had (0 -> Free) after the swap that made it
//	    the owner. A kill in between leaves it unknown: a sweep takes it. What the last
//	    user cuts off the end (Free -> 0) is such space again.
//	O12 An extent that is cut (Free -> Blocks, and each block Free), one whose blocks are all
//	    free (Blocks -> Free), and a run (Free -> Taken, of each extent) are of one process
//	    all the time. A kill in the middle of it leaves some words as they were: a sweep
//	    takes all. Of an extent that is cut the blocks have owners, and the extent has none.
//	O13 Holes are free extents. A process that punches or allocates one owns it before and
//	    after.
type ledger struct {
	floor format.Addr // below which the process has forgotten what it had under older epochs
	blind bool        // for tests: nothing is asserted of this process
	last  told
}

// told is an event that was noted of many pieces of an extent.
type told struct {
	event  invariant.Event
	extent format.Addr
}

// txnLedger is what a transaction knows for the ledger.
type txnLedger struct {
	restored format.Version // the newest version that its base pins for a restore; 0: none
}

// rule is a set of owners that a piece may have: kinds of this process, and, in the higher
// bits, of anybody.
type rule uint32

// mine are owners of the kinds that are this process.
func mine(kinds ...invariant.OwnerKind) (r rule) {
	for _, k := range kinds {
		r |= 1 << k
	}
	return r
}

// whose are owners of the kinds, in any process.
func whose(kinds ...invariant.OwnerKind) rule { return mine(kinds...) << 16 }

var (
	fromAnybody = ^rule(0)
	fromNobody  = rule(0)
	fromFree    = mine(invariant.Free)
	fromLoose   = mine(invariant.Loose)
	fromTaken   = mine(invariant.Taken)
	fromTxn     = mine(invariant.Taken, invariant.Version)
	fromWaiting = mine(invariant.Waiting)
	fromListed  = mine(invariant.Waiting) | whose(invariant.Several)
	fromBatch   = whose(invariant.Parcel)
	fromFreeing = whose(invariant.Freeing, invariant.Several)
	fromReserve = whose(invariant.Reserve)
	fromVersion = whose(invariant.Version)
	fromBlocks  = whose(invariant.Blocks)
)

// String tells the rule.
func (r rule) String() string {
	text := ""
	for k := invariant.Unknown; k < 16; k++ {
		if r&(mine(k)|whose(k)) == 0 {
			continue
		}
		if text != "" {
			text += " or "
		}
		if text += k.String(); r&whose(k) == 0 {
			text += " of this process"
		}
	}
	if text == "" {
		return "nobody's"
	}
	return text
}

// me returns the owner that this process is, as one of the kind.
func (h *Heap) me(k invariant.OwnerKind) invariant.Owner {
	return invariant.MakeOwner(k, uint64(h.live.Incarnation()), h.epoch)
}

// permits reports whether a piece at a with the owner may be taken by the rule.
func (h *Heap) permits(r rule, a format.Addr, o invariant.Owner) bool {
	k := o.Kind()
	switch {
	case k == invariant.Unknown || r == fromAnybody:
		return true
	case r&whose(k) == 0 && (r&mine(k) == 0 || o.Who() != h.me(k).Who()):
		return false
	}
	return !h.forgotten(a, o)
}

// forgotten reports whether a sweep has made the owner of a piece forget it (O3), or has
// emptied the stack that it was in (O9).
func (h *Heap) forgotten(a format.Addr, o invariant.Owner) bool {
	switch o.Kind() {
	case invariant.Parcel, invariant.Freeing:
		return !o.Under(h.epoch)
	case invariant.Free, invariant.Waiting, invariant.Several:
		return a < h.ledger.floor && !o.Under(h.epoch)
	}
	return false
}

// word returns the word of the block at a, or of the extent if the size is more than that of
// a block; nil if there is no ledger.
func (h *Heap) word(a format.Addr, size format.ByteCount) *atomic.Uint64 {
	if h.ledger.blind || uint64(a)-h.base >= h.window {
		return nil
	}
	if size <= format.MaxSmall {
		return h.live.Record().Block(h.extentOf(a), uint64(a)%format.ExtentSize/uint64(size))
	}
	return h.live.Record().Extent(h.extentOf(a))
}

// owner returns the owner of a piece; unknown if there is no ledger.
func (h *Heap) owner(a format.Addr, size format.ByteCount) invariant.Owner {
	if w := h.word(a, size); w != nil {
		return invariant.Owner(w.Load())
	}
	return 0
}

// hand notes that a piece of a size changes hands: from one of the owners of the rule to this
// process, or to the place that the kind is. A piece that is larger than a block is so many
// extents.
func (h *Heap) hand(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.OwnerKind) {
	old := h.change(e, a, size, from, h.me(to))
	h.live.Record().Note(e, uint64(a), invariant.Change(old, h.me(to)), uint64(size))
}

// handOne is hand for one of many: of those in a row that lie in one extent, the event is
// noted once, as one of the extent.
func (h *Heap) handOne(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.OwnerKind) {
	old := h.change(e, a, size, from, h.me(to))
	extent := h.extentAddr(h.extentOf(a))
	if h.ledger.last != (told{e, extent}) {
		h.ledger.last = told{e, extent}
		h.live.Record().Note(e, uint64(extent), invariant.Change(old, h.me(to)), format.ExtentSize)
	}
}

// change changes the words of a piece, and returns what the first one was.
func (h *Heap) change(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.Owner) (first invariant.Owner) {
	if h.ledger.blind {
		return 0
	}
	for done := format.ByteCount(0); done < size; done += format.ExtentSize {
		old := h.changeWord(e, a+format.Addr(done), size, from, to)
		if done == 0 {
			first = old
		}
	}
	return first
}

// changeWord changes one word.
func (h *Heap) changeWord(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.Owner) invariant.Owner {
	for w := h.word(a, size); w != nil; {
		old := invariant.Owner(w.Load())
		if !h.permits(from, a, old) {
			h.doubt(e, a, size, old, from.String())
		}
		if w.CompareAndSwap(uint64(old), uint64(to)) {
			return old
		}
	}
	return 0
}

// doubt panics, since the owner of a piece is not the one that it must be; unless a process
// uses the space that does not keep the ledger: then the ledger asserts nothing any more.
// With words that are lost nothing can be said (L16).
func (h *Heap) doubt(e invariant.Event, a format.Addr, size format.ByteCount, found invariant.Owner, want string) {
	h.live.Assure()
	record := h.live.Record()
	if h.ledger.blind || !record.Asserts() || record.Strangers(h.live.Words().NextIncarnation.Load()) {
		return
	}
	record.AssertAt(false, uint64(a), fmt.Sprintf("process %s, epoch %d, floor %#x: %d bytes are to be %s, and must be %s; they are %s",
		invariant.Incarnation(uint64(h.live.Incarnation())), h.epoch, uint64(h.ledger.floor), size, e, want, found))
}
