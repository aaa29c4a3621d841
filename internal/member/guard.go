package member

import (
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
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

// Guarded runs fn; a memory fault in it becomes an error.
func (m *Member) Guarded(fn func() error) (err error) {
	defer m.EndGuard(debug.SetPanicOnFault(true), &err)
	return fn()
}

// Guarded runs fn, which touches the mapped files of a space that is not open; a memory
// fault in it becomes an error.
func Guarded(fn func() error) (err error) {
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
		err = &failure.FaultError{Addr: a.Addr(), Cause: e}
	}(debug.SetPanicOnFault(true))
	return fn()
}

// EndGuard is deferred, with what SetPanicOnFault has returned, where a guarded
// section begins.
func (m *Member) EndGuard(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		if *err = m.Fault(r); *err == nil {
			panic(r)
		}
	}
}

// Within runs fn, guarded, while the space cannot be closed.
func (m *Member) Within(fn func() error) error {
	if err := m.Enter(); err != nil {
		return err
	}
	defer m.Exit()
	return m.Guarded(fn)
}

// Anyhow runs what undoes something. If it fails for a fault there is nothing left to be
// undone: the words are lost, or a page of the heap is.
func (m *Member) Anyhow(fn func()) { _ = m.Guarded(func() error { fn(); return nil }) }

// UsingLists runs fn, which enters the heap and uses the lists of this process. The
// caller has the queue. A fault leaves the lists in no known state: they are
// abandoned.
func (m *Member) UsingLists(fn func() error) error {
	defer m.Anyhow(m.Heap.Leave)
	err := m.Guarded(fn)
	if errors.Is(err, failure.ErrFault) || errors.Is(err, failure.ErrLiveLost) {
		m.Anyhow(m.Heap.Abandon)
	}
	return err
}

// Look runs fn, guarded, with the state of the newest version, which is held meanwhile.
func (m *Member) Look(fn func(state format.Addr) error) (err error) {
	if m.Forked() {
		return failure.ErrForked
	}
	m.Own.Add()
	defer m.Own.Done()
	var hold live.Hold
	defer m.Anyhow(func() {
		if hold.Held() && !m.Forked() {
			m.Live.Release(&hold)
		}
	})
	defer m.EndGuard(debug.SetPanicOnFault(true), &err)
	if !m.Live.HoldUnless(&hold, &m.Shut) {
		return m.WhyClosed()
	}
	return fn(hold.State)
}

// StateOf returns a copy of a held state.
func (m *Member) StateOf(h live.Hold) (s format.State, err error) {
	defer m.EndGuard(debug.SetPanicOnFault(true), &err)
	return *StateAt(h.State), nil
}

// NewestVersion returns the number of the newest version.
func (m *Member) NewestVersion() (v format.Version, err error) {
	defer m.EndGuard(debug.SetPanicOnFault(true), &err)
	m.Own.Add()
	defer m.Own.Done()
	hold := m.Live.HoldCurrent() // else its block could be that of another state before it is read
	defer m.Live.Release(&hold)
	return format.Version(StateAt(hold.State).Version), nil
}

// Fault returns the error for a recovered panic value that is a memory fault, or that of
// one who has found the words of live lost, and nil for any other value.
func (m *Member) Fault(r any) error {
	e, ok := r.(runtime.Error)
	a, isFault := r.(interface{ Addr() uintptr })
	if isFault = ok && isFault; !isFault && r != any(live.ErrLost) {
		return nil
	}
	if m.Forked() {
		return failure.ErrForked
	}
	if m.Live != nil && m.Live.LostBy(r) {
		return m.Lose()
	}
	if lost := m.LookLost(); lost != nil { // what it went by was of words that are lost
		return lost
	}
	if !isFault {
		return live.ErrLost
	}
	return &failure.FaultError{Addr: a.Addr(), Write: m.readable(a.Addr()), Cause: e}
}

// readable reports whether an address lies in the part of the window that the disk
// can deliver, so that only a write can fault there.
func (m *Member) readable(a uintptr) bool {
	if m.Region == nil || m.Live == nil {
		return false
	}
	end := uint64(0)
	m.Live.Guard(func() { end = m.Live.Words().End.Load() })
	off := uint64(a) - m.Head.Base
	return off < end && !m.Region.Unreadable(off)
}
