package micro

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// benchLink is a value that refers to another one.
type benchLink struct {
	N    int
	Next everheap.Ref[benchLink]
}

// BenchmarkCollect collects 100,000 values of 200,000, and shows how long single commits of
// a writer take meanwhile, against as many without a collection: half of them, all but one
// in a thousand, and the slowest.
func BenchmarkCollect(b *testing.B) {
	const objects = 100_000
	s := spacetest.Open(b, b.TempDir()+"/s", everheap.WithMaxSize(4<<30), everheap.WithoutCollect())
	kept, err := everheap.OpenMap[int, everheap.Ref[benchLink]](s, "kept")
	spacetest.Must(b, err)
	words, err := everheap.OpenMap[int, int](s, "words")
	spacetest.Must(b, err)
	fill := func(keep bool) {
		for from := 0; from < objects; from += 10_000 {
			spacetest.Update(b, s, func(tx *everheap.Tx) error {
				for i := from; i < from+10_000; i++ {
					r, err := everheap.New(tx, benchLink{N: i})
					if err == nil && keep {
						err = kept.Set(tx, i, r)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	fill(true)
	var with, without []time.Duration
	commits := func(list []time.Duration, more func() bool) []time.Duration {
		for i := 0; more(); i++ {
			began := time.Now()
			spacetest.Must(b, words.Set(s, i%1000, i))
			list = append(list, time.Since(began))
		}
		return list
	}
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		fill(false)
		b.StartTimer()
		done := make(chan everheap.CollectStats, 1)
		go func() {
			stats, err := s.Collect(context.Background())
			if err != nil {
				b.Error(err)
			}
			done <- stats
		}()
		n := len(with)
		with = commits(with, func() bool { return len(done) == 0 })
		stats := <-done
		if spent += stats.Duration; stats.Dropped != objects {
			b.Errorf("%+v", stats)
		}
		b.StopTimer()
		n = len(with) - n
		without = commits(without, func() bool { n--; return n >= 0 })
		b.StartTimer()
	}
	for name, list := range map[string][]time.Duration{"with": with, "without": without} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Nanoseconds())/1e3, "µs-half-"+name)
		b.ReportMetric(float64(list[len(list)*999/1000].Nanoseconds())/1e3, "µs-999/1000-"+name)
		b.ReportMetric(float64(list[len(list)-1].Nanoseconds())/1e3, "µs-slowest-"+name)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/(2*objects), "ns/object")
}
