package upkeep

import (
	"context"
	"errors"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

const (
	mostAgain    = 3   // passes that only move blocks forward
	compactTries = 200 // tries to sweep while others write
	secondTries  = 20  // tries to sweep once more after blocks were moved
)

// Compact repeats shrink until it brings no more. It waits for another sweeper as long as ctx
// allows: that one ends its sweep, or is replaced if it is suspended. It gives up only if a process
// was suspended while it wrote, since no sweep may begin then.
func (u *Upkeep) Compact(ctx context.Context) error {
	return u.shrinkAll(ctx, untilDone, compactTries)
}

// shrinkAll repeats shrink until it brings no more.
func (u *Upkeep) shrinkAll(ctx context.Context, toBe, toSweep int) error {
	for again := 0; ; {
		s, err := u.shrink(ctx, toBe, toSweep)
		if err != nil || !s.more && !s.long {
			return err
		}
		if !s.more { // blocks at the end may have been in the way of moved blocks
			if again++; again == mostAgain {
				return nil
			}
		}
	}
}

// shrunk says what a shrink has left.
type shrunk struct {
	more bool // more extents are worth emptying
	long bool // blocks lie farther back than necessary
	busy bool // others were sweeping, so the emptied extents wait for a later sweep
}

// shrink makes the heap file take less of the disk.
//
// First it finds everything that is free. It reserves the space that was never used. It writes two
// anchors, so that no older version keeps anything, and so that both have all extents that are to
// be punched. A sweep then finds the free blocks. The sweep leaves alone extents with little in
// use, if there are many; shrink empties those, and finds them free by another sweep. Then it
// follows the order of holes (I8 of the heap): it marks free extents, syncs the marks with one more
// anchor, and gives back the space of those that are still free. Blocks in the lists of other
// processes stay.
//
// All that time this process is the sweeper: another sweep would make it forget what it found, and
// two processes that compacted at once would each make the space grow by what the other has just
// forgotten. If this process is suspended, another one may take its place. So each time it is about
// to mark or to punch, it first enters, and then looks whether it still is the sweeper. A process
// that takes its place looks for active processes after that and before it sweeps (I7), and marks
// nothing before it has swept. So either this process sees the other one, or the other one sees
// this process and does not sweep.
//
// toBe is how often it tries to become the sweeper, toSweep how often it tries to sweep.
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
		if s.busy || err != nil { // a sweep by another process came before the last blocks were moved
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

// findFree makes sure that every free block is in a list, except those that choose leaves alone,
// and that this process has all space that no other process has reserved. The caller is the
// sweeper.
func (u *Upkeep) findFree(ctx context.Context, tries int, choose func(*heap.Marks, format.Addr) (*heap.ExtentSet, error)) error {
	for again := true; again; {
		again = u.checkpoints.Restored() // this sweep releases what the restore pinned, and the next one finds it
		if err := u.durable.AnchorTwice(); err != nil {
			return err
		}
		if err := u.tryAgain(ctx, tries, func() (bool, error) {
			_, swept, err := u.sweepNow(choose)
			if errors.Is(err, context.DeadlineExceeded) { // it did not get the writer lock
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

// afterMoving reports whether the errors of a move and of the sweep after it only mean that others
// were at work: then the extents that are known to be free are still punched.
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

// unclean marks the space as in use: the anchor of a clean close lists free space, and no process
// may trust that list once the space is punched (E5).
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
