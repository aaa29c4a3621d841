//go:build explore

package queue

import "github.com/everheap/everheap/internal/goroutine"

// GoOnAs gives the lock to the calling goroutine of a fork, if the goroutine that forked has it.
func (q *Queue) GoOnAs(forker uintptr) {
	if q.owner.Load() == forker {
		q.owner.Store(goroutine.ID())
	}
}
