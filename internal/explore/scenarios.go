//go:build explore

package explore

import (
	"context"
	"errors"
	"slices"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
)

// A Scenario is a number of processes and what each of them does.
type Scenario struct {
	Name    string
	Options engine.Options
	Prepare func(sp *engine.Space, w *World) error
	Lose    func(w *World) error // what a loss of power takes, after Prepare, when nobody has the space open
	Small   bool                 // the least is worth to be moved, and to be cut off
	Kills   int                  // processes that die, at most
	Cut     func(w *World) error // what is done to the live file, before any step, once; nil: nothing
	Threads func(r *Run) []*Thread
	After   func(r *Run) // looks at what only this scenario promises, when all has come to its end
}

var noJournal = engine.Options{NoJournal: true}

// Scenarios are all there are.
var Scenarios = slices.Concat(scenarios, journalScenarios, movingScenarios, forkScenarios, lostScenarios, lockScenarios, expiringScenarios, subscriberScenarios, replicaScenarios)

// scenarios are those that are in no file of their own.
var scenarios = []Scenario{
	{
		// A transaction that drops blocks of its own is taken over, or its process dies,
		// while others replace what it wrote and use the space again.
		Name: "writers", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			return []*Thread{
				r.thread(a, "A", func() { r.set(a, 2, 1, 2) }),
				r.thread(b, "B", func() {
					for range 3 {
						r.set(b, 2, 1, 2)
					}
				}),
			}
		},
	},
	{
		// A reader reads twice in one version, while writers replace what it sees.
		Name: "readers", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.look(a, 2) }),
				r.thread(b, "B", func() {
					for range 3 {
						r.set(b, 1, 1, 2)
					}
				}),
			}
		},
	},
	{
		// A process sweeps what a dead one has left, while others write, tidy and hand over.
		Name: "sweep", Options: noJournal, Kills: 1, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.set(b, 1, 3) // it has lists, which the sweep makes it forget
			return []*Thread{
				r.thread(a, "sweeper", func() { r.sweep(a) }),
				r.thread(b, "writer", func() {
					r.set(b, 1, 1, 2)
					r.must("tidying", b.space.Tidy())
					r.set(b, 1, 1)
				}),
			}
		},
	},
	{
		// A process hands over what it has without the writer lock, while another one sweeps.
		Name: "tidying", Options: noJournal, Kills: 1, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.set(b, 1, 3)
			return []*Thread{
				r.thread(a, "sweeper", func() { r.sweep(a) }),
				r.thread(b, "B", func() {
					r.must("tidying", b.space.Tidy())
					r.set(b, 1, 1)
				}),
			}
		},
	},
	{
		// Two processes sweep, and a third one uses what they find.
		Name: "sweeps", Options: noJournal, Kills: 1, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(true), r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "sweeper A", func() { r.sweep(a) }),
				r.thread(b, "sweeper B", func() { r.sweep(b) }),
				r.thread(c, "writer", func() { r.set(c, 1, 1) }),
			}
		},
	},
	{
		// Free space goes from hand to hand by the stacks of batches.
		Name: "batches", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			use := func(p *Process) func() {
				return func() {
					for range 2 {
						r.set(p, 1, 1, 2)
						r.must("tidying", p.space.Tidy())
					}
				}
			}
			return []*Thread{r.thread(a, "A", use(a)), r.thread(b, "B", use(b))}
		},
	},
	{
		// Anchors are written while versions pass, by two processes.
		Name: "anchors", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			return []*Thread{
				r.thread(a, "A", func() {
					r.must("anchor", a.space.Anchor(false))
					r.set(a, 1, 1)
				}),
				r.thread(b, "B", func() {
					r.set(b, 1, 1, 2)
					r.set(b, 1, 1, 2)
					r.must("anchor", b.space.Anchor(false))
					r.set(b, 1, 1, 2)
				}),
			}
		},
	},
	{
		// A process dies or stands still while it writes an anchor, and others replace what
		// is in its version.
		Name: "an anchor", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			return []*Thread{
				r.thread(a, "A", func() {
					r.set(a, 1, 1)
					r.must("anchor", a.space.Anchor(false))
				}),
				r.thread(b, "B", func() {
					for range 4 {
						r.set(b, 1, 1, 2)
					}
				}),
			}
		},
	},
	{
		// Two processes give free extents back to the file system.
		Name: "compactors", Options: noJournal, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			compact := func(p *Process) func() {
				return func() {
					_, _, err := p.space.Compact(context.Background())
					if !errors.Is(err, failure.ErrBusy) {
						r.must("compacting", err)
					}
				}
			}
			return []*Thread{r.thread(a, "A", compact(a)), r.thread(b, "B", compact(b))}
		},
	},
	{
		// Versions are pinned and restored while others write and sweep.
		Name: "checkpoints", Options: noJournal, Kills: 1,
		Prepare: func(sp *engine.Space, w *World) error { return sp.Checkpoints.Add("before", false) },
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			return []*Thread{
				r.thread(a, "A", func() {
					err := a.space.Checkpoints.Add("now", false)
					r.must("checkpoint", err)
					r.must("drop", a.space.Checkpoints.Drop("before"))
					if err == nil {
						r.lookAt(a, "now")
					}
				}),
				r.thread(b, "B", func() {
					r.set(b, 1, 1, 2)
					r.sweep(b)
					r.set(b, 1, 1, 2)
				}),
			}
		},
	},
	{
		// A process that has no slot left tidies, while others write. What it has freed a
		// checkpoint needs that no anchor knows of.
		Name: "few slots", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			var views []*engine.Tx
			for range fewSlots {
				tx, err := a.space.View()
				r.must("view", err)
				views = append(views, tx)
			}
			r.set(b, 1, 1, 2)
			r.must("checkpoint", b.space.Checkpoints.Add("now", false))
			r.set(a, 1, 1, 2)
			return []*Thread{
				r.thread(a, "A", func() {
					r.must("tidying", a.space.Tidy())
					r.set(a, 1, 3)
					r.lookAt(a, "now")
					for _, tx := range views {
						tx.DropView()
					}
				}),
				r.thread(b, "B", func() {
					for range 3 {
						r.set(b, 1, 1, 2)
					}
				}),
			}
		},
	},
	{
		// A sweep gives up, or comes to no end, since others use their lists or sweep.
		Name: "giving up", Options: noJournal, Kills: 1, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(true), r.process(false), r.process(false)
			r.set(b, 1, 3)
			return []*Thread{
				r.thread(a, "sweeper A", func() { r.sweep(a) }),
				r.thread(b, "B", func() { r.must("tidying", b.space.Tidy()) }),
				r.thread(c, "sweeper C", func() { r.sweep(c) }),
			}
		},
	},
	{
		// Free extents are given back to the file system, while others take them.
		Name: "punching", Options: noJournal, Kills: 1, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			return []*Thread{
				r.thread(a, "compactor", func() {
					_, _, err := a.space.Compact(context.Background())
					if !errors.Is(err, failure.ErrBusy) {
						r.must("compacting", err)
					}
				}),
				r.thread(b, "writer", func() {
					r.set(b, 1, 1, 2)
					r.big(b)
					r.must("tidying", b.space.Tidy())
					r.set(b, 1, 1)
				}),
			}
		},
	},
	{
		// Commits are journaled by whoever leads, and their blocks wait for that.
		Name: "journal", Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			return []*Thread{
				r.thread(a, "A", func() {
					r.set(a, 1, 1, 2)
					r.must("sync", a.space.Sync())
				}),
				r.thread(b, "B", func() {
					r.set(b, 2, 1, 2)
					r.set(b, 1, 1)
					r.must("spool", b.space.Spool())
				}),
			}
		},
	},
	{
		// A process closes the space while goroutines of its own write and read.
		Name: "closing",
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "writer", func() { r.set(a, 1, 1); r.set(a, 1, 2) }),
				r.thread(a, "closer", func() { r.close(a) }),
				r.thread(b, "other", func() { r.set(b, 1, 1) }),
			}
		},
	},
	{
		// Processes come and go.
		Name: "coming and going", Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.absent(true)
			r.set(a, 1, 3)
			return []*Thread{
				r.thread(a, "goes", func() { r.close(a) }),
				r.thread(b, "comes", func() {
					if err := b.open(); err != nil {
						r.fail("opening: %v", err)
						return
					}
					r.set(b, 1, 1)
				}),
			}
		},
	},
	{
		// Somebody cleans up after a dead process, and stands still or dies in it: the dead
		// one is dead for all others all the same, at every moment.
		Name: "reaping", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b, d := r.process(true), r.process(false), r.process(false)
			lock, err := live.NewNamedLock("x", 0)
			r.must("naming", err)
			lvA, _ := a.space.Parts()
			lvB, _ := b.space.Parts()
			lvD, _ := d.space.Parts()
			_, ok, err := lvD.TryTake(lock)
			if !ok || err != nil {
				r.fail("the lock is not free: %v", err)
			}
			dead := lvD.Incarnation()
			d.dead = true
			d.die()
			return []*Thread{
				r.thread(a, "reaper", func() { lvA.Reap() }),
				r.thread(b, "other", func() {
					if lvB.Alive(dead) {
						r.fail("a dead process counts as alive while somebody cleans up after it")
					}
					if _, ok, err := lvB.TryTake(lock); !ok || err != nil {
						r.fail("the lock of a dead process is not to be had: %v", err)
					}
				}),
			}
		},
	},
}

// fewSlots is how many slots a process has for itself: see constants.
const fewSlots = 4

// leave makes what a dead process leaves: space that no list has.
func leave(sp *engine.Space, w *World) error {
	for i := range uint64(8) {
		if _, err := sp.Write(func(tx *engine.Tx) error { return w.store(tx, 20+i, 0) }); err != nil {
			return err
		}
		w.before[20+i] = 0
	}
	_, h := sp.Parts()
	h.Abandon()
	return nil
}

// sweep sweeps, whatever comes of it.
func (r *Run) sweep(p *Process) {
	_, err := p.space.Sweep()
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, failure.ErrBusy) {
		r.must("sweeping", err)
	}
}

// close closes the space.
func (r *Run) close(p *Process) {
	err := p.space.CloseApart()
	p.closed = true
	r.must("closing", err)
}

// lookAt reads a checkpoint.
func (r *Run) lookAt(p *Process, name string) {
	tx, err := p.space.ViewAt(name)
	if err != nil {
		r.must("viewing a checkpoint", err)
		return
	}
	defer tx.EndView()
	if _, err := r.read(tx); err != nil {
		r.fail("reading the checkpoint %s: %v", name, err)
	}
}

// big commits a transaction that stores something that fills extents, and drops it.
func (r *Run) big(p *Process) {
	_, err := p.space.Write(func(tx *engine.Tx) error { return engine.BigValue(tx, 100<<10) })
	r.must("storing a large value", err)
}
