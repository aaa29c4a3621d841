package live

import (
	"testing"
	"time"
)

// watched looks at a holder that does not move, in ticks of the given lengths, over and
// over. It returns the time and the number of looks after which the holder counts as
// suspended, at most the limit.
func watched(ticks []time.Duration, limit int, stopped bool) (after time.Duration, looks int, accused bool) {
	var h holderWatch
	now := time.Now()
	began := now
	say := func() bool { return stopped }
	h.look(1, 7, 7, now, say)
	for looks = 1; looks <= limit; looks++ {
		now = now.Add(ticks[(looks-1)%len(ticks)])
		if h.look(1, 7, 7, now, say) {
			return now.Sub(began), looks, true
		}
	}
	return now.Sub(began), looks, false
}

func TestHolderWatch(t *testing.T) {
	oneLate := make([]time.Duration, 40) // a machine where one tick in 40 is late
	for i := range oneLate {
		oneLate[i] = tick
	}
	oneLate[20] = 10 * longTick
	for _, c := range []struct {
		what    string
		ticks   []time.Duration
		stopped bool
		most    time.Duration // 0: it does not count as suspended
	}{
		{"ordinary ticks", []time.Duration{tick}, false, graceTime + tick},
		{"one tick in 40 is late", oneLate, false, graceTime + 2*tick + 10*longTick},
		{"slow ticks", []time.Duration{longTick}, false, 2*graceTime + longTick},
		{"every other tick is late", []time.Duration{tick, 2 * longTick}, false, 41 * (tick + 2*longTick)},
		{"all ticks are late", []time.Duration{2 * longTick}, false, 41 * 2 * longTick},
		{"the system says that it is stopped", []time.Duration{2 * longTick}, true, graceTime + 4*longTick},
		{"the system says so, and one tick is of an hour", []time.Duration{tick, time.Hour}, true, 2*time.Hour + 4*tick},
	} {
		after, looks, accused := watched(c.ticks, 200, c.stopped)
		if !accused || after > c.most || after < graceTime {
			t.Errorf("%s: accused %v after %v and %d looks, want in %v", c.what, accused, after, looks, c.most)
		}
	}
	// A laptop that sleeps again and again, and is awake only for moments.
	if after, looks, accused := watched([]time.Duration{tick, time.Hour}, 60, false); accused {
		t.Errorf("accused after %v and %d looks, in which the machine stood still", after, looks)
	}
	// A waiter that wakes early does not count more time.
	if _, looks, accused := watched([]time.Duration{time.Millisecond}, 17, false); accused {
		t.Errorf("accused after %d looks in less than a tick", looks)
	}
}

// A holder that moves in between never counts as suspended, however late the ticks.
func TestHolderWatch_Moves(t *testing.T) {
	var h holderWatch
	now := time.Now()
	for beat := range uint64(500) {
		for range 30 {
			now = now.Add(tick)
			if h.look(1, beat, 7, now, func() bool { return beat%2 == 0 }) {
				t.Fatalf("accused although its heart beats, at beat %d", beat)
			}
		}
	}
	for commits := range uint64(500) {
		now = now.Add(2 * longTick)
		if h.look(1, 7, commits, now, func() bool { return false }) {
			t.Fatal("accused although it commits")
		}
	}
}
