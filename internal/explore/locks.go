//go:build explore

package explore

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// lockScenarios are the scenarios of named locks, and of the writer lock that is handed to a
// process which has given up.
var lockScenarios = []Scenario{
	{
		// Two processes name, take and release a mutex, and one of them may die.
		Name: "a mutex", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			room := &room{run: r, places: 1}
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { room.visit(a, 2) }),
				r.thread(b, "B", func() { room.visit(b, 2) }),
			}
		},
	},
	{
		// Three processes take and release the permits of a semaphore.
		Name: "a semaphore", Options: noJournal, Kills: 1,
		Threads: func(r *Run) []*Thread {
			room := &room{run: r, places: 2, permits: 2}
			a, b, c := r.process(true), r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { room.visit(a, 1) }),
				r.thread(b, "B", func() { room.visit(b, 1) }),
				r.thread(c, "C", func() { room.visit(c, 1) }),
			}
		},
	},
	{
		// A process gives up waiting for a mutex, while its holder hands it over.
		Name: "giving up a mutex", Options: noJournal,
		Threads: func(r *Run) []*Thread { return r.givingUp(0) },
		After:   func(r *Run) { r.offered() },
	},
	{
		// The same with a semaphore.
		Name: "giving up a semaphore", Options: noJournal,
		Threads: func(r *Run) []*Thread { return r.givingUp(1) },
		After:   func(r *Run) { r.offered() },
	},
	{
		// A process gives up waiting for the writer lock, while its holder hands it over.
		Name: "giving up writing", Options: noJournal,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			lvA, _ := a.space.Parts()
			lvB, _ := b.space.Parts()
			starves := false
			waits := func() bool {
				starves = starves || lvB.Words().Starving.Load() != 0
				return starves
			}
			_, err := lvA.LockWriter(context.Background())
			r.must("the writer lock", err)
			return []*Thread{
				r.thread(a, "holder", func() {
					r.awaitThat(func() bool {
						lvA.Entry().Heartbeat.Add(1) // or it would count as suspended
						return waits() || !lvA.OwnsWriter()
					})
					lvA.UnlockWriter()
				}),
				r.thread(b, "waiter", func() {
					if _, err := lvB.LockWriter(&impatient{over: waits}); err == nil {
						lvB.UnlockWriter()
					}
				}),
			}
		},
		After: func(r *Run) {
			r.processes[1].space.PassOn()
			if owner := r.world.liveWords().Owner.Load(); owner != 0 {
				r.fail("the writer lock is %#x's, and nobody wants it", owner)
			}
		},
	},
}

// A room is protected by a named lock.
type room struct {
	run     *Run
	places  int
	permits int // of the semaphore; 0: a mutex
	inside  []*Process
	told    int // how often a process was told that a holder has died inside
}

// visit enters the room that many times.
func (o *room) visit(p *Process, times int) {
	lock, err := live.NewNamedLock("x", o.permits)
	o.run.must("naming", err)
	lv, _ := p.space.Parts()
	for range times {
		looks := 0
		held, err := lv.Take(&impatient{over: func() bool { looks++; return looks > 8 }}, lock)
		if err != nil { // its holder stands still
			return
		}
		living, dead := 0, 0
		for _, q := range o.inside {
			if q.dead {
				dead++
			} else {
				living++
			}
		}
		if held.OwnerDied() {
			o.told++
		}
		switch {
		case living >= o.places:
			o.run.fail("process %d has the lock, and so have %d others", p.id, living)
		case o.places == 1 && dead > 0 && o.told == 0:
			o.run.fail("process %d is not told that one has died with the mutex", p.id)
		case held.OwnerDied() && !o.anyDead():
			o.run.fail("process %d is told that one has died, and all live", p.id)
		}
		o.inside = append(o.inside, p)
		o.run.schedule.Step("inside", stepPoint, nil)
		for i, q := range o.inside {
			if q == p {
				o.inside = append(o.inside[:i:i], o.inside[i+1:]...)
				break
			}
		}
		lv.Give(held)
	}
}

// anyDead reports whether a process has died.
func (o *room) anyDead() bool {
	for _, p := range o.run.processes {
		if p.dead {
			return true
		}
	}
	return false
}

// givingUp returns the threads of a process that holds a lock and releases it once another
// process has waited for a while, and of that other process, which then gives up.
func (r *Run) givingUp(permits int) []*Thread {
	a, b := r.process(false), r.process(false)
	lvA, _ := a.space.Parts()
	lvB, _ := b.space.Parts()
	lock := func() *live.NamedLock {
		l, err := live.NewNamedLock("x", permits)
		r.must("naming", err)
		return l
	}
	held, err := lvA.Take(context.Background(), lock())
	r.must("taking", err)
	waits := false
	waiting := func() bool {
		waits = waits || lvB.Words().Locks[0].Waiting[lvB.Incarnation().Entry()/64].Load() != 0
		return waits
	}
	return []*Thread{
		r.thread(a, "holder", func() { r.awaitThat(waiting); lvA.Give(held) }),
		r.thread(b, "waiter", func() {
			if held, err := lvB.Take(&impatient{over: waiting}, lock()); err == nil {
				lvB.Give(held)
			}
		}),
	}
}

// offered verifies that no lock is offered to a process that has given up.
func (r *Run) offered() {
	w := r.world.liveWords()
	words := []uint64{w.Locks[0].Owner.Load()}
	for i := range w.Units {
		words = append(words, w.Units[i].Owner.Load())
	}
	for _, word := range words {
		if word != 0 {
			r.fail("the lock belongs to %#x (an offer would be %#x), and no process wants it", word, word|format.LockOffered)
		}
	}
}

// impatient is a context whose Err calls over, which may end it.
type impatient struct{ over func() bool }

// Err implements context.Context.
func (c *impatient) Err() error {
	if c.over() {
		return context.DeadlineExceeded
	}
	return nil
}

// Deadline, Done and Value implement context.Context.
func (c *impatient) Deadline() (end time.Time, ok bool) { return end, false }
func (c *impatient) Done() <-chan struct{}              { return nil }
func (c *impatient) Value(any) any                      { return nil }
