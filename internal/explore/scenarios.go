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

// A Scenario has some processes and the work of their threads.
type Scenario struct {
	Name    string
	Options engine.Options
	Prepare func(sp *engine.Space, w *World) error
	Lose    func(w *World) error // loses what a power loss would, after Prepare, while no process has the space open
	Small   bool                 // the least amount of memory is worth moving, and cutting off
	Kills   int                  // how many processes may die
	Cut     func(w *World) error // damages the live file, once, before any step; nil: nothing does
	Threads func(r *Run) []*Thread
	After   func(r *Run) // verifies the promises of this scenario alone, at the end
}

var noJournal = engine.Options{NoJournal: true}

// Scenarios has all scenarios.
var Scenarios = slices.Concat(scenarios, journalScenarios, movingScenarios, forkScenarios, lostScenarios, lockScenarios, expiringScenarios, subscriberScenarios, replicaScenarios)

// scenarios has the scenarios that are in no other file.
var scenarios = []Scenario{
	{
		// A transaction that drops its own blocks is taken over, or its process dies, while
		// other processes replace its changes and reuse the blocks.
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
		// A reader reads twice in one version, while writers replace the entries that it reads.
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
		// A process sweeps up the space of a dead process, while others write, tidy and hand over.
		Name: "sweep", Options: noJournal, Kills: 1, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.set(b, 1, 3) // b has lists now, which the sweep makes it forget
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
		// A process hands over its free space without the writer lock, while another process sweeps.
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
		// Two processes sweep, and a third one uses the space that they find.
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
		// Processes exchange free space through the stacks of batches.
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
		// Two processes write anchors while versions pass.
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
		// A process dies or stands still while it writes an anchor, and other processes
		// replace the entries of the anchored version.
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
		// A process pins and restores versions while others write and sweep.
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
		// A process without a free slot tidies, while others write. It has freed blocks that
		// a checkpoint needs, and no anchor names that checkpoint.
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
		// A sweep gives up or does not finish, since other processes use their lists or
		// sweep.
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
		// A process gives free extents back to the file system, while others take them.
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
		// The leading process journals the commits, and their freed blocks wait for that.
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
		// A process closes the space while its own goroutines write and read.
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
		// Processes open and close the space.
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
		// A process cleans up after a dead process, and stands still or dies meanwhile. At
		// every moment the dead process is dead for all others.
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

// fewSlots is how many slots a process has of its own: see constants.
const fewSlots = 4

// leave makes free space that is in no list, as a dead process leaves.
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

// sweep sweeps, and ignores that another sweep may prevent it.
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

// big commits a transaction that stores a value of several extents, and drops it.
func (r *Run) big(p *Process) {
	_, err := p.space.Write(func(tx *engine.Tx) error { return engine.BigValue(tx, 100<<10) })
	r.must("storing a large value", err)
}
