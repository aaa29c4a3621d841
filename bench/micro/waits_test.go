package micro

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// spent has the times of a thread so far.
type spent struct {
	thread int
	ran    time.Duration // on a processor
	ready  time.Duration // ready to run while others ran: due to the machine
}

// spentNow returns the times of this thread.
func spentNow() (s spent, err error) {
	runtime.LockOSThread() // the file and the number are of one thread
	defer runtime.UnlockOSThread()
	b, err := os.ReadFile("/proc/thread-self/schedstat")
	if err == nil {
		_, err = fmt.Sscan(string(b), &s.ran, &s.ready)
	}
	s.thread = unix.Gettid()
	return s, err
}

// A wait is a commit with the parts of its time.
type wait struct {
	took  time.Duration
	ready time.Duration // the thread was ready but did not run
	turn  time.Duration // another transaction had the turn, or the woken thread did not run yet
	other time.Duration // the remover had the turn, but did not run
}

// machine returns the time that is not due to the remover.
func (w *wait) machine() time.Duration { return min(w.ready+w.other, w.took) }

// A tenure is a transaction of the remover, from its turn to its commit.
type tenure struct{ took, ready time.Duration }

// waits collects waits and tenures from the trace of a space.
type waits struct {
	mu    sync.Mutex
	turn  time.Duration
	other time.Duration
	begun map[uint64]held
	holds []tenure
	moved int // transactions of the remover that changed their thread: their times are unknown
}

type held struct {
	at spent
	t  time.Time
}

// told handles a trace event.
func (w *waits) told(_ context.Context, e everheap.TraceEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !e.Background && e.Kind == everheap.TraceTurn:
		w.turn = e.Took
	case e.Background && e.Kind == everheap.TraceTurn:
		at, _ := spentNow()
		w.begun[e.Transaction] = held{at, e.Time}
	case e.Background && e.Kind == everheap.TraceCommit:
		h, ok := w.begun[e.Transaction]
		delete(w.begun, e.Transaction)
		now, err := spentNow()
		if !ok || err != nil || now.thread != h.at.thread {
			w.moved++
			return
		}
		w.other += now.ready - h.at.ready
		w.holds = append(w.holds, tenure{e.Time.Sub(h.t), now.ready - h.at.ready})
	}
}

// commits commits until it is over, in a thread of its own.
func (w *waits) commits(b *testing.B, s *everheap.Space, m everheap.Map[uint64, uint64], over func() bool) (list []wait) {
	for i := uint64(0); !over(); i++ {
		before, err := spentNow()
		spacetest.Must(b, err)
		w.mu.Lock()
		w.other = 0
		w.mu.Unlock()
		began := time.Now()
		spacetest.Must(b, m.Set(s, i%1000, i))
		took := time.Since(began)
		after, err := spentNow()
		spacetest.Must(b, err)
		w.mu.Lock()
		list = append(list, wait{took, after.ready - before.ready, w.turn, w.other})
		w.mu.Unlock()
		time.Sleep(100 * time.Microsecond)
	}
	return list
}

// stalls counts, for a while, how often one of two threads that only read the clock did not run for
// 2 ms, and returns for how long at most: what this machine does to any program with two threads.
func stalls(d time.Duration) (over int, most time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	end := time.Now().Add(d)
	for range 2 {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			n, longest := 0, time.Duration(0)
			for last := time.Now(); last.Before(end); {
				now := time.Now()
				if now.Sub(last) > 2*time.Millisecond {
					n++
				}
				longest, last = max(longest, now.Sub(last)), now
			}
			mu.Lock()
			defer mu.Unlock()
			over, most = over+n, max(most, longest)
		})
	}
	wg.Wait()
	return over, most
}

// BenchmarkExpiry_Waits shows why slow commits wait, while entries expire and while none does, in
// turns. For each commit it measures how long the thread was ready but did not run, which is due to
// other work of the machine, and how long it waited for its turn. For each transaction of the remover
// it measures how long others had to wait for it, with and without the time for which its thread did
// not run. For comparison, it
// counts how often two threads that only compute do not run for 2 ms in as much time (stalls): waits
// as rare and as short as those are due to the machine.
func BenchmarkExpiry_Waits(b *testing.B) {
	n, turns := 1_000_000, 5
	if testing.Short() {
		n = 20_000
	}
	if _, err := spentNow(); err != nil {
		b.Skip("the kernel does not tell how long a thread waits for a processor: ", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		wall := spacetest.NewWall()
		s := spacetest.Scratch(b, everheap.WithMaxSize(4<<30), wall.With())
		leases, err := everheap.OpenMap[uint64, lease](s, "leases")
		spacetest.Must(b, err)
		other, err := everheap.OpenMap[uint64, uint64](s, "other")
		spacetest.Must(b, err)
		for i := 0; i < n; i += 1000 {
			until := wall.Now().Add(time.Duration(1+i*turns/n) * time.Hour)
			spacetest.Update(b, s, func(tx *everheap.Tx) error {
				for k := range 1000 {
					if err := leases.Set(tx, uint64(i+k), lease{uint64(i), until}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		spacetest.Must(b, s.Sync(context.Background()))
		w := &waits{begun: map[uint64]held{}}
		stop := s.Trace(w.told)
		var quiet, busy []wait
		expiring := time.Duration(0)
		for turn := range turns {
			began := time.Now()
			quiet = append(quiet, w.commits(b, s, other, func() bool { return time.Since(began) > time.Second })...)
			wall.Pass(time.Hour)
			left := uint64(n - n*(turn+1)/turns)
			began = time.Now()
			busy = append(busy, w.commits(b, s, other, func() bool { return spacetest.StoredEntries(b, s, "leases") <= left })...)
			expiring += time.Since(began)
		}
		stop()
		report(b, "quiet", quiet)
		report(b, "expiring", busy)
		slices.SortFunc(w.holds, func(x, y tenure) int { return int(x.took - y.took) })
		most := time.Duration(0)
		for _, h := range w.holds {
			most = max(most, h.took-h.ready)
		}
		b.ReportMetric(float64(len(w.holds)), "holds")
		b.ReportMetric(float64(w.moved), "holds-unknown")
		b.ReportMetric(micros(w.holds[len(w.holds)*99/100].took), "held-p99-µs")
		b.ReportMetric(micros(w.holds[len(w.holds)-1].took), "held-max-µs")
		b.ReportMetric(micros(w.holds[len(w.holds)-1].ready), "held-max-not-run-µs")
		b.ReportMetric(micros(most), "held-max-running-µs")
		spacetest.Must(b, s.Close())
		over, longest := stalls(expiring)
		b.ReportMetric(float64(over), "machine-over-2ms")
		b.ReportMetric(micros(longest), "machine-max-µs")
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// report prints the longest commit with its waits, and the longest commit without the time due to the
// machine.
func report(b *testing.B, name string, list []wait) {
	longest, own := slices.MaxFunc(list, func(x, y wait) int { return int(x.took - y.took) }), time.Duration(0)
	over, overOwn := 0, 0
	for _, w := range list {
		own = max(own, w.took-w.machine())
		if w.took > 2*time.Millisecond {
			over++
			if w.took-w.machine() > 2*time.Millisecond {
				overOwn++
			}
		}
	}
	b.ReportMetric(float64(len(list)), name+"-commits")
	b.ReportMetric(micros(longest.took), name+"-max-µs")
	b.ReportMetric(micros(longest.ready), name+"-max-not-run-µs")
	b.ReportMetric(micros(longest.other), name+"-max-remover-not-run-µs")
	b.ReportMetric(micros(longest.turn), name+"-max-turn-µs")
	b.ReportMetric(micros(own), name+"-max-without-machine-µs")
	b.ReportMetric(float64(over), name+"-over-2ms")
	b.ReportMetric(float64(overOwn), name+"-over-2ms-without-machine")
}
