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
