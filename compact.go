package everheap

import (
	"context"

	"github.com/everheap/everheap/internal/engine"
)

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
	if s.closed.Load() {
		return CompactStats{}, s.wrap("compact", ErrClosed)
	}
	before, after, err := s.engine.Compact(ctx)
	return CompactStats{uint64(before), uint64(after)}, s.wrap("compact", err)
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
	dir, err := locate("compact", name, &s)
	if err != nil {
		return CompactStats{}, err
	}
	before, after, err := engine.Compact(ctx, dir, s.engine)
	return CompactStats{uint64(before), uint64(after)}, err
}
