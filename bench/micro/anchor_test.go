package micro

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The bytes that an anchor makes the process write after a number of 200,000 entries were
// overwritten, in total and per entry. A page is 4 KiB; an entry has about 200 bytes, and the way to
// it some nodes.
func BenchmarkAnchor_Bytes(b *testing.B) {
	const entries = 200_000
	s := spacetest.Scratch(b, everheap.WithMaxSize(1<<30), spacetest.WithoutBackground())
	m := spacetest.MapOf[string, account](b, s)
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
	spacetest.Must(b, spacetest.Engine(s).Anchor(true))
	for _, changed := range []int{1, 100, 10_000, entries} {
		b.Run(fmt.Sprint(changed), func(b *testing.B) {
			written := uint64(0)
			for n := range b.N {
				before := writtenBytes(b)
				for i := range changed {
					k := (i*7919 + n) % entries
					spacetest.Must(b, m.Set(s, accountKey(k), accountOf(k+n)))
				}
				spacetest.Must(b, spacetest.Engine(s).Anchor(true))
				written += writtenBytes(b) - before
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(written)/float64(b.N)/(1<<20), "MiB/anchor")
			b.ReportMetric(float64(written)/float64(b.N*changed), "B/change")
		})
	}
}

// writtenBytes returns how many bytes this process has caused to be written to disk,
// the journal's included.
func writtenBytes(b *testing.B) (n uint64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	spacetest.Must(b, err)
	_, rest, _ := strings.Cut(string(text), "\nwrite_bytes: ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		b.Fatal(err)
	}
	return n
}
