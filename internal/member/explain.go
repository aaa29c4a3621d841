package member

import (
	"context"
	"errors"

	"github.com/everheap/everheap/internal/failure"
)

// Explain turns an error of the lower layers into one of the interface; op
// says what was being done, and to what.
func (m *Member) Explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if e := (*failure.OpError)(nil); errors.As(err, &e) {
		return err // explained already, by the operation that failed
	}
	return &failure.OpError{Op: op, Space: m.name(), Err: m.Kind(err)}
}

// ExplainEnd is Explain for one who waits for nothing in particular: the end of his
// context is not ErrBusy.
func (m *Member) ExplainEnd(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &failure.OpError{Op: op, Space: m.name(), Err: err}
	}
	return m.Explain(op, err)
}

// Kind attaches the error of the interface to one of a lower layer.
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
