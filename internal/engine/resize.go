package engine

import (
	"context"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacefile"
)

// A space has a maximum size, which may be less than its window: the rest is addresses
// to grow into. The word Limit in live says it to all processes, and every anchor to
// whoever builds live anew.
//
// Invariants:
//
//	Z1  Whoever makes the heap longer looks at the word then, and never beyond the
//	    window. A limit that falls below what is reserved already takes nothing back: it
//	    keeps the space from growing, no more. So the word needs no lock.
//	Z2  Resize returns when an anchor with the new limit is on disk. Anchors are
//	    written one at a time in a process, and each takes the word as it is when it is
//	    written; so the newest anchor tells a limit that was asked for last at that time.
//	Z3  A recovery is bounded by the window alone (heap.limit): the older of two anchors
//	    may tell a smaller limit than the versions needed that are replayed onto it.
//	Z4  The header tells the window, and changes with the whole file only (W2). A larger
//	    window has a larger extent table, so every block gets another place.

// WindowSize returns the size of the window of a space that is to hold the given
// number of bytes at the most; 0: the default.
func WindowSize(bytes uint64) (uint64, error) {
	_, window, err := spacefile.Sizes(bytes)
	if err != nil {
		return 0, failure.Kind("", err)
	}
	return window, nil
}

// MaxSize returns the most bytes that the space may hold; 0 if live is lost. The space
// cannot be closed meanwhile.
func (sp *Space) MaxSize() (limit uint64) {
	sp.Live.Guard(func() { limit = sp.Live.Words().Limit.Load() })
	return limit
}

// suits returns an error if the space has another maximum size than the options say.
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

// resizeOpen is Resize.
func (sp *Space) resizeOpen(ctx context.Context, bytes uint64) error {
	if sp.ReadOnly {
		return failure.ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", failure.ErrBusy, err)
	}
	limit := spacefile.LimitOf(bytes)
	if limit > sp.Head.Window {
		return fmt.Errorf("%w: the space has addresses for %d bytes, and %d are wanted; close it in all processes, and then everheap resize, or the function Resize, gives it more",
			failure.ErrMaxSize, sp.Head.Window, limit)
	}
	w := sp.Live.Words()
	if carved := w.Carved.Load(); limit < carved {
		return fmt.Errorf("%w: %d bytes of its file are in use, or were; ask for as much at the least, or make it smaller before: close it in all processes, and everheap compact",
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
