package engine

import (
	"errors"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
)

// endView ends the guard of a view, if it is on: of one operation that has ended the view
// itself, unless it has failed, or is left in another way.
func (tx *Tx) endView(sp *Space, before bool, err *error) {
	debug.SetPanicOnFault(before)
	r := recover() // nil: nothing is wrong, or Goexit
	if r != nil {
		*err = sp.Fault(r) // while the space cannot be closed
	}
	if r != nil || tx.hold.Held() {
		tx.DropView()
	}
	if r != nil && *err == nil {
		panic(r)
	}
}

// The parts of a transaction that writes, for who recovers a panic in it.
type part uint8

const (
	beginning part = iota
	running        // the program's function
	committing
	over
)

// endWrite ends a transaction that writes after a panic in one of its parts, for who has
// recovered r; nil: Goexit. c is what has come of the commit, if it has come to that. endWrite
// returns the error of a fault, which is nil if the version stands. It continues any other panic.
func (tx *Tx) endWrite(sp *Space, in part, c *commitment, r any) error {
	handled, err := tx.endPart(sp, in, c, r)
	if r != nil && !handled {
		panic(r)
	}
	return err
}

// endPart is endWrite, but reports whether it has handled the panic.
//
// A fault before the swap is an error, and nothing has changed. After the swap the version
// stands (E2): what failed is only what comes after.
func (tx *Tx) endPart(sp *Space, in part, c *commitment, r any) (handled bool, err error) {
	if r != nil {
		if err = sp.Fault(r); err == nil && in != running {
			return false, nil // a mistake of the library's
		}
	}
	switch {
	case sp.Forked(): // what is abandoned and let go of would be the parent's
		return err != nil, err
	case in == running:
		tx.spoil(err)
		tx.Abort()
		return err != nil, err
	case !sp.Queue.Mine(): // it has come to no turn, or has given it: the Tx may be another one's
	case in == beginning && (tx.sp == nil || tx.Ended()): // it has not begun
		sp.turn.Give()
	case in == beginning:
		tx.spoil(err)
		tx.Abort()
	default:
		tx.Write.Forget()
		sp.Anyhow(sp.Heap.Abandon)
		sp.Anyhow(func() { sp.Live.Release(&tx.hold) })
		sp.Anyhow(sp.Heap.Leave)
		sp.turn.Give()
	}
	if in != committing {
		return true, err
	}
	if c.entered {
		sp.Exit()
	}
	if c.published {
		sp.Note(err)
		return true, nil
	}
	return true, err
}

// Fault is Space.Fault for a fault in a transaction.
func (tx *Tx) Fault(r any) error {
	err := tx.sp.Fault(r)
	tx.spoil(err)
	return err
}

// spoil notes that a transaction has met a fault. Unless a writing one faulted because the
// program wrote where it must not, nothing that the transaction has written is touched any
// more when it aborts.
func (tx *Tx) spoil(err error) {
	if tx.Write == nil {
		return
	}
	if e := (*failure.FaultError)(nil); errors.As(err, &e) && !e.Write || errors.Is(err, failure.ErrLiveLost) {
		tx.Spoil()
	}
}
