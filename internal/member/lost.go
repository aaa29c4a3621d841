package member

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/queue"
)

// What a process does when it finds that the live file was truncated or overwritten while
// the space is open. L14 to L16 of package live say what such a loss is, how a process finds
// it, and why no process does harm afterwards.
//
//	X1  The process refuses the space from then on. It first stores the error, which never
//	    changes, and then marks the space as closed, so that no operation begins. It also
//	    refuses to open the space again as long as it has handles to it.
//	X2  Each operation in progress ends. If it uses live, live panics, and the operation's
//	    guard turns the panic into the error. If it waits for other goroutines of this
//	    process, closing the channel Gone wakes it. If it sleeps in the kernel until another
//	    process acts, it notices the loss when its sleep ends. No operation keeps a lock, a
//	    slot or the queue.
//	X3  A published version stays published (E2), and no error says that it was undone. The
//	    process no longer promises that a version is durable, unless it was durable before
//	    the loss.
//	X4  Close waits for operations in progress as always (E8): this process counts its slots
//	    and views in its own memory, which is not lost. So it does not unmap the window under
//	    a reader. The reader's version was held before the loss, or was current, and no
//	    process reclaims a block of it (L16).
//	X5  At the end the process hands over nothing and writes no anchor: it leaves as a killed
//	    process does. When all processes have left, the next opener rebuilds live from the
//	    heap and the journal.
//	X6  An error that came from words which were already lost is replaced by the error of X1:
//	    see Kind.

// Lose marks live as lost, unless this process has done so before, and returns the error
// (X1).
func (m *Member) Lose() error {
	m.Live.Lose()
	err := fmt.Errorf("%w: %s; this process no longer uses it, and reads and writes nothing more in the space. "+
		"Durable commits are safe, in the heap and the journal; the last of the other commits may be lost, as after a power loss. "+
		"Close the space in all processes and open it again to recover it", failure.ErrLiveLost, m.Files.Join(live.FileName))
	if m.lost.CompareAndSwap(nil, &err) {
		m.Shut.Store(true)
		close(m.Gone)
	}
	return *m.lost.Load()
}

// LookLost looks at live once, and returns the error if live is lost.
func (m *Member) LookLost() error {
	if err := m.IsLost(); err != nil {
		return err
	}
	if m.Live != nil && !m.Live.Whole() {
		return m.Lose()
	}
	return nil
}

// IsLost returns the error if live is known to be lost.
func (m *Member) IsLost() error {
	if lost := m.lost.Load(); lost != nil {
		return *lost
	}
	return nil
}

// WhyClosed returns the error for an operation that finds the space closed.
func (m *Member) WhyClosed() error {
	if err := m.IsLost(); err != nil {
		return err
	}
	return failure.ErrClosed
}

// UnlessLost returns err, or the error of the loss if the loss can be the cause of err (X6).
func (m *Member) UnlessLost(err error) error {
	if lost := m.becauseLost(failure.Kind("", err)); lost != nil {
		return lost
	}
	return err
}

// becauseLost returns the error of the loss if live is lost and that can be the cause of err (X6); otherwise nil.
func (m *Member) becauseLost(err error) error {
	if errors.Is(err, failure.ErrLiveLost) {
		return nil
	}
	for _, kind := range []error{failure.ErrCorrupt, failure.ErrSuspended, failure.ErrNoSpace, failure.ErrIO, failure.ErrBusy, failure.ErrReplaced, failure.ErrUnitsDiffer, failure.ErrTooManyLocks, live.ErrLost, queue.ErrGone} {
		if errors.Is(err, kind) {
			return m.LookLost()
		}
	}
	return nil
}
