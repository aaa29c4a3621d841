package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// A process that waits for a commit arms, looks whether Current is still what it knows,
// and sleeps; a process that commits disarms and wakes (L10). So a commit that nobody
// waits for costs one look at a word that hardly ever changes, and a waiter that died or
// stands still costs one commit one system call.

// Arm says that this process waits for the next commit. Then the caller looks at the newest
// version, and if it does not wait for that one, passes the result to AwaitCommit.
func (v *Live) Arm() (seen uint32) {
	seen = v.words.CommitFutex.Load()
	if v.guest != nil {
		return seen // it cannot say so: it looks when its sleep is over
	}
	v.words.Watchers.Store(1)
	invariant.Point("watch.armed")
	return seen
}

// AwaitCommit returns after a commit, for no reason, or when the time is over, since a
// committer may have died before it woke anybody. It keeps a thread busy.
func (v *Live) AwaitCommit(seen uint32, most time.Duration) {
	oslock.FutexWait(futexWord(&v.words.CommitFutex), seen, most)
}

// WakeWatchers makes AwaitCommit return, in all processes.
func (v *Live) WakeWatchers() {
	if v.guest != nil {
		return
	}
	v.words.CommitFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.CommitFutex), math.MaxInt32)
}

// Announce wakes the processes that wait for a commit, in the order of L10.
func (v *Live) Announce() {
	if v.words.Watchers.Load() == 0 {
		return
	}
	v.words.Watchers.Store(0)
	invariant.Point("watch.disarmed")
	v.WakeWatchers()
}
