//go:build explore

package explore

import (
	"context"
	"errors"
	"reflect"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
)

// A lease is a value that expires. It has an interface field. Transactions treat such a
// field as any other, so interfaces are explored here and need no scenario of their own.
type lease struct {
	Until time.Time
	Note  any
}

// note is the type of the interface's values.
type note struct{ Text string }

// leases is the map of leases.
var leases = edit.MapOf{Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[lease]()}

// expiringScenarios are the scenarios in which entries expire, by a wall clock that the
// scenario puts forward and back. Once a caller was told that an entry is gone, the entry
// stays gone for this and for every later caller (EX2, EX3 of package expiry). When no
// process stands still, the clock of the space returns to the wall clock.
var expiringScenarios = []Scenario{
	{
		// A process removes expired entries and lets the clock go back, while another
		// process stores an entry that has expired by then, and looks for it.
		Name: "expiry", Options: noJournal, Kills: 1, Prepare: lent, After: (*Run).settled,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.ahead(a, 90, 1)
			return []*Thread{
				r.thread(a, "remover", func() { r.must("removing", a.space.Remover.Tidy(context.Background())) }),
				r.thread(b, "B", func() {
					r.lend(b, 3, 50)
					r.asks(b, 3)
					r.asks(b, 3)
				}),
			}
		},
	},
	{
		// The same, while the wall clock is put forward and back again.
		Name: "expiry, and a clock that jumps", Options: noJournal, Kills: 1, Prepare: lent, After: (*Run).settled,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.ahead(a, 90, 1)
			return []*Thread{
				r.thread(a, "remover", func() { r.must("removing", a.space.Remover.Tidy(context.Background())) }),
				r.thread(b, "B", func() {
					r.ahead(b, 130, 2)
					r.asks(b, 2)
					r.lend(b, 3, 50)
					r.asks(b, 3)
				}),
			}
		},
	},
	{
		// Two processes do so.
		Name: "two removers", Options: noJournal, Kills: 1, Prepare: lent, After: (*Run).settled,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(true), r.process(false), r.process(false)
			r.ahead(a, 90, 1)
			tidy := func(p *Process) func() {
				return func() { r.must("removing", p.space.Remover.Tidy(context.Background())) }
			}
			return []*Thread{
				r.thread(a, "remover A", tidy(a)),
				r.thread(b, "B", func() {
					r.lend(b, 3, 50)
					r.asks(b, 3)
					r.asks(b, 3)
				}),
				r.thread(c, "remover C", tidy(c)),
			}
		},
	},
}

// lent creates a map with entries that expire after one minute and after two.
func lent(sp *engine.Space, w *World) (err error) {
	if err := layout.Register(reflect.TypeFor[note](), "", false, nil); err != nil {
		return err
	}
	w.leases = leases
	if w.leases.ID, err = sp.OpenMap("leases", leases); err != nil {
		return err
	}
	_, err = sp.Write(func(tx *engine.Tx) error {
		return errors.Join(
			indexing.DeclareExpiry(&tx.Editor, w.leases.ID, index.Expiry{Path: "Until"}, nil),
			w.lend(tx, 1, 60), w.lend(tx, 2, 120))
	})
	return err
}

// lend sets an entry that expires that many seconds after the beginning.
func (w *World) lend(tx *engine.Tx, key uint64, seconds int) error {
	v := lease{time.Unix(0, began.UnixNano()).Add(time.Duration(seconds) * time.Second), note{"lent"}}
	return tx.Set(w.leases, unsafe.Pointer(&key), unsafe.Pointer(&v))
}

// wallClock returns the wall clock.
func (w *World) wallClock() int64 { return began.UnixNano() + int64(w.wall) }

// lend is World.lend in a separate transaction. Until it has ended no other thread knows of the entry.
func (r *Run) lend(p *Process, key uint64, seconds int) {
	_, err := p.space.Write(func(tx *engine.Tx) error { return r.world.lend(tx, key, seconds) })
	if errors.Is(err, failure.ErrSuspended) {
		return
	}
	r.must("lending", err)
}

// ahead puts the wall clock forward, looks for an entry, and puts the wall clock back.
func (r *Run) ahead(p *Process, seconds int, key uint64) {
	r.world.wall = time.Duration(seconds) * time.Second
	r.asks(p, key)
	r.world.wall = 0
}

// asks looks for an entry. It must be gone if any caller was told so before.
func (r *Run) asks(p *Process, key uint64) {
	gone := r.told[key]
	tx, err := p.space.View()
	if err != nil {
		r.must("view", err)
		return
	}
	defer tx.EndView()
	var v lease
	found, err := tx.Get(r.world.leases, unsafe.Pointer(&key), unsafe.Pointer(&v))
	switch {
	case err != nil:
		r.fail("process %d: looking for the entry %d: %v", p.id, key, err)
	case found && gone:
		r.fail("process %d: the entry %d is there, and somebody was told that it has expired", p.id, key)
	case found && v.Note != any(note{"lent"}):
		r.fail("process %d: the note of the entry %d is %v", p.id, key, v.Note)
	case !found:
		if r.told == nil {
			r.told = map[uint64]bool{}
		}
		r.told[key] = true
	}
}

// settled judges the end: every entry that a caller was told to be gone is still gone, and
// once a process has removed the expired entries, the clock of the space is the wall clock.
func (r *Run) settled() {
	for _, p := range r.processes {
		if p.dead || p.space == nil {
			continue
		}
		for key := range r.told {
			r.asks(p, key)
		}
		if r.must("removing", p.space.Remover.Tidy(context.Background())); r.schedule.failure != "" {
			return
		}
		for key := range r.told {
			r.asks(p, key)
		}
		if passed := int64(r.world.liveWords().Passed.Load()); passed > r.world.wallClock() {
			r.fail("process %d: the clock of the space is %v ahead, and nothing keeps it there", p.id, time.Duration(passed-r.world.wallClock()))
		}
	}
}
