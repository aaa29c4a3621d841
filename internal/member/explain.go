package member

import (
	"context"
	"errors"

	"github.com/everheap/everheap/internal/failure"
)

// Explain turns an error of the lower layers into one of the public interface. op names the
// operation and its operand.
func (m *Member) Explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if e := (*failure.OpError)(nil); errors.As(err, &e) {
		return err // the operation that failed has explained it already
	}
	return &failure.OpError{Op: op, Space: m.name(), Err: m.Kind(err)}
}

// ExplainEnd is Explain for a caller that waits for no lock: the end of its context is not
// ErrBusy.
func (m *Member) ExplainEnd(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &failure.OpError{Op: op, Space: m.name(), Err: err}
	}
	return m.Explain(op, err)
}

// Kind attaches an error of the public interface to an error of a lower layer.
func (m *Member) Kind(err error) error {
	if lost := m.becauseLost(failure.Kind("", err)); lost != nil {
		return lost
	}
	dir := ""
	if failure.Damaged(err) {
		dir = m.Files.Path()
	}
	kind := failure.Kind(dir, err)
	if m.Full != nil && errors.Is(kind, failure.ErrNoSpace) && !errors.Is(err, failure.ErrNoSpace) {
		return m.Full(err)
	}
	return kind
}
