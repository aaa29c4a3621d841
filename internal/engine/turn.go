package engine

import (
	"context"
	"runtime/debug"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
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
		if !sp.Forked() && sp.Queue.Mine() {
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
	if sp.ReadOnly {
		return ErrReadOnly
	}
	if err := sp.Queue.Lock(ctx); err != nil {
		return err
	}
	if sp.Shut.Load() {
		sp.Queue.Unlock()
		return sp.WhyClosed()
	}
	if err := sp.durable.Refused(); err != nil {
		sp.Queue.Unlock()
		return err
	}
	sp.Live.Writing()
	grant, err := sp.Live.LockWriter(ctx)
	if err != nil {
		sp.Queue.Unlock()
		return err
	}
	if err := sp.durable.Refused(); err != nil { // since it has waited
		sp.giveTurn()
		return err
	}
	sp.Live.Writing() // the heart may have gone to sleep while this process waited
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
	sp.Anyhow(sp.Live.UnlockWriter)
	sp.Queue.Unlock()
}

// outrun publishes a version that changes nothing, so that the swap of a holder
// that was taken over can only fail (E3). If the sleeper was faster, its version
// is the base of the next try.
func (sp *Space) outrun() error {
	if sp.Live.Words().Clean.Load() != 0 { // E5
		if err := sp.durable.MakeUnclean(); err != nil {
			return err
		}
	}
	return sp.UsingLists(func() error {
		sp.Heap.Enter()
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
	hold, t := sp.Live.HoldCurrent(), &sp.txn
	defer sp.endPublish(debug.SetPanicOnFault(true), t, &hold, &published, &err)
	state := *member.StateAt(hold.State)
	t.Begin(sp.Heap, hold.State, format.Version(state.Version)+1, sp.Reader)
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
		sp.Anyhow(sp.Heap.Abandon)
		if *published {
			sp.Note(fault)
		} else {
			*err = fault
		}
	}
	if hold.Held() {
		sp.Anyhow(func() { sp.Live.Release(hold) })
	}
}
