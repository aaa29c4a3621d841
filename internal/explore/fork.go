//go:build explore

package explore

import (
	"context"
	"errors"
	"reflect"
	"unsafe"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/goroutine"
)

// A fork has a copy of all private memory of its parent at that moment, shares the mapped
// memory, and has the same open files. None of the parent's other threads runs in it.
//
// The kernel excludes the write view and the words of live from a fork (M8 of package
// mapping). Here the fork has them: the exploration shows whether the library refuses the
// fork before it touches them (Q2 of package engine). The fork lacks only pins (Q3): by them
// the kernel excludes locks from a fork.

// child adds a process that will be a fork of another one.
func (r *Run) child() *Process {
	p := &Process{id: 1<<16 + len(r.children), run: r, forked: true}
	r.children = append(r.children, p)
	return p
}

// fork forks the process of the calling thread, which may be in a transaction. The threads
// of the child begin.
func (r *Run) fork(p, child *Process, tx *engine.Tx) {
	r.schedule.Step("fork", stepPoint, nil)
	if err := child.copy(p, tx); err != nil {
		r.fail("forking: %v", err)
		return
	}
	for _, t := range child.threads {
		t.state = ready
	}
}

// copy makes the process a fork of another one.
func (p *Process) copy(parent *Process, tx *engine.Tx) error {
	lv, _ := parent.space.Parts()
	words, again, err := lv.MapAgain()
	if err != nil {
		return err
	}
	p.words, p.at, p.size = again, uintptr(again.Pointer(0)), parent.size
	c := newCopier(parent.at, parent.size, again.Pointer(0))
	c.note(unsafe.Pointer(words), unsafe.Sizeof(*words), unsafe.Pointer(again))
	err = c.try(func() {
		p.space = (*engine.Space)(c.pointer(reflect.TypeFor[engine.Space](), unsafe.Pointer(parent.space), "space"))
		p.tx = (*engine.Tx)(c.pointer(reflect.TypeFor[engine.Tx](), unsafe.Pointer(tx), "tx"))
	})
	p.files, p.forker = c.files, goroutine.ID()
	if err == nil {
		p.space.BeFork()
	}
	return err
}

// goOn adds the thread of the child that continues after the fork, with fn.
func (r *Run) goOn(p *Process, name string, fn func()) *Thread {
	return r.thread(p, name, func() {
		p.space.GoOnAs(p.forker)
		fn()
	})
}

// refused notes an operation of a fork that the library did not refuse.
func (r *Run) refused(what string, err error) {
	if !errors.Is(err, failure.ErrForked) {
		r.admitted = append(r.admitted, what)
	}
}

// ends notes it if background work continues in a fork.
func (r *Run) ends(more bool) {
	if more {
		r.admitted = append(r.admitted, "the background")
	}
}

// bury frees the memory and the files of a fork.
func (p *Process) bury() {
	for _, f := range p.files {
		f.Close()
	}
	if p.words != nil {
		p.words.Close()
	}
}

// forkScenarios are the scenarios in which a process forks.
var forkScenarios = []Scenario{
	{
		// A process forks while another thread of it writes, and the fork writes.
		Name: "a fork writes", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.child()
			return []*Thread{
				r.thread(a, "forker", func() { r.fork(a, c, nil) }),
				r.thread(a, "writer", func() { r.set(a, 1, 1, 2); r.set(a, 1, 1) }),
				r.goOn(c, "fork", func() { r.set(c, 1, 1, 2); r.set(c, 1, 2) }),
				r.thread(b, "other", func() { r.set(b, 1, 1) }),
			}
		},
	},
	{
		// A process forks before another thread of it reads, and the fork reads.
		Name: "a fork reads", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.child()
			return []*Thread{
				r.thread(a, "forker", func() { r.fork(a, c, nil) }),
				r.thread(a, "reader", func() { r.look(a, 2) }),
				r.goOn(c, "fork", func() { r.look(c, 2) }),
				r.thread(b, "writer", func() {
					for range 3 {
						r.set(b, 1, 1, 2)
					}
				}),
			}
		},
	},
	{
		// A process forks in a view, and both end it.
		Name: "a fork in a view", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.child()
			return []*Thread{
				r.thread(a, "reader", func() {
					tx, err := a.space.View()
					r.must("view", err)
					r.lookIn(a, tx, 2, func() { r.fork(a, c, tx) })
					tx.EndView()
				}),
				r.goOn(c, "fork", func() { c.tx.DropView() }),
				r.thread(b, "writer", func() {
					for range 3 {
						r.set(b, 1, 1, 2)
					}
				}),
			}
		},
	},
	{
		// A process forks in a transaction: one fork commits it, another fork aborts it.
		Name: "a fork in a transaction", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b, c, d := r.process(false), r.process(false), r.child(), r.child()
			return []*Thread{
				r.thread(a, "A", func() {
					r.setForking(a, func(tx *engine.Tx) {
						r.fork(a, c, tx)
						r.fork(a, d, tx)
					}, 1, 2)
					r.set(a, 1, 1)
				}),
				r.goOn(c, "committer", func() { r.refused("to commit", c.tx.Commit()) }),
				r.goOn(d, "aborter", func() { d.tx.Abort() }),
				r.thread(b, "other", func() {
					r.set(b, 1, 1, 2)
					r.sweep(b)
					r.set(b, 1, 1, 2)
				}),
			}
		},
	},
	{
		// A process forks in a transaction, and is killed some time before or after; the
		// fork lives on. The other processes take over, clean up and sweep as if there were
		// no fork.
		Name: "the parent of a fork dies", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.absent(true), r.process(false), r.child()
			incarnation := format.Incarnation(0)
			return []*Thread{
				r.thread(a, "parent", func() {
					if err := a.open(); err != nil {
						r.fail("opening: %v", err)
						return
					}
					lv, _ := a.space.Parts()
					incarnation = lv.Incarnation()
					r.setForking(a, func(tx *engine.Tx) { r.fork(a, c, tx) }, 1, 2)
					r.set(a, 1, 1)
				}),
				r.goOn(c, "fork", func() {
					r.set(c, 1, 2)
					r.refused("to commit", c.tx.Commit())
				}),
				r.thread(b, "other", func() {
					r.set(b, 1, 1, 2)
					lv, _ := b.space.Parts()
					if a.dead && lv.Alive(incarnation) {
						r.fail("a dead process counts as alive, since a fork of it lives")
					}
					lv.Reap()
					r.sweep(b)
					r.set(b, 1, 1, 2)
				}),
			}
		},
	},
	{
		// A process forks while another thread of it writes and syncs, and the fork syncs.
		Name: "a fork syncs",
		Threads: func(r *Run) []*Thread {
			a, c := r.process(false), r.child()
			return []*Thread{
				r.thread(a, "forker", func() { r.fork(a, c, nil) }),
				r.thread(a, "writer", func() {
					r.set(a, 1, 1)
					r.must("sync", a.space.Sync())
					r.set(a, 1, 1)
					r.must("sync", a.space.Sync())
				}),
				r.goOn(c, "fork", func() { r.refused("a sync", c.space.Sync()) }),
			}
		},
	},
	{
		// A process forks while another thread of it writes, and the parent's background
		// work becomes due in the fork.
		Name: "a fork in the background",
		Threads: func(r *Run) []*Thread {
			a, c, d := r.process(false), r.child(), r.child()
			return []*Thread{
				r.thread(a, "forker", func() {
					r.fork(a, c, nil)
					r.fork(a, d, nil)
				}),
				r.thread(a, "writer", func() {
					for range 3 {
						r.set(a, 1, 1)
						r.must("spool", a.space.Spool())
					}
					r.must("sync", a.space.Sync())
				}),
				r.goOn(c, "fork", func() { r.ends(c.space.OnTick()) }),
				r.goOn(d, "fork with a journal", func() { r.ends(d.space.OnJournalTick()) }),
			}
		},
	},
	{
		// A process forks while another thread of it writes, and the fork closes the space.
		Name: "a fork closes", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.child()
			return []*Thread{
				r.thread(a, "forker", func() { r.fork(a, c, nil) }),
				r.thread(a, "writer", func() { r.set(a, 1, 1, 2); r.set(a, 1, 1) }),
				r.goOn(c, "fork", func() { r.refused("to close", c.space.CloseFork()) }),
				r.thread(b, "other", func() { r.set(b, 1, 1) }),
			}
		},
	},
}

// setForking commits a transaction that sets keys, and calls fork in it.
func (r *Run) setForking(p *Process, fork func(tx *engine.Tx), keys ...uint64) {
	r.next++
	w := &write{value: r.next, keys: keys}
	r.writes = append(r.writes, w)
	tx, err := p.space.Begin(context.Background())
	if err != nil {
		r.fail("process %d: beginning: %v", p.id, err)
		return
	}
	for _, key := range keys {
		if err := r.world.store(tx, key, w.value<<8); err != nil {
			r.fail("process %d: setting %v: %v", p.id, keys, err)
		}
	}
	fork(tx)
	w.version = tx.Version() + 1
	if err := tx.Commit(); err == nil {
		w.outcome = committed
	} else if w.outcome = failed; !errors.Is(err, failure.ErrSuspended) {
		r.fail("process %d: setting %v: %v", p.id, keys, err)
	}
}
