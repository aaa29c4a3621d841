package micro

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
)

// The benchmarks compare with Go's own map in the same run, in turns of a few
// thousand operations, so that a noisy machine disturbs both sides alike. The result is the metric
// ×map: our time divided by the map's.

// account is a struct of about 150 bytes, owned parts included.
type account struct {
	ID      int64
	Name    string
	Email   string
	City    string
	Balance int64
	Visits  int64
	Score   float64
	Active  bool
}

// benchEntries is the number of entries of the benchmarks' maps.
const benchEntries = 1_000_000

func accountOf(i int) account {
	return account{
		ID: int64(i), Name: fmt.Sprintf("Person %d of Many", i), Email: fmt.Sprintf("person.%d@example.org", i),
		City: "Springfield", Balance: int64(i) * 100, Score: float64(i) / 7, Active: i%2 == 0,
	}
}

func accountKey(i int) string { return fmt.Sprintf("user:%08d", i) }

// bench has the data that the benchmarks share, since building them takes a while.
var bench struct {
	sync.Once
	space *everheap.Space
	users everheap.Map[string, account]
	gomap struct {
		sync.RWMutex
		m map[string]*account
	}
	keys []string // every key once, fresh copies in random order
}

// benchSetup fills a space and a Go map with the same million accounts.
func benchSetup(b *testing.B) {
	b.Helper()
	bench.Do(func() {
		dir := filepath.Join(benchDir(b), "bench")
		s, err := everheap.Open(dir, everheap.WithMaxSize(16<<30))
		if err != nil {
			b.Fatal(err)
		}
		bench.space = s
		if bench.users, err = everheap.OpenMap[string, account](s, "users"); err != nil {
			b.Fatal(err)
		}
		bench.gomap.m = make(map[string]*account)
		for i := 0; i < benchEntries; i += 1000 {
			err := s.Update(context.Background(), func(tx *everheap.Tx) error {
				for j := i; j < i+1000; j++ {
					if err := bench.users.Set(tx, accountKey(j), accountOf(j)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			for j := i; j < i+1000; j++ {
				a := accountOf(j)
				bench.gomap.m[accountKey(j)] = &a
			}
		}
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(benchEntries) {
			bench.keys = append(bench.keys, strings.Clone(accountKey(i)))
		}
	})
}

// turns runs both sides in turns of n operations until b.N are done on each, and
// reports their times and the ratio. The functions get the number of the first
// operation of the turn.
func turns(b *testing.B, n int, ours, theirs func(from, n int)) {
	b.Helper()
	turnsWith(b, "map", n, ours, theirs)
}

// turnsWith is turns against another reference than a map.
func turnsWith(b *testing.B, what string, n int, ours, theirs func(from, n int)) {
	b.Helper()
	var mine, other time.Duration
	ours(0, n) // warm
	theirs(0, n)
	b.ResetTimer()
	before := faults()
	for done := 0; done < b.N; done += n {
		k := min(n, b.N-done)
		t0 := time.Now()
		ours(done, k)
		t1 := time.Now()
		theirs(done, k)
		mine += t1.Sub(t0)
		other += time.Since(t1)
	}
	b.ReportMetric(float64(faults()-before)/float64(b.N), "faults/op")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(mine.Nanoseconds())/float64(b.N), "ns/ours")
	b.ReportMetric(float64(other.Nanoseconds())/float64(b.N), "ns/"+what)
	b.ReportMetric(float64(mine)/float64(other), "×"+what)
}

// faults returns the number of page faults of the process: they are a cost of a mapped file.
func faults() int64 {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return ru.Minflt
}

func benchKey(i int) string { return bench.keys[i%len(bench.keys)] }

var benchSum int64

// mapReads reads n accounts of the Go map.
func mapReads(from, n int) {
	for i := from; i < from+n; i++ {
		bench.gomap.RLock()
		benchSum += bench.gomap.m[benchKey(i)].Balance
		bench.gomap.RUnlock()
	}
}

// mapWrites stores n copies in the Go map.
func mapWrites(from, n int) {
	for i := from; i < from+n; i++ {
		a := account{ID: int64(i), Name: "Somebody Else Entirely", Email: "somebody.else@example.org", City: "Shelbyville", Balance: int64(i)}
		bench.gomap.Lock()
		bench.gomap.m[benchKey(i)] = &a
		bench.gomap.Unlock()
	}
}

func BenchmarkPeek(b *testing.B) {
	benchSetup(b)
	turns(b, 5000, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += bench.users.Peek(tx, benchKey(i)).Balance
			}
			return nil
		})
	}, mapReads)
}

func BenchmarkGet(b *testing.B) {
	benchSetup(b)
	b.ReportAllocs()
	turns(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			a, err := bench.users.Get(bench.space, benchKey(i))
			if err != nil {
				b.Fatal(err)
			}
			benchSum += a.Balance
		}
	}, mapReads)
}

func BenchmarkSet(b *testing.B) {
	benchSetup(b)
	turns(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			a := account{ID: int64(i), Name: "Somebody Else Entirely", Email: "somebody.else@example.org", City: "Shelbyville", Balance: int64(i)}
			if err := bench.users.Set(bench.space, benchKey(i), a); err != nil {
				b.Fatal(err)
			}
		}
	}, mapWrites)
}

func BenchmarkModify(b *testing.B) {
	benchSetup(b)
	turns(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			err := bench.users.Modify(bench.space, benchKey(i), func(a *account) error { a.Balance++; return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
	}, mapWrites)
}

// BenchmarkSet_Batch measures transactions of 1,000 entries, per entry.
func BenchmarkSet_Batch(b *testing.B) {
	benchSetup(b)
	turns(b, 5000, func(from, n int) {
		for first := from; first < from+n; first += 1000 {
			err := bench.space.Update(context.Background(), func(tx *everheap.Tx) error {
				for i := first; i < min(first+1000, from+n); i++ {
					a := account{ID: int64(i), Name: "Somebody Else Entirely", Email: "somebody.else@example.org", City: "Shelbyville", Balance: int64(i)}
					if err := bench.users.Set(tx, benchKey(i), a); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}, mapWrites)
}

// ownedBytes returns the size of a key and an account as Go objects: the structs, and the strings
// that they own.
func ownedBytes(key string, a account) int {
	return int(unsafe.Sizeof(key)) + len(key) + int(unsafe.Sizeof(a)) + len(a.Name) + len(a.Email) + len(a.City)
}

// BenchmarkPeek_Warm reads a thousand entries again and again, so it measures the work without cache
// misses.
func BenchmarkPeek_Warm(b *testing.B) {
	benchSetup(b)
	turns(b, 5000, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += bench.users.Peek(tx, benchKey(i%1000)).Balance
			}
			return nil
		})
	}, func(from, n int) {
		for i := from; i < from+n; i++ {
			bench.gomap.RLock()
			benchSum += bench.gomap.m[benchKey(i%1000)].Balance
			bench.gomap.RUnlock()
		}
	})
}

// BenchmarkMemory reports the bytes of the heap per entry, and the ratio to the size of key and
// struct as Go objects.
func BenchmarkMemory(b *testing.B) {
	benchSetup(b)
	for b.Loop() {
	}
	objects := 0
	for i := range benchEntries {
		objects += ownedBytes(accountKey(i), accountOf(i))
	}
	st := bench.space.Stats()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(objects)/benchEntries, "B/object")
	b.ReportMetric(float64(st.Live)/benchEntries, "B/entry")
	b.ReportMetric(float64(st.Live)/float64(objects), "×object")
	b.ReportMetric(float64(st.Used)/float64(objects), "file×object")
}

// strings benchmarks: the fast path for maps of strings to strings.

var benchText struct {
	sync.Once
	m     everheap.Map[string, string]
	gomap map[string]string
}

func benchTextSetup(b *testing.B) {
	benchSetup(b)
	benchText.Do(func() {
		var err error
		if benchText.m, err = everheap.OpenMap[string, string](bench.space, "text"); err != nil {
			b.Fatal(err)
		}
		benchText.gomap = map[string]string{}
		for i := 0; i < len(bench.keys); i += 1000 {
			err := bench.space.Update(context.Background(), func(tx *everheap.Tx) error {
				for _, k := range bench.keys[i : i+1000] {
					benchText.gomap[k] = strings.Repeat(k, 4)
					if err := benchText.m.Set(tx, k, benchText.gomap[k]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStrings_Peek(b *testing.B) {
	benchTextSetup(b)
	turns(b, 5000, func(from, n int) {
		bench.space.View(func(tx *everheap.Tx) error {
			for i := from; i < from+n; i++ {
				benchSum += int64(len(*benchText.m.Peek(tx, benchKey(i*7))))
			}
			return nil
		})
	}, func(from, n int) {
		for i := from; i < from+n; i++ {
			bench.gomap.RLock()
			benchSum += int64(len(benchText.gomap[benchKey(i*7)]))
			bench.gomap.RUnlock()
		}
	})
}

func BenchmarkStrings_Set(b *testing.B) {
	benchTextSetup(b)
	value := strings.Repeat("x", 50)
	turns(b, 5000, func(from, n int) {
		for i := from; i < from+n; i++ {
			if err := benchText.m.Set(bench.space, benchKey(i*7), value); err != nil {
				b.Fatal(err)
			}
		}
	}, func(from, n int) {
		for i := from; i < from+n; i++ {
			v := strings.Clone(value)
			bench.gomap.Lock()
			benchText.gomap[benchKey(i*7)] = v
			bench.gomap.Unlock()
		}
	})
}
