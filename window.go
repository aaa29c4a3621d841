package everheap

import (
	"context"

	"github.com/everheap/everheap/internal/naming"
)

// Rebase moves a space that no process has open to another window: the one that begins at
// the address base, a multiple of its size, or, if base is 0, a free one: no registered
// space has it, nor a space that this process has open. Afterwards one process can open a
// copy of a space's directory beside the original. Values, the version, checkpoints and IDs
// stay, so a handle of the one space works in the other. name is that of Open. The registry
// learns the new window if it knows the space.
//
// Rebase writes the new heap beside the old one, and then puts it in its place: a crash at
// any moment leaves the one or the other. It verifies every block on the way. Open waits for
// some seconds meanwhile, and then returns ErrBusy. ctx ends Rebase with ErrBusy, and
// nothing has changed.
//
// Errors: ErrNotFound, ErrBusy (a process has the space open; the error names it),
// ErrCorrupt (nothing has changed), ErrAddressInUse (the registry knows a space there),
// ErrUnsupported (no window can be there), ErrNoSpace, ErrIO.
func Rebase(ctx context.Context, name string, base uint64, opts ...Option) error {
	s := settingsOf(opts)
	return naming.Rebase(ctx, s.named(name), base, s.engine)
}

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
	return s.ifOpen("resize", func() error { return s.engine.Resize(ctx, bytes) })
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
	return naming.Resize(ctx, s.named(name), bytes, s.engine)
}
