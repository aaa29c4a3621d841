package work

import (
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/model"
)

// ycsbMix is a workload of YCSB: shares of operations, in percent; the rest reads.
type ycsbMix struct {
	name                         string
	update, insert, scan, modify int
	latest                       bool // reads prefer recently inserted records
}

// ycsbMixes are A to F; the ones that insert come last.
var ycsbMixes = []ycsbMix{
	{name: "A", update: 50},
	{name: "B", update: 5},
	{name: "C"},
	{name: "F", modify: 50},
	{name: "D", insert: 5, latest: true},
	{name: "E", insert: 5, scan: 95},
}

const (
	ycsbTheta   = 0.99
	ycsbScan    = 100 // records of a scan at most, uniform from 1
	ycsbThreads = 2
)

// ycsb runs the mixes with two goroutines on the users: zipfian, scrambled. The records
// are users of about 150 bytes, not 1,000.
func (b *Bench) ycsb(dir string) error {
	o, err := b.loaded(dir, b.N, engines.Options{Durability: engines.Async, Writers: ycsbThreads}, ycsbThreads)
	if err != nil {
		return err
	}
	zipf := model.NewZipf(b.N, ycsbTheta)
	in := &insertion{next: b.N}
	in.there.Store(int64(b.N))
	for i, mix := range ycsbMixes {
		if mix.scan > 0 && !b.Info.Ordered {
			continue
		}
		workers := newWorkers(ycsbThreads, uint64(100*i))
		r, err := b.measured(o, ycsbThreads, loop{call: func(s engines.Session, w int) error {
			return b.ycsbOp(s, workers[w], mix, zipf, in)
		}})
		if err != nil {
			return err
		}
		b.Emit(r.record(mix.name, "async", r.rate(), "/s"))
	}
	return o.close()
}

// ycsbOp does one operation of a mix.
func (b *Bench) ycsbOp(s engines.Session, t *worker, mix ycsbMix, zipf *model.Zipf, in *insertion) error {
	op := t.rng.N(100)
	if op < mix.insert {
		i := in.begin()
		defer in.end(i)
		return s.Load(i, i+1, newUser)
	}
	op -= mix.insert
	i := zipf.Scrambled(t.rng)
	if mix.latest {
		i = max(0, int(in.there.Load())-1-zipf.Rank(t.rng))
	}
	key := t.key.Key(i)
	switch {
	case op < mix.update:
		return s.Put(key, t.pool.Take(i, int64(i)))
	case op < mix.update+mix.modify:
		return s.Update(key, func(u *model.User) { u.Karma++ })
	case op < mix.update+mix.modify+mix.scan:
		return s.(engines.Ranger).Range(key, 1+t.rng.N(ycsbScan), func(u *model.User) { t.user = *u })
	}
	return s.Get(key, &t.user)
}

// insertion assigns the numbers of new users, and knows below which number all users exist.
type insertion struct {
	there atomic.Int64

	mu      sync.Mutex
	next    int
	pending []int
}

func (in *insertion) begin() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.next++
	in.pending = append(in.pending, in.next-1)
	return in.next - 1
}

func (in *insertion) end(i int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	least := in.next
	for k := 0; k < len(in.pending); k++ {
		if in.pending[k] == i {
			in.pending = append(in.pending[:k], in.pending[k+1:]...)
			k--
			continue
		}
		least = min(least, in.pending[k])
	}
	in.there.Store(int64(least))
}
