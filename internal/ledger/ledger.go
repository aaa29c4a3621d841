//go:build invariants && linux

package ledger

import (
	"fmt"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
)

// Ledger is one process's access to the ledger of owners.
type Ledger struct {
	live   *live.Live
	base   uint64           // base of the window
	window uint64           // size of the window in bytes
	first  uint64           // offset of the first extent that has blocks
	epoch  *uint64          // the epoch that the heap knows
	batch  format.ByteCount // size of a batch's block

	floor format.Addr // below it the process has forgotten the pieces that it had under older epochs
	blind bool        // for tests: the ledger asserts nothing for this process
	last  told
}

// told is an event that was noted once for many pieces of an extent.
type told struct {
	event  invariant.Event
	extent format.Addr
}

// Init sets the ledger up for the heap of a process: its window, the offset of its first
// extent of blocks, the epoch that it knows, and the size of a batch's block.
func (l *Ledger) Init(lv *live.Live, base, window, first uint64, epoch *uint64, batch format.ByteCount) {
	l.live, l.base, l.window, l.first, l.epoch, l.batch = lv, base, window, first, epoch, batch
}

// Blind ends or resumes the assertions for this process, for tests that break the rules.
func (l *Ledger) Blind(blind bool) { l.blind = blind }

// extentOf returns the extent that an address lies in.
func (l *Ledger) extentOf(a format.Addr) uint64 { return (uint64(a) - l.base) >> format.ExtentShift }

// extentAddr returns the address of an extent.
func (l *Ledger) extentAddr(extent uint64) format.Addr {
	return format.Addr(l.base + extent<<format.ExtentShift)
}

// rule is a set of permitted owners: kinds for this process and, in the higher bits, kinds
// for any process.
type rule uint32

// mine permits owners of the kinds that are this process.
func mine(kinds ...invariant.OwnerKind) (r rule) {
	for _, k := range kinds {
		r |= 1 << k
	}
	return r
}

// whose permits owners of the kinds, of any process.
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
	fromBatch   = whose(invariant.Batch)
	fromFreeing = whose(invariant.Freeing, invariant.Several)
	fromReserve = whose(invariant.Reserve)
	fromVersion = whose(invariant.Version)
	fromBlocks  = whose(invariant.Blocks)
)

// String formats the rule.
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

// me returns this process as an owner of the kind.
func (l *Ledger) me(k invariant.OwnerKind) invariant.Owner {
	return invariant.MakeOwner(k, uint64(l.live.Incarnation()), *l.epoch)
}

// permits reports whether the rule lets this process take the piece at a from its owner.
func (l *Ledger) permits(r rule, a format.Addr, o invariant.Owner) bool {
	k := o.Kind()
	switch {
	case k == invariant.Unknown || r == fromAnybody:
		return true
	case r&whose(k) == 0 && (r&mine(k) == 0 || o.Who() != l.me(k).Who()):
		return false
	}
	return !l.forgotten(a, o)
}

// forgotten reports whether a sweep has made the owner of a piece forget it (O3), or has
// emptied the stack in which it was (O9).
func (l *Ledger) forgotten(a format.Addr, o invariant.Owner) bool {
	switch o.Kind() {
	case invariant.Batch, invariant.Freeing:
		return !o.Under(*l.epoch)
	case invariant.Free, invariant.Waiting, invariant.Several:
		return a < l.floor && !o.Under(*l.epoch)
	}
	return false
}

// word returns the word of the block at a, or of the extent if the piece is larger than a
// block; nil if there is no ledger.
func (l *Ledger) word(a format.Addr, size format.ByteCount) *atomic.Uint64 {
	if l.blind || uint64(a)-l.base >= l.window {
		return nil
	}
	if size <= format.MaxSmall {
		return l.live.Record().Block(l.extentOf(a), uint64(a)%format.ExtentSize/uint64(size))
	}
	return l.live.Record().Extent(l.extentOf(a))
}

// owner returns the owner of a piece; unknown if there is no ledger.
func (l *Ledger) owner(a format.Addr, size format.ByteCount) invariant.Owner {
	if w := l.word(a, size); w != nil {
		return invariant.Owner(w.Load())
	}
	return 0
}

// hand changes the owner of a piece: from one of the rule's owners to this process, or to
// the place that the kind stands for. A piece that is larger than a block consists of
// extents.
func (l *Ledger) hand(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.OwnerKind) {
	old := l.change(e, a, size, from, l.me(to))
	l.live.Record().Note(e, uint64(a), invariant.Change(old, l.me(to)), uint64(size))
}

// handOne is hand for one of many pieces: for consecutive pieces in one extent it notes the
// event once, as an event of the extent.
func (l *Ledger) handOne(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.OwnerKind) {
	old := l.change(e, a, size, from, l.me(to))
	extent := l.extentAddr(l.extentOf(a))
	if l.last != (told{e, extent}) {
		l.last = told{e, extent}
		l.live.Record().Note(e, uint64(extent), invariant.Change(old, l.me(to)), format.ExtentSize)
	}
}

// change changes the words of a piece, and returns the old value of the first one.
func (l *Ledger) change(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.Owner) (first invariant.Owner) {
	if l.blind {
		return 0
	}
	for done := format.ByteCount(0); done < size; done += format.ExtentSize {
		old := l.changeWord(e, a+format.Addr(done), size, from, to)
		if done == 0 {
			first = old
		}
	}
	return first
}

// changeWord changes one word.
func (l *Ledger) changeWord(e invariant.Event, a format.Addr, size format.ByteCount, from rule, to invariant.Owner) invariant.Owner {
	for w := l.word(a, size); w != nil; {
		old := invariant.Owner(w.Load())
		if !l.permits(from, a, old) {
			l.doubt(e, a, size, old, from.String())
		}
		if w.CompareAndSwap(uint64(old), uint64(to)) {
			return old
		}
	}
	return 0
}

// doubt panics, since the owner of a piece is not a permitted one. But if a process without
// the tag uses the space, the ledger only stops asserting. If live is lost, Assure panics
// instead, since lost words prove nothing (L16).
func (l *Ledger) doubt(e invariant.Event, a format.Addr, size format.ByteCount, found invariant.Owner, want string) {
	l.live.Assure()
	record := l.live.Record()
	if l.blind || !record.Asserts() || record.Strangers(l.live.Words().NextIncarnation.Load()) {
		return
	}
	record.AssertAt(false, uint64(a), fmt.Sprintf("process %s, epoch %d, floor %#x: %d bytes are to be %s, and must be %s; they are %s",
		invariant.Incarnation(uint64(l.live.Incarnation())), *l.epoch, uint64(l.floor), size, e, want, found))
}
