package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/goroutine"
)

// A resumption makes one transaction of everything that a goroutine does between two checkpoints,
// together with a state of its own. The operations of the goroutine on the space, which otherwise
// are transactions of their own, join that transaction.
//
// Invariants (S for state):
//
//	S1  One swap publishes the changes since the last checkpoint and the state that knows of them
//	    (I3): Checkpoint stores the state in the transaction of the changes. So a program that
//	    reads the state finds exactly the changes that the state tells of, whenever its
//	    predecessor died.
//	S2  The first change after a checkpoint begins the transaction, or a checkpoint without
//	    changes; a read never does. So a program that computes keeps no other process from
//	    writing, and pins nothing.
//	S3  When the transaction begins, its base must have the very block of the state that this
//	    resumption read or published last. The version that wrote the block (Resumption.birth)
//	    identifies it: no two committed blocks of one object have the same. With another block,
//	    another resumption has continued from that state, and to continue here as well would do
//	    things twice. As E1 holds for the transaction, it publishes on top of that state or not at
//	    all. So no lock is needed for a state to have one successor; the lock that Resume takes
//	    only keeps others from working in vain.
//	S4  No further transaction of the same resumption follows one that was lost: the program
//	    remembers what it did, and the space does not have it. From then on everything that the
//	    goroutine does returns the same error.
//	S5  An Update, a View or a change of types of the goroutine sees one transaction from
//	    beginning to end: Checkpoint is refused inside it, and a transaction that is lost inside
//	    it aborts when the goroutine leaves it. A View gets what the transaction has written so
//	    far, frozen (snapshot).

// Resumption is a series of transactions of one goroutine. Only that goroutine uses
// it.
type Resumption struct {
	sp        *Space
	ctx       context.Context // ends the waiting for the turn, and nothing else
	goroutine uintptr
	state     edit.RefOf
	birth     format.Version // birth of the block of the state (S3)
	tx        *Tx            // nil: no changes since the last checkpoint
	durable   bool           // all of its checkpoints are durable
	hasten    bool           // the next checkpoint is durable
	inside    int            // how many Updates and Views the goroutine is inside (S5)
	lost      error          // S4
	ended     bool
}

// Reasons for which a resumption refuses an operation.
var (
	errInResume      = fmt.Errorf("%w; that one is a Resume", failure.ErrSelf)
	errInside        = fmt.Errorf("%w; call checkpoint after it has returned", failure.ErrSelf)
	errOtherRoutine  = errors.New("another goroutine than that of the run has called checkpoint")
	errResumptionEnd = fmt.Errorf("%w: the run has ended; checkpoint is valid only inside it", failure.ErrClosed)
	errUpdate        = errors.New("an Update of this run has failed after it had changed something; everything since the last checkpoint is undone")
)

// Resumption returns the resumption of the calling goroutine; nil if it has none.
func (sp *Space) Resumption() *Resumption {
	list := sp.resuming.Load()
	if list == nil || sp.Forked() { // a fork's operations would join a transaction of the parent
		return nil
	}
	return resumptionOf(*list)
}

// resumptionOf finds the resumption of the calling goroutine in a list.
func resumptionOf(list []*Resumption) *Resumption {
	id := goroutine.ID()
	for _, r := range list {
		if r.goroutine == id {
			return r
		}
	}
	return nil
}

// Resumable returns why this goroutine cannot begin a resumption.
func (sp *Space) Resumable() error {
	switch {
	case sp.ReadOnly:
		return failure.ErrReadOnly
	case sp.Resumption() != nil:
		return errInResume
	case sp.Queue.Mine():
		return failure.ErrSelf
	}
	return nil
}

// Resume begins a resumption, and copies its state to the variable at dst. End must
// follow. The caller has the mutex of the state (locks.ResumeMutex).
func (sp *Space) Resume(ctx context.Context, state edit.RefOf, dst unsafe.Pointer, durable bool) (*Resumption, error) {
	if err := sp.Resumable(); err != nil {
		return nil, err
	}
	r := &Resumption{sp: sp, ctx: ctx, goroutine: goroutine.ID(), state: state, durable: durable}
	if sp.Live.Words().Mover.Load() != 0 { // P5: a mover may not have seen that the caller has the mutex
		if err := sp.turn.Take(ctx); err != nil {
			return nil, err
		}
		sp.turn.Give()
	}
	err := sp.look(func(tx *Tx) (err error) {
		if r.birth, err = tx.Birth(state); err != nil {
			return err
		}
		return tx.ReadValue(state, dst)
	})
	if err != nil {
		return nil, err
	}
	r.register(func(list []*Resumption) []*Resumption { return append(list, r) })
	return r, nil
}

// register replaces the list of resumptions, which is never changed in place.
func (r *Resumption) register(change func(list []*Resumption) []*Resumption) {
	for {
		old := r.sp.resuming.Load()
		var list []*Resumption
		if old != nil {
			list = slices.Clone(*old)
		}
		list = change(list)
		next := &list
		if len(list) == 0 {
			next = nil
		}
		if r.sp.resuming.CompareAndSwap(old, next) {
			return
		}
	}
}

// Tx returns the transaction that an operation of the goroutine joins; nil if none is open. A
// transaction that changes types admits no other operation: Begin returns an error to a writer
// then.
func (r *Resumption) Tx() *Tx {
	if r.tx != nil && r.tx.Recasts() {
		return nil
	}
	return r.tx
}

// Begin returns the transaction, after beginning it if there is none (S2, S3). durable makes the
// next checkpoint durable.
func (r *Resumption) Begin(ctx context.Context, durable bool) (*Tx, error) {
	if r.lost != nil {
		return nil, r.lost
	}
	if r.tx != nil {
		if r.tx.Recasts() {
			return nil, failure.ErrSelf
		}
		r.hasten = r.hasten || durable
		return r.tx, nil
	}
	sp := r.sp
	if err := sp.Enter(); err != nil { // a durable commit has entered too
		return nil, err
	}
	tx, err := sp.Begin(ctx)
	if err != nil {
		sp.Exit()
		return nil, err
	}
	r.tx, r.hasten = tx, durable
	switch birth, err := tx.Birth(r.state); {
	case err != nil:
		return nil, r.lose(err)
	case birth != r.birth:
		return nil, r.lose(failure.ErrSuperseded)
	}
	return tx, nil
}

// join runs an operation of the goroutine in the transaction.
func (r *Resumption) join(durable bool, fn func(tx *Tx) error) error {
	tx, err := r.Begin(r.ctx, durable)
	if err != nil {
		return err
	}
	return fn(tx)
}

// Checkpoint publishes the transaction together with the state at src (S1). If the state cannot be
// stored, nothing is lost, and the program can try again.
func (r *Resumption) Checkpoint(src unsafe.Pointer) error {
	switch {
	case goroutine.ID() != r.goroutine:
		return errOtherRoutine
	case r.ended:
		return errResumptionEnd
	case r.inside > 0:
		return errInside
	}
	tx, err := r.Begin(r.ctx, false)
	if err != nil {
		return err
	}
	if err := tx.WriteValue(r.state, src); err != nil {
		if tx.Failure() != nil {
			return r.lose(err)
		}
		return err
	}
	version := tx.Write.Version()
	commit := tx.Commit
	if r.durable || r.hasten {
		commit = tx.CommitDurable
	}
	if err := commit(); err != nil {
		return r.lose(err)
	}
	r.sp.Exit()
	r.tx, r.birth = nil, version
	return nil
}

// Enter says that the goroutine enters an Update; Leave must follow.
func (r *Resumption) Enter() { r.inside++ }

// Leave says that the goroutine leaves an Update or a View.
func (r *Resumption) Leave() {
	if r.inside--; r.inside == 0 && r.lost != nil {
		r.abort()
	}
}

// Failed says that a part of the transaction has failed. from is the step at which it began: if the
// part has changed anything, it cannot be undone alone, and the transaction is lost.
func (r *Resumption) Failed(from uint64) {
	if tx := r.tx; tx != nil && r.lost == nil && (tx.Failure() != nil || tx.Spoiled() || tx.Write.Steps() != from) {
		r.lose(errUpdate)
	}
}

// Steps returns a number that grows with each change that the writing transaction makes.
func (tx *Tx) Steps() uint64 { return tx.Write.Steps() }

// lose gives up the transaction for good (S4), and returns the reason.
func (r *Resumption) lose(err error) error {
	if failed := r.tx.Failure(); failed != nil {
		err = failed
	}
	r.lost = err
	if r.inside == 0 {
		r.abort()
	} else {
		r.tx.Fail(err)
	}
	return err
}

// abort ends a transaction that was lost. The resumption keeps it, so that an operation that joins
// it gets the reason.
func (r *Resumption) abort() {
	if r.tx.Lost() == nil {
		r.tx.Lose(r.lost)
		r.tx.Abort()
		r.sp.Exit()
	}
}

// Fault is Tx.Fault for any panic of the goroutine.
func (r *Resumption) Fault(recovered any) error {
	if r.tx != nil && r.lost == nil {
		return r.tx.Fault(recovered)
	}
	return r.sp.Fault(recovered)
}

// End ends the resumption, and undoes everything since the last checkpoint.
func (r *Resumption) End() {
	r.ended = true
	r.inside = 0
	if r.tx != nil && r.tx.Lost() == nil {
		if r.lost == nil {
			r.lost = errResumptionEnd
		}
		r.abort()
	}
	r.register(func(list []*Resumption) []*Resumption {
		return slices.DeleteFunc(list, func(o *Resumption) bool { return o == r })
	})
}

// View begins a reading transaction of the goroutine: on what the goroutine has changed so far, or,
// without changes, on the newest version.
func (r *Resumption) View() (tx *Tx, err error) {
	if r.lost != nil {
		return nil, r.lost
	}
	if r.Tx() != nil {
		tx = r.tx.snapshot()
	} else if tx, err = r.sp.View(); err != nil {
		return nil, err
	}
	tx.within = r
	r.inside++
	return tx, nil
}

// snapshot returns a reading transaction on what the writing transaction tx has made so far. tx
// must not end before it (S5).
func (tx *Tx) snapshot() *Tx {
	s := &Tx{sp: tx.sp}
	s.SnapshotOf(&tx.Editor)
	return s
}
