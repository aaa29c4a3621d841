package everheap

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/engine"
)

// TraceKind says what has happened to a transaction that writes.
type TraceKind uint8

// The kinds, in the order in which they happen to a transaction. Its last one is TraceCommit, or
// TraceDurable if it waits for the disk, or TraceFail.
const (
	TraceBegin   = TraceKind(engine.TraceBegin)   // it waits for its turn
	TraceTurn    = TraceKind(engine.TraceTurn)    // it has its turn: no other transaction writes
	TraceWritten = TraceKind(engine.TraceWritten) // its function has returned: it has changed all that it will
	TraceCommit  = TraceKind(engine.TraceCommit)  // it is committed
	TraceDurable = TraceKind(engine.TraceDurable) // what it has committed survives power loss
	TraceFail    = TraceKind(engine.TraceFail)    // it has failed: nothing has changed, unless it was committed before
)

// String names the kind, in lower case.
func (k TraceKind) String() string { return engine.TraceKind(k).String() }

// TraceEvent tells that something has happened to a transaction that writes.
type TraceEvent struct {
	Kind        TraceKind
	Transaction uint64 // number of the transaction, from 1: of all that were told of since this process opened the space
	Background  bool   // the library began it: to remove what has expired, to collect, to move blocks
	Time        time.Time
	Took        time.Duration // since the event before of the same transaction; of TraceTurn: how long it has waited
	Version     Version       // from TraceCommit on: that was committed, or seen if nothing was changed
	Changed     bool          // from TraceCommit on: something was changed
	Err         error         // of TraceFail: the reason
}

// Trace calls fn for each step of each transaction of this process that writes and begins from now on:
// Update, and all that is a transaction of its own, like Map.Set, by all handles on the space; not reading. stop
// ends that; transactions in progress may be told of a moment longer. It costs nothing while nobody traces.
//
// fn is called by the goroutine of the transaction, with the context of Update; between TraceTurn and
// TraceWritten others wait. It must return soon, not use the space, not panic, and stand several calls at once.
func (s *Space) Trace(fn func(ctx context.Context, e TraceEvent)) (stop func()) {
	return s.engine.Trace(func(ctx context.Context, e engine.TraceEvent) {
		fn(ctx, TraceEvent{Kind: TraceKind(e.Kind), Transaction: e.Transaction, Background: e.Background, Time: e.Time,
			Took: e.Took, Version: Version(e.Version), Changed: e.Changed, Err: s.wrap("transaction", e.Err)})
	})
}
