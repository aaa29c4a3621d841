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

// A resumption makes one transaction of what a goroutine does between two
// checkpoints, together with a state of its own. The operations of the goroutine on
// the space, which are transactions of their own otherwise, join it.
//
// Invariants (S for state):
//
//	S1  What was changed since the last checkpoint, and the state that knows of it,
//	    are published by one swap (I3): Checkpoint stores the state in the very
//	    transaction that the changes are in. So whoever reads the state, whenever the
//	    one before him died, finds exactly the changes that the state tells of.
//	S2  The transaction is begun by the first change after a checkpoint, and by a
//	    checkpoint without one, never by a read: so a program that computes keeps
//	    nobody from writing, and pins nothing.
//	S3  When it begins, its base must have the very block of the state that this
//	    resumption has read or published last, which the version says that wrote the
//	    block (Resumption.birth): no two committed blocks of one object have the same.
//	    Else somebody else went on from that state, and doing so too would do things
//	    twice. As E1 holds for the transaction, it publishes on top of that state or
//	    not at all. So it takes no lock for a state to have one successor; the lock
//	    that Resume takes keeps others from working in vain.
//	S4  A transaction that was lost is not followed by another one of the same
//	    resumption: the program has what it did in mind, and the space has not. From
//	    then on all that the goroutine does is an error, the same.
//	S5  What the program is inside of, an Update or a View of the goroutine, or a
//	    change of types, sees one transaction from beginning to end: Checkpoint is
//	    refused there, and a transaction that is lost there aborts when it is left.
//	    A View gets what the transaction has written so far, frozen (snapshot).

// Resumption is a series of transactions of one goroutine. Only that goroutine uses
// it.
type Resumption struct {
	sp        *Space
	ctx       context.Context // ends waiting for the turn, and nothing else
	goroutine uintptr
	state     edit.RefOf
	birth     format.Version // of the block of the state (S3)
	tx        *Tx            // nil: nothing was changed since the last checkpoint
	durable   bool           // all of its checkpoints are
	hasten    bool           // this one is
	inside    int            // Updates and Views that the goroutine is in (S5)
	lost      error          // S4
	ended     bool
}

// Reasons why a resumption refuses something.
var (
	errInResume      = fmt.Errorf("%w; that one is a Resume", failure.ErrSelf)
	errInside        = fmt.Errorf("%w; call checkpoint after it has returned", failure.ErrSelf)
	errOtherRoutine  = errors.New("checkpoint is called by another goroutine than the one that runs")
	errResumptionEnd = fmt.Errorf("%w: the run has ended; checkpoint is valid only inside it", failure.ErrClosed)
	errUpdate        = errors.New("an Update of this run has failed after it had changed something; what came since the last checkpoint is undone")
)

// Resumption returns that of the calling goroutine; nil if it has none.
func (sp *Space) Resumption() *Resumption {
	list := sp.resuming.Load()
	if list == nil || sp.Forked() { // else its operations would join a transaction of the parent
		return nil
	}
	return resumptionOf(*list)
}

// resumptionOf finds that of the calling goroutine.
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
	if sp.Live.Words().Mover.Load() != 0 { // P5: it may not have seen that the caller has the mutex
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

// register changes the list of resumptions, which nobody changes in place.
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

// Tx returns the transaction that an operation of the goroutine joins; nil if none
// is open. One that changes types is not for others: who writes gets an error of
// Begin.
func (r *Resumption) Tx() *Tx {
	if r.tx != nil && r.tx.Recasts() {
		return nil
	}
	return r.tx
}

// Begin returns the transaction, and begins it if there is none (S2, S3). durable
// makes the next checkpoint so.
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
	if err := sp.Enter(); err != nil { // a durable commit has
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

// Checkpoint publishes the transaction together with the state at src (S1). If it
// fails for what the state is, nothing is lost, and it can be tried again.
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

// Enter says that the goroutine enters an Update, which Leave must follow.
func (r *Resumption) Enter() { r.inside++ }

// Leave is the end of what the goroutine was inside of.
func (r *Resumption) Leave() {
	if r.inside--; r.inside == 0 && r.lost != nil {
		r.abort()
	}
}

// Failed says that a part of the transaction has failed, which began at the given
// step of it: what it has changed cannot be taken back alone.
func (r *Resumption) Failed(from uint64) {
	if tx := r.tx; tx != nil && r.lost == nil && (tx.Failure() != nil || tx.Spoiled() || tx.Write.Steps() != from) {
		r.lose(errUpdate)
	}
}

// Steps tells whether a transaction that writes was changed meanwhile.
func (tx *Tx) Steps() uint64 { return tx.Write.Steps() }

// lose gives the transaction up, for good (S4), and returns the reason.
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

// abort ends a transaction that was lost. It stays where it is, so that whoever
// joins it is told.
func (r *Resumption) abort() {
	if r.tx.Lost() == nil {
		r.tx.Lose(r.lost)
		r.tx.Abort()
		r.sp.Exit()
	}
}

// Fault is Tx.Fault for a panic of the goroutine in whatever it does.
func (r *Resumption) Fault(recovered any) error {
	if r.tx != nil && r.lost == nil {
		return r.tx.Fault(recovered)
	}
	return r.sp.Fault(recovered)
}

// End ends the resumption. What came since the last checkpoint is undone.
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

// View begins a reading transaction of the goroutine: on what it has changed so
// far, or, if that is nothing, on the newest version.
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

// snapshot returns a reading transaction on what a writing one has made so far. That one must
// not end before it (S5).
func (tx *Tx) snapshot() *Tx {
	s := &Tx{sp: tx.sp}
	s.SnapshotOf(&tx.Editor)
	return s
}
