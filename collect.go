package everheap

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/engine"
)

// CollectStats is the outcome of Collect. Sizes are bytes.
type CollectStats struct {
	Version  Version // that was looked at: the newest when Collect began
	Objects  uint64  // maps, lists and single values that there were in it
	Dropped  uint64  // that are gone: no name led to them, nor anything that a name led to
	Rescued  uint64  // unreachable at Version, but modified or linked since; kept
	Bytes    uint64  // of the dropped objects, headers and rounding included; they are reused once no reader can see them
	Batches  int     // transactions that dropped some
	Duration time.Duration
}

// Collect drops the objects that no name reaches, whether they refer to each other or
// not, and returns when all that there were when it began are gone, but for those that
// were linked again meanwhile. An object is a map, a list or a single value that New,
// NewMap, NewSorted or NewList has made. What is dropped is not found any more, by
// ErrNotFound, and its ID is never used for another one. Views of older versions and of
// checkpoints see it still.
//
// Others read and write meanwhile. It drops some objects at a time, in transactions that
// keep writers waiting for about a millisecond. What a transaction has made or linked is
// never dropped if a name reaches it when the transaction ends. But an object that nothing
// refers to when the transaction ends that made it may be gone before the next one links
// it, and so may anything that was unlinked, with what only that led to: a program that
// wants to move an object does so in one transaction.
//
// Spaces collect by themselves, in the background, when so much was made or unlinked that
// it is worth it; see WithoutCollect. So programs need not call this, unless they want to
// have the room at once.
//
// ctx ends it at any time: then the statistics say what was done until then. Errors:
// ErrReadOnly, ErrSelf, ErrBusy (ctx ended while it waited for its turn), ErrCorrupt (what
// cannot be read keeps what it may refer to; damage in what nothing refers to keeps that,
// and all else is dropped), ErrFault, ErrIO, ErrNoSpace, ErrClosed.
func (s *Space) Collect(ctx context.Context) (CollectStats, error) {
	if s.closed.Load() {
		return CollectStats{}, s.wrap("collect", ErrClosed)
	}
	c, err := s.engine.Collect(ctx)
	return collectStats(c), s.wrap("collect", err)
}

// collectStats says what a collection has done.
func collectStats(c engine.Collection) CollectStats {
	return CollectStats{Version: Version(c.Version), Objects: c.Objects, Dropped: c.Dropped, Rescued: c.Rescued,
		Bytes: uint64(c.Bytes), Batches: c.Batches, Duration: c.Duration}
}
