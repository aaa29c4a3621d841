package live_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
)

// A commit for which no process waits changes only Current. A commit for which a process
// waits clears Watchers, so that the next one costs nothing again.
func TestPublish_WakesThoseWhoWait(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	v := member(t, s)
	defer v.Leave(true)
	w := v.Words()
	publish := func() (changed bool) {
		before, base := w.CommitFutex.Load(), s.Live.Current()
		if !s.Live.Publish(base, base) {
			t.Fatal("not published")
		}
		s.Live.Announce()
		return w.CommitFutex.Load() != before
	}
	if publish() || w.Watchers.Load() != 0 {
		t.Error("a commit wakes although no process waits")
	}
	seen := v.Arm()
	if w.Watchers.Load() != 1 {
		t.Error("who waits cannot be seen")
	}
	if !publish() || w.Watchers.Load() != 0 {
		t.Error("a commit does not wake, or does not clear Watchers")
	}
	v.AwaitCommit(seen, time.Hour) // returns at once: the commit was before it
	if publish() {
		t.Error("the next commit wakes again")
	}
	seen = v.Arm()
	woken := make(chan struct{})
	go func() {
		v.AwaitCommit(seen, time.Hour)
		close(woken)
	}()
	time.Sleep(10 * time.Millisecond)
	publish()
	within(t, "waking", func() { <-woken })
	seen = v.Arm()
	s.Live.WakeWatchers()
	v.AwaitCommit(seen, time.Hour)
	if v.Arm(); w.Watchers.Load() != 1 {
		t.Error("arming anew is not seen")
	}
}

// No commit is missed (L10): the sleeps have no bound that would end them. Each commit of
// the first half is the last one for a while, those of the second half come all at once.
func TestAwaitCommit_MissesNothing(t *testing.T) {
	s := heaptest.Open(t, 64<<20)
	const commits, waiters = 3000, 3
	w := s.Live.Words()
	first := w.Current.Load()
	defer w.Current.Store(first)
	w.Current.Store(0) // counts the commits
	var done sync.WaitGroup
	var sleeps atomic.Int64
	var at [waiters]atomic.Uint64
	for i := range waiters {
		v := member(t, s)
		done.Go(func() {
			defer v.Leave(true)
			for at[i].Load() < 3*commits {
				seen := v.Arm()
				if now := uint64(v.Current()); now != at[i].Load() {
					at[i].Store(now)
					continue
				}
				sleeps.Add(1)
				v.AwaitCommit(seen, time.Hour)
			}
		})
	}
	commit := func(v *live.Live) {
		for {
			if base := v.Current(); v.Publish(base, base+1) {
				v.Announce()
				return
			}
		}
	}
	within(t, "telling of commits one by one", func() {
		for n := range uint64(commits) {
			commit(s.Live)
			for i := range at {
				for at[i].Load() <= n {
					runtime.Gosched()
				}
			}
		}
	})
	for range 2 {
		v := member(t, s)
		done.Go(func() {
			defer v.Leave(true)
			for i := range commits {
				if commit(v); i%16 == 0 {
					time.Sleep(time.Microsecond) // so that some fall asleep
				}
			}
		})
	}
	within(t, "telling of commits at once", done.Wait)
	if sleeps.Load() == 0 {
		t.Error("no waiter slept")
	}
	t.Logf("%d sleeps in %d commits", sleeps.Load(), 3*commits)
}
