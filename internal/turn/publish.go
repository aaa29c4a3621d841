package turn

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
)

// Publish writes the state block, seals the blocks that the transaction wrote, and swaps the current
// state from the held base to the new one (E1, E2, I3). Unless it panics, it ends the heap's
// transaction and releases the hold, whether the swap succeeds or not. published says whether it has
// swapped. No swap and a nil error mean that another process has published a version since the base
// was held.
//
// as is the head of the last record if the changes come from the journal, else nil.
func (w *Turn) Publish(t *heap.Txn, hold *live.Hold, state *format.State, as *format.RecordHead, published *bool) error {
	t.Conclude()
	a, err := t.Alloc(format.KindState, format.ByteCount(format.StateSize))
	var op format.Op
	if err == nil {
		op, err = t.SealLog()
	}
	if err != nil {
		t.Aborted()
		w.Live.Release(hold)
		return err
	}
	t.Free(hold.State)
	if ops := format.Addr(state.OpBlock); format.OpKindOf(state.OpWhat) == format.OpList && t.Plausible(ops) {
		t.Free(ops)
	}
	state.Version = uint64(t.Version())
	state.Previous = uint64(hold.State)
	before := state.Chain
	if as == nil {
		state.UnixNano = uint64(w.Live.Now())
		state.Chain = format.NextChain(before, w.Live.Words().Salt.Load(), state.Version)
	} else {
		state.UnixNano, state.Chain = as.UnixNano, as.Chain
	}
	if format.OpKindOf(op.What) == format.OpUnlisted && w.Aside != nil && w.Live.Subscribed() {
		op.Arg = w.Aside(member.StateAt(hold.State), state, before)
	}
	state.OpWhat, state.OpBlock, state.OpArg = op.What, op.Block, op.Arg
	state.BlockBytes += uint64(t.Bytes())
	*(*format.State)(t.Payload(a)) = *state // words only, no pointers: not a typed pointer store
	t.Seal()
	invariant.Point("commit.sealed")
	invariant.Point("commit.swap")
	*published = w.Live.Publish(hold.State, a)
	if invariant.Enabled {
		noteSwap(w.Live.Record(), *published, hold.State, a, t.Version())
	}
	invariant.Point("commit.swapped")
	if *published {
		w.Live.Announce()
	}
	w.Live.TryRelease(hold) // before Committed: otherwise the hold would keep the freed blocks from reuse
	if !*published {
		t.Aborted()
		return nil
	}
	t.Committed()
	invariant.Point("commit.freed")
	return nil
}

// noteSwap notes the outcome of a commit's swap.
func noteSwap(r invariant.Record, published bool, base, next format.Addr, version format.Version) {
	event := invariant.Lost
	if published {
		event = invariant.Swapped
	}
	r.Note(event, uint64(next), uint64(version), uint64(base))
}
