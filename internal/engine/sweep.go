package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
)

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
	if err := sp.Enter(); err != nil {
		return 0, err
	}
	defer sp.Exit()
	defer sp.EndGuard(debug.SetPanicOnFault(true), &err)
	found, swept, err := sp.sweep()
	if err == nil && swept != 0 {
		err = sp.Checkpoints.UnpinRestored(swept)
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
	w := sp.Live.Words()
	me, other := uint64(sp.Live.Incarnation()), w.Sweeper.Load()
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
	if !sp.Live.Alive(who) {
		return false
	}
	for _, p := range sp.Live.Processes() {
		if p.Incarnation == who {
			return !member.Stopped(p)
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
	w, hold, epoch := sp.Live.Words(), begun.hold, begun.epoch
	defer sp.Live.Release(&hold)
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
	if err := sp.durable.SpoolTo(hold); err != nil {
		return 0, 0, err
	}
	take := func() error {
		if !sp.Heap.Take(unmarked, epoch) {
			return nil // a later sweep decides
		}
		w.Swept.Store(epoch)
		if invariant.Enabled {
			sp.Live.Record().Note(invariant.Swept, 0, epoch, uint64(unmarked.Bytes))
		}
		if passing > 0 {
			w.Leaked.Store(uint64(passing))
		}
		found, swept = unmarked.Bytes, format.Version(member.StateAt(hold.State).Version)
		if within == nil {
			sp.Heap.GiveBack(false)
		}
		return nil
	}
	if within != nil { // it has entered, and has the queue
		return found, swept, take()
	}
	if err := sp.Queue.Lock(context.Background()); err != nil {
		return 0, 0, err
	}
	defer sp.Queue.Unlock()
	err = sp.UsingLists(func() error {
		sp.Heap.Enter()
		return take()
	})
	return found, swept, err
}

// sweepLast sweeps before the last process closes the space, if that is due and
// quickly done: else a space that is only ever opened for moments would not be
// swept at all, and every loss of power would leak what was free. If the heap file is much
// longer than what it holds, it also brings that together, so that the end can be cut off.
func (sp *Space) sweepLast() {
	sp.Anyhow(func() {
		w := sp.Live.Words()
		if sp.ReadOnly || w.Failed.Load() != 0 {
			return
		}
		long := sp.lengthDue()
		if w.SweepWish.Load() == 0 && !long {
			return
		}
		hold := sp.Live.HoldCurrent()
		state, err := sp.StateOf(hold)
		sp.Live.Release(&hold)
		if err != nil || state.BlockBytes > smallSpace || len(sp.Live.Processes()) != 1 {
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
	if err := sp.turn.Take(ctx); err != nil {
		return begun, err
	}
	defer sp.turn.Give()
	w := sp.Live.Words()
	if w.Clean.Load() != 0 {
		if err := sp.durable.MakeUnclean(); err != nil {
			return begun, err
		}
	}
	err = sp.UsingLists(func() error {
		begun = sp.beginSweep()
		return nil
	})
	return begun, err
}

// beginSweep raises the epoch and holds the current version. The caller has the writer
// lock and uses the lists.
func (sp *Space) beginSweep() (begun begunSweep) {
	w := sp.Live.Words()
	sp.Live.Entry().Heartbeat.Add(1) // so that a sweep is due again if the process dies before its heart beats, and has not written else
	hold := sp.Live.HoldCurrent()
	ok := false
	defer func() {
		if !ok { // or a page could not be read
			sp.Live.Release(&hold)
			w.SweepWish.Store(1)
		}
	}()
	epoch, floor, spared, begins := sp.Heap.BeginSweep(sp.othersActive)
	if !begins || sp.Live.Current() != hold.State { // a former holder of the lock woke up and published
		if invariant.Enabled {
			sp.Live.Record().Note(invariant.GaveUp, 0, w.Epoch.Load(), 0)
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
		if !sp.Live.OtherActive() {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// asSweeper is withLists, if this process is the sweeper still.
func (sp *Space) asSweeper(ctx context.Context, fn func()) error {
	is := false
	err := sp.withLists(ctx, func() {
		if is = sp.Live.Words().Sweeper.Load() == uint64(sp.Live.Incarnation()); is {
			sp.Live.Assure() // L16
			fn()
		}
	})
	if err == nil && !is {
		err = ErrSuspended
	}
	return err
}

// withLists runs fn while this process may use its lists of free space, and no sweep
// begins.
func (sp *Space) withLists(ctx context.Context, fn func()) error {
	if err := sp.Queue.Lock(ctx); err != nil {
		return err
	}
	defer sp.Queue.Unlock()
	if err := sp.durable.Refused(); err != nil {
		return err
	}
	return sp.UsingLists(func() error {
		sp.Heap.Enter()
		fn()
		return nil
	})
}

// sweepPause is between two tries to sweep while others do.
const sweepPause = 25 * time.Millisecond

// tryAgain calls try until it reports true, as long as others may be sweeping.
func tryAgain(ctx context.Context, tries int, try func() (bool, error)) error {
	for range tries {
		if ok, err := try(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sweepPause):
		}
	}
	return fmt.Errorf("%w: the space cannot be swept, since another process has been writing or sweeping all the time; is it suspended?", ErrBusy)
}
