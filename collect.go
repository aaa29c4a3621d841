package everheap

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/collect"
)

// CollectStats is the outcome of Collect. Sizes are bytes.
type CollectStats struct {
	Version  Version // the newest when Collect began; Collect examined this one
	Objects  uint64  // maps, lists and single values in it
	Dropped  uint64  // objects dropped: no name reached them
	Rescued  uint64  // unreachable at Version, but modified or linked since; kept
	Bytes    uint64  // of the dropped objects, headers and rounding included; they are reused once no reader can see them
	Batches  int     // transactions that dropped objects
	Duration time.Duration
}

// Collect drops the objects that no name reaches, whether they refer to each other or not.
// It returns when all such objects that existed when it began are gone, except those linked
// again meanwhile. An object is a map, a list or a single value that New, NewMap, NewSorted
// or NewList created. A dropped object is ErrNotFound, and its ID is never used again. Views
// of older versions and of checkpoints still see it.
//
// Others read and write meanwhile. Collect drops some objects at a time, in transactions
// that make writers wait for about a millisecond. It never drops what a transaction has
// created or linked if a name reaches it when the transaction ends. But an object that
// nothing refers to when its creating transaction ends may be gone before the next one links
// it, and so may anything that was unlinked, with what only that led to: a program moves an
// object in one transaction.
//
// Spaces collect in the background when enough was created or unlinked; see WithoutCollect.
// Programs need not call Collect, unless they want the room at once.
//
// ctx ends it at any time; the statistics then say what was done. Errors: ErrReadOnly,
// ErrSelf, ErrBusy (ctx ended while it waited for its turn), ErrCorrupt (an unreadable
// object keeps what it may refer to; damage in an object that nothing refers to keeps that
// object, and everything else is dropped), ErrFault, ErrIO, ErrNoSpace, ErrClosed.
func (s *Space) Collect(ctx context.Context) (CollectStats, error) {
	if s.closed.Load() {
		return CollectStats{}, s.wrap("collect", ErrClosed)
	}
	c, err := s.engine.Collect(ctx)
	return collectStats(c), s.wrap("collect", err)
}

// collectStats says what a collection has done.
func collectStats(c collect.Collection) CollectStats {
	return CollectStats{Version: Version(c.Version), Objects: c.Objects, Dropped: c.Dropped, Rescued: c.Rescued,
		Bytes: uint64(c.Bytes), Batches: c.Batches, Duration: c.Duration}
}
