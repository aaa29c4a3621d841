package engine

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
)

const (
	tickInterval  = 100 * time.Millisecond
	reapTicks     = 5                      // ticks between looks for dead members
	idleTicks     = 10                     // ticks without a commit after which free space is handed over
	anchorLoad    = 10                     // an anchor comes at the earliest after that many times the last one's duration
	longJournal   = 64 << 20               // bytes since the newest anchor: time for another
	urgentJournal = 96 << 20               // more than should be
	pinnedBytes   = 4 << 20                // that old anchors keep from reuse: time for a new one, if it is a quarter of the heap, too
	smallSpace    = 32 << 20               // of blocks: that many are swept in a moment
	sweepPatience = 100 * time.Millisecond // for the writer lock
	activeLooks   = 20                     // a millisecond apart, whether others use their lists
)

// runBackground does what no transaction should have to wait for.
func (sp *Space) runBackground() {
	defer sp.done.Done()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	early := time.NewTicker(aheadEarly)
	defer early.Stop()
	b := background{sp: sp}
	b.ahead.faults = sp.faults
	b.readAhead(1)
	for looks := 0; ; {
		select {
		case <-sp.quit:
			return
		case <-early.C:
			if sp.Forked() {
				return
			}
			b.readAhead(aheadFaults / 4)
			if looks++; looks == aheadLooks {
				early.Stop()
			}
		case <-ticker.C:
			if !b.onTick() {
				return
			}
		}
	}
}

// onTick ticks, and reports whether there is anything to be done any more.
func (b *background) onTick() bool {
	if b.sp.Forked() { // the runtime of a fork finds the parent's timers, and runs what waits for them
		return false
	}
	err := b.sp.guarded(b.tick)
	b.sp.note(err)
	return !errors.Is(err, ErrLiveLost)
}

// background is the state of the background work of one process.
type background struct {
	sp      *Space
	n       uint64 // ticks
	commits uint64 // of this process, at the last tick
	idle    int    // ticks since they changed
	retry   time.Time
	sweep   time.Duration // the last one took
	pause   time.Duration // after a sweep that came to nothing
	swept   time.Time
	ahead   readAhead
	journal journalRest
	shrink  shrinking
}

// tick runs every tenth of a second. It is how a process finds out that live is lost in
// which nobody does anything.
func (b *background) tick() error {
	sp := b.sp
	if !sp.live.Look() {
		return sp.lose()
	}
	b.n++
	sp.live.Tick()
	b.readAhead(aheadFaults)
	if b.n%reapTicks == 0 {
		sp.live.Reap()
	}
	if sp.readOnly {
		return nil
	}
	if commits := sp.live.Entry().Commits.Load(); commits != b.commits {
		b.commits, b.idle = commits, 0
	} else {
		b.idle++
	}
	sp.note(b.tidy())
	sp.note(sp.guarded(b.anchor))
	sp.note(b.maybeSweep())
	if b.n%idleTicks == 0 {
		sp.note(b.lookAround())
		sp.note(sp.guarded(func() error { return b.journal.look(sp) }))
		sp.note(sp.guarded(func() error { return b.shrink.look(sp, &b.journal) }))
		sp.maybeCollect()
	}
	return nil
}

// tidy reclaims what can be, hands over what is too much, and, when this process
// is idle, nearly everything; and takes care of pending blocks that others left.
// It uses the process's lists, so it takes the queue: if that is free, and now and
// then in any case.
func (b *background) tidy() error {
	sp := b.sp
	if b.idle > idleTicks && b.n%idleTicks != 0 || sp.live.Words().Clean.Load() != 0 {
		return nil
	}
	if !sp.queue.tryLock() {
		ctx, cancel := context.WithTimeout(context.Background(), tickInterval)
		defer cancel()
		if b.n%idleTicks != 0 || sp.queue.lock(ctx) != nil {
			return nil
		}
	}
	defer sp.queue.unlock()
	if sp.live.OwnsWriter() { // handed over after the waiter had given up
		sp.live.UnlockWriter()
	}
	return sp.usingLists(func() error {
		sp.heap.Enter()
		if sp.live.Words().Clean.Load() != 0 {
			return nil
		}
		if b.n%idleTicks == 0 {
			sp.heap.Adopt()
		}
		sp.heap.Reclaim()
		sp.heap.GiveBack(false)
		return nil
	})
}

// anchor writes an anchor if there is something new and the last one was long
// enough ago, or the journal has grown long since: a recovery would have to replay
// that; or old anchors keep much from its reuse. Anchors take no more than a tenth of the time, unless the journal gets so
// long that its room becomes scarce.
func (b *background) anchor() error {
	sp := b.sp
	interval := sp.options.AnchorInterval
	if interval == 0 {
		interval = DefaultAnchorInterval
	}
	newest := sp.live.NewestAnchor()
	switch bytes := sp.live.JournalBytes(newest); {
	case bytes >= urgentJournal:
		interval = 0
	case bytes >= longJournal, sp.heap.Pinned() > max(pinnedBytes, format.ByteCount(sp.live.Words().Carved.Load()/4)):
		interval = min(interval, time.Second)
	}
	sp.anchor.Lock()
	due := interval == 0 || time.Since(sp.anchor.last) >= max(interval, anchorLoad*sp.anchor.duration)
	sp.anchor.Unlock()
	if !due || time.Now().Before(b.retry) {
		return nil
	}
	version, err := sp.newestVersion()
	if err == nil && version <= newest {
		return nil
	}
	if err == nil {
		err = sp.writeAnchor(nil, false)
	}
	if err != nil {
		b.retry = time.Now().Add(time.Second)
	}
	return err
}

// maybeSweep sweeps when somebody wishes it, or when what the dead had reserved
// is worth it, but spends no more than a tenth of the time on it.
func (b *background) maybeSweep() error {
	w := b.sp.live.Words()
	wish := w.SweepWish.Load() != 0 || w.Leaked.Load() > max(16<<20, w.Carved.Load()/8) || b.n%idleTicks == 0 && b.sp.restored()
	if !wish || time.Since(b.swept) < max(b.pause, anchorLoad*b.sweep) {
		return nil
	}
	began, before := time.Now(), w.Swept.Load()
	_, err := b.sp.Sweep()
	b.swept, b.sweep = time.Now(), time.Since(began)
	switch { // every try makes all processes forget what they had
	case w.Swept.Load() != before:
		b.pause = 0
	case err != nil && !errors.Is(err, ErrBusy):
		b.pause = min(max(2*b.pause, time.Minute), time.Hour)
	default:
		b.pause = time.Second
	}
	return err
}

// Sweep finds what no protected version can reach and gives it to the lists of
// this process, from where it goes to whoever needs it. Writers go on meanwhile,
// but for the moment in which it begins. It returns the bytes it found.
//
// Why it is right: under the writer lock it raises the epoch, so every process
// forgets what it had below the floor before it allocates again (I7), and holds
// the version C that was current before and after. Whatever a protected version
// can reach is marked. What is unmarked below the floor is nobody's: not in a
// list, since lists were forgotten; not in a transaction, since there was none, and what came in between published
// nothing, since C is still current; and nothing below the floor becomes free
// later that is not marked now, since it would be freed after C, and was
// reachable in C. What the journal still has to read of versions up to C may be
// unmarked: therefore nothing is taken before C is written to it.
func (sp *Space) Sweep() (found format.ByteCount, err error) {
	if err := sp.enter(); err != nil {
		return 0, err
	}
	defer sp.views.Add(-1)
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
	found, swept, err := sp.sweep()
	if err == nil && swept != 0 {
		err = sp.unpinRestored(swept)
	}
	return found, err
}

// beSweeper makes the caller the one who sweeps, or who does what no sweep may come
// into, until release; ok is false if somebody else is at it. One that is stopped is not
// waited for: when it goes on, it finds a new epoch, or that it is the sweeper no more.
func (sp *Space) beSweeper() (release func(), ok bool) {
	if !sp.sweeping.TryLock() {
		return nil, false
	}
	defer func() {
		if !ok {
			sp.sweeping.Unlock()
		}
	}()
	w := sp.live.Words()
	me, other := uint64(sp.live.Incarnation()), w.Sweeper.Load()
	if other != me && (other != 0 && sp.moves(format.Incarnation(other)) || !w.Sweeper.CompareAndSwap(other, me)) {
		return nil, false
	}
	return func() {
		defer sp.sweeping.Unlock()
		w.Sweeper.CompareAndSwap(me, 0)
	}, true
}

// moves reports whether a process has the space open, and is not stopped as far as the
// system says.
func (sp *Space) moves(who format.Incarnation) bool {
	if !sp.live.Alive(who) {
		return false
	}
	for _, p := range sp.live.Processes() {
		if p.Incarnation == who {
			return !stopped(p)
		}
	}
	return false
}

// sweep is Sweep, but for what follows it. It returns the version C; 0 if it came
// to no end.
func (sp *Space) sweep() (found format.ByteCount, swept format.Version, err error) {
	release, ok := sp.beSweeper()
	if !ok {
		return 0, 0, nil
	}
	defer release()
	return sp.sweepNow(nil)
}

// sweepNow is sweep, of the sweeper. choose is nil, or chooses what is left to the next
// sweep.
func (sp *Space) sweepNow(choose func(*heap.Marks, format.Addr) (*heap.ExtentSet, error)) (found format.ByteCount, swept format.Version, err error) {
	begun, err := sp.startSweep()
	if err != nil || begun.epoch == 0 {
		return 0, 0, err
	}
	begun.choose = choose
	return sp.endSweep(begun, nil)
}

// begunSweep is a sweep that has begun: it decides what is free below the floor.
type begunSweep struct {
	epoch, floor uint64
	spared       *heap.Spared
	hold         live.Hold // on the version that was current
	// choose, if it is not nil, chooses extents that the sweep leaves to the next one.
	choose func(marks *heap.Marks, state format.Addr) (*heap.ExtentSet, error)
}

// endSweep finds out what is free, and takes it. within is the transaction in which that
// is done, or nil: what it has written is nobody else's.
func (sp *Space) endSweep(begun begunSweep, within *heap.Txn) (found format.ByteCount, swept format.Version, err error) {
	w, hold, epoch := sp.live.Words(), begun.hold, begun.epoch
	defer sp.live.Release(&hold)
	defer func() {
		if w.Swept.Load() < epoch {
			w.SweepWish.Store(1)
		}
	}()
	invariant.Point("sweep.held")
	marks, passing, err := sp.mark(begun.floor, hold.State)
	if err != nil {
		return 0, 0, err
	}
	invariant.Point("sweep.marked")
	if within != nil {
		within.Mark(marks)
	}
	marks.Spare(begun.spared)
	if begun.choose != nil {
		withheld, err := begun.choose(marks, hold.State)
		if err != nil {
			return 0, 0, err
		}
		marks.Withhold(withheld)
	}
	unmarked := marks.Unmarked()
	if err := sp.spoolTo(hold); err != nil {
		return 0, 0, err
	}
	take := func() error {
		if !sp.heap.Take(unmarked, epoch) {
			return nil // a later sweep decides
		}
		w.Swept.Store(epoch)
		if invariant.Enabled {
			sp.live.Record().Note(invariant.Swept, 0, epoch, uint64(unmarked.Bytes))
		}
		if passing > 0 {
			w.Leaked.Store(uint64(passing))
		}
		found, swept = unmarked.Bytes, format.Version(stateAt(hold.State).Version)
		if within == nil {
			sp.heap.GiveBack(false)
		}
		return nil
	}
	if within != nil { // it has entered, and has the queue
		return found, swept, take()
	}
	if err := sp.queue.lock(context.Background()); err != nil {
		return 0, 0, err
	}
	defer sp.queue.unlock()
	err = sp.usingLists(func() error {
		sp.heap.Enter()
		return take()
	})
	return found, swept, err
}

// sweepLast sweeps before the last process closes the space, if that is due and
// quickly done: else a space that is only ever opened for moments would not be
// swept at all, and every loss of power would leak what was free. If the heap file is much
// longer than what it holds, it also brings that together, so that the end can be cut off.
func (sp *Space) sweepLast() {
	sp.anyhow(func() {
		w := sp.live.Words()
		if sp.readOnly || w.Failed.Load() != 0 {
			return
		}
		long := sp.lengthDue()
		if w.SweepWish.Load() == 0 && !long {
			return
		}
		hold := sp.live.HoldCurrent()
		state, err := sp.stateOf(hold)
		sp.live.Release(&hold)
		if err != nil || state.BlockBytes > smallSpace || len(sp.live.Processes()) != 1 {
			return
		}
		if long { // what fails stays due
			_ = sp.shrinkLast()
		} else {
			_, _ = sp.Sweep()
		}
	})
}

// startSweep raises the epoch and holds the current version, under the writer
// lock. An epoch of 0 says that it is not the time: a process that was taken over
// while it wrote is alive, and what it has reserved is not known.
func (sp *Space) startSweep() (begun begunSweep, err error) {
	if sp.othersActive() {
		return begun, nil // before anybody has to wait for the lock
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepPatience)
	defer cancel()
	if err := sp.takeTurn(ctx); err != nil {
		return begun, err
	}
	defer sp.giveTurn()
	w := sp.live.Words()
	if w.Clean.Load() != 0 {
		if err := sp.makeUnclean(); err != nil {
			return begun, err
		}
	}
	err = sp.usingLists(func() error {
		begun = sp.beginSweep()
		return nil
	})
	return begun, err
}

// beginSweep raises the epoch and holds the current version. The caller has the writer
// lock and uses the lists.
func (sp *Space) beginSweep() (begun begunSweep) {
	w := sp.live.Words()
	sp.live.Entry().Heartbeat.Add(1) // so that a sweep is due again if the process dies before its heart beats, and has not written else
	hold := sp.live.HoldCurrent()
	ok := false
	defer func() {
		if !ok { // or a page could not be read
			sp.live.Release(&hold)
			w.SweepWish.Store(1)
		}
	}()
	epoch, floor, spared, begins := sp.heap.BeginSweep(sp.othersActive)
	if !begins || sp.live.Current() != hold.State { // a former holder of the lock woke up and published
		if invariant.Enabled {
			sp.live.Record().Note(invariant.GaveUp, 0, w.Epoch.Load(), 0)
		}
		return begun
	}
	ok = true
	w.SweepWish.Store(0)
	w.Leaked.Store(0)
	return begunSweep{epoch: epoch, floor: floor, spared: spared, hold: hold}
}

// othersActive reports whether another living process uses its lists. A process
// that tidies does so for a moment only: it is waited for.
func (sp *Space) othersActive() bool {
	for range activeLooks {
		if !sp.live.OtherActive() {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}
