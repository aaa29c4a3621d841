//go:build explore

package queue

import "github.com/everheap/everheap/internal/goroutine"

// GoOnAs makes the calling goroutine, of a fork, the one that has forked: that one may have
// the lock.
func (q *Queue) GoOnAs(forker uintptr) {
	if q.owner.Load() == forker {
		q.owner.Store(goroutine.ID())
	}
}
