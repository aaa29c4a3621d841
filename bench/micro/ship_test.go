package micro

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/ship"
)

// The benchmarks of shipping a space to a directory. Another process ships, as in practice.

// shippedRow is a record of about 150 bytes.
type shippedRow struct {
	Name, Text string
	N          int
}

// shipped is a space that is written to, and the directory that it is shipped to.
type shipped struct {
	b     testing.TB
	dir   string
	space *everheap.Space
	rows  everheap.Map[int, shippedRow]
}

func newShipped(b testing.TB, opts ...everheap.Option) *shipped {
	b.Helper()
	s := &shipped{b: b, dir: filepath.Join(b.TempDir(), "shipped")}
	var err error
	s.space, err = everheap.Open(filepath.Join(b.TempDir(), "space"), append(opts, everheap.WithMaxSize(4<<30))...)
	spacetest.Must(b, err)
	b.Cleanup(func() { s.space.Close() })
	s.rows, err = everheap.OpenMap[int, shippedRow](s.space, "rows")
	spacetest.Must(b, err)
	return s
}

// set makes one version.
func (s *shipped) set(i int) {
	spacetest.Must(s.b, s.rows.Set(s.space, i%10_000, shippedRow{fmt.Sprint("name ", i), strings.Repeat("text ", 20), i}))
}

// newest makes all versions durable, and returns the newest one.
func (s *shipped) newest() everheap.Version {
	spacetest.Must(s.b, s.space.Sync(context.Background()))
	return s.space.Stats().Version
}

// catchUp ships until the newest version is in the directory, and returns the time since it has found
// where to continue.
func (s *shipped) catchUp() (took time.Duration) {
	var began time.Time
	spacetest.Must(s.b, ship.Run(context.Background(), s.space, s.dir, ship.Options{Once: s.newest(), Retain: 384 << 20, Report: func(ship.Progress) {
		if began.IsZero() {
			began = time.Now()
		}
		took = time.Since(began)
	}}))
	return took
}

func init() { spacetest.Children["shipping"] = shippingChild }

// shippingChild ships until it is told to end, and prints when which version was in the directory.
func shippingChild() int {
	c := spacetest.NewInChild()
	s, err := everheap.Open(os.Getenv("SHIP_SPACE"))
	if err != nil {
		return spacetest.Failed("opening", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for !c.Ended.Load() {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	started, used := false, time.Duration(0)
	err = ship.Run(ctx, s, os.Getenv("SHIP_DIR"), ship.Options{Report: func(p ship.Progress) {
		if !started {
			started, used = true, spacetest.UsedCPU()
			spacetest.Say("start", 0)
		}
		spacetest.Say("shipped", uint64(p.Version), time.Now().UnixNano())
	}})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return spacetest.Failed("shipping", err)
	}
	spacetest.Say("cpu", (spacetest.UsedCPU() - used).Nanoseconds())
	return 0
}

// shipping starts a process that ships, and returns a function that ends it.
func (s *shipped) shipping() (c *spacetest.Child, stop func()) {
	c = spacetest.StartChild(s.b, "shipping", "SHIP_SPACE="+s.space.Name(), "SHIP_DIR="+s.dir)
	c.AwaitStart()
	return c, func() {
		c.Tell("end")
		c.Await("its end", c.Gone)
	}
}

// rates writes n versions, ships them when they are durable, and returns the time of each step.
func (s *shipped) rates(n int) (journal, directory time.Duration) {
	s.catchUp()
	began := time.Now()
	for i := range n {
		s.set(i)
	}
	s.newest()
	return time.Since(began), s.catchUp()
}

// BenchmarkShip ships versions that are durable, in turns with the commits that make them and one sync of
// the journal: ×journal is how many times as fast the directory is.
func BenchmarkShip(b *testing.B) {
	const turn = 50_000
	s := newShipped(b)
	var journal, directory time.Duration
	done := 0
	for b.Loop() {
		j, d := s.rates(turn)
		journal, directory, done = journal+j, directory+d, done+turn
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(done)/directory.Seconds(), "changes/s")
	b.ReportMetric(float64(done)/journal.Seconds(), "journal/s")
	b.ReportMetric(journal.Seconds()/directory.Seconds(), "×journal")
}

// lags writes n versions at a rate while another process ships, and returns how long each took from its
// commit until it was in the directory, sorted.
func (s *shipped) lags(n, rate int) []time.Duration {
	c, stop := s.shipping()
	defer stop()
	first := s.newest()
	at := make([]time.Time, n)
	began := time.Now()
	for i := range n {
		pace(began, i, rate)
		s.set(i)
		at[i] = time.Now()
	}
	last := first + everheap.Version(n)
	var lags []time.Duration
	next := 0
	c.Await("the last version", func() bool {
		words := c.Words()
		for _, line := range words[next:] {
			var v, nano int64
			if _, err := fmt.Sscanf(line, "shipped %d %d", &v, &nano); err != nil {
				continue
			}
			for k := len(lags); k < n && first+everheap.Version(k)+1 <= everheap.Version(v); k++ {
				lags = append(lags, time.Unix(0, nano).Sub(at[k]))
			}
		}
		next = len(words)
		return len(lags) == n
	})
	if got := s.space.Stats().Version; got != last {
		s.b.Fatalf("version %d was written, want %d", got, last)
	}
	slices.Sort(lags)
	return lags
}

// pace waits until it is time for the i-th operation at a rate.
func pace(began time.Time, i, rate int) {
	if wait := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))); wait > 500*time.Microsecond {
		time.Sleep(wait)
	}
}

// BenchmarkShip_Lag makes 10,000 commits a second, and measures their time to the directory, by the
// interval in which the space makes them durable.
func BenchmarkShip_Lag(b *testing.B) {
	for _, flush := range []time.Duration{100 * time.Millisecond, 5 * time.Millisecond} {
		b.Run(fmt.Sprint("flush=", flush), func(b *testing.B) {
			s := newShipped(b, everheap.WithFlushInterval(flush))
			s.catchUp()
			for b.Loop() {
				lags := s.lags(50_000, 10_000)
				b.ReportMetric(lags[len(lags)/2].Seconds()*1e3, "p50-ms")
				b.ReportMetric(lags[len(lags)*99/100].Seconds()*1e3, "p99-ms")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cost is the cost of a Set in a loop: the mean time, the 99th percentile, and the processor time of
// the process.
type cost struct{ mean, p99, cpu float64 }

// loop writes n versions as fast as it goes, or at a rate.
func (s *shipped) loop(n, rate int) (c cost) {
	times := make([]float64, n)
	used, began := spacetest.UsedCPU(), time.Now()
	for i := range n {
		if rate > 0 {
			pace(began, i, rate)
		}
		at := time.Now()
		s.set(i)
		times[i] = float64(time.Since(at))
		c.mean += times[i] / float64(n)
	}
	c.cpu = float64(spacetest.UsedCPU()-used) / float64(n)
	slices.Sort(times)
	c.p99 = times[n*99/100]
	return c
}

// BenchmarkShip_Cost measures the cost of a Set while another process ships, relative to its cost
// without: the medians of rounds in turns. ship-µs is the processor time of the other process per
// version.
func BenchmarkShip_Cost(b *testing.B) {
	for _, rate := range []int{0, 10_000, 1000} {
		name := "full"
		if rate > 0 {
			name = fmt.Sprint("rate=", rate)
		}
		b.Run(name, func(b *testing.B) {
			s := newShipped(b)
			s.catchUp()
			s.loop(10_000, 0) // warm
			n := 50_000
			if rate > 0 {
				n = 2 * rate
			}
			var means, p99s, cpus, others []float64
			for b.Loop() {
				without, with, other := s.costs(n, rate)
				means, p99s = append(means, with.mean/without.mean), append(p99s, with.p99/without.p99)
				cpus, others = append(cpus, with.cpu/without.cpu), append(others, other/1000)
			}
			middle := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(means), "×mean")
			b.ReportMetric(middle(p99s), "×p99")
			b.ReportMetric(middle(cpus), "×cpu")
			b.ReportMetric(middle(others), "ship-µs")
		})
	}
}

// costs runs a round of the loop without shipping and one with it, and returns the processor time of
// the shipping process, in nanoseconds per version.
func (s *shipped) costs(n, rate int) (without, with cost, other float64) {
	without = s.loop(n, rate)
	c, stop := s.shipping()
	with = s.loop(n, rate)
	stop()
	_, err := fmt.Sscan(c.Rest("cpu"), &other)
	spacetest.Must(s.b, err)
	return without, with, other / float64(n)
}

// The benchmarks are valid: all versions reach the directory, and each has its time.
func TestShip_Measured(t *testing.T) {
	s := newShipped(t)
	if journal, directory := s.rates(200); journal <= 0 || directory <= 0 {
		t.Errorf("%v and %v", journal, directory)
	}
	if lags := s.lags(200, 10_000); len(lags) != 200 || lags[0] < 0 {
		t.Errorf("%d lags, from %v on", len(lags), lags[0])
	}
	if without, with, other := s.costs(200, 10_000); min(without.mean, without.p99, with.mean, with.p99, other) <= 0 {
		t.Errorf("%v %v %v", without, with, other)
	}
	s.catchUp()
	dir := filepath.Join(t.TempDir(), "restored")
	done, err := ship.Restore(context.Background(), s.dir, dir, ship.At{}, nil)
	spacetest.Must(t, err)
	if want := s.space.Stats().Version; done.Version != want {
		t.Errorf("version %d is in the directory, want %d", done.Version, want)
	}
}
