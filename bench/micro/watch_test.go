package micro

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The echo watches a map, and answers each change of one entry by a change of another: with the time
// at which it got the change.
func init() { spacetest.Children["echo"] = echoChild }

func echoChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, int64](s, "ping")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	pong, err := everheap.OpenMap[string, int64](s, "pong")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	spacetest.Say("ready")
	for change, err := range m.Watch(context.Background(), s) {
		told := time.Now().UnixNano()
		if err == nil && change.Key == "sent" {
			err = pong.Set(s, "told", told)
		}
		if err != nil {
			return spacetest.Failed("watching", err)
		}
	}
	return 0
}

// BenchmarkWatch_Latency measures the time from before a commit in one process until a watcher in
// another process, which sleeps before that, has the change. An operation is a round trip.
func BenchmarkWatch_Latency(b *testing.B) {
	for _, entries := range []int{1, 100_000} {
		b.Run(fmt.Sprint(entries, " entries"), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "s")
			s := spacetest.Open(b, dir, everheap.WithMaxSize(spacetest.TestWindow))
			ping := openInt64s(b, s, "ping", entries-1)
			pong := openInt64s(b, s, "pong", 0)
			spacetest.StartChild(b, "echo", spacetest.Env(dir, 1, "", 1)...).AwaitLine("ready")
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			var sent atomic.Int64
			send := func() {
				now := time.Now().UnixNano()
				sent.Store(now)
				if err := ping.Set(s, "sent", now); err != nil {
					b.Error(err)
				}
			}
			for answered := false; !answered && ctx.Err() == nil; { // the first answer says that the child listens
				send()
				time.Sleep(time.Millisecond)
				var err error
				if answered, err = pong.Has(s, "told"); err != nil {
					b.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond) // wait for the last of the first answers
			var took []time.Duration
			b.ResetTimer()
			time.AfterFunc(20*time.Millisecond, send)
			for change, err := range pong.Watch(ctx, s) {
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Duration(*change.New-sent.Load()))
				if len(took) == b.N {
					break
				}
				time.Sleep(200 * time.Microsecond) // until both sides sleep
				send()
			}
			b.StopTimer()
			slices.Sort(took)
			for _, q := range []struct {
				name string
				of   float64
			}{{"p10-µs", 0.1}, {"median-µs", 0.5}, {"p90-µs", 0.9}, {"p99-µs", 0.99}} {
				b.ReportMetric(float64(took[int(q.of*float64(len(took)))].Nanoseconds())/1000, q.name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// openInt64s opens a map and fills it with n entries.
func openInt64s(b *testing.B, s *everheap.Space, name string, n int) everheap.Map[string, int64] {
	b.Helper()
	m, err := everheap.OpenMap[string, int64](s, name)
	if err != nil {
		b.Fatal(err)
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, fmt.Sprint("entry ", i), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkSet_Watched measures a commit while another process waits for each version, although no
// watched entry changes.
func BenchmarkSet_Watched(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprint("watched ", watched), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "s")
			s := spacetest.Open(b, dir, everheap.WithMaxSize(spacetest.TestWindow))
			if watched {
				spacetest.StartChild(b, "echo", spacetest.Env(dir, 1, "", 1)...).AwaitLine("ready")
				time.Sleep(50 * time.Millisecond)
			}
			other := openInt64s(b, s, "other", 1000)
			b.ResetTimer()
			for i := range b.N {
				if err := other.Set(s, "entry 5", int64(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
