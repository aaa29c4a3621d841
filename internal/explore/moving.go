//go:build explore

package explore

import (
	"context"
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/locks"
	"github.com/everheap/everheap/internal/upkeep"
)

// movingScenarios are the scenarios in which a process moves blocks, so that whole extents
// become free, or the last user cuts off the end of the heap file.
var movingScenarios = []Scenario{
	{
		// A process moves all blocks, while another process replaces them.
		Name: "moving", Options: noJournal, Kills: 1, Small: true,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.set(b, 1, 3)
			return []*Thread{
				r.thread(a, "mover", func() { r.compact(a) }),
				r.thread(b, "writer", func() {
					r.set(b, 1, 1, 2)
					r.set(b, 1, 1, 4)
				}),
			}
		},
		After: (*Run).unlisted,
	},
	{
		// A process moves all blocks, while another thread of it replaces them.
		Name: "moving within", Options: noJournal, Small: true,
		Threads: func(r *Run) []*Thread {
			a := r.process(false)
			return []*Thread{
				r.thread(a, "mover", func() { r.compact(a) }),
				r.thread(a, "writer", func() { r.set(a, 1, 1, 2); r.set(a, 1, 1, 2) }),
			}
		},
		After: (*Run).unlisted,
	},
	{
		// A process moves a map in which several slots refer to each leaf.
		Name: "moving a tree", Options: noJournal, Small: true, Prepare: many,
		Threads: func(r *Run) []*Thread {
			a := r.process(false)
			return []*Thread{r.thread(a, "mover", func() { r.compact(a) })}
		},
	},
	{
		// Two processes move blocks, while a third one stands in a transaction, so that no
		// sweep can begin.
		Name: "movers", Options: noJournal, Small: true,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.process(false)
			over := false
			return []*Thread{
				r.thread(a, "mover", func() { r.compact(a); over = true }),
				r.thread(b, "sweeper", func() { r.sweep(b) }),
				r.thread(c, "writer", func() { r.setWhen(c, &over, 1) }),
			}
		},
		After: (*Run).allKnown,
	},
	{
		// A process makes the heap file smaller until that brings no more, while another
		// process writes a little.
		Name: "looking at the heap", Small: true, Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			written := false
			return []*Thread{
				r.thread(a, "looker", func() {
					r.rest(a, 4)
					r.await(&written)
					rest := a.space.Rest()
					for range 6 {
						r.lookAtRest(a, rest)
					}
					r.staysSo(a, "although it has tried", func() { r.lookAtRest(a, rest); r.lookAtRest(a, rest) })
				}),
				r.thread(b, "writer", func() { r.synced(b); written = true }),
			}
		},
	},
	{
		// A process tries to make the heap file smaller, while another process stands in a
		// transaction.
		Name: "looking while one writes", Small: true, Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			begun, over := false, false
			return []*Thread{
				r.thread(a, "looker", func() {
					r.await(&begun)
					r.rest(a, 4) // writes two anchors, if the journal is long
					r.staysSo(a, "although no sweep could begin", func() { r.rest(a, 4) })
					over = true
				}),
				r.thread(b, "writer", func() {
					r.setForking(b, func(*engine.Tx) { begun = true; r.await(&over) }, 1)
				}),
			}
		},
	},
	{
		// A process moves all blocks, while a program runs under Resume, whose state no
		// other process changes.
		Name: "moving under a program", Options: noJournal, Small: true, Prepare: stateful,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			moved := false
			return []*Thread{
				r.thread(b, "program", func() { r.resumed(b, func() { r.await(&moved) }) }),
				r.thread(a, "mover", func() { r.compact(a); moved = true }),
			}
		},
	},
	{
		// A process looks whether the heap file is too large, after nearly all of its
		// contents were dropped.
		Name: "a large heap", Small: true, Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a := r.process(false)
			return []*Thread{r.thread(a, "looker", func() { r.big(a); r.rest(a, 8) })}
		},
		After: func(r *Run) {
			if len(r.world.holes.gone) == 0 {
				r.fail("a large heap file takes what it took")
			}
		},
	},
	{
		// A process moves blocks while the journal records the changes of other processes.
		Name: "moving with a journal", Kills: 1, Small: true, Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "mover", func() { r.compact(a) }),
				r.thread(b, "writer", func() { r.set(b, 1, 1, 2); r.synced(b) }),
			}
		},
		After: func(r *Run) { r.must("what is in the journal", r.processes[1].space.Journaled()) },
	},
	{
		// The last user cuts off the end of the file, and may die meanwhile; another process
		// opens the space, writes, and does the same.
		Name: "cutting the heap", Options: noJournal, Kills: 1, Small: true, Prepare: leave,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.absent(false)
			r.set(a, 1, 3)
			gone := false
			return []*Thread{
				r.thread(a, "last", func() { r.close(a); gone = true }),
				r.thread(b, "next", func() {
					for !gone && !a.dead && r.schedule.failure == "" {
						r.schedule.Pause("scenario", 0)
					}
					if err := b.open(); err != nil {
						r.fail("opening: %v", err)
						return
					}
					r.set(b, 1, 1, 2)
					r.big(b)
					r.close(b)
				}),
			}
		},
	},
}

// many creates a map with more than one leaf.
func many(sp *engine.Space, w *World) error {
	_, err := sp.Write(func(tx *engine.Tx) error {
		for i := range uint64(200) {
			if err := w.store(tx, 1000+i, i<<8); err != nil {
				return err
			}
			w.before[1000+i] = i << 8
		}
		return nil
	})
	return err
}

// stateful creates the state of a program, among other blocks.
func stateful(sp *engine.Space, w *World) (err error) {
	first := uint64(0)
	w.state.Value = layout.IdentityOf[uint64]()
	w.state.ID, err = sp.OpenValue("state", w.state.Value, unsafe.Pointer(&first))
	return err
}

// resumed runs a program under Resume. It calls fn, and then reaches a checkpoint.
func (r *Run) resumed(p *Process, fn func()) {
	u := p.space.NewSession()
	defer u.Close()
	turn := u.Mutex(locks.ResumeMutex + "state")
	r.must("the mutex of a program", turn.Lock(context.Background()))
	var state uint64
	run, err := p.space.Resume(context.Background(), r.world.state, unsafe.Pointer(&state), false)
	if err != nil {
		r.must("resuming", err)
		return
	}
	fn()
	state++
	r.must("a checkpoint of a program", run.Checkpoint(unsafe.Pointer(&state)))
	run.End()
	r.must("the mutex of a program", turn.Unlock())
}

// compact makes the files of the space smaller, and ignores errors.
func (r *Run) compact(p *Process) {
	_, _, err := p.space.Compact(context.Background())
	if !errors.Is(err, failure.ErrBusy) {
		r.must("compacting", err)
	}
}

// setWhen commits a transaction that sets a key, and waits in it until another thread has
// set done.
func (r *Run) setWhen(p *Process, done *bool, key uint64) {
	r.setForking(p, func(*engine.Tx) { r.await(done) }, key)
}

// staysSo verifies that fn does not change the files.
func (r *Run) staysSo(p *Process, although string, fn func()) {
	before := r.resting(p)
	fn()
	if now := r.resting(p); now != before {
		r.fail("something is done to the files, %s: they were %v, and are %v", although, before, now)
	}
}

// unlisted verifies that the free blocks in extents that a process empties are not in its lists.
func (r *Run) unlisted() {
	if upkeep.Listed != "" {
		r.fail("%s", upkeep.Listed)
	}
}

// allKnown verifies that a sweep is due if it would find free space that is in no list (P3).
func (r *Run) allKnown() {
	a, due := r.processes[0], r.world.liveWords().SweepWish.Load() != 0
	before := r.owners(a, "at the end")
	r.sweep(a)
	after := r.owners(a, "at the end")
	if !due && before > after {
		r.fail("nobody knows of %d bytes, and no sweep is due", before-after)
	}
}
