package member

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
)

// OwnHolds counts the versions that a process holds for the sake of the space itself: for a
// sweep, while it moves blocks, while it writes an anchor or records, for a short look. They
// keep what was removed since from reuse, as the views of a program do.
//
//	RV7 A writer that has no space left waits for the holds of this kind (package upkeep), since
//	    they end by themselves, but not for views, which end when a program likes. The
//	    writer has the queue: whoever waits for the queue with such a hold gets a context
//	    from Begin, which relief cancels, and lets go of the hold then. A hold is counted
//	    before it is there, and until it is gone. So once none is counted, all that
//	    keeps older versions are views, usable anchors and other processes. Of those a
//	    sweeper is waited for (upkeep.Upkeep.replaceSweeper), and a writer of an anchor
//	    (live.Live.AnchorWriters).
type OwnHolds struct {
	count atomic.Int64
	sync.Mutex
	last int
	long map[int]longHold
}

// longHold is a hold whose owner may wait for the queue.
type longHold struct {
	cancel    context.CancelFunc
	goroutine uintptr
}

// Add counts a hold that waits for nobody; Done must follow.
func (o *OwnHolds) Add() { o.count.Add(1) }

// Done ends what Add began.
func (o *OwnHolds) Done() { o.count.Add(-1) }

// Begin counts a hold whose owner may wait for the queue: with the context, which ends when a
// writer needs what is held. end must follow.
func (o *OwnHolds) Begin(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	o.Add()
	o.Lock()
	defer o.Unlock()
	if o.long == nil {
		o.long = map[int]longHold{}
	}
	o.last++
	me := o.last
	o.long[me] = longHold{cancel, goroutine.ID()}
	return ctx, func() {
		o.Lock()
		delete(o.long, me)
		o.Unlock()
		cancel()
		o.Done()
	}
}

// CancelLong cancels the holds whose owners may wait for the queue, and returns how many holds
// there are, of whatever kind, but for those of this goroutine that it would cancel: a
// transaction that moves blocks does not wait for itself.
func (o *OwnHolds) CancelLong() int64 {
	o.Lock()
	defer o.Unlock()
	n := o.count.Load()
	for _, h := range o.long {
		if h.goroutine == goroutine.ID() {
			n--
		} else {
			h.cancel()
		}
	}
	return n
}
