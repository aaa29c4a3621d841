package upkeep

import (
	"context"
	"errors"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

const (
	mostAgain    = 3   // passes for the sake of what lies too far back
	compactTries = 200 // to sweep, while others write
	secondTries  = 20  // to sweep once more, after blocks were moved
)

// Compact is shrink, until it brings no more. It waits for whoever sweeps as long as ctx lets
// it: he comes to an end, and if he stands still he is replaced. Only where somebody stands
// still who was writing, so that no sweep may begin, it gives up.
func (u *Upkeep) Compact(ctx context.Context) error {
	return u.shrinkAll(ctx, untilDone, compactTries)
}

// shrinkAll is shrink, until it brings no more.
func (u *Upkeep) shrinkAll(ctx context.Context, toBe, toSweep int) error {
	for again := 0; ; {
		s, err := u.shrink(ctx, toBe, toSweep)
		if err != nil || !s.more && !s.long {
			return err
		}
		if !s.more { // what is at the end may have been in the way of what was moved
			if again++; again == mostAgain {
				return nil
			}
		}
	}
}

// shrunk says what shrink has left.
type shrunk struct {
	more bool // there are more extents that are worth emptying
	long bool // blocks lie farther back than they need
	busy bool // others were at it, so that what was emptied waits for a later sweep
}

// shrink makes the heap file take less of the disk.
//
// First all that is free is made known: what nobody ever used is reserved; two anchors are
// written, so that no older version keeps anything, and that both know of all extents that are to
// be punched; a sweep finds what is free then. It leaves alone extents of which little
// is in use, if there are many; those are emptied, and found by another sweep. Then comes
// the order of holes (I8 of the heap). Free extents are marked; the marks are synced, by
// one more anchor; and of those that are free still, the space is given back. What other
// processes have in their lists stays.
//
// All that time this process is the sweeper: another sweep would make it forget what it
// found, and two that compact at once would each make the space grow by what the other
// has just forgotten. If it is stopped, another one may take its place; so whenever it is
// about to mark or to punch it looks, having entered, whether it is the sweeper still. Who
// took its place looks for active processes after that, before it sweeps (I7), and marks
// nothing before it has swept. So either this one sees the other, or the other sees this
// one, and no sweep begins.
//
// toBe is how often it is tried to be the sweeper, toSweep how often to sweep.
func (u *Upkeep) shrink(ctx context.Context, toBe, toSweep int) (s shrunk, err error) {
	release := func() {}
	if err := u.tryAgain(ctx, toBe, func() (ok bool, err error) {
		release, ok = u.beSweeper()
		return ok, nil
	}); err != nil {
		return s, err
	}
	defer release()
	if err := u.unclean(ctx); err != nil {
		return s, err
	}
	e := &evacuation{u: u}
	choose, err := e.chooser()
	if err != nil {
		return s, err
	}
	if err := u.asSweeper(ctx, u.Heap.TakeTail); err != nil {
		return s, err
	}
	below := u.Live.Words().Carved.Load()
	if err := u.findFree(ctx, toSweep, choose); err != nil {
		return s, err
	}
	if e.extents > 0 {
		u.Live.Words().SweepWish.Store(1) // P3
		s.busy, err = afterMoving(e.empty(ctx), u.findFree(ctx, secondTries, nil))
		if s.busy || err != nil { // who has swept meanwhile has done so before the last blocks were moved
			u.Live.Words().SweepWish.Store(1)
		}
		if err != nil {
			return s, err
		}
		if !s.busy {
			below = u.Live.Words().Carved.Load()
			s.more, s.long = e.more && e.moved > 0, e.long && e.moved > 0
		}
	}
	return s, u.punch(ctx, below)
}

// findFree sees to it that all that is free is known to be, and that this process has
// what nobody else has reserved, but for what choose leaves alone. It is the sweeper.
func (u *Upkeep) findFree(ctx context.Context, tries int, choose func(*heap.Marks, format.Addr) (*heap.ExtentSet, error)) error {
	for again := true; again; {
		again = u.checkpoints.Restored() // the sweep lets go of what that pinned, and the next one finds it
		if err := u.durable.AnchorTwice(); err != nil {
			return err
		}
		if err := u.tryAgain(ctx, tries, func() (bool, error) {
			_, swept, err := u.sweepNow(choose)
			if errors.Is(err, context.DeadlineExceeded) { // the writer lock was not free
				return false, nil
			}
			if err == nil && swept != 0 {
				err = u.checkpoints.UnpinRestored(swept)
			}
			return swept != 0, err
		}); err != nil {
			return err
		}
		again = again && !u.checkpoints.Restored()
	}
	return nil
}

// afterMoving tells of the errors of moving and of the sweep after it whether they are no
// more than others at work: then what is known to be free is punched all the same.
func afterMoving(moveErr, sweepErr error) (busy bool, err error) {
	for _, e := range []error{moveErr, sweepErr} {
		if errors.Is(e, failure.ErrBusy) {
			busy = true
		} else {
			err = errors.Join(err, e)
		}
	}
	return busy, err
}

// unclean makes the space one that is in use: an anchor of a clean close lists free
// space, and must not be believed once that is punched (E5).
func (u *Upkeep) unclean(ctx context.Context) error {
	if u.Live.Words().Clean.Load() == 0 {
		return nil
	}
	if err := u.Take(ctx); err != nil {
		return err
	}
	defer u.Give()
	if u.Live.Words().Clean.Load() == 0 {
		return nil
	}
	return u.durable.MakeUnclean()
}
