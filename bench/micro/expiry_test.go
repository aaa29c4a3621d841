package micro

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// lease is a value that expires.
type lease struct {
	Holder uint64
	Until  time.Time `everheap:"expires"`
}

// BenchmarkExpiry_Million lets 10^6 entries expire at one instant, and reports the times of another
// goroutine's commits meanwhile, and while no entry expires: the median, the 99th percentile, and the
// longest. The background removes the entries.
func BenchmarkExpiry_Million(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 20_000
	}
	for b.Loop() {
		wall := spacetest.NewWall()
		s := spacetest.Scratch(b, everheap.WithMaxSize(4<<30), wall.With())
		leases, err := everheap.OpenMap[uint64, lease](s, "leases")
		spacetest.Must(b, err)
		other, err := everheap.OpenMap[uint64, uint64](s, "other")
		spacetest.Must(b, err)
		until := wall.Now().Add(time.Hour)
		for i := 0; i < n; i += 1000 {
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
		commits := func(over func() bool) (took []time.Duration) {
			for i := uint64(0); !over(); i++ {
				began := time.Now()
				spacetest.Must(b, other.Set(s, i%1000, i))
				took = append(took, time.Since(began))
				time.Sleep(100 * time.Microsecond)
			}
			slices.Sort(took)
			return took
		}
		began := time.Now()
		quiet := commits(func() bool { return time.Since(began) > 3*time.Second })
		wall.Pass(time.Hour)
		began = time.Now()
		busy := commits(func() bool { return spacetest.StoredEntries(b, s, "leases") == 0 })
		took := time.Since(began)
		tell := func(name string, d []time.Duration) {
			b.ReportMetric(float64(d[len(d)/2].Nanoseconds())/1e3, name+"-p50-µs")
			b.ReportMetric(float64(d[len(d)*99/100].Nanoseconds())/1e3, name+"-p99-µs")
			b.ReportMetric(float64(d[len(d)-1].Nanoseconds())/1e3, name+"-max-µs")
		}
		tell("quiet", quiet)
		tell("expiring", busy)
		b.ReportMetric(float64(len(busy)), "commits")
		b.ReportMetric(took.Seconds(), "s-until-removed")
		b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/entry")
		spacetest.Must(b, s.Close())
	}
}
