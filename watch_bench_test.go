package everheap_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// The echo watches one entry, and writes to another how long ago what it is told was
// committed.
func init() { children["echo"] = echoChild }

func echoChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[string, int64](s, "ping")
	if err != nil {
		return failed("open", err)
	}
	pong, err := everheap.OpenMap[string, int64](s, "pong")
	if err != nil {
		return failed("open", err)
	}
	say("ready")
	for change, err := range m.Watch(context.Background(), s, everheap.WithInitial()) {
		took := time.Now().UnixNano()
		if err == nil {
			err = pong.Set(s, "took", took-*change.New)
		}
		if err != nil {
			return failed("watching", err)
		}
	}
	return 0
}

// BenchmarkWatch_Latency measures the time from before a commit in one process until the
// change is in the hands of a watcher in another one, which sleeps before that. An
// operation is a way and the way back.
func BenchmarkWatch_Latency(b *testing.B) {
	for _, entries := range []int{1, 100_000} {
		b.Run(fmt.Sprint(entries, " entries"), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "s")
			s := open(b, dir, everheap.WithMaxSize(testWindow))
			ping := openInt64s(b, s, "ping", entries-1)
			pong := openInt64s(b, s, "pong", 0)
			startChild(b, "echo", env(dir, 1, "", 1)...).awaitLine("ready")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			sent, took := 0, []time.Duration(nil)
			send := func() {
				if err := ping.Set(s, "sent", time.Now().UnixNano()); err != nil {
					b.Fatal(err)
				}
				sent++
			}
			for send(); len(took) == 0; { // the first one says that the child listens
				time.Sleep(time.Millisecond)
				if n, err := pong.Get(s, "took"); err == nil && n < int64(time.Second) {
					took = append(took, time.Duration(n))
				}
			}
			time.AfterFunc(20*time.Millisecond, send)
			b.ResetTimer()
			for change, err := range pong.Watch(ctx, s) {
				if err != nil {
					b.Fatal(err)
				}
				if took = append(took, time.Duration(*change.New)); sent > b.N {
					break
				}
				time.Sleep(200 * time.Microsecond) // both sides fall asleep
				send()
			}
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "median-µs")
			b.ReportMetric(float64(took[len(took)*9/10].Nanoseconds())/1000, "p90-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// openInt64s opens a map and fills it with so many entries.
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

// BenchmarkSet_Watched is a commit while another process waits for each, although it has
// nothing to tell.
func BenchmarkSet_Watched(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprint("watched ", watched), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "s")
			s := open(b, dir, everheap.WithMaxSize(testWindow))
			if watched {
				startChild(b, "echo", env(dir, 1, "", 1)...).awaitLine("ready")
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
