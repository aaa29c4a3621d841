package engine

import (
	"path/filepath"

	"github.com/everheap/everheap/internal/failure"
)

// The errors of the public interface, which package failure has.
var (
	ErrNotFound     = failure.ErrNotFound
	ErrExists       = failure.ErrExists
	ErrClosed       = failure.ErrClosed
	ErrForked       = failure.ErrForked
	ErrReadOnly     = failure.ErrReadOnly
	ErrBusy         = failure.ErrBusy
	ErrSuspended    = failure.ErrSuspended
	ErrSuperseded   = failure.ErrSuperseded
	ErrTypeChanged  = failure.ErrTypeChanged
	ErrUnstorable   = failure.ErrUnstorable
	ErrDangling     = failure.ErrDangling
	ErrNilHandle    = failure.ErrNilHandle
	ErrNoSpace      = failure.ErrNoSpace
	ErrTooLarge     = failure.ErrTooLarge
	ErrCorrupt      = failure.ErrCorrupt
	ErrFault        = failure.ErrFault
	ErrIO           = failure.ErrIO
	ErrReplaced     = failure.ErrReplaced
	ErrLiveLost     = failure.ErrLiveLost
	ErrUnsupported  = failure.ErrUnsupported
	ErrAddressInUse = failure.ErrAddressInUse
	ErrOwnerDied    = failure.ErrOwnerDied
	ErrNotHeld      = failure.ErrNotHeld
	ErrUnitsDiffer  = failure.ErrUnitsDiffer
	ErrMaxSize      = failure.ErrMaxSize
	ErrTooManyLocks = failure.ErrTooManyLocks
	ErrSelf         = failure.ErrSelf
)

// The errors that say more.
type (
	CorruptError = failure.CorruptError
	TypeError    = failure.TypeError
	FaultError   = failure.FaultError
	OpError      = failure.OpError
)

// openError wraps an error of Open.
func openError(dir string, err error) error {
	return &OpError{Op: "open", Space: filepath.Base(dir), Err: failure.Kind(dir, err)}
}
