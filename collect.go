package everheap

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/naming"
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
	var c collect.Collection
	err := s.ifOpen("collect", func() (err error) { c, err = s.engine.Collect(ctx); return err })
	return collectStats(c), err
}

// collectStats returns the statistics of a collection.
func collectStats(c collect.Collection) CollectStats {
	return CollectStats{Version: Version(c.Version), Objects: c.Objects, Dropped: c.Dropped, Rescued: c.Rescued,
		Bytes: uint64(c.Bytes), Batches: c.Batches, Duration: c.Duration}
}

// CompactStats says how much compacting a space saved. Sizes are bytes.
type CompactStats struct {
	Before uint64 // the size of the space's files on disk before, the journal included
	After  uint64 // and after, with what others wrote meanwhile
}

// Compact returns free space of an open space to the file system, while all processes
// continue. It moves blocks out of sparse extents of 64 KiB, in transactions of half a
// millisecond, and returns the emptied extents. It does not move what checkpoints reach;
// what readers hold, and what other processes have set aside for their next writes, stays.
// When the space grows again it takes space again, and ErrNoSpace is possible where it was
// not before.
//
// A heap file that takes more than 6 times what the newest version holds, and more than 12
// MiB, is compacted in the background as well when little is written, and the last Close
// shortens it. What checkpoints and readers of old versions keep comes on top.
//
// ctx ends the waiting for others with ErrBusy. Errors: ErrBusy, ErrSuspended (this process
// was stopped, and another one continued in its place), ErrSelf (inside an Update),
// ErrReadOnly, ErrClosed, ErrCorrupt, ErrFault, ErrIO, ErrUnsupported (by the file system).
func (s *Space) Compact(ctx context.Context) (CompactStats, error) {
	var before, after int64
	err := s.ifOpen("compact", func() (err error) { before, after, err = s.engine.Compact(ctx); return err })
	return CompactStats{uint64(before), uint64(after)}, err
}

// Compact rewrites a space that no process has open, as small as possible: what the newest
// version and the checkpoints hold, without gaps. It verifies every block on the way; the
// version, all IDs and the window stay. name is that of Open.
//
// It needs room for a second heap on the disk, and puts that in the place of the first when
// it is complete: a crash at any moment leaves the one or the other. Open waits for some
// seconds meanwhile, and then returns ErrBusy. ctx ends Compact with ErrBusy, and nothing
// has changed.
//
// Errors: ErrNotFound, ErrBusy (a process has the space open; the error names it),
// ErrCorrupt (nothing has changed), ErrNoSpace, ErrIO.
func Compact(ctx context.Context, name string, opts ...Option) (CompactStats, error) {
	s := settingsOf(opts)
	before, after, err := naming.Compact(ctx, s.named(name), s.engine)
	return CompactStats{uint64(before), uint64(after)}, err
}
