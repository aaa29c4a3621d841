package subscription

import (
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// The process that brings frames from the leader to a replica notes here what the leader has, for
// the statistics of all processes. Nothing else relies on it, and it ends with the live file.

// Leader is what a replica knows of its leader. Times are by the leader's clock.
type Leader struct {
	Known  format.Version // the leader's newest version, at its last message
	Heard  time.Time      // time of its last message; zero: none yet
	Caught time.Time      // time of its last message at which the replica lacked nothing; zero: none yet
}

// Hear notes that the leader's newest version at a time was newest, while the replica had the
// version applied.
func Hear(v *live.Live, newest format.Version, at time.Time, applied format.Version) {
	w, nano := v.Words(), uint64(at.UnixNano())
	if newest <= applied {
		w.LeaderCaught.Store(nano)
	}
	w.LeaderKnown.Store(uint64(newest))
	w.LeaderHeard.Store(nano)
}

// LeaderOf returns what is known of the leader.
func LeaderOf(v *live.Live) *Leader {
	w := v.Words()
	return &Leader{format.Version(w.LeaderKnown.Load()), timeOf(w.LeaderHeard.Load()), timeOf(w.LeaderCaught.Load())}
}

// timeOf reads a time of the live file.
func timeOf(nano uint64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(nano))
}

// Behind returns how many versions of the leader a replica lacks, and for how long at most it has
// lacked one: since it last had everything, or since its own version was committed, if that is
// later.
func (l *Leader) Behind(applied format.Version, committed time.Time) (versions uint64, lag time.Duration) {
	if l.Known <= applied {
		return 0, 0
	}
	since := committed
	if l.Caught.After(since) {
		since = l.Caught
	}
	return uint64(l.Known - applied), max(time.Since(since), 0)
}
