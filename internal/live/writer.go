package live

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// BusyError names the holder of a lock when the waiter's context ended.
type BusyError struct {
	What    string // the lock; "": the writer lock
	PID     int
	Foreign bool // PID is a number in a PID namespace that this process cannot see
	Command string
	Others  int   // how many other processes hold permits of the semaphore
	Stopped bool  // the holder seems to stand still
	Cause   error // the error of the context
}

// Error implements error.
func (e *BusyError) Error() string {
	what, more := e.What, ""
	if what == "" {
		what = "the writer lock"
	}
	if e.PID == 0 {
		return fmt.Sprintf("%s was not free in time: %v", what, e.Cause)
	}
	where := ""
	if e.Foreign {
		where = " of another PID namespace"
	}
	if e.Stopped {
		more = ", which is stopped"
	}
	switch {
	case e.Others == 1:
		more += ", and another process"
	case e.Others > 1:
		more += fmt.Sprintf(", and %d other processes", e.Others)
	}
	return fmt.Sprintf("%s is held by process %d (%s)%s: %v", what, e.PID, e.Command, where+more, e.Cause)
}

// Unwrap returns the error of the context.
func (e *BusyError) Unwrap() error { return e.Cause }

// Grant says where the writer lock came from.
type Grant int

// The grants.
const (
	// Free: the lock was free, or its holder dead. Nothing needs repair: a dead writer
	// published its version or did not.
	Free Grant = iota
	// FromSuspended: the holder lives and stood still. The new holder must first publish
	// a version of its own, so that the sleeper's swap can only fail.
	FromSuspended
)

const (
	tick         = 25 * time.Millisecond // the sleep of a waiter
	longTick     = 4 * tick              // a tick this long says more of the machine than of the holder
	graceTicks   = 40                    // ticks without a heartbeat after which the holder counts as suspended
	graceTime    = graceTicks * tick     // how long these take if none is late
	starvingWait = time.Millisecond      // after this wait the holder hands the lock over
	lockSpins    = 1000                  // how often a waiter looks at the lock before it sleeps
)

// LockWriter takes the writer lock of the space, and makes the heart of this process beat.
// At most one goroutine of this process may call it at a time. ctx ends the waiting with a
// *BusyError.
//
// The lock only saves wasted work (L3), so a take-over needs no agreement with the former
// holder.
func (v *Live) LockWriter(ctx context.Context) (Grant, error) {
	me := uint64(v.incarnation)
	owner := &v.words.Owner
	set64(&v.pulse.turns, v.pulse.turns.Load()+1)
	// The swap orders the turn that was counted before the look at the heart: see pulse.
	if owner.CompareAndSwap(0, me) || owner.Load() == me { // me: the lock was handed to this process after its waiter had given up, and turn.Turn.PassOn has not passed it on yet
		v.wakeHeart()
		invariant.Point("lock.taken")
		return Free, nil
	}
	v.wakeHeart()
	grant, err := v.waitForWriter(ctx)
	v.Writing() // the heart may have gone to sleep while this process waited
	return grant, err
}

// waitForWriter is LockWriter if another process has the lock.
func (v *Live) waitForWriter(ctx context.Context) (grant Grant, err error) {
	me := uint64(v.incarnation)
	w := v.words
	began := time.Now()
	looked := began // when it last looked at the holder
	var watch holderWatch
	defer func() {
		w.Starving.CompareAndSwap(me, 0)
		if err == nil {
			w.Contended.Store(1) // others may still sleep; the next release looks
			invariant.Point("lock.taken")
		}
	}()
	for {
		v.Assure()
		if v.spinForLock() {
			return Free, nil
		}
		if err := ctx.Err(); err != nil {
			return Free, v.busy(err)
		}
		if time.Since(began) > starvingWait {
			w.Starving.CompareAndSwap(0, me)
		}
		seen := w.LockFutex.Load()
		w.Contended.Store(1)
		if w.Owner.Load() != 0 {
			v.sleepForLock(ctx, seen)
		}
		holder := format.Incarnation(w.Owner.Load())
		if holder == 0 || holder == v.incarnation || time.Since(looked) < tick*3/4 {
			continue // not worth a system call yet
		}
		looked = time.Now()
		if !v.Alive(holder) {
			if w.Owner.CompareAndSwap(uint64(holder), me) {
				if invariant.Enabled {
					v.record.Note(invariant.TookOver, 0, uint64(holder), 0)
				}
				invariant.Point("lock.takeover")
				return Free, nil
			}
			continue
		}
		if watch.suspended(v, holder) && w.Owner.CompareAndSwap(uint64(holder), me) {
			if invariant.Enabled {
				v.record.Note(invariant.TookOver, 0, uint64(holder), 1)
			}
			invariant.Point("lock.takeover")
			return FromSuspended, nil
		}
	}
}

// spinForLock tries to take the lock for a few microseconds: falling asleep takes longer
// than most transactions.
func (v *Live) spinForLock() bool {
	me := uint64(v.incarnation)
	for range lockSpins {
		switch v.words.Owner.Load() {
		case 0:
			if v.words.Owner.CompareAndSwap(0, me) {
				return true
			}
		case me:
			return true
		}
	}
	return false
}

// sleepForLock sleeps until a release, a tick or the end of the context.
func (v *Live) sleepForLock(ctx context.Context, seen uint32) {
	d := tick
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline))
	}
	if d > 0 {
		oslock.FutexWait(futexWord(&v.words.LockFutex), seen, d)
	}
}

// holderWatch adds up how long one holder has not moved.
//
// It counts the time that passed in ordinary ticks of this process. A tick that took much
// too long says more about the machine than about the holder: it does not count, so a
// resumed laptop or an overloaded machine makes no holder look suspended. But such a tick
// does not erase the time counted before. And if all ticks are late, the holder counts as
// suspended after graceTicks of them in which it did not move.
//
// A process that is not stopped can look suspended, too, if its heart does not beat for all
// that time while waiters get their ticks. The heart is a goroutine. It does not beat if the
// process gets no processor (a lower priority, a limit of its group, more load than others
// have), or if all of Go's GOMAXPROCS threads are in page faults that wait for the disk.
// Measured on two processors with 20 to 30 busy processes: up to 0.7 s between two beats,
// and up to 1.6 s in a process of lower priority; never 1 ms for the beat itself, also while
// the file system was syncing all the time. The cost is that of a suspension: one
// transaction, which fails with ErrSuspended, and nothing else (L3).
//
// If the system says at every look that the holder is stopped, the machine is not the cause:
// all time since the first of these looks counts. That is only a hint, which needs /proc and
// a process of the same PID namespace.
//
// So a waiter takes over from a stopped holder after the grace time and one tick if the
// system says that it is stopped. Otherwise it takes over after up to twice the grace time
// in ordinary ticks, late ones not counted; and at the latest after graceTicks late ones.
type holderWatch struct {
	holder    format.Incarnation
	heartbeat uint64
	commits   uint64
	last      time.Time
	still     time.Duration // time without a movement, in ordinary ticks
	ticks     int           // how many ordinary ticks that was
	late      int           // ticks that took much too long
	stopped   time.Time     // the first of the looks at which the system has said all along that the holder is stopped; zero: it does not say so
}

// suspended reports whether the holder has stood still for the whole grace time. A waiter
// calls it once a tick.
func (h *holderWatch) suspended(v *Live, holder format.Incarnation) bool {
	e := &v.words.Processes[holder.Entry()]
	return h.look(holder, e.Heartbeat.Load(), e.Commits.Load(), time.Now(), func() bool { return v.saidToBeStopped(holder) })
}

// look is suspended with the values that the caller has read.
func (h *holderWatch) look(holder format.Incarnation, heartbeat, commits uint64, now time.Time, stopped func() bool) bool {
	if holder != h.holder || heartbeat != h.heartbeat || commits != h.commits {
		*h = holderWatch{holder: holder, heartbeat: heartbeat, commits: commits, last: now}
		return false
	}
	elapsed := now.Sub(h.last)
	if elapsed < tick*3/4 {
		return false // the waiter woke early: this was not a tick
	}
	h.last = now
	if elapsed > longTick {
		h.late++
	} else {
		h.ticks++
		h.still += elapsed
	}
	switch {
	case !stopped():
		h.stopped = time.Time{}
	case h.stopped.IsZero():
		h.stopped = now
	case now.Sub(h.stopped) >= graceTime:
		return true
	}
	return h.still >= graceTime && h.ticks >= graceTicks/2 || h.late >= graceTicks
}

// UnlockWriter releases the writer lock, if this process still has it. It hands the lock to
// a starving process if there is one.
func (v *Live) UnlockWriter() {
	me := uint64(v.incarnation)
	w := v.words
	invariant.Point("lock.release")
	if s := w.Starving.Load(); s != 0 && s != me && w.Starving.CompareAndSwap(s, 0) {
		if w.Owner.CompareAndSwap(me, s) {
			v.wakeLockWaiters(math.MaxInt32)
		}
		return
	}
	if w.Owner.CompareAndSwap(me, 0) && w.Contended.Load() != 0 {
		w.Contended.Store(0)
		v.wakeLockWaiters(1)
	}
}

// wakeLockWaiters wakes sleepers of the writer lock.
func (v *Live) wakeLockWaiters(n int) {
	v.words.LockFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.LockFutex), n)
}

// busy names the holder in an error.
func (v *Live) busy(cause error) error {
	holder := format.Incarnation(v.words.Owner.Load())
	if holder == 0 {
		return &BusyError{Cause: cause}
	}
	p := v.describe(holder)
	return &BusyError{PID: p.PID, Foreign: p.Foreign, Command: p.Command, Cause: cause}
}

// OwnsWriter reports whether this process holds the writer lock.
func (v *Live) OwnsWriter() bool { return v.words.Owner.Load() == uint64(v.incarnation) }

// raise makes the word at least n.
func raise(word *atomic.Uint64, n uint64) {
	for {
		old := word.Load()
		if old >= n || word.CompareAndSwap(old, n) {
			return
		}
	}
}
