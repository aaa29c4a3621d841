package engine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
)

// ErrSelf says that a goroutine would wait for its own transaction.
var ErrSelf = errors.New("this goroutine is in a transaction of the same space already: in an Update use its Tx instead of the Space, in a Resume call checkpoint first")

// queue is the lock by which the goroutines of one process take turns at
// writing: first come, first served once it is contended, and a waiter can give
// up. Whoever has it may take the writer lock of the space and use the process's
// lists of free space.
type queue struct {
	state atomic.Int32    // 0 free, 1 held, 2 held and perhaps waited for
	owner atomic.Uintptr  // goroutine: only itself asks whether it is that, and it has written that itself
	over  <-chan struct{} // closed when nobody is to wait any more; nil: never
	wait  struct {
		sync.Mutex
		list []chan struct{}
	}
}

const spins = 20

// lock takes the lock, or returns the error of the context, or errGone.
func (q *queue) lock(ctx context.Context) error {
	if q.state.CompareAndSwap(0, 1) {
		setOwner(&q.owner, goroutine.ID())
		return nil
	}
	if q.owner.Load() == goroutine.ID() {
		return ErrSelf
	}
	if err := q.lockSlow(ctx); err != nil {
		return err
	}
	setOwner(&q.owner, goroutine.ID())
	return nil
}

// tryLock takes the lock if nobody has it.
func (q *queue) tryLock() bool {
	if !q.state.CompareAndSwap(0, 1) {
		return false
	}
	setOwner(&q.owner, goroutine.ID())
	return true
}

// mine reports whether this goroutine has the lock.
func (q *queue) mine() bool { return q.state.Load() != 0 && q.owner.Load() == goroutine.ID() }

// lockSlow waits for the lock.
func (q *queue) lockSlow(ctx context.Context) error {
	for range spins {
		if q.state.CompareAndSwap(0, 1) {
			return nil
		}
		runtime.Gosched()
	}
	q.wait.Lock()
	if q.state.Swap(2) == 0 {
		q.wait.Unlock()
		return nil // state 2 costs one look at the list when it is unlocked
	}
	turn := make(chan struct{})
	q.wait.list = append(q.wait.list, turn)
	q.wait.Unlock()
	err := errGone
	select {
	case <-turn:
		return nil
	case <-q.over:
	case <-ctx.Done():
		err = ctx.Err()
	}
	q.wait.Lock()
	i := slices.Index(q.wait.list, turn)
	if i >= 0 {
		q.wait.list = slices.Delete(q.wait.list, i, i+1)
	}
	q.wait.Unlock()
	if i < 0 { // our turn came at the same time
		q.unlock()
	}
	return err
}

// unlock gives the lock to the first waiter, if there is one.
func (q *queue) unlock() {
	setOwner(&q.owner, 0)
	if q.state.CompareAndSwap(1, 0) {
		return
	}
	q.wait.Lock()
	defer q.wait.Unlock()
	if len(q.wait.list) == 0 {
		q.state.Store(0)
		return
	}
	close(q.wait.list[0])
	q.wait.list = slices.Delete(q.wait.list, 0, 1)
}
