package everheap

import (
	"runtime/debug"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
)

// Tx is one transaction. It is valid inside the function that receives it. Goroutines that
// end before that function may share a reading one. A writing one belongs to its goroutine:
// if others use it at once, it fails with ErrShared.
//
// In the goroutine of that function, a page that the disk cannot deliver becomes ErrFault.
// Another goroutine that shares a Tx must call debug.SetPanicOnFault itself, or the fault
// kills the process.
type Tx struct {
	engine *engine.Tx
	space  *Space
}

// viewer is the Tx of a View, with its own state. It is small, since every View needs a new one: a Tx that
// has ended is not reused, and returns errors for ever.
type viewer struct {
	Tx
	engine engine.Viewer
}

// Scope says where an operation happens. With a *Space the operation is a transaction of its
// own, or part of a Resume; with a *Tx it is part of that transaction.
type Scope interface {
	scope() (*Space, *Tx)

	// on returns the space, and the scope as the engine knows it.
	on() (*Space, engine.Scope, error)
}

func (tx *Tx) scope() (*Space, *Tx) { return tx.space, tx }

func (tx *Tx) on() (*Space, engine.Scope, error) { return tx.space, tx.engine.Scope(), nil }

func (s *Space) on() (*Space, engine.Scope, error) {
	if s.closed.Load() || s.engine.Resumption() != nil {
		return s.onOther()
	}
	return s, s.engine.Alone(s.durability == Durable), nil
}

// impatient is a Space as the Scope that NoWait returns.
type impatient Space

// NoWait returns the space as a Scope whose operations do not wait for their turn to write: they fail
// with ErrBusy instead, and nothing has changed.
func (s *Space) NoWait() Scope { return (*impatient)(s) }

func (s *impatient) scope() (*Space, *Tx) { return (*Space)(s).scope() }

func (s *impatient) on() (*Space, engine.Scope, error) {
	of, in, err := (*Space)(s).on()
	return of, in.NoWait(), err
}

// onOther is on for a closed space, or a goroutine that is in a Resume.
func (s *Space) onOther() (*Space, engine.Scope, error) {
	if _, tx := s.scope(); tx != nil {
		return tx.on()
	}
	if s.closed.Load() {
		return s, engine.Scope{}, ErrClosed
	}
	return s, s.engine.Alone(s.durability == Durable), nil
}

func (s *Space) scope() (*Space, *Tx) {
	if r := s.engine.Resumption(); r != nil {
		return s, s.joined(r)
	}
	return s, nil
}

// Guard runs fn, which uses the transaction in a goroutine other than that of its function.
// What would end the transaction there, a fault or an error of a loop, becomes the error
// that Guard returns; any other panic goes on. The transaction has not ended then: its
// function must return an error.
func (tx *Tx) Guard(fn func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			err = tx.space.ended(r, tx.engine, func() {})
		}
	}()
	return fn()
}

// Version returns the number of the version that a View sees, or that an Update
// starts from.
func (tx *Tx) Version() Version { return Version(tx.engine.Version()) }

// Version numbers the committed states of a space, strictly increasing.
type Version uint64

// editIn runs fn, which changes something, in the scope: in its transaction, or in one of its own.
func editIn(sc Scope, op string, fn func(tx *engine.Tx) error) error {
	s, in, err := sc.on()
	if err == nil {
		err = in.Edit(fn)
	}
	return s.wrap(op, err)
}

// lookIn runs fn in the scope: in its transaction, or in a View of its own.
func lookIn(sc Scope, fn func(tx *Tx) error) error {
	s, tx := sc.scope()
	if tx != nil {
		return fn(tx)
	}
	return s.View(fn)
}

// raise ends the transaction with err, if not nil, from a method without an error result. It panics with a
// private value, and View or Update returns err.
func (tx *Tx) raise(op string, err error) {
	if err != nil {
		panic(edit.Abort{Op: op, Err: err})
	}
}

// faulter turns a recovered panic into an error; nil: the panic continues.
type faulter interface{ Fault(recovered any) error }

// ended handles the end of a program's function by a panic; the caller has recovered r, which is nil for
// Goexit. It calls undo, and returns the error of a memory fault or of raise. It continues any other panic.
func (s *Space) ended(r any, of faulter, undo func()) (err error) {
	if a, aborted := r.(edit.Abort); aborted {
		err = s.wrap(a.Op, a.Err)
	} else {
		err = of.Fault(r)
	}
	undo()
	if r != nil && err == nil {
		panic(r)
	}
	return err
}

// view runs fn in a reading transaction, which it begins and ends, as run does: in one
// guard, since that costs something.
func view(s *Space, fn func(tx *Tx) error) (err error) {
	v := new(viewer)
	v.Tx = Tx{engine: &v.engine.Tx, space: s}
	tx := &v.Tx
	panicOnFault := debug.SetPanicOnFault(true)
	running := true
	defer func() {
		debug.SetPanicOnFault(panicOnFault)
		if running {
			err = s.ended(recover(), tx.engine, tx.engine.DropView)
		}
	}()
	if err = v.engine.Begin(s.engine); err == nil {
		err = fn(tx)
		tx.engine.EndView()
	}
	running = false
	return err
}

// viewIn runs fn in a reading transaction that the engine has begun, or returns err.
func (s *Space) viewIn(e *engine.Tx, err error, fn func(tx *Tx) error) error {
	if err != nil {
		return err
	}
	end := func() error { e.DropView(); return nil }
	return run(&Tx{engine: e, space: s}, fn, end, e.DropView)
}

// run is guard for a function that gets the transaction.
func run(tx *Tx, fn func(tx *Tx) error, commit func() error, rollback func()) error {
	return tx.space.guard(tx.engine, func() error { return fn(tx) }, commit, rollback)
}

// guard runs fn and then commit, or, if fn fails in whatever way, rollback. Memory faults and aborts become
// errors; any other panic continues.
func (s *Space) guard(of faulter, fn, commit func() error, rollback func()) (err error) {
	panicOnFault := debug.SetPanicOnFault(true)
	running := true
	defer func() {
		if running {
			debug.SetPanicOnFault(panicOnFault)
			err = s.ended(recover(), of, rollback)
		}
	}()
	err = fn()
	running = false
	debug.SetPanicOnFault(panicOnFault)
	if err != nil {
		rollback()
		return err
	}
	return commit()
}
