package work

import (
	"fmt"
	"runtime"
	"time"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// points loads the users, in transactions of 1,000, and then reads and writes single ones,
// drawn uniformly. Reads verify the ID that they got.
func (b *Bench) points(dir string) error {
	o, err := b.load(dir)
	if err != nil {
		return err
	}
	if b.Info.Persistent && b.Info.Snapshot == "" { // the same data, in the mode in which a process may be killed
		if err := o.close(); err != nil {
			return err
		}
		if o, err = b.open(engines.Options{Dir: dir, Durability: engines.Async}, 2); err != nil {
			return err
		}
	}
	workers := newWorkers(2, 1000)
	if err := b.reads(o, workers); err != nil {
		return err
	}
	if err := b.scan(o); err != nil {
		return err
	}
	if err := b.writes(o, workers); err != nil {
		return err
	}
	return o.close()
}

// load measures the loading, the size of the data, and the cost of a garbage collection with them.
func (b *Bench) load(dir string) (*opened, error) {
	o, err := b.open(engines.Options{Dir: dir, Durability: engines.None}, 2)
	if err != nil {
		return nil, err
	}
	b.quiet(o)
	r := &result{ops: int64(b.N)}
	users := make([]model.User, batch)
	watch := measure.StartWatch(o.pids()...)
	for lo := 0; lo < b.N; lo += batch {
		hi := min(lo+batch, b.N)
		for i := lo; i < hi; i++ { // drawing does not count as loading
			newUser(i, &users[i-lo])
		}
		start := time.Now()
		if err := o.sessions[0].Load(lo, hi, func(i int, u *model.User) { *u = users[i-lo] }); err != nil {
			return nil, err
		}
		r.took += time.Since(start)
	}
	_, r.foreign = watch.Stop()
	b.Emit(r.record("load", "none", float64(r.took)/float64(b.N), "ns"))
	mem := measure.MemoryOf(o.pids()...)
	b.Emit(measure.Record{Op: "memory", Value: mem.RSS, Unit: "MiB", Extra: map[string]float64{"anon": mem.Anon}})
	if b.Info.Persistent && b.Info.Snapshot == "" {
		b.Emit(measure.Record{Op: "disk", Value: measure.DiskMiB(dir), Unit: "MiB"})
	}
	runtime.GC()
	t := time.Now()
	runtime.GC()
	b.Emit(measure.Record{Op: "gc", Value: float64(time.Since(t)) / 1e6, Unit: "ms"})
	return o, nil
}

func (b *Bench) reads(o *opened, workers []*worker) error {
	get := func(s engines.Session, w int) error {
		t := workers[w]
		i := t.rng.N(b.N)
		if err := s.Get(t.key.Key(i), &t.user); err != nil {
			return fmt.Errorf("get %d: %w", i, err)
		}
		if t.user.ID != uint64(i) {
			return fmt.Errorf("get %d: it has the ID %d", i, t.user.ID)
		}
		return nil
	}
	if err := get(o.sessions[0], 0); err != nil {
		return err
	}
	if u := &workers[0].user; model.CheckUser(u, int(u.ID)) != nil {
		return model.CheckUser(u, int(u.ID))
	}
	if err := b.point(o, "get", "", 1, loop{call: get}); err != nil {
		return err
	}
	if err := b.point(o, "get-2-goroutines", "", 2, loop{call: get}); err != nil {
		return err
	}
	next := func(w int) func() string {
		return func() string { return workers[w].key.Key(workers[w].rng.N(b.N)) }
	}
	keys := next(0)
	if _, ok := o.sessions[0].(engines.TxGetter); ok {
		if err := b.point(o, "get-tx1000", "", 1, loop{step: batch, call: func(s engines.Session, w int) error {
			return s.(engines.TxGetter).GetTx(batch, keys, &workers[w].user)
		}}); err != nil {
			return err
		}
	}
	if !b.Info.ZeroCopy {
		return nil
	}
	if err := b.point(o, "in-place", "", 1, loop{call: func(s engines.Session, w int) error {
		_, err := s.(engines.ZeroCopier).GetZC(keys())
		return err
	}}); err != nil {
		return err
	}
	return b.point(o, "in-place-tx1000", "", 1, loop{step: batch, call: func(s engines.Session, w int) error {
		_, err := s.(engines.ZeroCopier).GetZCTx(batch, keys)
		return err
	}})
}

func (b *Bench) writes(o *opened, workers []*worker) error {
	if err := b.point(o, "put1", "async", 1, loop{times: true, call: func(s engines.Session, w int) error {
		t := workers[w]
		i := t.rng.N(b.N)
		return s.Put(t.key.Key(i), t.pool.Take(i, int64(i)))
	}}); err != nil {
		return err
	}
	return b.point(o, "rmw1", "async", 1, loop{times: true, call: func(s engines.Session, w int) error {
		t := workers[w]
		return s.Update(t.key.Key(t.rng.N(b.N)), func(u *model.User) { u.Karma++ })
	}})
}

// point measures a loop; the value is the time of one operation, as one goroutine sees it.
func (b *Bench) point(o *opened, op, mode string, sessions int, l loop) error {
	runtime.GC()
	r, err := b.measured(o, sessions, l)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	b.Emit(r.record(op, mode, float64(r.took)*float64(sessions)/float64(r.ops), "ns"))
	return nil
}

// scan decodes all users.
func (b *Bench) scan(o *opened) error {
	runtime.GC()
	b.quiet(o)
	watch := measure.StartWatch(o.pids()...)
	r, sum := &result{}, int64(0)
	if err := o.sessions[0].Scan(func(u *model.User) { r.ops++; sum += u.Karma + int64(len(u.Name)) }); err != nil {
		return err
	}
	r.took, r.foreign = watch.Stop()
	if n := int64(b.N); r.ops < n || r.ops > n+n/100 { // Redis may tell a key twice
		return fmt.Errorf("the scan has %d of %d users", r.ops, n)
	}
	b.Emit(r.record("scan", "", float64(r.took)/float64(r.ops), "ns"))
	return nil
}
