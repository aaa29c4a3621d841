package engine

import (
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
)

// A page of the heap file that the disk cannot deliver raises a signal in the
// goroutine that touches it. That ends the process, unless debug.SetPanicOnFault
// is on in the goroutine: then it is a panic, which what is in this file turns into
// an error (E6). The page table of live is not guarded so: a process that cannot
// read its own locks cannot let go of them either, and had better die, which its
// peers know how to deal with.

// guarded runs fn; a memory fault in it becomes an error.
func (sp *Space) guarded(fn func() error) (err error) {
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
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

// usingLists runs fn, which enters the heap and uses the lists of this process. The
// caller has the queue. A fault leaves the lists in no known state: they are
// abandoned.
func (sp *Space) usingLists(fn func() error) error {
	defer sp.heap.Leave()
	err := sp.guarded(fn)
	if errors.Is(err, ErrFault) {
		sp.heap.Abandon()
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
	hold := sp.live.HoldCurrent() // else its block could be that of another state before it is read
	defer sp.live.Release(hold)
	state, err := sp.stateOf(hold)
	return format.Version(state.Version), err
}

// endBegin ends the guarded part of the beginning of a transaction.
func (tx *Tx) endBegin(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		if *err = tx.Fault(r); *err == nil {
			panic(r)
		}
		tx.Abort()
	}
}

// endPublish ends the guarded part of a commit, and lets go of the base. A fault
// before the swap is an error, and nothing has changed. After the swap the version
// stands (E2): what failed is only what comes after.
func (sp *Space) endPublish(before bool, t *heap.Txn, hold *live.Hold, published *bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		fault := sp.Fault(r)
		if fault == nil {
			panic(r)
		}
		if sp.Forked() { // what is abandoned and let go of would be the parent's
			*err = fault
			return
		}
		t.Forget()
		sp.heap.Abandon()
		if *published {
			sp.note(fault)
		} else {
			*err = fault
		}
	}
	if hold.State != 0 {
		sp.live.Release(*hold)
	}
}

// note remembers the outcome of work that nobody waits for, for Stats.
func (sp *Space) note(err error) {
	if err != nil && !errors.Is(err, ErrClosed) { // which is none of the background's
		sp.failure.Store(&err)
	}
}

// Fault returns the error for a recovered panic value that is a memory fault, and
// nil for any other value.
func (sp *Space) Fault(r any) error {
	e, ok := r.(runtime.Error)
	if !ok {
		return nil
	}
	a, ok := r.(interface{ Addr() uintptr })
	if !ok {
		return nil
	}
	if sp.Forked() {
		return ErrForked
	}
	return &FaultError{Addr: a.Addr(), Write: sp.readable(a.Addr()), Cause: e}
}

// Fault is Space.Fault for a fault in a transaction. Unless a writing one faulted
// because the program wrote where it must not, nothing that the transaction has
// written is touched any more when it aborts.
func (tx *Tx) Fault(r any) error {
	err := tx.sp.Fault(r)
	if e := (*FaultError)(nil); errors.As(err, &e) && !e.Write {
		tx.spoiled = true
	}
	return err
}

// readable reports whether an address lies in the part of the window that the disk
// can deliver, so that only a write can fault there.
func (sp *Space) readable(a uintptr) bool {
	if sp.region == nil || sp.live == nil {
		return false
	}
	off := uint64(a) - sp.header.Base
	return off < sp.live.Words().End.Load() && !sp.region.Unreadable(off)
}
