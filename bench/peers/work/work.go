// Package work has the workloads. Each runs in a process of its own with one engine and
// emits records. Start reading at Workloads and Bench.
package work

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// Config is the size of the work.
type Config struct {
	N         int           // users
	Seconds   float64       // of each timed loop
	Dir       string        // under which the data lie
	Round     int           // of which the records are, from 1
	Quiet     float64       // percent of the machine that others may use; 0: whatever they use
	QuietWait time.Duration // at most, for that
	Scale     float64       // of the day of the forum: 1 is 1,110,000 operations
	Parts     int           // of the graph
	Updates   int           // while a reader holds its version
	LimitMiB  int           // of memory, for data larger than memory
	LargeN    int           // users then
}

// Bench is one workload with one engine.
type Bench struct {
	Config
	Name string // of the engine
	Info engines.Info
	Emit func(measure.Record)
}

// Workload is a kind of work.
type Workload struct {
	Name string
	What string
	Fits func(info engines.Info) bool
	run  func(b *Bench, dir string) error
}

// Workloads lists them, in the order in which they run.
var Workloads = []Workload{
	{"raw", "what the disk and the start of a process take", func(engines.Info) bool { return false }, (*Bench).raw},
	{"points", "load, reads, writes, scan", func(i engines.Info) bool { return !i.GraphOnly }, (*Bench).points},
	{"indexed", "a unique index of a field: lookups, and writes that keep it", func(i engines.Info) bool { return i.Indexed }, (*Bench).indexed},
	{"durable", "durable commits, 1 and 16 writers", func(i engines.Info) bool { return i.Durable }, (*Bench).durable},
	{"restart", "from the start of a process to its first read, after SIGKILL", func(i engines.Info) bool { return i.Persistent }, (*Bench).restart},
	{"processes", "two and four processes: one writes, the others read", func(i engines.Info) bool { return i.MultiProcess }, (*Bench).processes},
	{"ycsb", "YCSB A to F", func(i engines.Info) bool { return !i.GraphOnly }, (*Bench).ycsb},
	{"forum", "the day of a forum", func(i engines.Info) bool { return i.Forum }, (*Bench).forum},
	{"reader", "a reader holds its version while others write", func(i engines.Info) bool { return i.Versions && i.Persistent }, (*Bench).reader},
	{"graph", "traversal of a graph", func(i engines.Info) bool { return !i.NoGraph }, (*Bench).graph},
	{"memory", "data several times as large as memory", func(i engines.Info) bool { return i.Persistent && i.Snapshot == "" }, (*Bench).memory},
}

// Disk is the name under which the figures of the bare disk are recorded.
const Disk = "disk"

// Find returns the workload of a name.
func Find(name string) (Workload, bool) {
	for _, w := range Workloads {
		if w.Name == name {
			return w, true
		}
	}
	return Workload{}, false
}

// Run does a workload with an engine, in a directory that is removed afterwards.
func Run(workload, engine string, c Config, emit func(measure.Record)) error {
	w, ok := Find(workload)
	if !ok {
		return fmt.Errorf("there is no workload %s", workload)
	}
	b := &Bench{Config: c, Name: engine}
	if engine != Disk {
		e := engines.New(engine)
		if e == nil {
			return fmt.Errorf("engine %s is not there", engine)
		}
		b.Info = e.Info()
	}
	b.Emit = func(r measure.Record) {
		r.Engine, r.Workload, r.Round = engine, workload, c.Round
		if r.N == 0 {
			r.N = c.N
		}
		emit(r)
	}
	dir, err := os.MkdirTemp(c.Dir, "peers-"+engine+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return w.run(b, dir)
}

// opened is an open engine with sessions.
type opened struct {
	engines.Engine
	sessions []engines.Session
}

// open opens the engine, and sessions for so many goroutines.
func (b *Bench) open(o engines.Options, sessions int) (*opened, error) {
	e := engines.New(b.Name)
	o.Writers = max(o.Writers, 1)
	if err := e.Open(o); err != nil {
		return nil, err
	}
	op := &opened{Engine: e}
	for range sessions {
		s, err := e.Session()
		if err != nil {
			return nil, errors.Join(err, op.close())
		}
		op.sessions = append(op.sessions, s)
	}
	return op, nil
}

func (o *opened) close() (err error) {
	for _, s := range o.sessions {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, o.Engine.Close())
}

// pids are the helpers of the engine.
func (o *opened) pids() []int {
	if p, ok := o.Engine.(engines.Process); ok {
		return p.PIDs()
	}
	return nil
}

// loaded makes a database of n users in dir, and opens it as o says.
func (b *Bench) loaded(dir string, n int, o engines.Options, sessions int) (*opened, error) {
	o.Dir = dir
	if !b.Info.Persistent || b.Info.Snapshot != "" {
		e, err := b.open(o, sessions)
		if err != nil {
			return nil, err
		}
		return e, loadUsers(e.sessions[0], n)
	}
	e, err := b.open(engines.Options{Dir: dir, Durability: engines.None, Indexed: o.Indexed}, 1)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(loadUsers(e.sessions[0], n), e.close()); err != nil {
		return nil, err
	}
	return b.open(o, sessions)
}

// batch is how many users one transaction loads.
const batch = 1000

func loadUsers(s engines.Session, n int) error {
	for lo := 0; lo < n; lo += batch {
		if err := s.Load(lo, min(lo+batch, n), newUser); err != nil {
			return err
		}
	}
	return nil
}

func newUser(i int, u *model.User) { model.FillUser(u, i, 0) }

// worker has the generators of a goroutine.
type worker struct {
	rng  *model.RNG
	key  *model.KeyBuf
	pool *model.UserPool
	user model.User
}

func newWorkers(n int, seed uint64) (list []*worker) {
	for i := range uint64(n) {
		list = append(list, &worker{rng: model.NewRNG(seed + i), key: model.NewKeyBuf(), pool: model.NewUserPool(i)})
	}
	return list
}

// loop is a loop that goroutines, one for each session, run for a time.
type loop struct {
	step  int  // operations that one call does
	times bool // note the latency of each call
	call  func(s engines.Session, worker int) error
}

// result is the result of a loop.
type result struct {
	ops     int64
	took    time.Duration
	foreign float64
	latency measure.Histogram
}

// timed runs a loop for a time.
func (o *opened) timed(sessions int, seconds float64, l loop) (*result, error) {
	const chunk = 64 // calls between two readings of the clock, if latencies are not measured
	var stop atomic.Bool
	var total atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, sessions)
	latency := make([]measure.Histogram, sessions)
	calls := chunk
	if l.step > 1 || l.times {
		calls = 1
	}
	watch := measure.StartWatch(o.pids()...)
	for i := range sessions {
		all.Go(func() {
			n := int64(0)
			defer func() { total.Add(n) }()
			for !stop.Load() && errs[i] == nil {
				for k := 0; k < calls && errs[i] == nil; k++ {
					if !l.times {
						errs[i] = l.call(o.sessions[i], i)
						continue
					}
					t := time.Now()
					errs[i] = l.call(o.sessions[i], i)
					latency[i].Add(int64(time.Since(t)))
				}
				n += int64(calls * max(l.step, 1))
			}
		})
	}
	timer := time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() { stop.Store(true) })
	defer timer.Stop()
	all.Wait()
	r := &result{ops: total.Load()}
	r.took, r.foreign = watch.Stop()
	for i := range latency {
		r.latency.Merge(&latency[i])
	}
	return r, errors.Join(errs...)
}

// tries is how often a loop is measured at most, until others leave it alone.
const tries = 3

// measured warms up, and runs a loop: again if others used the machine meanwhile, and the
// least disturbed one counts.
func (b *Bench) measured(o *opened, sessions int, l loop) (best *result, err error) {
	if _, err := o.timed(sessions, b.Seconds/5, l); err != nil {
		return nil, err
	}
	for try := 0; try < tries && (best == nil || b.Quiet > 0 && best.foreign > b.Quiet); try++ {
		b.quiet(o)
		r, err := o.timed(sessions, b.Seconds, l)
		if err != nil {
			return nil, err
		}
		if best == nil || r.foreign < best.foreign {
			best = r
		}
	}
	return best, nil
}

func (b *Bench) quiet(o *opened) {
	var pids []int
	if o != nil {
		pids = o.pids()
	}
	measure.Quiet(b.Quiet, b.QuietWait, pids...)
}

// record makes a record of a result; value is computed from it.
func (r *result) record(op, mode string, value float64, unit string) measure.Record {
	rec := measure.Record{Op: op, Mode: mode, Value: value, Unit: unit, Ops: r.ops, Seconds: r.took.Seconds(), Foreign: r.foreign}
	if r.latency.Quantile(1) > 0 {
		rec.Extra = map[string]float64{}
		r.latency.Extra(rec.Extra, "")
	}
	return rec
}

// rate is operations a second.
func (r *result) rate() float64 { return float64(r.ops) / r.took.Seconds() }

// subdir makes a directory.
func subdir(dir, name string) (string, error) {
	sub := filepath.Join(dir, name)
	return sub, os.Mkdir(sub, 0o700)
}
