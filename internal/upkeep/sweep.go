package upkeep

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
)

const (
	smallSpace    = 32 << 20               // a space with fewer bytes of blocks is swept in a moment
	sweepPatience = 100 * time.Millisecond // how long to wait for the writer lock
	activeLooks   = 20                     // how often to look, a millisecond apart, whether others use their lists
)

// Sweep finds the blocks that no protected version can reach, and gives them to the lists of this
// process, which passes them on to others. Writers continue meanwhile, except for the moment in
// which the sweep begins. Sweep returns how many bytes it found.
//
// Why it is right. Under the writer lock the sweep raises the epoch, so every process forgets its
// blocks below the floor before it allocates again (I7); and it holds the version C, which was
// current before and after that. Then it marks everything that a protected version can reach. An
// unmarked block below the floor belongs to nobody. It is in no list, since the lists were
// forgotten. It is in no transaction: none was running, and a writer that came in between has
// published nothing, since C is still current. And no unmarked block becomes free later, since it
// would be freed after C, and so was reachable in C. The journal may still have to read unmarked
// blocks of versions up to C: so the sweep takes nothing before C is written to the journal.
func (u *Upkeep) Sweep() (found format.ByteCount, err error) {
	if err := u.Enter(); err != nil {
		return 0, err
	}
	defer u.Exit()
	defer u.EndGuard(debug.SetPanicOnFault(true), &err)
	found, swept, err := u.SweepOnce()
	if err == nil && swept != 0 {
		err = u.checkpoints.UnpinRestored(swept)
	}
	return found, err
}

// beSweeper makes the caller the sweeper, which also keeps sweeps away from other work, until
// release; ok is false if another goroutine or process is the sweeper. It does not wait for a
// suspended sweeper: when that one continues, it finds a new epoch, or that it is the sweeper no
// longer.
func (u *Upkeep) beSweeper() (release func(), ok bool) {
	if !u.sweeping.TryLock() {
		return nil, false
	}
	defer func() {
		if !ok {
			u.sweeping.Unlock()
		}
	}()
	w := u.Live.Words()
	me, other := uint64(u.Live.Incarnation()), w.Sweeper.Load()
	if other != me && (other != 0 && u.Moves(format.Incarnation(other)) || !w.Sweeper.CompareAndSwap(other, me)) {
		return nil, false
	}
	return func() {
		defer u.sweeping.Unlock()
		w.Sweeper.CompareAndSwap(me, 0)
	}, true
}

// SweepOnce is Sweep without the release of restored checkpoints that follows it. It returns the
// version C; 0 if the sweep did not end.
func (u *Upkeep) SweepOnce() (found format.ByteCount, swept format.Version, err error) {
	release, ok := u.beSweeper()
	if !ok {
		return 0, 0, nil
	}
	defer release()
	return u.sweepNow(nil)
}

// sweepNow is SweepOnce for the sweeper. choose, if not nil, chooses extents to leave to the next
// sweep.
func (u *Upkeep) sweepNow(choose func(*heap.Marks, format.Addr) (*heap.ExtentSet, error)) (found format.ByteCount, swept format.Version, err error) {
	ctx, begun, end, err := u.startSweep()
	defer end()
	if err != nil || begun.epoch == 0 {
		return 0, 0, err
	}
	begun.choose = choose
	found, swept, err = u.endSweep(ctx, begun, nil)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) { // a writer without space sweeps itself (RV7)
		err = nil
	}
	return found, swept, err
}

// begunSweep is a sweep that has begun: it decides which blocks below the floor are free.
type begunSweep struct {
	epoch, floor uint64
	spared       *heap.Spared
	hold         live.Hold // on the version that was current
	// choose, if not nil, chooses extents that the sweep leaves to the next one.
	choose func(marks *heap.Marks, state format.Addr) (*heap.ExtentSet, error)
}

// endSweep finds the free blocks, and takes them, unless ctx ends before. within is the transaction
// that runs the sweep, or nil: its blocks are marked as well.
func (u *Upkeep) endSweep(ctx context.Context, begun begunSweep, within *heap.Txn) (found format.ByteCount, swept format.Version, err error) {
	w, hold, epoch := u.Live.Words(), begun.hold, begun.epoch
	defer u.Live.Release(&hold)
	defer func() {
		if w.Swept.Load() < epoch {
			w.SweepWish.Store(1)
		}
	}()
	invariant.Point("sweep.held")
	marks, passing, err := u.mark(ctx, begun.floor, hold.State)
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
	if err := u.durable.SpoolTo(hold); err != nil {
		return 0, 0, err
	}
	take := func() error {
		if !u.Heap.Take(unmarked, epoch) {
			return nil // a later sweep decides
		}
		w.Swept.Store(epoch)
		if invariant.Enabled {
			u.Live.Record().Note(invariant.Swept, 0, epoch, uint64(unmarked.Bytes))
		}
		if passing > 0 {
			w.Leaked.Store(uint64(passing))
		}
		found, swept = unmarked.Bytes, format.Version(member.StateAt(hold.State).Version)
		if within == nil {
			u.Heap.GiveBack(false)
		}
		return nil
	}
	if within != nil { // the transaction has entered, and has the queue
		return found, swept, take()
	}
	if err := u.Queue.Lock(ctx); err != nil {
		return 0, 0, err
	}
	defer u.Queue.Unlock()
	err = u.UsingLists(func() error {
		u.Heap.Enter()
		return take()
	})
	return found, swept, err
}

// SweepLast sweeps before the last process closes the space, if a sweep is due and takes only a
// moment: otherwise a space that is only ever opened for moments would never be swept, and every
// loss of power would leak its free blocks. If the heap file is much longer than its contents,
// SweepLast also moves blocks forward, so that the end can be cut off.
func (u *Upkeep) SweepLast() {
	u.Anyhow(func() {
		w := u.Live.Words()
		if u.ReadOnly || w.Failed.Load() != 0 {
			return
		}
		long := u.lengthDue()
		if w.SweepWish.Load() == 0 && !long {
			return
		}
		hold := u.Live.HoldCurrent()
		state, err := u.StateOf(hold)
		u.Live.Release(&hold)
		if err != nil || state.BlockBytes > smallSpace || len(u.Live.Processes()) != 1 {
			return
		}
		if long { // if it fails, it stays due
			_ = u.shrinkLast()
		} else {
			_, _ = u.Sweep()
		}
	})
}

// startSweep raises the epoch and holds the current version, under the writer lock. It returns an
// epoch of 0 if no sweep may begin: a process that was taken over while it wrote is alive, and what
// it has reserved is unknown. ctx ends when a writer needs what the sweep holds (RV7). The caller
// must call end in any case.
func (u *Upkeep) startSweep() (ctx context.Context, begun begunSweep, end func(), err error) {
	ctx, end = context.Background(), func() {}
	if u.othersActive() {
		return ctx, begun, end, nil // before a process has to wait for the lock
	}
	waiting, cancel := context.WithTimeout(ctx, sweepPatience)
	defer cancel()
	if err := u.Take(waiting); err != nil {
		return ctx, begun, end, err
	}
	defer u.Give()
	ctx, end = u.Own.Begin(ctx) // under the writer lock, when no writer waits for holds
	w := u.Live.Words()
	if w.Clean.Load() != 0 {
		if err := u.durable.MakeUnclean(); err != nil {
			return ctx, begun, end, err
		}
	}
	err = u.UsingLists(func() error {
		begun = u.beginSweep()
		return nil
	})
	return ctx, begun, end, err
}

// beginSweep raises the epoch and holds the current version. The caller has the writer lock and
// uses its lists.
func (u *Upkeep) beginSweep() (begun begunSweep) {
	w := u.Live.Words()
	u.Live.Entry().Heartbeat.Add(1) // so that a sweep is due again if the process dies before its next heartbeat and has written nothing else
	hold := u.Live.HoldCurrent()
	ok := false
	defer func() {
		if !ok { // also if a page could not be read
			u.Live.Release(&hold)
			w.SweepWish.Store(1)
		}
	}()
	epoch, floor, spared, begins := u.Heap.BeginSweep(u.othersActive)
	if !begins || u.Live.Current() != hold.State { // a former holder of the lock woke and published
		if invariant.Enabled {
			u.Live.Record().Note(invariant.GaveUp, 0, w.Epoch.Load(), 0)
		}
		return begun
	}
	ok = true
	w.SweepWish.Store(0)
	w.Leaked.Store(0)
	return begunSweep{epoch: epoch, floor: floor, spared: spared, hold: hold}
}

// othersActive reports whether another living process uses its lists. It waits a moment for a
// process that only tidies its lists.
func (u *Upkeep) othersActive() bool {
	for range activeLooks {
		if !u.Live.Accompanied(true) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// asSweeper is withLists if this process still is the sweeper.
func (u *Upkeep) asSweeper(ctx context.Context, fn func()) error {
	is := false
	err := u.withLists(ctx, func() {
		if is = u.Live.Words().Sweeper.Load() == uint64(u.Live.Incarnation()); is {
			u.Live.Assure() // L16
			fn()
		}
	})
	if err == nil && !is {
		err = failure.ErrSuspended
	}
	return err
}

// withLists runs fn while this process may use its lists of free space, and no sweep
// begins.
func (u *Upkeep) withLists(ctx context.Context, fn func()) error {
	if err := u.Queue.Lock(ctx); err != nil {
		return err
	}
	defer u.Queue.Unlock()
	if err := u.durable.Refused(); err != nil {
		return err
	}
	return u.UsingLists(func() error {
		u.Heap.Enter()
		fn()
		return nil
	})
}

// sweepPause is the pause between two tries to sweep while others sweep.
const sweepPause = 25 * time.Millisecond

// untilDone means that only the context, or Close, ends the tries.
const untilDone = math.MaxInt

// tryAgain calls try until it reports true, since others may be sweeping.
func (u *Upkeep) tryAgain(ctx context.Context, tries int, try func() (bool, error)) error {
	for range tries {
		if ok, err := try(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sweepPause):
		}
		if u.Shut.Load() { // Close waits for this operation
			return u.WhyClosed()
		}
	}
	return fmt.Errorf("%w: the space cannot be swept: another process was writing or sweeping all the time; is it suspended?", failure.ErrBusy)
}
