// Command bench measures copies on JetStream: changes a second, how far a follower is behind, how
// long a new follower takes, and the cost for a leader's writers. Except for the last measurement,
// server, leader and follower run in this process, and share the processors of the machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/replica"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

var (
	entries = flag.Int("entries", 1_000_000, "entries that a new follower gets")
	changes = flag.Int("changes", 200_000, "changes that are shipped as fast as it goes")
	rate    = flag.Int("rate", 10_000, "commits a second, for the lag")
	rounds  = flag.Int("rounds", 15, "rounds with and without a leader, in turns")
	only    = flag.Bool("cost", false, "measure what writers pay, and nothing else")
)

// row is a record of about 150 bytes.
type row struct {
	Name, Text string
	N          int
}

// bench is one server with a leader's space.
type bench struct {
	ctx   context.Context
	dir   string
	nc    *nats.Conn
	stop  func()
	space *everheap.Space
	rows  everheap.Map[int, row]
}

func main() {
	flag.Parse()
	log.SetFlags(0)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if child, ok := children[os.Getenv(childVar)]; ok {
		if err := child(flag.Args()); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *only {
		if err := cost(); err != nil {
			log.Fatal(err)
		}
		return
	}
	fmt.Printf("%d processors, %s, %s/%s\n\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, always := range []bool{false, true} {
		run(fmt.Sprintf("shipped, sync_interval always: %v", always), always, everheap.WithFlushInterval(100*time.Millisecond), shipped)
	}
	for _, flush := range []time.Duration{100 * time.Millisecond, 5 * time.Millisecond} {
		run(fmt.Sprintf("lag, flush interval %v", flush), false, everheap.WithFlushInterval(flush), lag)
	}
	run("Update WithReplicas(1), one writer", false, everheap.WithFlushInterval(100*time.Millisecond), waiting)
	if err := cost(); err != nil {
		log.Fatal(err)
	}
	run("a new follower", false, everheap.WithFlushInterval(100*time.Millisecond), follower)
}

// run runs a measurement with a server and a space of its own.
func run(what string, always bool, flush everheap.Option, measure func(b *bench) (string, error)) {
	b, err := newBench(always, flush)
	if err == nil {
		var text string
		if text, err = measure(b); err == nil {
			fmt.Printf("%-45s %s\n", what, text)
		}
		b.stop()
	}
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func newBench(always bool, flush everheap.Option) (*bench, error) {
	dir, err := os.MkdirTemp("", "everheap-replica-bench-")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: filepath.Join(dir, "jetstream"), NoSigs: true, NoLog: true, SyncAlways: always})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("the server does not start")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	b := &bench{ctx: ctx, dir: dir}
	b.stop = func() {
		cancel()
		if b.space != nil {
			b.space.Close()
		}
		s.Shutdown()
		s.WaitForShutdown()
		os.RemoveAll(dir)
	}
	if b.nc, err = nats.Connect(s.ClientURL()); err == nil {
		b.space, err = everheap.Open(filepath.Join(dir, "space"), everheap.WithMaxSize(4<<30), flush)
	}
	if err == nil {
		b.rows, err = everheap.OpenMap[int, row](b.space, "rows")
	}
	return b, err
}

func (b *bench) options(copy string) replica.Options {
	return replica.Options{Stream: "bench", Copy: copy, SnapshotBytes: 1 << 40}
}

func (b *bench) set(i int) error {
	return b.rows.Set(b.space, i%10_000, row{Name: fmt.Sprint("name ", i), Text: strings.Repeat("text ", 20), N: i})
}

// newest returns the newest version of the leader's space.
func (b *bench) newest() (uint64, error) { return versionOf(b.space) }

// versionOf returns the newest version of a space.
func versionOf(space *everheap.Space) (v uint64, err error) {
	err = space.View(func(tx *everheap.Tx) error { v = uint64(tx.Version()); return nil })
	return v, err
}

// until waits until ok.
func until(ok func() bool) {
	for !ok() {
		time.Sleep(200 * time.Microsecond)
	}
}

func shipped(b *bench) (string, error) {
	l, err := replica.Lead(b.ctx, b.nc, b.space, b.options("a"))
	if err != nil {
		return "", err
	}
	began := time.Now()
	for i := range *changes {
		if err := b.set(i); err != nil {
			return "", err
		}
	}
	written := time.Since(began)
	v, err := b.newest()
	if err != nil {
		return "", err
	}
	until(func() bool { return l.Status().Durable >= v })
	all := time.Since(began)
	return fmt.Sprintf("%.0f changes/s in the log (written in %v, in the log after %v)", float64(*changes)/all.Seconds(), written.Round(time.Millisecond), all.Round(time.Millisecond)), l.Stop()
}

func lag(b *bench) (string, error) {
	l, err := replica.Lead(b.ctx, b.nc, b.space, b.options("a"))
	if err != nil {
		return "", err
	}
	f, err := replica.Follow(b.ctx, b.nc, filepath.Join(b.dir, "copy"), b.options("b"))
	if err != nil {
		return "", err
	}
	first, err := b.newest()
	if err != nil {
		return "", err
	}
	until(func() bool { return f.Status().Version >= first })
	n := 5 * *rate
	at := make([]time.Time, n)
	failed := make(chan error, 1)
	began := time.Now()
	go func() {
		for i := range n {
			if wait := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(*rate))); wait > 500*time.Microsecond {
				time.Sleep(wait)
			}
			at[i] = time.Now()
			if err := b.set(i); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	lags := make([]time.Duration, 0, n)
	for len(lags) < n {
		v, err := versionOf(f.Space())
		if err != nil {
			return "", err
		}
		now := time.Now()
		for len(lags) < n && first+uint64(len(lags))+1 <= v {
			lags = append(lags, now.Sub(at[len(lags)]))
		}
		time.Sleep(200 * time.Microsecond)
	}
	took := time.Since(began)
	if err := <-failed; err != nil {
		return "", err
	}
	slices.Sort(lags)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }
	text := fmt.Sprintf("p50 %s, p99 %s, most %s, at %.0f commits/s", ms(lags[n/2]), ms(lags[n*99/100]), ms(lags[n-1]), float64(n)/took.Seconds())
	if err := f.Stop(); err != nil {
		return "", err
	}
	return text, l.Stop()
}

func waiting(b *bench) (string, error) {
	l, err := replica.Lead(b.ctx, b.nc, b.space, b.options("a"))
	if err != nil {
		return "", err
	}
	f, err := replica.Follow(b.ctx, b.nc, filepath.Join(b.dir, "copy"), b.options("b"))
	if err != nil {
		return "", err
	}
	const n = 1000
	took := make([]time.Duration, n)
	for i := range n {
		began := time.Now()
		err := b.space.Update(b.ctx, func(tx *everheap.Tx) error { return b.rows.Set(tx, i, row{Name: "waits", N: i}) }, everheap.WithReplicas(1))
		if err != nil {
			return "", err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	text := fmt.Sprintf("p50 %v, p99 %v", took[n/2].Round(10*time.Microsecond), took[n*99/100].Round(10*time.Microsecond))
	if err := f.Stop(); err != nil {
		return "", err
	}
	return text, l.Stop()
}

func follower(b *bench) (string, error) {
	for i := 0; i < *entries; i += 1000 {
		err := b.space.Update(b.ctx, func(tx *everheap.Tx) error {
			for k := i; k < min(i+1000, *entries); k++ {
				if err := b.rows.Set(tx, k, row{Name: fmt.Sprint("name ", k), Text: strings.Repeat("text ", 20), N: k}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	began := time.Now()
	l, err := replica.Lead(b.ctx, b.nc, b.space, b.options("a"))
	if err != nil {
		return "", err
	}
	snapshot := time.Since(began)
	began = time.Now()
	f, err := replica.Follow(b.ctx, b.nc, filepath.Join(b.dir, "copy"), b.options("b"))
	if err != nil {
		return "", err
	}
	v, err := b.newest()
	if err != nil {
		return "", err
	}
	until(func() bool { return f.Status().Version >= v })
	text := fmt.Sprintf("%d entries: %v, from its start to the newest version (the leader's snapshot took %v)", *entries, time.Since(began).Round(10*time.Millisecond), snapshot.Round(10*time.Millisecond))
	if err := f.Stop(); err != nil {
		return "", err
	}
	return text, l.Stop()
}
