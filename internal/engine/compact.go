package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

const (
	compactRounds = 3                     // in which other sweeps may come in between
	compactTries  = 200                   // to sweep, while others are at it
	compactPause  = 25 * time.Millisecond // between them
)

// Compact gives the space of free extents back to the file system, while others go on
// reading and writing, and returns what the files took on disk before and take after.
//
// The order is that of holes (I8 of the heap), after all that is free was made known:
// what nobody ever used is reserved; two anchors are written, so that no older version
// keeps anything, and that both know of all extents that are to be punched; a sweep
// finds what is free then. Extents are put aside and marked; the marks are synced, by one
// more anchor; and of those that are this process's still, the space is given back. What other processes
// have in their lists stays.
func (sp *Space) Compact(ctx context.Context) (before, after int64, err error) {
	if err := sp.enter(); err != nil {
		return 0, 0, err
	}
	defer sp.views.Add(-1)
	if sp.readOnly {
		return 0, 0, ErrReadOnly
	}
	sp.compacting.Lock()
	defer sp.compacting.Unlock()
	before = diskBytes(sp.dir)
	if err := sp.unclean(ctx); err != nil {
		return before, before, err
	}
	if err := sp.withLists(ctx, sp.heap.TakeTail); err != nil {
		return before, before, err
	}
	below := sp.live.Words().Carved.Load()
	for range compactRounds {
		if err := sp.findFree(ctx); err != nil {
			return before, before, err
		}
		whole, err := sp.punch(ctx, below)
		if err != nil || whole {
			return before, diskBytes(sp.dir), err
		}
	}
	return before, diskBytes(sp.dir), nil
}

// findFree sees to it that all that is free is known to be, and that this process has
// what nobody else has reserved.
func (sp *Space) findFree(ctx context.Context) error {
	for again := true; again; {
		again = sp.restored() // the sweep lets go of what that pinned, and the next one finds it
		if err := sp.anchorTwice(); err != nil {
			return err
		}
		if err := sp.sweepNow(ctx); err != nil {
			return err
		}
		again = again && !sp.restored()
	}
	return nil
}

// unclean makes the space one that is in use: an anchor of a clean close lists free
// space, and must not be believed once that is punched (E5).
func (sp *Space) unclean(ctx context.Context) error {
	if sp.live.Words().Clean.Load() == 0 {
		return nil
	}
	if err := sp.takeTurn(ctx); err != nil {
		return err
	}
	defer sp.giveTurn()
	if sp.live.Words().Clean.Load() == 0 {
		return nil
	}
	return sp.makeUnclean()
}

// withLists runs fn while this process may use its lists of free space, and no sweep
// begins.
func (sp *Space) withLists(ctx context.Context, fn func()) error {
	if err := sp.queue.lock(ctx); err != nil {
		return err
	}
	defer sp.queue.unlock()
	if err := sp.refused(); err != nil {
		return err
	}
	return sp.usingLists(func() error {
		sp.heap.Enter()
		fn()
		return nil
	})
}

// sweepNow sweeps, if need be after somebody else's sweep.
func (sp *Space) sweepNow(ctx context.Context) error {
	for range compactTries {
		_, swept, err := sp.sweep()
		if err == nil && swept != 0 {
			return sp.unpinRestored(swept)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) { // else the writer lock was not free
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(compactPause):
		}
	}
	return fmt.Errorf("%w: the space cannot be swept, since another process has been writing or sweeping all the time; is it suspended?", ErrBusy)
}

// punch gives the space of the free extents below an offset back to the file system. It
// reports whether that were all: not if another sweep began meanwhile, which made this
// process forget what it had.
func (sp *Space) punch(ctx context.Context, below uint64) (whole bool, err error) {
	defer func() {
		listErr := sp.withLists(context.Background(), func() {
			sp.heap.ReturnAside()
			sp.heap.GiveBack(false)
		})
		if err == nil {
			err = listErr
		}
	}()
	w := sp.live.Words()
	swept := w.Swept.Load()
	var aside format.ByteCount
	if err := sp.withLists(ctx, func() { aside = sp.heap.SetAside(below) }); err != nil {
		return false, err
	}
	if aside == 0 {
		return w.Epoch.Load() == swept, nil
	}
	if err := sp.writeAnchor(nil, true); err != nil { // the marks are on disk with all else
		return false, err
	}
	invariant.Point("punch.synced")
	for more := true; more; {
		var punchErr error
		if err := sp.withLists(ctx, func() { more, punchErr = sp.heap.PunchAside() }); err != nil {
			return false, err
		}
		if punchErr != nil {
			return false, punchErr
		}
	}
	return w.Epoch.Load() == swept, nil
}
