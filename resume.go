package everheap

import (
	"context"
	"errors"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/locks"
)

// Resume runs a program that can be killed at any moment and started again: it continues
// from its last checkpoint, and everything it did in the space before that happened exactly
// once.
//
// The state says how far the program is. It is a single value of the space under the name,
// which OpenRef finds as well; if there is none, it starts as initial. run gets a private
// copy, changes it, and calls checkpoint now and then. checkpoint commits the state together
// with everything run changed in the space since the last checkpoint, in one transaction:
// both or neither. When run returns nil, Resume commits the rest in the same way. When run
// returns an error or panics, Resume undoes what came since the last checkpoint, which
// nobody else has seen.
//
//	everheap.Resume(ctx, space, "import", Progress{}, func(p *Progress, checkpoint func() error) error {
//		for ; p.Line < len(lines); p.Line++ {
//			if p.Line%1000 == 0 {
//				if err := checkpoint(); err != nil {
//					return err
//				}
//			}
//			if err := words.Upsert(space, lines[p.Line], count); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
// The goroutine of run takes part with whatever it does to the space: by Set and the other
// methods on the *Space (any handle of this process on that space), and by Update and View.
// It sees its own changes; nobody else does before the checkpoint. The transaction begins
// with the first change after a checkpoint. From then on run sees that one version, as in an
// Update, and nobody else can write until the next checkpoint: waiting there for a goroutine
// or process that writes waits for ever. Before the first change, reads see the newest
// version, nothing is locked, and others write; to read something that must not change
// before the write, read it in Modify, Upsert or Update, or after the first change.
//
//   - Update inside run is part of the transaction. If it fails before it has changed
//     anything, only the Update fails. After a change it cannot be undone alone: run
//     loses what came since the last checkpoint, and ends.
//   - View inside run sees the changes so far. checkpoint inside a View or an Update of
//     run is ErrSelf, and so is another Resume of the space in the same goroutine.
//   - Other goroutines, including those that run starts, are independent: each of their
//     operations is a transaction of its own.
//   - Checkpoint, DropCheckpoint and Restore of the Space are independent transactions,
//     and ErrSelf while run has uncommitted changes. ViewAt and Backup do not see these.
//     Other spaces take no part.
//
// One run at a time has a name, of up to 120 bytes, among all goroutines and processes: it
// holds the mutex "resume NAME", which Locks shows, and Resume waits for that mutex. ctx
// ends this waiting, and the waiting for the turn to write, with ErrBusy; it has no other
// effect. If the holder dies, the next one continues. Resume waits for a holder that is only
// stopped.
//
// After run has returned nil the state stays: Resume, called again, calls run with it, and
// run sees that nothing is left to do. A checkpoint lasts like any commit: see Durability.
//
// If checkpoint cannot store the state (ErrDangling, ErrTooLarge), or returns ErrBusy,
// nothing is undone. After any other error, such as ErrSuspended, ErrSuperseded, ErrNoSpace
// or ErrIO, what came since the last checkpoint is undone (but see ErrIO) while *state is
// not, so the run is over: every operation of it on the space returns that error, and so
// does Resume if run returns nil. Resume, called again, continues from the last checkpoint.
//
// Errors: those of run and of checkpoint; ErrUnstorable, before run is called;
// ErrTypeChanged, if the state is stored with another type: open it with OpenRef and Evolve
// or Migrate first; ErrBusy, ErrSelf, ErrReadOnly, ErrClosed, ErrTooManyLocks, ErrTooLarge
// (the name).
func Resume[S any](ctx context.Context, s *Space, name string, initial S, run func(state *S, checkpoint func() error) error) error {
	op := "resuming " + name
	if err := s.ifOpen(op, s.engine.Resumable); err != nil {
		return err
	}
	ref, err := OpenRef(s, name, initial)
	if err != nil {
		return err
	}
	turn := s.Mutex(locks.ResumeMutex + name)
	if err := turn.Lock(ctx); err != nil && !errors.Is(err, ErrOwnerDied) { // a holder that died left a whole state
		return s.wrap(op, err)
	}
	defer turn.Unlock() // an error only says that Close was faster
	var state S
	r, err := s.engine.Resume(ctx, ref.of(), layout.NoEscapeKey(&state), s.durability == Durable)
	if err != nil {
		return s.wrap(op, err)
	}
	checkpoint := func() error { return s.wrap("checkpoint of "+name, r.Checkpoint(layout.NoEscape(&state))) }
	return s.wrap(op, s.guard(r, func() error {
		if err := run(&state, checkpoint); err != nil {
			return err
		}
		return checkpoint()
	}, func() error { r.End(); return nil }, r.End))
}

// joined returns the transaction of this goroutine's run, or nil.
func (s *Space) joined(r *engine.Resumption) *Tx {
	if tx := r.Tx(); tx != nil {
		return &Tx{engine: tx, space: s}
	}
	return nil
}

// join is Update inside a run.
func (s *Space) join(ctx context.Context, r *engine.Resumption, fn func(tx *Tx) error, durable bool) error {
	tx, err := r.Begin(ctx, durable)
	if err != nil {
		return err
	}
	from := tx.Steps()
	r.Enter()
	defer r.Leave()
	return run(&Tx{engine: tx, space: s}, fn, tx.Err, func() { r.Failed(from) })
}
