package work

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
)

// rawDisk is the bound for single durable commits: 4 KiB written by pwrite into a file that was
// filled before, and fdatasync, in a loop.
func rawDisk(dir string, seconds float64) (*result, error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const size = 16 << 20
	page := make([]byte, 4096)
	if _, err := f.Write(make([]byte, size)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	r := &result{}
	watch, start := measure.StartWatch(), time.Now()
	for time.Since(start).Seconds() < seconds {
		t := time.Now()
		page[0]++
		if _, err := f.WriteAt(page, r.ops*4096%size); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		r.latency.Add(int64(time.Since(t)))
		r.ops++
	}
	r.took, r.foreign = watch.Stop()
	return r, nil
}

// raw measures the bare disk, and how long a process of this program takes to start, which
// is part of each restart.
func (b *Bench) raw(dir string) error {
	b.quiet(nil)
	r, err := rawDisk(dir, b.Seconds)
	if err != nil {
		return err
	}
	b.Emit(r.record("write-and-sync-4k", "", r.rate(), "/s"))
	var starts []float64
	for range 5 {
		p, err := startChild(childSpec{Kind: "nothing"})
		if err != nil {
			return err
		}
		_, err = p.line(10 * time.Second)
		starts = append(starts, float64(time.Since(p.start))/1e6)
		p.end()
		if err != nil {
			return err
		}
	}
	slices.Sort(starts)
	b.Emit(measure.Record{Op: "process-start", Value: starts[len(starts)/2], Unit: "ms"})
	return nil
}

// durableN bounds the users of the durable commits: the path of a commit is what counts.
const durableN = 100_000

// durable measures commits of one record that a power loss does not undo, between two
// measurements of the bare disk.
func (b *Bench) durable(dir string) error {
	n := min(b.N, durableN)
	for _, writers := range []int{1, 16} {
		sub, err := subdir(dir, fmt.Sprint(writers))
		if err != nil {
			return err
		}
		o, err := b.loaded(sub, n, engines.Options{Durability: engines.Sync, Writers: writers}, writers)
		if err != nil {
			return err
		}
		unix.Sync() // so that data of the loading are not written meanwhile
		before, err := rawDisk(sub, b.Seconds/2)
		if err != nil {
			return err
		}
		workers := newWorkers(writers, 77)
		r, err := b.measured(o, writers, loop{times: true, call: func(s engines.Session, w int) error {
			t := workers[w]
			i := t.rng.N(n)
			return s.Put(t.key.Key(i), t.pool.Take(i, int64(i)))
		}})
		if err != nil {
			return err
		}
		after, err := rawDisk(sub, b.Seconds/2)
		if err != nil {
			return err
		}
		if err := o.close(); err != nil {
			return err
		}
		raw := (before.rate() + after.rate()) / 2
		rec := r.record(fmt.Sprintf("durable-%d", writers), "sync", r.rate(), "/s")
		rec.Extra["raw"], rec.Extra["of_raw"], rec.N = raw, r.rate()/raw, n
		b.Emit(rec)
	}
	return nil
}
