package micro

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

func BenchmarkMutex_Uncontended(b *testing.B) {
	s := spacetest.Scratch(b)
	m := s.Mutex("m")
	ctx := context.Background()
	for b.Loop() {
		spacetest.Must(b, m.Lock(ctx))
		spacetest.Must(b, m.Unlock())
	}
}

func BenchmarkSemaphore_Uncontended(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprint(n, " units"), func(b *testing.B) {
			s := spacetest.Scratch(b)
			m := s.Semaphore("m", n)
			ctx := context.Background()
			for b.Loop() {
				spacetest.Must(b, m.Acquire(ctx))
				spacetest.Must(b, m.Release())
			}
		})
	}
}

// Two goroutines of one process hand the mutex to each other by its queue.
func BenchmarkMutex_TwoGoroutines(b *testing.B) {
	s := spacetest.Scratch(b)
	benchmarkTurns(b, s.Mutex("m"))
}

// benchmarkTurns locks and unlocks from two goroutines.
func benchmarkTurns(b *testing.B, m *everheap.Mutex) {
	var wg sync.WaitGroup
	b.ResetTimer()
	for g := range 2 {
		wg.Go(func() {
			for i := g; i < b.N; i += 2 {
				if err := m.Lock(context.Background()); err != nil {
					b.Error(err)
					return
				}
				if err := m.Unlock(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Two processes lock and unlock all the time. The metric is the time from one Lock to
// the next one, of either.
func BenchmarkMutex_TwoProcesses(b *testing.B) {
	s := spacetest.Scratch(b)
	m := s.Mutex("counter")
	other := spacetest.StartChild(b, "contender", spacetest.Env(s.Stats().Dir, 1, "", 1)...)
	other.Await("its first turns", func() bool { return other.Acked.Load() > 100 })
	before := other.Acked.Load() // to 5 ms
	for b.Loop() {
		spacetest.Must(b, m.Lock(context.Background()))
		spacetest.Must(b, m.Unlock())
	}
	theirs := other.Acked.Load() - before
	b.ReportMetric(float64(theirs)/float64(b.N), "of-the-other/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(theirs+uint64(b.N)), "ns/lock")
	other.Kill()
}

// A contender locks and unlocks from two goroutines all the time, and prints every 5 ms how often.
func init() { spacetest.Children["contender"] = contenderChild }

func contenderChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	spacetest.Say("start", 0)
	var group sync.WaitGroup
	var count atomic.Uint64
	for range 2 {
		group.Go(func() {
			for m := s.Mutex("counter"); !c.Ended.Load(); count.Add(1) {
				err := m.Lock(context.Background())
				if err == nil {
					err = m.Unlock()
				}
				if err != nil {
					spacetest.Failed("locking", err)
					return
				}
			}
		})
	}
	for !c.Ended.Load() {
		spacetest.Ack(count.Load())
		time.Sleep(5 * time.Millisecond)
	}
	group.Wait()
	return 0
}
