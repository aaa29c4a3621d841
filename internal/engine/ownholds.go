package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/goroutine"
)

// ownHolds counts the versions that a process holds for the sake of the space itself: for a
// sweep, while it moves blocks, while it writes an anchor or records, for a short look. They
// keep what was removed since from reuse, as the views of a program do.
//
//	RV7 A writer that has no space left waits for the holds of this kind (relief), since
//	    they end by themselves, but not for views, which end when a program likes. The
//	    writer has the queue: whoever waits for the queue with such a hold gets a context
//	    from begin, which relief cancels, and lets go of the hold then. A hold is counted
//	    before it is there, and until it is gone. So once none is counted, all that
//	    keeps older versions are views, usable anchors and other processes. Of those a
//	    sweeper is waited for (awaitSweeper), and a writer of an anchor (AnchorWriters).
type ownHolds struct {
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

// add counts a hold that waits for nobody; done must follow.
func (o *ownHolds) add() { o.count.Add(1) }

// done ends what add began.
func (o *ownHolds) done() { o.count.Add(-1) }

// begin counts a hold whose owner may wait for the queue: with the context, which ends when a
// writer needs what is held. end must follow.
func (o *ownHolds) begin(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	o.add()
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
		o.done()
	}
}

// cancelLong cancels the holds whose owners may wait for the queue, and returns how many there
// are besides those of this goroutine, which moves blocks itself, and those that can only end.
func (o *ownHolds) cancelLong() int64 {
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

// awaitOwnHolds waits until no hold of the space itself keeps an old version, but at most for
// reliefWait (RV7). The caller is the writer.
func (sp *Space) awaitOwnHolds() {
	for began := time.Now(); time.Since(began) < reliefWait; time.Sleep(reliefLook) {
		if sp.own.cancelLong() == 0 && !slices.ContainsFunc(sp.live.AnchorWriters(), sp.moves) {
			return
		}
	}
}
