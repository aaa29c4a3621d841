package micro

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"golang.org/x/sys/unix"
)

// The benchmarks of durable commits. Each runs the raw work of a disk, 4 KiB
// written by pwrite into a file that was filled before, and fdatasync, in turns
// with ours, and reports the metric ×raw: our rate divided by the raw one.

// rawDisk does the raw work.
type rawDisk struct {
	file *os.File
	page []byte
	at   int64
}

const rawSize = 64 << 20

func newRawDisk(b *testing.B, dir string) *rawDisk {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "raw"))
	spacetest.Must(b, err)
	b.Cleanup(func() { f.Close() })
	_, err = f.Write(make([]byte, rawSize))
	spacetest.Must(b, err)
	spacetest.Must(b, f.Sync())
	return &rawDisk{file: f, page: bytes.Repeat([]byte{1}, 4096)}
}

// write writes and syncs n pages.
func (d *rawDisk) write(b *testing.B, n int) {
	for range n {
		d.page[0]++
		_, err := d.file.WriteAt(d.page, d.at)
		spacetest.Must(b, err)
		spacetest.Must(b, unix.Fdatasync(int(d.file.Fd())))
		d.at = (d.at + 4096) % rawSize
	}
}

// againstDisk runs ours and the raw work in turns, and reports both rates.
func againstDisk(b *testing.B, dir string, turn int, ours func(n int)) {
	raw := newRawDisk(b, dir)
	ours(64) // warm
	raw.write(b, 16)
	var mine, disk time.Duration
	writes := 0
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(turn, b.N-done)
		t0 := time.Now()
		ours(n)
		t1 := time.Now()
		raw.write(b, turn/8)
		mine += t1.Sub(t0)
		disk += time.Since(t1)
		done += n
		writes += turn / 8
	}
	commits, pages := float64(b.N)/mine.Seconds(), float64(writes)/disk.Seconds()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(commits, "commits/s")
	b.ReportMetric(pages, "raw/s")
	b.ReportMetric(commits/pages, "×raw")
}

// durableSpace opens a space with a map for durable commits.
func durableSpace(b *testing.B, dir string) (*everheap.Space, everheap.Map[string, account]) {
	b.Helper()
	s, err := everheap.Open(dir, everheap.WithMaxSize(1<<30), everheap.WithDurability(everheap.Durable))
	spacetest.Must(b, err)
	m, err := everheap.OpenMap[string, account](s, "accounts")
	spacetest.Must(b, err)
	return s, m
}

func BenchmarkDurable_OneWriter(b *testing.B) {
	dir := b.TempDir()
	s, m := durableSpace(b, filepath.Join(dir, "s"))
	defer s.Close()
	i := 0
	againstDisk(b, dir, 512, func(n int) {
		for range n {
			spacetest.Must(b, m.Set(s, accountKey(i%10_000), accountOf(i)))
			i++
		}
	})
}

func BenchmarkDurable_16Goroutines(b *testing.B) {
	dir := b.TempDir()
	s, m := durableSpace(b, filepath.Join(dir, "s"))
	defer s.Close()
	var i atomic.Int64
	againstDisk(b, dir, 2048, func(n int) { durableCommits(b, s, m, 16, n, &i) })
}

// durableCommits makes n commits from several goroutines.
func durableCommits(t testing.TB, s *everheap.Space, m everheap.Map[string, account], goroutines, n int, i *atomic.Int64) {
	var all sync.WaitGroup
	last := i.Load() + int64(n)
	for range goroutines {
		all.Go(func() {
			for {
				k := i.Add(1)
				if k > last {
					return
				}
				if err := m.Set(s, accountKey(int(k)%10_000), accountOf(int(k))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	i.Store(last)
}

func init() { spacetest.Children["durable"] = durableChild }

// durableChild reads numbers, one a line. For each it makes that many durable commits from four
// goroutines, and answers with a line.
func durableChild() int {
	s, err := everheap.Open(os.Getenv("EVERHEAP_DIR"), everheap.WithDurability(everheap.Durable))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	m, err := everheap.OpenMap[string, account](s, "accounts")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	var i atomic.Int64
	for {
		var line string
		if _, err := fmt.Scanln(&line); err == io.EOF || line == "end" {
			return 0
		}
		n, err := strconv.Atoi(line)
		if err != nil {
			continue
		}
		var failed atomic.Int64
		var all sync.WaitGroup
		last := i.Load() + int64(n)
		for range 4 {
			all.Go(func() {
				for k := i.Add(1); k <= last; k = i.Add(1) {
					if m.Set(s, accountKey(int(k)%10_000), accountOf(int(k))) != nil {
						failed.Add(1)
					}
				}
			})
		}
		all.Wait()
		i.Store(last)
		fmt.Println("did", n-int(failed.Load()))
	}
}

func BenchmarkDurable_4Processes(b *testing.B) {
	dir := b.TempDir()
	s, _ := durableSpace(b, filepath.Join(dir, "s"))
	defer s.Close()
	const processes = 4
	list := make([]*spacetest.Child, processes)
	answers := make([]int, processes)
	for i := range list {
		list[i] = spacetest.StartChild(b, "durable", "EVERHEAP_DIR="+filepath.Join(dir, "s"))
		list[i].Await("its start", func() bool { return list[i].Heard("ready") == 1 })
	}
	againstDisk(b, dir, 4096, func(n int) {
		for i, c := range list {
			fmt.Fprintln(c.In, n/processes)
			answers[i]++
		}
		for i, c := range list {
			for c.Heard("did") < answers[i] {
				time.Sleep(time.Millisecond)
			}
		}
	})
	for _, c := range list {
		fmt.Fprintln(c.In, "end")
	}
}

// Commits with the default durability, against the same without a journal: the cost of the journal.
// Anchors are equally frequent in both, since they make blocks and pages cold. A faster growing
// journal requests more anchors: then their cost counts, too.
func BenchmarkPeriodic_AgainstNoJournal(b *testing.B) {
	b.Run("same_anchors", func(b *testing.B) { periodic(b, time.Second, time.Second) })
	b.Run("rare_anchors", func(b *testing.B) { periodic(b, 0, 0) })
}

func periodic(b *testing.B, anchors, anchorsWithout time.Duration) {
	dir := b.TempDir()
	const entries = 100_000
	fill := func(name string, o ...everheap.Option) (*everheap.Space, everheap.Map[string, account]) {
		s, err := everheap.Open(filepath.Join(dir, name), append(o, everheap.WithMaxSize(1<<30))...)
		spacetest.Must(b, err)
		m, err := everheap.OpenMap[string, account](s, "accounts")
		spacetest.Must(b, err)
		for i := 0; i < entries; i += 1000 {
			spacetest.Must(b, s.Update(context.Background(), func(tx *everheap.Tx) error {
				for j := i; j < i+1000; j++ {
					if err := m.Set(tx, accountKey(j), accountOf(j)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		return s, m
	}
	with, withMap := fill("with", spacetest.WithAnchorInterval(anchors))
	defer with.Close()
	without, withoutMap := fill("without", spacetest.WithoutJournal(), spacetest.WithAnchorInterval(anchorsWithout))
	defer without.Close()
	keys := make([]string, entries)
	for i := range keys {
		keys[i] = accountKey(i * 7919 % entries)
	}
	one := accountOf(1)
	write := func(s *everheap.Space, m everheap.Map[string, account], from, n int) time.Duration {
		began := time.Now()
		for i := from; i < from+n; i++ {
			one.Balance = int64(i)
			spacetest.Must(b, m.Set(s, keys[i%entries], one))
		}
		return time.Since(began)
	}
	var mine, bare time.Duration
	write(with, withMap, 0, 20_000)
	write(without, withoutMap, 0, 20_000)
	b.ResetTimer()
	for done := 0; done < b.N; done += 20_000 {
		n := min(20_000, b.N-done)
		mine += write(with, withMap, done, n)
		bare += write(without, withoutMap, done, n)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(mine.Nanoseconds())/float64(b.N), "ns/journal")
	b.ReportMetric(float64(bare.Nanoseconds())/float64(b.N), "ns/without")
	b.ReportMetric(float64(mine)/float64(bare), "×without")
}
