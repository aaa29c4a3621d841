package engine

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacefile"
)

// A space has a maximum size, which may be less than its window: the remaining addresses are room
// to grow. The word Limit in live tells all processes the maximum size, and every anchor tells it
// to a process that builds live anew.
//
// Invariants:
//
//	Z1  A process looks at the word when it makes the heap longer, and never goes beyond the
//	    window. A limit below what is already reserved takes nothing back: it only keeps the space
//	    from growing. So the word needs no lock.
//	Z2  Resize returns when an anchor with the new limit is on disk. A process writes one anchor
//	    at a time, and each anchor takes the word as it is when it is written; so the newest
//	    anchor has the limit that was asked for last at that time.
//	Z3  Only the window bounds a recovery (heap.limit): the older of two anchors may have a
//	    smaller limit than the versions needed that are replayed onto it.
//	Z4  The header has the size of the window, and changes only together with the whole file (W2).
//	    A larger window has a larger extent table, so every block moves.

// WindowSize returns the size of the window for a space that may hold the given number of bytes; 0
// gives the default.
func WindowSize(bytes uint64) (uint64, error) {
	_, window, err := spacefile.Sizes(bytes)
	if err != nil {
		return 0, failure.Kind("", err)
	}
	return window, nil
}

// MaxSize returns how many bytes the space may hold; 0 if live is lost. The caller keeps the space
// from being closed.
func (sp *Space) MaxSize() (limit uint64) {
	sp.Live.Guard(func() { limit = sp.Live.Words().Limit.Load() })
	return limit
}

// suits returns an error if the maximum size of the space is not the one in the options.
func (sp *Space) suits(o Options) error {
	if o.MaxSize == 0 || spacefile.LimitOf(o.MaxSize) == sp.MaxSize() {
		return nil
	}
	if lost := sp.LookLost(); lost != nil {
		return lost
	}
	return fmt.Errorf("%w: it has %d bytes, and WithMaxSize says %d; leave that out, or change the space with Resize or everheap resize",
		failure.ErrMaxSize, sp.MaxSize(), o.MaxSize)
}

// Resize changes the maximum size of the open space.
func (sp *Space) Resize(ctx context.Context, bytes uint64) error {
	return sp.Explain("resize", sp.resize(ctx, bytes))
}

func (sp *Space) resize(ctx context.Context, bytes uint64) error {
	return sp.Within(func() error { return sp.resizeOpen(ctx, bytes) })
}

// resizeOpen is resize, while the space cannot be closed.
func (sp *Space) resizeOpen(ctx context.Context, bytes uint64) error {
	if sp.ReadOnly {
		return failure.ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", failure.ErrBusy, err)
	}
	limit := spacefile.LimitOf(bytes)
	if limit > sp.Head.Window {
		return fmt.Errorf("%w: the space has addresses for %d bytes, and %d are wanted; close it in all processes, then use everheap resize or the function Resize",
			failure.ErrMaxSize, sp.Head.Window, limit)
	}
	w := sp.Live.Words()
	if carved := w.Carved.Load(); limit < carved {
		return fmt.Errorf("%w: %d bytes of its file are in use, or were; ask for at least as much, or close it in all processes and use everheap compact first",
			failure.ErrMaxSize, carved)
	}
	before := w.Limit.Swap(limit)
	invariant.Point("resize.told")
	err := sp.durable.WriteAnchor(nil, true)
	if err != nil {
		w.Limit.CompareAndSwap(limit, before)
	}
	return err
}
