package engine

import (
	"context"
	"runtime/debug"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
)

// Who has the turn: the queue of the process, and the writer lock of the space.

// takeTurn takes the queue of the process and the writer lock of the space; giveTurn must
// follow.
func (sp *Space) takeTurn(ctx context.Context) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		if err = sp.Fault(r); err == nil {
			panic(r)
		}
		if !sp.Forked() && sp.queue.mine() {
			sp.giveTurn()
		}
	}()
	return sp.awaitTurn(ctx)
}

// awaitTurn is takeTurn for one who has a guard: if it panics he may have the queue.
func (sp *Space) awaitTurn(ctx context.Context) error {
	if sp.Forked() {
		return ErrForked
	}
	if sp.readOnly {
		return ErrReadOnly
	}
	if err := sp.queue.lock(ctx); err != nil {
		return err
	}
	if sp.closed.Load() {
		sp.queue.unlock()
		return sp.whyClosed()
	}
	if err := sp.refused(); err != nil {
		sp.queue.unlock()
		return err
	}
	grant, err := sp.live.LockWriter(ctx)
	if err != nil {
		sp.queue.unlock()
		return err
	}
	if err := sp.refused(); err != nil { // since it has waited
		sp.giveTurn()
		return err
	}
	if grant == live.FromSuspended {
		if err := sp.outrun(); err != nil {
			sp.giveTurn()
			return err
		}
	}
	return nil
}

// giveTurn releases what takeTurn took.
func (sp *Space) giveTurn() {
	sp.anyhow(sp.live.UnlockWriter)
	sp.queue.unlock()
}

// outrun publishes a version that changes nothing, so that the swap of a holder
// that was taken over can only fail (E3). If the sleeper was faster, its version
// is the base of the next try.
func (sp *Space) outrun() error {
	if sp.live.Words().Clean.Load() != 0 { // E5
		if err := sp.makeUnclean(); err != nil {
			return err
		}
	}
	return sp.usingLists(func() error {
		sp.heap.Enter()
		for {
			published, err := sp.publishNothing()
			if published || err != nil {
				return err
			}
		}
	})
}

// publishNothing publishes a version that changes nothing.
func (sp *Space) publishNothing() (published bool, err error) {
	hold, t := sp.live.HoldCurrent(), &sp.txn
	defer sp.endPublish(debug.SetPanicOnFault(true), t, &hold, &published, &err)
	state := *stateAt(hold.State)
	t.Begin(sp.heap, hold.State, format.Version(state.Version)+1, sp.reader)
	err = sp.publish(t, &hold, &state, nil, &published)
	return published, err
}

// endPublish ends publishNothing, as endWrite does a commit.
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
		sp.anyhow(sp.heap.Abandon)
		if *published {
			sp.note(fault)
		} else {
			*err = fault
		}
	}
	if hold.Held() {
		sp.anyhow(func() { sp.live.Release(hold) })
	}
}
