package engine

import (
	"errors"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
)

// endView ends the guard of a view. Usually the operation has ended the view itself; if it failed
// or was left in another way, endView drops the view.
func (tx *Tx) endView(sp *Space, before bool, err *error) {
	debug.SetPanicOnFault(before)
	r := recover() // nil: no panic, or Goexit
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

// part says in which part of a writing transaction a panic was recovered.
type part uint8

const (
	beginning part = iota
	running        // the program's function
	committing
	over
)

// endWrite ends a writing transaction after a panic in one of its parts. r is what the caller has
// recovered, nil for Goexit; c is how far the commit has got, if it has begun. endWrite returns the
// error of a fault, which is nil if the version stands. It continues any other panic.
func (tx *Tx) endWrite(sp *Space, in part, c *commitment, r any) error {
	handled, err := tx.endPart(sp, in, c, r)
	if r != nil && !handled {
		panic(r)
	}
	return err
}

// endPart is endWrite, but reports whether it has handled the panic.
//
// After a fault before the swap the result is an error, and nothing has changed. After the swap the
// version stands (E2): only later steps have failed.
func (tx *Tx) endPart(sp *Space, in part, c *commitment, r any) (handled bool, err error) {
	if r != nil {
		if err = sp.Fault(r); err == nil && in != running {
			return false, nil // a bug of the library
		}
	}
	switch {
	case sp.Forked(): // all that it would release belongs to the parent
		return err != nil, err
	case in == running:
		tx.spoil(err)
		tx.Abort()
		return err != nil, err
	case !sp.Queue.Mine(): // it has not got its turn, or has given it: another transaction may use the Tx
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

// spoil notes that a transaction has met a fault: then an abort leaves alone everything that the
// transaction has written. This does not apply if the program caused the fault by writing where it
// must not.
func (tx *Tx) spoil(err error) {
	if tx.Write == nil {
		return
	}
	if e := (*failure.FaultError)(nil); errors.As(err, &e) && !e.Write || errors.Is(err, failure.ErrLiveLost) {
		tx.Spoil()
	}
}
