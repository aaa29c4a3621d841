package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// A process that waits for a commit arms, looks whether Current is still the version that it
// knows, and sleeps. A process that commits disarms and wakes (L10). So a commit for which
// no process waits costs one look at a word that hardly ever changes. A waiter that died or
// stands still costs one commit one system call.

// Arm says that this process waits for the next commit. Then the caller looks at the newest
// version. If that is not the one that it waits for, it passes the result of Arm to
// AwaitCommit.
func (v *Live) Arm() (seen uint32) {
	seen = v.words.CommitFutex.Load()
	if v.guest != nil {
		return seen // a guest cannot arm: it looks when its sleep is over
	}
	v.words.Watchers.Store(1)
	invariant.Point("watch.armed")
	return seen
}

// AwaitCommit returns after a commit, after most, or earlier for no reason. It needs most,
// since a committer may have died before it woke the waiters. It occupies a thread.
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
