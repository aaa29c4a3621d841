//go:build invariants && linux

package invariant

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Each process notes its events in its own ring, which no other process writes. So an event
// costs one read of the clock and a few stores.
//
//	D6  An incarnation has one ring, and a ring has at most one live incarnation. The ring of
//	    a dead incarnation keeps its events until another one needs a ring; that takes the
//	    ring whose last event is the oldest. (Record.Own)
//	D7  An event has the round of the ring in which it was noted. So a reader of a ring whose
//	    owner still writes can distinguish an event from the one that it has replaced.
const (
	ringEvents = 10_000
	eventBytes = 32
	ringBytes  = (ringEvents*eventBytes + pageBytes - 1) / pageBytes * pageBytes
	perPage    = pageBytes / eventBytes
)

// ringRow is the row of a ring in the head of the record.
type ringRow struct {
	owner   atomic.Uint64 // its incarnation; 0: none of this live file
	count   atomic.Uint64 // how many events it has had
	last    atomic.Int64  // time of the last event
	pid     atomic.Uint64
	command [32]byte
}

var _ [64]byte = [unsafe.Sizeof(ringRow{})]byte{}

// ring is a mapped ring.
type ring struct {
	mapped []byte
	events *[ringEvents]storedEvent
}

type storedEvent struct {
	time atomic.Int64  // by the clock of the machine, in nanoseconds
	what atomic.Uint64 // address/16 (bits 0-43), event (44-51), rounds (52-63)
	a, b atomic.Uint64
}

var _ [eventBytes]byte = [unsafe.Sizeof(storedEvent{})]byte{}

const (
	atBits     = 44
	roundShift = 52
)

// ringAt returns the offset of a ring in the file.
func ringAt(i int) int64 { return headBytes + int64(i)*ringBytes }

// open is the set of records that this process has open.
var open sync.Map

// Own gives the process a ring for the events of an incarnation. alive reports whether an
// incarnation is alive.
func (r Record) Own(incarnation uint64, alive func(incarnation uint64) bool) {
	if r.record == nil || r.row != nil {
		return
	}
	i := r.claimRing(incarnation, alive)
	if i < 0 {
		return
	}
	row := &r.head.rows[i]
	if r.allocate(ringAt(i), pageBytes) != nil {
		return
	}
	mapped, err := r.mapAt(ringAt(i), ringBytes)
	if err != nil {
		return
	}
	row.pid.Store(uint64(os.Getpid()))
	row.command = [32]byte{}
	if len(os.Args) > 0 {
		copy(row.command[:len(row.command)-1], filepath.Base(os.Args[0]))
	}
	r.row = row
	r.ring.Store(&ring{mapped, (*[ringEvents]storedEvent)(unsafe.Pointer(&mapped[0]))})
	open.Store(r.record, true)
	r.Note(Began, 0, incarnation, 0)
}

// claimRing claims a ring for the incarnation (D6), and returns its index; -1 if live incarnations have all.
func (r *record) claimRing(incarnation uint64, alive func(incarnation uint64) bool) int {
	if i := r.claimUnused(incarnation, 0, manyRings); i >= 0 {
		return i
	}
	for range 3 {
		best, owner, last := -1, uint64(0), int64(0)
		for i := range r.head.rows {
			row := &r.head.rows[i]
			o, at := row.owner.Load(), row.last.Load()
			if row.count.Load() > 0 && (best < 0 || at < last) && (o == 0 || !alive(o)) {
				best, owner, last = i, o, at
			}
		}
		if best >= 0 && r.head.rows[best].owner.CompareAndSwap(owner, incarnation) {
			r.head.rows[best].count.Store(0)
			return best
		}
	}
	return r.claimUnused(incarnation, manyRings, numRings)
}

// claimUnused claims an unused ring in [from, to), and returns its index; -1 if there is
// none.
func (r *record) claimUnused(incarnation uint64, from, to int) int {
	for i := from; i < to; i++ {
		row := &r.head.rows[i]
		if row.count.Load() == 0 && row.owner.CompareAndSwap(0, incarnation) {
			return i
		}
	}
	return -1
}

// Note writes an event into the ring of this process: see Event for what the numbers mean.
func (r Record) Note(e Event, at, a, b uint64) {
	if r.record == nil {
		return
	}
	ring := r.ring.Load()
	if ring == nil {
		return
	}
	n := r.row.count.Add(1) - 1
	i, round := n%ringEvents, n/ringEvents
	if round == 0 && i%perPage == perPage/2 { // D2: allocate the next page in time
		if next := int64(i/perPage+1) * pageBytes; next < ringBytes && r.allocate(ringAt(r.ringIndex())+next, pageBytes) != nil {
			r.ring.Store(nil) // the memory stays mapped
			return
		}
	}
	s := &ring.events[i]
	now := clock()
	s.time.Store(now)
	s.a.Store(a)
	s.b.Store(b)
	s.what.Store(at>>4&(1<<atBits-1) | uint64(e)<<atBits | round<<roundShift)
	r.row.last.Store(now)
}

func (r *record) ringIndex() int {
	return int((uintptr(unsafe.Pointer(r.row)) - uintptr(unsafe.Pointer(&r.head.rows[0]))) / unsafe.Sizeof(ringRow{}))
}

// began is one moment, by the machine's clock, which all processes share, and by Go's clock.
var began = func() (b struct {
	machine int64
	here    time.Time
}) {
	least := time.Duration(1 << 62)
	for range 8 { // the shortest of some readings is the most exact
		var ts unix.Timespec
		before := time.Now()
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			break
		}
		if d := time.Since(before); d < least {
			least = d
			b.machine, b.here = ts.Nano(), before.Add(d/2)
		}
	}
	return b
}()

// clock returns the time of the machine's clock. All processes agree on it to a fraction of
// a microsecond.
func clock() int64 { return began.machine + int64(time.Since(began.here)) }
