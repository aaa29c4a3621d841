package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// Whoever waits for a commit arms, looks whether Current is what he knows still, and
// sleeps; who commits disarms and wakes (L10). So a commit that nobody waits for costs
// one look at a word that hardly ever changes, and one who waited and died, or stands
// still, costs one commit one system call.

// Arm says that this process waits for the next commit. After it the caller looks at
// the newest version, and if it is none that he waits for, passes the result to
// AwaitCommit.
func (v *Live) Arm() (seen uint32) {
	seen = v.words.CommitFutex.Load()
	if v.guest != nil {
		return seen // it cannot say so: it looks when its sleep is over
	}
	v.words.Watchers.Store(1)
	invariant.Point("watch.armed")
	return seen
}

// AwaitCommit returns after a commit, for no reason, or when the time is over: who
// has committed may have died before he woke anybody. It keeps a thread busy.
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

// Announce tells those who wait of a commit. The order is that of L10.
func (v *Live) Announce() {
	if v.words.Watchers.Load() == 0 {
		return
	}
	v.words.Watchers.Store(0)
	invariant.Point("watch.disarmed")
	v.WakeWatchers()
}
