package micro

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// An opening child prints how long it took to open the space and to read one entry.
func init() { spacetest.Children["first read"] = firstReadChild }

func firstReadChild() int {
	c := spacetest.NewInChild()
	began := time.Now()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, spacetest.Record](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	if _, err := m.Get(s, 7); err != nil {
		return spacetest.Failed("get", err)
	}
	spacetest.Say("read", time.Since(began).Nanoseconds())
	if err := m.Set(s, 7, spacetest.NewRecord(8, 20)); err != nil { // so that there are commits to recover
		return spacetest.Failed("set", err)
	}
	spacetest.Say("written")
	<-c.Asked
	return 0
}

// The time from opening a space to the first read, after the last user of the
// space was killed: it does not depend on the size of the space.
func BenchmarkOpen_FirstRead(b *testing.B) {
	var perOpen [2]float64
	for i, entries := range []uint64{1_000, 1_000_000} {
		b.Run(fmt.Sprint("entries=", entries), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "s")
			loader := spacetest.StartChild(b, "loader", spacetest.Env(dir, 0, fmt.Sprint(entries), 1)...)
			loader.AwaitLong("loaded")
			loader.Kill()
			var total int64
			for b.Loop() {
				c := spacetest.StartChild(b, "first read", spacetest.Env(dir, 1, "", 1)...)
				ns, err := strconv.ParseInt(c.AwaitLine("read"), 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				c.AwaitLine("written")
				c.Kill()
				total += ns
			}
			perOpen[i] = float64(total) / float64(b.N)
			b.ReportMetric(perOpen[i], "ns/open")
			if i == 1 && perOpen[0] > 0 {
				b.ReportMetric(perOpen[1]/perOpen[0], "×small")
			}
		})
	}
}

// A loader fills a map, and waits to be killed.
func init() { spacetest.Children["loader"] = loaderChild }

func loaderChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, spacetest.Record](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	n, _ := strconv.ParseUint(c.Work, 10, 64)
	for k := uint64(0); k < n; {
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			for range min(1000, n-k) {
				if err := m.Set(tx, k, spacetest.NewRecord(k, 20)); err != nil {
					return err
				}
				k++
			}
			return nil
		})
		if err != nil {
			return spacetest.Failed("update", err)
		}
	}
	spacetest.Say("loaded")
	<-c.Asked
	return 0
}
