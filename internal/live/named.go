package live

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// HeldLock is a mutex, or a permit of a semaphore, that this process holds.
type HeldLock struct {
	place  *lockPlace
	permit int
	dead   uint64 // the previous holder, if it died; 0: it did not
}

// OwnerDied reports whether the previous holder died while it held the lock.
func (h HeldLock) OwnerDied() bool { return h.dead != 0 }

// TakeFree takes the lock if it is free; only a caller that may call Take calls it.
func (v *Live) TakeFree(l *NamedLock) (h HeldLock, ok bool, err error) { return v.tryFree(l, true) }

// TryTake takes the lock if it is free, or its holder is dead.
func (v *Live) TryTake(l *NamedLock) (h HeldLock, ok bool, err error) {
	if h, ok, err = v.tryFree(l, false); ok || err != nil {
		return h, ok, err
	}
	h, ok = v.tryDead(l, new(int), math.MaxInt)
	v.Assure() // if it is not free, another process has it
	return h, ok, nil
}

// Take waits for the lock. One goroutine of this process at a time calls it for each lock.
// ctx ends the waiting with a *BusyError. Take waits for a holder that stands still as for
// any other: it cannot see what a lock of users protects.
//
// No process starves. A process that has waited for starvingWait gets a bit in the entry.
// From then on each holder hands the lock over to the next process with a bit, in a circle
// around the process entries, and the lock is never free for newcomers. So each other
// process gets it at most once more before it; of a semaphore, each permit once more.
// Only an offer that is not accepted lapses (L8).
func (v *Live) Take(ctx context.Context, l *NamedLock) (HeldLock, error) {
	w := lockWait{v: v, l: l, began: time.Now()}
	w.looked = w.began
	h, err := w.wait(ctx)
	w.end(err == nil)
	return h, err
}

// tryFree takes a permit that is free, or one that is offered to this process if it
// may accept that.
func (v *Live) tryFree(l *NamedLock, accept bool) (h HeldLock, ok bool, err error) {
	me := uint64(v.incarnation)
	for {
		p := l.place.Load()
		if p == nil || !p.confirm() {
			if p, err = v.lookUp(l); err != nil {
				return h, false, err
			}
		}
		n, taken := p.count(), false
		first := 0
		if n > 1 {
			first = int(l.rotate.Load()) % n
		}
		for k := range n {
			permit := (first + k) % n
			owner := p.owner(permit)
			switch w := owner.Load(); {
			case w == 0, accept && w == me|format.LockOffered, w&format.LockOffered != 0 && p.lapsed(w, permit):
				taken = owner.CompareAndSwap(w, me)
			}
			if !taken {
				continue
			}
			invariant.Point("mutex.taken")
			if p.confirm() { // L7
				v.Assure() // no other process has it (L16)
				if since, now := p.since(permit), uint64(v.Now()); since.Load() != now {
					since.Store(now)
				}
				invariant.Point("mutex.held")
				return HeldLock{place: p, permit: permit}, true, nil
			}
			v.release(p, permit, me, 0)
			break
		}
		if !taken {
			return h, false, nil
		}
	}
}

// tryDead takes a permit whose holder, or whose addressee of an offer, died. It checks at
// most limit processes, from the permit *next on.
func (v *Live) tryDead(l *NamedLock, next *int, limit int) (h HeldLock, ok bool) {
	p, me := l.place.Load(), uint64(v.incarnation)
	if p == nil {
		return h, false
	}
	living := []uint64{me}
	for range p.count() {
		if len(living) > limit {
			return h, false
		}
		permit := *next % p.count()
		*next = permit + 1
		owner := p.owner(permit)
		w := owner.Load()
		whose := w &^ format.LockOffered
		if w == 0 || slices.Contains(living, whose) {
			continue
		}
		if v.Alive(format.Incarnation(whose)) {
			living = append(living, whose)
			continue
		}
		if !owner.CompareAndSwap(w, me) {
			continue
		}
		invariant.Point("mutex.takeover")
		h = HeldLock{place: p, permit: permit}
		if w == whose {
			h.dead = w // it was held, not offered
		}
		if !p.confirm() {
			v.GiveBack(h)
			return h, false
		}
		v.Assure() // L16
		p.since(permit).Store(uint64(v.Now()))
		return h, true
	}
	return h, false
}

func (v *Live) Give(h HeldLock) {
	invariant.Point("mutex.release")
	v.release(h.place, h.permit, uint64(v.incarnation), 0)
}

// GiveBack releases a lock that the holder did not use: if the previous holder died, the
// next one is told as well.
func (v *Live) GiveBack(h HeldLock) { v.release(h.place, h.permit, uint64(v.incarnation), h.dead) }

// release changes the word of a permit from mine, which names this process, to back: to
// free, or to the word of a dead holder. If a process has waited for a while, release offers
// it the permit instead.
func (v *Live) release(p *lockPlace, permit int, mine, back uint64) {
	e, owner := p.entry, p.owner(permit)
	for back == 0 && e.Contended.Load() != 0 {
		next := v.nextWaiting(p)
		if next == 0 {
			break
		}
		p.since(permit).Store(uint64(time.Now().UnixNano()))
		offer := uint64(next) | format.LockOffered
		if !owner.CompareAndSwap(mine, offer) {
			return // an offer that was not accepted in time
		}
		invariant.Point("mutex.offered")
		// A waiter that gives up clears its bit, and then passes on an offer that it has got
		// (unmark). So it has seen this offer, or its bit is clear here.
		if p.waitedFor(next.Entry()) || !owner.CompareAndSwap(offer, mine) {
			v.wakeProcess(next.Entry())
			return
		}
	}
	if !owner.CompareAndSwap(mine, back) {
		return // an offer that was not accepted in time
	}
	invariant.Point("mutex.released")
	if e.Contended.Load() != 0 {
		e.Contended.Store(0)
		e.Futex.Add(1)
		oslock.FutexWake(futexWord(&e.Futex), 1)
		for i := range p.waiting(0) { // a bit may have been set since the look above
			v.wakeProcess(i)
		}
	}
}

// nextWaiting returns the process to which the lock is to be handed, this one only if there
// is no other; 0 if no process has waited for a while.
func (v *Live) nextWaiting(p *lockPlace) format.Incarnation {
	for i := range p.waiting((v.incarnation.Entry() + 1) % format.NumProcesses) {
		inc := format.Incarnation(v.words.Processes[i].Incarnation.Load())
		if inc != 0 && v.Alive(inc) {
			return inc
		}
	}
	return 0
}

// wakeProcess wakes the waiters of a process that have waited for a named lock for a while.
func (v *Live) wakeProcess(i int) {
	futex := &v.words.Processes[i].LockFutex
	futex.Add(1)
	oslock.FutexWake(futexWord(futex), math.MaxInt32)
}

// lockWait is one goroutine's waiting for a named lock.
type lockWait struct {
	v      *Live
	l      *NamedLock
	began  time.Time
	looked time.Time  // when it last asked whether holders live
	next   int        // the next holder to ask about
	marked *lockPlace // where the bit of this process is set; nil: nowhere
}

// holdersAsked is how many holders of permits a waiter asks about in one tick.
const holdersAsked = 16

// longestTick is the longest sleep of a waiter. The holder wakes it for its turn; it wakes
// by itself to look whether the holder lives, and whether an offer has lapsed.
const longestTick = 8 * tick

func (w *lockWait) wait(ctx context.Context) (h HeldLock, err error) {
	v := w.v
	defer v.wakeAtEnd(ctx)()
	spins, d := lockSpins/max(w.l.permits, 1)+1, tick
	for woken := true; ; {
		v.Assure()
		for i := 0; i < spins && (woken || i == 0); i++ {
			if h, ok, err := v.tryFree(w.l, true); ok || err != nil {
				return h, err
			}
		}
		p := w.l.place.Load()
		w.mark(p)
		early, late := p.entry.Futex.Load(), v.entry.LockFutex.Load()
		if err := ctx.Err(); err != nil {
			return h, v.LockBusy(w.l, err)
		}
		p.entry.Contended.Store(1)
		invariant.Point("mutex.wait")
		if h, ok, err := v.tryFree(w.l, true); ok || err != nil {
			return h, err
		}
		if w.marked == nil {
			woken = oslock.FutexWait(futexWord(&p.entry.Futex), early, starvingWait)
		} else if woken = oslock.FutexWait(futexWord(&v.entry.LockFutex), late, d); !woken {
			d = min(2*d, longestTick)
		}
		if time.Since(w.looked) >= tick*3/4 {
			w.looked = time.Now()
			if h, ok := v.tryDead(w.l, &w.next, holdersAsked); ok {
				return h, nil
			}
		}
	}
}

// wakeAtEnd wakes the waiters of this process when ctx ends. The words stay mapped
// until the function that it returns has returned.
func (v *Live) wakeAtEnd(ctx context.Context) func() {
	ran := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ran)
		v.Guard(func() { v.wakeProcess(v.incarnation.Entry()) })
	})
	return func() {
		if !stop() {
			<-ran
		}
	}
}

// mark sets the bit of this process in the entry after a while.
func (w *lockWait) mark(p *lockPlace) {
	if w.marked != nil && w.marked.entry != p.entry {
		w.unmark()
	}
	if w.marked != nil || time.Since(w.began) > starvingWait {
		i := w.v.incarnation.Entry()
		p.entry.Waiting[i/64].Or(1 << (i % 64))
		w.marked = p
	}
}

// unmark clears the bit, and passes on an offer.
func (w *lockWait) unmark() {
	i, p := w.v.incarnation.Entry(), w.marked
	p.entry.Waiting[i/64].And(^uint64(1 << (i % 64)))
	w.marked = nil
	offer := uint64(w.v.incarnation) | format.LockOffered
	for permit := range p.count() {
		if p.owner(permit).Load() == offer {
			w.v.release(p, permit, offer, 0)
		}
	}
}

func (w *lockWait) end(taken bool) {
	if w.marked != nil {
		w.unmark()
	}
	if p := w.l.place.Load(); taken && p != nil {
		p.entry.Contended.Store(1) // others may still sleep; the next release looks
	}
}

// LockBusy names the holder of the lock, in the error of a waiter that gives up.
func (v *Live) LockBusy(l *NamedLock, cause error) error {
	busy := &BusyError{What: l.String(), Cause: cause}
	p := l.place.Load()
	if p == nil {
		return busy
	}
	var holders []uint64
	for permit := range p.count() {
		w := p.owner(permit).Load()
		if w != 0 && w&format.LockOffered == 0 && !slices.Contains(holders, w) {
			holders = append(holders, w)
		}
	}
	if len(holders) > 0 {
		first := v.describe(format.Incarnation(holders[0]))
		busy.PID, busy.Command, busy.Others = first.PID, first.Command, len(holders)-1
		busy.Foreign = first.Foreign
	}
	return busy
}
