package engine

import (
	"context"
	"errors"
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

// translate turns an error of the lower layers into one of the interface; op
// says what was being done, and to what.
func (sp *Space) translate(op string, err error) error {
	if err == nil {
		return nil
	}
	if e := (*OpError)(nil); errors.As(err, &e) {
		return err // explained already, by the operation that failed
	}
	return &OpError{Op: op, Space: sp.name(), Err: sp.kind(err)}
}

// Explain is translate for the layer above.
func (sp *Space) Explain(op string, err error) error { return sp.translate(op, err) }

// ExplainEnd is Explain for one who waits for nothing in particular: the end of his
// context is not ErrBusy.
func (sp *Space) ExplainEnd(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &OpError{Op: op, Space: sp.name(), Err: err}
	}
	return sp.translate(op, err)
}

// kind attaches the error of the interface to one of a lower layer.
func (sp *Space) kind(err error) error {
	if sp != nil {
		if lost := sp.becauseLost(failure.Kind("", err)); lost != nil {
			return lost
		}
	}
	dir := ""
	if sp != nil && failure.Damaged(err) {
		dir = sp.dir.Path()
	}
	kind := failure.Kind(dir, err)
	if sp != nil && errors.Is(kind, ErrNoSpace) && !errors.Is(err, ErrNoSpace) {
		return sp.fullError(err)
	}
	return kind
}

// Abort is the panic by which an operation without an error result ends its
// transaction: who runs that recovers it, and returns the error as one of Op.
type Abort struct {
	Op  string
	Err error
}
