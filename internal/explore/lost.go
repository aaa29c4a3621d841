//go:build explore

package explore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/watch"
)

// lostScenarios are the scenarios in which the live file is damaged before any step of any
// thread. Each call ends with the error for a lost live file, or has ended before. When all
// processes have closed the space, the next opener finds everything that was acknowledged as
// durable (L14 to L16 of package live, X1 to X6 of package member). At each access of a word
// the schedule verifies that a fault there would not end the process.
var lostScenarios = func() (list []Scenario) {
	for _, how := range []struct {
		name string
		do   func(w *World) error
	}{{"cut", cutLive}, {"cut and made longer", emptyLive}, {"written over", overwriteLive}} {
		for _, sc := range cutScenarios {
			sc.Name += ", " + how.name
			sc.Cut = how.do
			list = append(list, sc)
		}
	}
	return list
}()

// cutLive truncates the live file to nothing.
func cutLive(w *World) error { return os.Truncate(filepath.Join(w.dir, live.FileName), 0) }

// emptyLive truncates the live file and extends it again: all words are 0.
func emptyLive(w *World) error {
	return errors.Join(cutLive(w), os.Truncate(filepath.Join(w.dir, live.FileName), format.LiveSize))
}

// overwriteLive copies other contents over the live file, as cp does: all words have the
// greatest value.
func overwriteLive(w *World) error {
	return os.WriteFile(filepath.Join(w.dir, live.FileName), bytes.Repeat([]byte{0xff}, int(format.LiveSize)), 0o600)
}

// cutScenarios has each of lostScenarios once, without the kind of damage.
var cutScenarios = []Scenario{
	{
		Name: "losing live: reading and writing", Prepare: covered, After: (*Run).reopens,
		Threads: func(r *Run) []*Thread {
			a, _ := r.process(false), r.process(false)
			return []*Thread{r.thread(a, "A", func() {
				r.glance(a)
				r.put(a, false, 1, 2)
				r.put(a, true, 1)
				r.glance(a)
				r.put(a, true, 2, 3)
			})}
		},
	},
	{
		Name: "losing live: opening and closing", Prepare: covered, After: (*Run).reopens,
		Threads: func(r *Run) []*Thread {
			a, b := r.absent(false), r.process(false)
			return []*Thread{r.thread(a, "A", func() {
				if r.opens(a) {
					r.put(a, true, 1)
					r.closes(a)
				}
				r.put(b, false, 2)
				r.closes(b) // the last user
			})}
		},
	},
	{
		Name: "losing live: mutexes and watches", Prepare: covered, After: (*Run).reopens,
		Threads: func(r *Run) []*Thread {
			a, _ := r.process(false), r.process(false)
			return []*Thread{r.thread(a, "A", func() {
				ctx, u := context.Background(), a.space.NewSession()
				m := u.Mutex("m")
				if r.lostOr(a, "locking", m.Lock(ctx)) {
					r.lostOr(a, "unlocking", m.Unlock())
				}
				w, err := u.Watch(r.world.of, false)
				if r.lostOr(a, "watching", err) {
					r.put(a, false, 1)
					if !r.schedule.lost { // otherwise it would wait
						r.lostOr(a, "the next change", w.Next(ctx, func(*watch.Difference) error { return nil }))
					}
					w.Close()
				}
				u.Close()
			})}
		},
	},
	{
		Name: "losing live: two processes", Prepare: covered, After: (*Run).reopens,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.put(a, true, 1); r.put(a, false, 1, 2); r.put(a, true, 2) }),
				r.thread(b, "B", func() { r.glance(b); r.put(b, false, 2); r.put(b, true, 1); r.glance(b) }),
			}
		},
	},
	{
		Name: "losing live: sweeping and compacting", Prepare: covered, After: (*Run).reopens,
		Threads: func(r *Run) []*Thread {
			a, _ := r.process(false), r.process(false)
			return []*Thread{r.thread(a, "A", func() {
				r.put(a, true, 1, 2)
				r.lostOr(a, "tidying", a.space.Tidy())
				_, err := a.space.Sweep()
				r.lostOr(a, "sweeping", err)
				_, _, err = a.space.Compact(context.Background())
				r.lostOr(a, "compacting", err)
				r.lostOr(a, "a checkpoint", a.space.Checkpoints.Add("c", true))
				r.put(a, true, 1)
			})}
		},
	},
}

// lostOr fails the run at any error other than that for a lost live file, and reports
// whether there was no error.
func (r *Run) lostOr(p *Process, what string, err error) bool {
	if p.space != nil {
		err = p.space.Explain(what, err)
	}
	if err != nil && !(r.schedule.lost && errors.Is(err, failure.ErrLiveLost)) && (r.schedule.lost || !errors.Is(err, failure.ErrSuspended)) {
		r.fail("%s: %v", what, err)
	}
	return err == nil
}

// put commits a transaction, and makes it durable if durable is set.
func (r *Run) put(p *Process, durable bool, keys ...uint64) {
	r.next++
	w := &write{value: r.next, keys: keys}
	r.writes = append(r.writes, w)
	version, err := p.space.Write(func(tx *engine.Tx) error {
		for _, key := range keys {
			if err := r.world.store(tx, key, w.value<<8); err != nil {
				return err
			}
		}
		return nil
	})
	w.version, w.outcome = version, committed
	if !r.lostOr(p, "setting keys", err) {
		w.outcome = failed
		return
	}
	if durable && r.lostOr(p, "sync", p.space.Sync()) {
		for _, w := range r.writes { // it and all transactions before it
			w.durable = w.durable || w.outcome == committed && w.version <= version
		}
	}
}

// glance reads all keys in a view twice: both reads must agree.
func (r *Run) glance(p *Process) {
	tx, err := p.space.View()
	if !r.lostOr(p, "view", err) {
		return
	}
	r.lostOr(p, "reading", p.space.Guarded(func() error {
		first, err := r.read(tx)
		if err != nil {
			return err
		}
		again, err := r.read(tx)
		if err == nil && !equal(first, again) {
			r.fail("version %d has changed: %v, then %v", tx.Version(), first, again)
		}
		return err
	}))
	tx.DropView()
}

// equal reports whether two maps are equal.
func equal(a, b map[uint64]uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		if other, ok := b[key]; !ok || other != value {
			return false
		}
	}
	return true
}

// opens opens the space, unless live is lost and other processes still have it open.
func (r *Run) opens(p *Process) bool {
	err := p.open()
	if err != nil && r.schedule.lost && errors.Is(err, failure.ErrBusy) && strings.Contains(err.Error(), "live file") {
		return false
	}
	return r.lostOr(p, "opening", err)
}

// closes closes the space.
func (r *Run) closes(p *Process) {
	err := p.space.CloseApart()
	p.closed = true
	r.lostOr(p, "closing", err)
}

// reopens closes the space in all processes once live is lost, opens it again, and verifies
// that it has everything that was durable.
func (r *Run) reopens() {
	if !r.schedule.lost {
		return
	}
	for _, p := range r.processes {
		if p.space == nil || p.closed {
			continue
		}
		if _, err := p.space.Write(func(*engine.Tx) error { return nil }); !errors.Is(err, failure.ErrLiveLost) {
			r.fail("process %d goes on although live is lost: %v", p.id, err)
		}
		r.closes(p)
	}
	v := r.process(false)
	if r.schedule.failure != "" {
		return
	}
	tx, err := v.space.View()
	if err != nil {
		r.fail("after live was lost: %v", err)
		return
	}
	got, err := r.read(tx)
	tx.EndView()
	if err != nil {
		r.fail("after live was lost: reading: %v", err)
	}
	for key, before := range r.world.before {
		r.lastsOf(key, before, got[key])
	}
	r.check(v, "after live was lost")
	r.set(v, 2, 1, 2)
	r.must("sync", v.space.Sync())
	r.check(v, "after somebody went on")
}

// lastsOf verifies that a key has the value of the newest durable version, or of a later
// one.
func (r *Run) lastsOf(key, before, got uint64) {
	newest := &write{value: before >> 8}
	for _, w := range r.writesOf(key) {
		if w.durable && w.version > newest.version {
			newest = w
		}
	}
	if got == newest.value<<8 {
		return
	}
	for _, w := range r.writesOf(key) {
		if w.outcome == committed && w.version >= newest.version && got == w.value<<8 {
			return
		}
	}
	r.fail("after live was lost key %d has the value %d.%d, and %d of version %d was durable", key, got>>8, got&255, newest.value, newest.version)
}

// writesOf returns the transactions that have changed a key.
func (r *Run) writesOf(key uint64) (list []*write) {
	for _, w := range r.writes {
		for _, k := range w.keys {
			if k == key {
				list = append(list, w)
			}
		}
	}
	return list
}
