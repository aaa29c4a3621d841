package member

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/queue"
)

// What becomes of a space whose live file was cut or written over while it is open. What
// that is, who finds it, and why nobody does harm afterwards, L14 to L16 of package live
// say; here is what follows for the process that has found it.
//
//	X1  The space is refused, for good: the error, always the same, is stored first, and
//	    then the space counts as closed for whoever begins something. Opening it in this
//	    process is refused as well, as long as the handles are there.
//	X2  Who is in the middle of something comes out: by a panic of live, which the guard
//	    that he is in turns into the error; by gone, if he waits for others of this
//	    process; by the end of his sleep, if he waits in the kernel for others. None of
//	    them leaves a lock, a slot or the queue behind.
//	X3  What was published stands (E2), and is not said to be undone; a promise that it is
//	    durable is not made any more, unless it was true before the loss.
//	X4  Close waits for who is in progress as ever (E8): slots and views are counted in
//	    this process's own memory, which nobody has lost. So no window is unmapped under
//	    a reader: what he reads is of a version that was held before the loss, or that was
//	    current, and nobody reclaims anything of it (L16).
//	X5  At the end nothing is handed over, and no anchor is written: the process leaves as
//	    one that is killed. Who opens the space next rebuilds live, when all have left,
//	    from the heap and the journal.
//	X6  What is an error because of words that were lost already is the error of X1, and
//	    not what it looked like: see Kind.

// Lose says that live is lost, if nobody of this process has said so before, and returns
// the error (X1).
func (m *Member) Lose() error {
	m.Live.Lose()
	err := fmt.Errorf("%w: %s; nothing of it is used here any more, and this process reads and writes nothing more in the space. "+
		"What was durable is safe, in the heap and the journal; of other commits the last ones may be gone, as after a loss of power. "+
		"Close the space in all processes and open it again: that recovers it", failure.ErrLiveLost, m.Files.Join(live.FileName))
	if m.lost.CompareAndSwap(nil, &err) {
		m.Shut.Store(true)
		close(m.Gone)
	}
	return *m.lost.Load()
}

// LookLost returns the error if live is lost, as far as one look shows.
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

// WhyClosed returns the error of one who finds that the space is closed.
func (m *Member) WhyClosed() error {
	if err := m.IsLost(); err != nil {
		return err
	}
	return failure.ErrClosed
}

// UnlessLost returns err, or that of the loss, if err can come of it (X6).
func (m *Member) UnlessLost(err error) error {
	if lost := m.becauseLost(failure.Kind("", err)); lost != nil {
		return lost
	}
	return err
}

// becauseLost returns the error of the loss, if err is one that can come of it (X6).
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
