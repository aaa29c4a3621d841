package everheap

import (
	"context"

	"github.com/everheap/everheap/internal/engine"
)

// CompactStats says what compacting a space brought. Sizes are bytes.
type CompactStats struct {
	Before uint64 // what the files of the space took on disk, the journal included
	After  uint64 // and take now, after what others wrote meanwhile
}

// Compact gives free space of an open space back to the file system, while all
// processes go on. It moves what is left out of extents of 64 KiB of which little is in
// use, in transactions of half a millisecond, and gives back those in which nothing is left.
// What checkpoints reach is not moved; what readers hold, and what other processes have
// set aside for what they write next, stays. When the space grows again, it takes
// space for it again, and ErrNoSpace is possible where it had not been.
//
// A heap file that takes more than 6 times what the newest version holds, and 12 MiB, is
// compacted in the background as well, when little is written; the last Close makes it
// shorter. Checkpoints and readers of old versions come on top.
//
// ctx ends the waiting for others with ErrBusy. Errors: ErrBusy, ErrSuspended (the process
// was stopped, and another one has gone on in its place), ErrSelf (inside an Update),
// ErrReadOnly, ErrClosed, ErrCorrupt, ErrFault, ErrIO, ErrUnsupported (the file system
// cannot do it).
func (s *Space) Compact(ctx context.Context) (CompactStats, error) {
	if s.closed.Load() {
		return CompactStats{}, s.wrap("compact", ErrClosed)
	}
	before, after, err := s.engine.Compact(ctx)
	return CompactStats{uint64(before), uint64(after)}, s.wrap("compact", err)
}

// Compact writes a space that no process has open anew, as small as it can be: what the
// newest version and the checkpoints hold, without gaps. Every block is verified on the
// way; the version, all IDs and the window stay what they are. name is that of Open.
//
// It needs room for a second heap on the disk, and only then puts it in the place of the
// first: a crash at any moment leaves the one or the other. Who opens the space
// meanwhile waits for some seconds, and gets ErrBusy then. ctx ends it with ErrBusy, and
// nothing has changed.
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
