package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// mirror is a copy of one collection that is made of nothing but what a watcher of it is
// told.
type mirror[K comparable, V any] struct {
	sync.Mutex
	entries map[K]V
	version everheap.Version
}

// apply takes in a change, which must begin where the mirror is.
func (m *mirror[K, V]) apply(c everheap.Change[K, V], equal func(a, b V) bool) error {
	m.Lock()
	defer m.Unlock()
	old, was := m.entries[c.Key]
	if was != (c.Old != nil) || was && !equal(old, *c.Old) {
		return fmt.Errorf("version %d: %s of what was %v before, there: %v", c.Version, show(c), old, was)
	}
	if c.Version < m.version {
		return fmt.Errorf("version %d comes after %d", c.Version, m.version)
	}
	if m.entries == nil {
		m.entries = map[K]V{}
	}
	if delete(m.entries, c.Key); c.New != nil {
		m.entries[c.Key] = *c.New
	}
	m.version = c.Version
	return nil
}

// mirrors are the copies of what is in a bank.
type mirrors struct {
	counters mirror[string, uint64]
	left     mirror[uint64, record]
	log      mirror[logKey, uint64]
	notes    mirror[int, note]
	newest   mirror[everheap.Ref[summary], summary]
}

// follow fills a mirror until the context ends, and calls whole after each version.
func follow[K comparable, V any](m *mirror[K, V], seq iter.Seq2[everheap.Change[K, V], error], equal func(a, b V) bool, whole func(entries map[K]V) error) error {
	for c, err := range seq {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err == nil {
			err = m.apply(c, equal)
		}
		if err == nil && !c.More {
			err = whole(m.entries)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the loop ended without an error")
}

// run follows a bank until the context ends. heard is called with the number of
// transactions after each version.
func (m *mirrors) run(ctx context.Context, s *everheap.Space, b bank, side *sync.WaitGroup, heard func(n uint64)) {
	run := func(what string, fn func() error) {
		side.Go(func() {
			if err := fn(); err != nil {
				failed("watching the "+what, err)
			}
		})
	}
	run("counters", func() error {
		return follow(&m.counters, b.counters.Watch(ctx, s, everheap.WithInitial()), alike, func(entries map[string]uint64) error {
			shared, sum := entries["shared"], uint64(0)
			for _, n := range entries {
				sum += n
			}
			if sum != 2*shared {
				return fmt.Errorf("the shared counter is %d, those of the children add up to %d", shared, sum-shared)
			}
			heard(shared)
			return nil
		})
	})
	run("records", func() error {
		equal := func(a, b record) bool { return a.Seq == b.Seq && b.Sum == b.sum() }
		return follow(&m.left, b.left.Watch(ctx, s, everheap.WithInitial()), equal, func(map[uint64]record) error { return nil })
	})
	run("log", func() error {
		return follow(&m.log, b.log.Watch(ctx, s, everheap.WithInitial()), alike, func(entries map[logKey]uint64) error { return nil })
	})
	run("notes", func() error {
		return follow(&m.notes, b.notes.Watch(ctx, s, everheap.WithInitial()), alike, func(entries map[int]note) error {
			for i := range len(entries) {
				if _, ok := entries[i]; !ok {
					return fmt.Errorf("a list of %d elements has none with the index %d", len(entries), i)
				}
			}
			return nil
		})
	})
	run("summary", func() error {
		return follow(&m.newest, b.newest.Watch(ctx, s, everheap.WithInitial()), alike, func(map[everheap.Ref[summary]]summary) error { return nil })
	})
}

func alike[T comparable](a, b T) bool { return a == b }

// differ says what a mirror lacks of the newest version; "" if it is the same.
func (m *mirrors) differ(tx *everheap.Tx, b bank) string {
	switch {
	case !mirrored(&m.counters, b.counters.All(tx), alike):
		return "counters"
	case !mirrored(&m.left, b.left.All(tx), func(a, b record) bool { return a.Seq == b.Seq && a.Sum == b.Sum }):
		return "records"
	case !mirrored(&m.log, b.log.All(tx), alike):
		return "log"
	case !mirrored(&m.notes, b.notes.All(tx), alike):
		return "notes"
	case !mirrored(&m.newest, func(yield func(everheap.Ref[summary], *summary) bool) { yield(b.newest, b.newest.Peek(tx)) }, alike):
		return "summary"
	}
	return ""
}

// mirrored reports whether a mirror has exactly what a collection has.
func mirrored[K comparable, V any](m *mirror[K, V], all iter.Seq2[K, *V], equal func(a, b V) bool) bool {
	m.Lock()
	defer m.Unlock()
	left := maps.Clone(m.entries)
	for k, v := range all {
		if mine, ok := left[k]; !ok || !equal(mine, *v) {
			return false
		}
		delete(left, k)
	}
	return len(left) == 0
}

// A watcher is a child that follows a bank. It acknowledges the number of transactions
// that it has been told of, and says, when it is asked after the last one, whether its
// mirrors are what is there. Its work may be "readonly".
func init() { children["watcher"] = watcherChild }

func watcherChild() int {
	c := newInChild()
	var opts []everheap.Option
	if c.has("readonly") {
		opts = append(opts, everheap.WithReadOnly())
	}
	s, err := c.open(opts...)
	if err != nil {
		return failed("open", err)
	}
	b, err := openBank(s)
	if err != nil {
		return failed("opening the bank", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var m mirrors
	var side sync.WaitGroup
	var told atomic.Uint64
	m.run(ctx, s, b, &side, func(n uint64) {
		if told.Swap(n) == 0 {
			say("start", 0)
		}
		ack(n)
	})
	for line := range c.asked {
		switch line {
		case "cpu":
			began := usedCPU()
			time.Sleep(time.Second)
			say("used", (usedCPU() - began).Milliseconds())
		case "compare": // nobody writes any more
			lacks := "everything"
			same := wait(patience, func() bool {
				err = s.View(func(tx *everheap.Tx) error { lacks = m.differ(tx, b); return nil })
				return err != nil || lacks == ""
			})
			if err != nil {
				return failed("view", err)
			}
			say("mirrored", same, lacks)
		case "close":
			cancel()
			side.Wait()
			if err := s.Close(); err != nil {
				return failed("close", err)
			}
			say("closed")
		}
	}
	return 0
}

// startWatching starts a watcher of a fleet's bank.
func (f *fleet) startWatching(work string, more ...string) *child {
	f.t.Helper()
	f.starts++
	return startChild(f.t, "watcher", append(env(f.dir, 100+int(f.starts), work, f.seed+f.starts), more...)...)
}

// transactions returns how many transactions there have been.
func (f *fleet) transactions() (n uint64) {
	f.t.Helper()
	n, err := f.bank.counters.Get(f.space, "shared")
	if !isNotFound(err) {
		must(f.t, err)
	}
	return n
}

// hears waits until a watcher has been told of so many transactions.
func (c *child) hears(n uint64) {
	c.t.Helper()
	c.await(fmt.Sprintf("what transaction %d made", n), func() bool { return c.acked.Load() >= n })
}

// comes asks a watcher whether its mirrors are what is there.
func (c *child) comes(asked string) {
	c.t.Helper()
	before := c.heard("mirrored")
	c.tell("compare")
	c.await("the comparison "+asked, func() bool { return c.heard("mirrored") > before })
	if c.heard("mirrored false") > 0 {
		c.t.Errorf("%s a watcher has other %s than there are", asked, c.rest("mirrored false "))
	}
}

// Writers are killed at random moments, and so are watchers; those that are left come to
// the last state each time.
func TestWatch_WhileProcessesAreKilled(t *testing.T) {
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		const writers = 3
		f := newFleet(t, r, writers, "reopen")
		stays := []*child{f.startWatching("readonly"), f.startWatching("")}
		for range scaled(16) {
			goes := f.startWatching([]string{"", "readonly"}[r.IntN(2)])
			time.Sleep(time.Duration(r.IntN(80)) * time.Millisecond)
			if r.IntN(2) == 0 {
				goes.hears(1)
			}
			goes.kill()
			victim := 1 + r.IntN(writers)
			f.kill(victim)
			n := f.transactions()
			for _, w := range stays {
				w.hears(n)
			}
			f.restart(victim)
			f.progress(time.Now())
			if t.Failed() {
				return
			}
		}
		f.everybody(false)
		n := f.transactions()
		for _, w := range stays {
			w.hears(n)
			w.comes("after the last kill")
			w.tell("close")
			w.awaitLine("closed")
		}
		f.slotsGo()
		f.verify()
	})
}

// slotsGo waits until no version is held: those of the dead are reaped.
func (f *fleet) slotsGo() {
	f.t.Helper()
	held := 0
	if !wait(patience, func() bool {
		readers, err := f.space.Readers()
		must(f.t, err)
		held = len(readers)
		return held == 0
	}) {
		f.t.Errorf("%d versions are held, and nobody is there", held)
	}
}

// Watchers stand still and go on: nobody waits for them, and they come to the last state.
func TestWatch_WhileProcessesAreSuspended(t *testing.T) {
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		const writers = 2
		f := newFleet(t, r, writers, "")
		w, stays := f.startWatching(""), f.startWatching("readonly")
		w.hears(1)
		for i := range scaled(8) {
			time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
			w.stop()
			f.progress(time.Now())
			if i%2 == 1 { // a writer as well
				f.children[1].stop()
				f.progress(time.Now(), 1)
			}
			must(t, sweep(f.space))
			stays.hears(f.transactions())
			f.children[1].resume()
			w.resume()
			w.hears(f.transactions())
			f.progress(time.Now())
			if t.Failed() {
				return
			}
		}
		f.everybody(false)
		for _, c := range []*child{w, stays} {
			c.hears(f.transactions())
			c.comes("after the last suspension")
		}
		w.stop() // for good: what it holds goes with it, and no sooner
		w.kill()
		stays.tell("close")
		stays.awaitLine("closed")
		f.slotsGo()
		f.verify()
	})
}

// A watcher is killed at each point of its way; nothing of it is left once it was reaped.
func TestWatch_KilledAtPoints(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 2, "")
		stays := f.startWatching("readonly")
		for _, point := range invariant.Points {
			if !strings.HasPrefix(point, "watch.") || point == "watch.disarmed" { // which is for those who write
				continue
			}
			c := f.startWatching("", fmt.Sprintf("EVERHEAP_POINT=%s:%d:kill", point, 1+r.IntN(50)))
			c.await("its death at "+point, c.gone)
			stays.hears(f.transactions())
			f.progress(time.Now())
		}
		f.everybody(false)
		stays.hears(f.transactions())
		stays.comes("after the last kill")
		stays.kill()
		f.slotsGo()
		f.verify()
	})
}

// Who commits dies, or stands still, after he has taken off that somebody waits, and
// before he has woken anybody: the watcher finds the commit by itself.
func TestWatch_WakerDies(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"kill", "stop"} {
		t.Run(how, func(t *testing.T) {
			rounds(t, 1, func(t *testing.T, r *rand.Rand) {
				f := newFleet(t, r, 0, "")
				stays := f.startWatching("")
				for range 5 {
					c := f.start(1, "", fmt.Sprintf("EVERHEAP_POINT=watch.disarmed:%d:%s", 1+r.IntN(30), how))
					if how == "kill" {
						c.await("its death", c.gone)
						f.bury(1)
					} else {
						c.await("standing still", c.stopped)
					}
					stays.hears(f.transactions())
					if how == "stop" {
						f.kill(1)
					}
				}
				stays.comes("after the last commit")
			})
		})
	}
}

// While nothing happens, a watcher uses no processor time.
func TestWatch_IdleUsesNoProcessorTime(t *testing.T) {
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := newFleet(t, r, 1, "")
		f.progress(time.Now())
		f.everybody(false)
		w := f.startWatching("readonly")
		w.hears(f.transactions())
		w.comes("before it waits")
		w.tell("cpu")
		var used int
		if _, err := fmt.Sscan(w.awaitLine("used"), &used); err != nil {
			t.Fatal(err)
		}
		t.Logf("in a second five idle watchers of one process used %d ms of processor time", used)
		if used > 200 { // a loop would use 1000
			t.Errorf("waiting used %d ms of processor time in a second", used)
		}
	})
}
