package engine

import (
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// A page of the heap file that the disk cannot deliver, or a page of live that was cut
// off, raises a signal in the goroutine that touches it. That ends the process, unless
// debug.SetPanicOnFault is on in the goroutine: then it is a panic, which what is in this
// file turns into an error (E6). What a panic of live means is in lost.go.
//
// SetPanicOnFault and what recovers take some nanoseconds: so a commit, a view and a read
// each have one guard, which they are in from the first word of live to the last one, and
// not one for each part.

// guarded runs fn; a memory fault in it becomes an error.
func (sp *Space) guarded(fn func() error) (err error) {
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
	return fn()
}

// guardClosed runs fn, which touches the mapped files of a space that is not open; a memory
// fault in it becomes an error.
func guardClosed(fn func() error) (err error) {
	defer func(before bool) {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		e, isRuntime := r.(runtime.Error)
		a, isFault := r.(interface{ Addr() uintptr })
		if !isRuntime || !isFault {
			panic(r)
		}
		err = &FaultError{Addr: a.Addr(), Cause: e}
	}(debug.SetPanicOnFault(true))
	return fn()
}

// endGuard is deferred, with what SetPanicOnFault has returned, where a guarded
// section begins.
func (sp *Space) endGuard(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		if *err = sp.Fault(r); *err == nil {
			panic(r)
		}
	}
}

// within runs fn, guarded, while the space cannot be closed.
func (sp *Space) within(fn func() error) error {
	if err := sp.enter(); err != nil {
		return err
	}
	defer sp.Exit()
	return sp.guarded(fn)
}

// anyhow runs what undoes something. If it fails for a fault there is nothing left to be
// undone: the words are lost, or a page of the heap is.
func (sp *Space) anyhow(fn func()) { _ = sp.guarded(func() error { fn(); return nil }) }

// usingLists runs fn, which enters the heap and uses the lists of this process. The
// caller has the queue. A fault leaves the lists in no known state: they are
// abandoned.
func (sp *Space) usingLists(fn func() error) error {
	defer sp.anyhow(sp.heap.Leave)
	err := sp.guarded(fn)
	if errors.Is(err, ErrFault) || errors.Is(err, ErrLiveLost) {
		sp.anyhow(sp.heap.Abandon)
	}
	return err
}

// stateOf returns a copy of a held state.
func (sp *Space) stateOf(h live.Hold) (s format.State, err error) {
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
	return *stateAt(h.State), nil
}

// newestVersion returns the number of the newest version.
func (sp *Space) newestVersion() (v format.Version, err error) {
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
	hold := sp.live.HoldCurrent() // else its block could be that of another state before it is read
	defer sp.live.Release(&hold)
	return format.Version(stateAt(hold.State).Version), nil
}

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

// endWrite is what ends a transaction that writes after a panic r, or Goexit, in one of
// its parts; c is what has come of the commit, if it has come to that. It returns the
// error, which is nil if the version stands; if it has not handled the panic, that goes on.
//
// A fault before the swap is an error, and nothing has changed. After the swap the version
// stands (E2): what failed is only what comes after.
func (tx *Tx) endWrite(sp *Space, in part, c *commitment, r any) (handled bool, err error) {
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
	case !sp.queue.Mine(): // it has come to no turn, or has given it: the Tx may be another one's
	case in == beginning && (tx.sp == nil || tx.Ended()): // it has not begun
		sp.giveTurn()
	case in == beginning:
		tx.spoil(err)
		tx.Abort()
	default:
		tx.write.Forget()
		sp.anyhow(sp.heap.Abandon)
		sp.anyhow(func() { sp.live.Release(&tx.hold) })
		sp.anyhow(sp.heap.Leave)
		sp.giveTurn()
	}
	if in != committing {
		return true, err
	}
	if c.entered {
		sp.Exit()
	}
	if c.published {
		sp.note(err)
		return true, nil
	}
	return true, err
}

// Fault returns the error for a recovered panic value that is a memory fault, or that of
// one who has found the words of live lost, and nil for any other value.
func (sp *Space) Fault(r any) error {
	e, ok := r.(runtime.Error)
	a, isFault := r.(interface{ Addr() uintptr })
	if isFault = ok && isFault; !isFault && r != any(live.ErrLost) {
		return nil
	}
	if sp.Forked() {
		return ErrForked
	}
	if sp.live != nil && sp.live.LostBy(r) {
		return sp.lose()
	}
	if lost := sp.lookLost(); lost != nil { // what it went by was of words that are lost
		return lost
	}
	if !isFault {
		return live.ErrLost
	}
	return &FaultError{Addr: a.Addr(), Write: sp.readable(a.Addr()), Cause: e}
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
	if tx.write == nil {
		return
	}
	if e := (*FaultError)(nil); errors.As(err, &e) && !e.Write || errors.Is(err, ErrLiveLost) {
		tx.Spoil()
	}
}

// readable reports whether an address lies in the part of the window that the disk
// can deliver, so that only a write can fault there.
func (sp *Space) readable(a uintptr) bool {
	if sp.region == nil || sp.live == nil {
		return false
	}
	end := uint64(0)
	sp.live.Guard(func() { end = sp.live.Words().End.Load() })
	off := uint64(a) - sp.header.Base
	return off < end && !sp.region.Unreadable(off)
}
