package everheap

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/everheap/everheap/internal/engine"
)

// Resize changes the maximum size of the open space, in bytes, rounded up to 64 KiB, while
// all processes go on: 0 means the default, 64 GiB, for which the window of a smaller space
// is too small, and the least is 64 MiB. It returns when that is on disk. A space has addresses to grow into: 16 times its maximum size at creation,
// rounded up to a power of two, or 64 GiB if that is less; more than those take the
// function Resize. A space can be made smaller down to what was ever used of its heap file
// (Stats.Used).
//
// Errors: ErrMaxSize (more than the window has, or less than is in use; the error says
// how much, and what to do), ErrReadOnly, ErrClosed, ErrBusy, ErrNoSpace, ErrIO.
func (s *Space) Resize(ctx context.Context, bytes uint64) error {
	if s.closed.Load() {
		return s.wrap("resize", ErrClosed)
	}
	return s.wrap("resize", s.engine.Resize(ctx, bytes))
}

// Resize changes the maximum size of a space, as the method does, whether a process has
// it open or not. Where the space has too few addresses for that it is written anew, packed,
// for a larger window in another place, as Compact and Rebase do it: that takes room for
// a second heap on the disk, and no process may have the space open. Values, the version,
// checkpoints, and IDs stay. name is that of Open. A crash at any moment leaves the space
// as it was or as it was to be.
//
// Errors: those of the method; ErrNotFound, ErrBusy (a process has the space open, which
// must be written anew; the error names it), ErrMaxSize also for 0 where the window is
// smaller than the default: say the bytes then; ErrCorrupt (nothing has changed),
// ErrUnsupported (no window can be so large), ErrAddressInUse (no place is free).
func Resize(ctx context.Context, name string, bytes uint64, opts ...Option) error {
	s := settingsOf(opts)
	s.engine.MaxSize = 0
	dir, err := locate("resize", name, &s)
	if err != nil {
		return err
	}
	base, size, err := engine.StoredWindow(dir)
	if err != nil {
		return err
	}
	if bytes > size {
		return enlarge(ctx, dir, window{base, size}, bytes, s.engine)
	}
	s.engine.MustExist = true
	e, err := engine.OpenContext(ctx, dir, s.engine)
	if err != nil {
		return err
	}
	return errors.Join(e.Resize(ctx, bytes), e.Close())
}

// enlarge gives the closed space in a directory a larger window.
func enlarge(ctx context.Context, dir string, from window, bytes uint64, o engine.Options) error {
	size, err := engine.WindowSize(bytes)
	if err != nil {
		return &engine.OpError{Op: "resize", Space: filepath.Base(dir), Err: err}
	}
	return inOtherWindow("resize", dir, from, window{size: size}, func(base uint64) error {
		return engine.Resize(ctx, dir, bytes, base, size, o)
	})
}
