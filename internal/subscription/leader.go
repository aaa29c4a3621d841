package subscription

import (
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Who brings the frames of its leader to a replica notes here what the leader has, for the statistics of all
// processes. Nothing rests on it, and nothing of it outlives the live file.

// Leader is what is known in a replica of its leader. Times are by the leader's clock.
type Leader struct {
	Known  format.Version // its newest version, as it has said last
	Heard  time.Time      // when it has said so; zero: never
	Caught time.Time      // when it has said last what the replica had; zero: never
}

// Hear notes which version was the leader's newest at a time, while the replica has another one.
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

// Behind returns how many versions a replica lacks that the leader has, and for how long at most it has lacked
// one: since it had everything, or since what it has was committed, if that is later.
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
