package member

import (
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// If the disk cannot deliver a page of the heap file, or live was truncated before a page,
// the goroutine that touches the page receives a signal. The signal ends the process, unless
// debug.SetPanicOnFault is on in the goroutine: then it is a panic, and the functions in
// this file turn the panic into an error (E6). lost.go says what follows from a panic of
// live.
//
// SetPanicOnFault and recover take some nanoseconds. So a commit, a view and a read each
// have one guard, from their first access of live to their last one, and not a guard for
// each part.

// Guarded runs fn, and turns a memory fault in fn into an error.
func (m *Member) Guarded(fn func() error) (err error) {
	defer m.EndGuard(debug.SetPanicOnFault(true), &err)
	return fn()
}

// Guarded runs fn, which touches the mapped files of a space that is not open. It turns a
// memory fault in fn into an error.
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

// EndGuard ends a guarded section: a function defers it at the beginning of the section,
// with the result of SetPanicOnFault.
func (m *Member) EndGuard(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		if *err = m.Fault(r); *err == nil {
			panic(r)
		}
	}
}

// Within runs fn in a guard, and keeps Close waiting meanwhile.
func (m *Member) Within(fn func() error) error {
	if err := m.Enter(); err != nil {
		return err
	}
	defer m.Exit()
	return m.Guarded(fn)
}

// Anyhow runs fn, which undoes something, and ignores a memory fault in it: then nothing is
// left to undo, since live or a page of the heap is lost.
func (m *Member) Anyhow(fn func()) { _ = m.Guarded(func() error { fn(); return nil }) }

// UsingLists runs fn, which enters the heap and uses the block lists of this process. The
// caller holds the queue. After a fault the state of the lists is unknown: UsingLists
// abandons them.
func (m *Member) UsingLists(fn func() error) error {
	defer m.Anyhow(m.Heap.Leave)
	err := m.Guarded(fn)
	if errors.Is(err, failure.ErrFault) || errors.Is(err, failure.ErrLiveLost) {
		m.Anyhow(m.Heap.Abandon)
	}
	return err
}

// Look runs fn in a guard with the state of the newest version, and holds that version
// meanwhile.
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
	hold := m.Live.HoldCurrent() // otherwise another state could reuse the block before the read
	defer m.Live.Release(&hold)
	return format.Version(StateAt(hold.State).Version), nil
}

// Fault returns the error for a recovered panic value: a memory fault, or the panic of code
// that found the words of live lost. It returns nil for any other value.
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
	if lost := m.LookLost(); lost != nil { // the fault came from a lost word
		return lost
	}
	if !isFault {
		return live.ErrLost
	}
	return &failure.FaultError{Addr: a.Addr(), Write: m.readable(a.Addr()), Cause: e}
}

// readable reports whether an address lies in a page that the disk can deliver. If so, the
// fault there was a write.
func (m *Member) readable(a uintptr) bool {
	if m.Region == nil || m.Live == nil {
		return false
	}
	end := uint64(0)
	m.Live.Guard(func() { end = m.Live.Words().End.Load() })
	off := uint64(a) - m.Head.Base
	return off < end && !m.Region.Unreadable(off)
}
