package member

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
)

// OwnHolds counts the versions that the library itself holds in a process: for a sweep,
// while it moves blocks, while it writes an anchor or records, for a short look. Like the
// views of a program, these holds keep blocks that were freed since from being reused.
//
//	RV7 A writer that finds no space left waits for holds of this kind (package upkeep),
//	    since they end by themselves. It does not wait for views, which end when the program
//	    likes. The writer holds the queue. So a holder that may wait for the queue gets a
//	    context from Begin; the low-space hook cancels the context, and the holder then
//	    releases its hold. The count includes a hold from before it exists until after it
//	    ends. So when the count is 0, only views, usable anchors and other processes keep
//	    older versions. Of other processes, the writer waits for a sweeper
//	    (upkeep.Upkeep.replaceSweeper) and for the writer of an anchor
//	    (live.Live.AnchorWriters).
type OwnHolds struct {
	count atomic.Int64
	sync.Mutex
	last int
	long map[int]longHold
}

// longHold is a hold whose holder may wait for the queue.
type longHold struct {
	cancel    context.CancelFunc
	goroutine uintptr
}

// Add counts a hold whose holder does not wait for the queue; Done must follow.
func (o *OwnHolds) Add() { o.count.Add(1) }

// Done ends a hold that Add has counted.
func (o *OwnHolds) Done() { o.count.Add(-1) }

// Begin counts a hold whose holder may wait for the queue, with the context that Begin
// returns. The context ends when a writer needs the memory that the hold keeps. The holder
// must call end.
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

// CancelLong cancels the holds whose holders may wait for the queue, but not those of this
// goroutine: a transaction that moves blocks does not wait for itself. It returns how many
// holds of both kinds there are, again without those.
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
