package everheap

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
)

// Resize changes the maximum size of the open space to a number of bytes, rounded up to 64
// KiB, at least 64 MiB, while all processes continue. 0 means the default of 64 GiB, for
// which the window of a smaller space is too small. Resize returns when the change is on
// disk. A space has addresses to grow into: 16 times its maximum size at creation, rounded
// up to a power of two, or 64 GiB if that is less; the function Resize goes beyond. A space
// can shrink to the part of its heap file that was ever used (Stats.Used).
//
// Errors: ErrMaxSize (more than the window has, or less than is in use; the error says how
// much, and what to do), ErrReadOnly, ErrClosed, ErrBusy, ErrNoSpace, ErrIO.
func (s *Space) Resize(ctx context.Context, bytes uint64) error {
	if s.closed.Load() {
		return s.wrap("resize", ErrClosed)
	}
	return s.wrap("resize", s.engine.Resize(ctx, bytes))
}

// Resize changes the maximum size of a space, as the method does, whether a process has it
// open or not. If the space has too few addresses, Resize rewrites it, packed, for a larger
// window in another place, as Compact and Rebase do: that takes room for a second heap on
// the disk, and no process may have the space open. Values, the version, checkpoints and IDs
// stay. name is that of Open. A crash at any moment leaves the old space or the new one.
//
// Errors: those of the method; ErrNotFound, ErrBusy (a process has the space open, and it
// must be rewritten; the error names the process), ErrMaxSize also for 0 where the window is
// smaller than the default: give the bytes then; ErrCorrupt (nothing has changed),
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
		return &failure.OpError{Op: "resize", Space: filepath.Base(dir), Err: err}
	}
	return inOtherWindow("resize", dir, from, window{size: size}, func(base uint64) error {
		return engine.Resize(ctx, dir, bytes, base, size, o)
	})
}
