// Package queue is the lock by which the goroutines of one process take turns. It is first come,
// first served once it is contended, and a waiter can give up. Each space has a Queue in each
// process: the goroutine that holds it may take the space's writer lock, and use the process's lists
// of free space. Each named lock has a Queue of its own.
//
// Start reading at Queue.Lock.
package queue

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
)

var (
	// ErrSelf says that a goroutine would wait for its own transaction.
	ErrSelf = errors.New("this goroutine is in a transaction of the same space already: in an Update use its Tx instead of the Space, in a Resume call checkpoint first")
	// ErrGone says that Over was closed while the goroutine waited.
	ErrGone = errors.New("stopped waiting: the lock is not granted any more")
)

// Queue is the lock. The zero value is free.
type Queue struct {
	state atomic.Int32    // 0 free, 1 held, 2 held and perhaps with waiters
	owner atomic.Uintptr  // ID of the holder, which writes it; other goroutines only compare it with their own
	Over  <-chan struct{} // closed to end all waiting; nil: never
	slow  atomic.Uint32   // calls of LockSlow
	wait  struct {
		sync.Mutex
		list []chan struct{}
	}
}

// Contended counts the calls of Lock that found the lock held, modulo 2^32. The calls that still wait
// are counted, too.
func (q *Queue) Contended() uint32 { return q.slow.Load() }

// spins is how often a goroutine lets others run before it enters the list. Until then others can
// take the lock first, again and again: a goroutine that lets others run may come back only after
// milliseconds, while Go's collector runs or a goroutine computes on each processor.
const spins = 1

// Lock takes the lock, or returns the error of the context, ErrGone, or ErrSelf.
func (q *Queue) Lock(ctx context.Context) error {
	if q.state.CompareAndSwap(0, 1) {
		setOwner(&q.owner, goroutine.ID())
		return nil
	}
	if q.owner.Load() == goroutine.ID() {
		return ErrSelf
	}
	if err := q.LockSlow(ctx); err != nil {
		return err
	}
	setOwner(&q.owner, goroutine.ID())
	return nil
}

// TryLock takes the lock if it is free.
func (q *Queue) TryLock() bool {
	if !q.state.CompareAndSwap(0, 1) {
		return false
	}
	setOwner(&q.owner, goroutine.ID())
	return true
}

// Mine reports whether this goroutine has the lock.
func (q *Queue) Mine() bool { return q.state.Load() != 0 && q.owner.Load() == goroutine.ID() }

// LockSlow waits for the lock, even if this goroutine holds it, and does not set the owner.
func (q *Queue) LockSlow(ctx context.Context) error {
	q.slow.Add(1)
	for range spins {
		if q.state.CompareAndSwap(0, 1) {
			return nil
		}
		runtime.Gosched()
	}
	q.wait.Lock()
	if q.state.Swap(2) == 0 {
		q.wait.Unlock()
		return nil // state 2 only makes Unlock look at the list once
	}
	turn := make(chan struct{})
	q.wait.list = append(q.wait.list, turn)
	q.wait.Unlock()
	err := ErrGone
	select {
	case <-turn:
		return nil
	case <-q.Over:
	case <-ctx.Done():
		err = ctx.Err()
	}
	q.wait.Lock()
	i := slices.Index(q.wait.list, turn)
	if i >= 0 {
		q.wait.list = slices.Delete(q.wait.list, i, i+1)
	}
	q.wait.Unlock()
	if i < 0 { // Unlock granted the lock at the same time: pass it on
		q.Unlock()
	}
	return err
}

// Unlock gives the lock to the first waiter, or frees it.
func (q *Queue) Unlock() {
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
