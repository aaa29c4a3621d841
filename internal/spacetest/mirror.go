//go:build unix

package spacetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap"
)

// Mirror is a copy of one collection, made only from the changes that a watcher gets.
type Mirror[K comparable, V any] struct {
	sync.Mutex
	entries map[K]V
	version everheap.Version
}

// apply applies a change, whose old value must be the mirror's.
func (m *Mirror[K, V]) apply(c everheap.Change[K, V], equal func(a, b V) bool) error {
	m.Lock()
	defer m.Unlock()
	old, was := m.entries[c.Key]
	if was != (c.Old != nil) || was && !equal(old, *c.Old) {
		return fmt.Errorf("version %d: %s of what was %v before, there: %v", c.Version, Show(c), old, was)
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

// mirrors has copies of a bank's collections.
type mirrors struct {
	counters Mirror[string, uint64]
	left     Mirror[uint64, Record]
	log      Mirror[logKey, uint64]
	notes    Mirror[int, note]
	newest   Mirror[everheap.Ref[summary], summary]
}

// Follow fills a mirror until the context ends, and calls whole after each version.
func Follow[K comparable, V any](m *Mirror[K, V], seq iter.Seq2[everheap.Change[K, V], error], equal func(a, b V) bool, whole func(entries map[K]V) error) error {
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

// run follows a bank until the context ends. It calls heard with the number of transactions
// after each version.
func (m *mirrors) run(ctx context.Context, s *everheap.Space, b Bank, side *sync.WaitGroup, heard func(n uint64)) {
	run := func(what string, fn func() error) {
		side.Go(func() {
			if err := fn(); err != nil {
				Failed("watching the "+what, err)
			}
		})
	}
	run("counters", func() error {
		return Follow(&m.counters, b.counters.Watch(ctx, s, everheap.WithInitial()), Alike, func(entries map[string]uint64) error {
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
		equal := func(a, b Record) bool { return a.Seq == b.Seq && b.Sum == b.Checksum() }
		return Follow(&m.left, b.left.Watch(ctx, s, everheap.WithInitial()), equal, func(map[uint64]Record) error { return nil })
	})
	run("log", func() error {
		return Follow(&m.log, b.log.Watch(ctx, s, everheap.WithInitial()), Alike, func(entries map[logKey]uint64) error { return nil })
	})
	run("notes", func() error {
		return Follow(&m.notes, b.notes.Watch(ctx, s, everheap.WithInitial()), Alike, func(entries map[int]note) error {
			for i := range len(entries) {
				if _, ok := entries[i]; !ok {
					return fmt.Errorf("a list of %d elements has none with the index %d", len(entries), i)
				}
			}
			return nil
		})
	})
	run("summary", func() error {
		return Follow(&m.newest, b.newest.Watch(ctx, s, everheap.WithInitial()), Alike, func(map[everheap.Ref[summary]]summary) error { return nil })
	})
}

// Alike is the equality of most mirrors.
func Alike[T comparable](a, b T) bool { return a == b }

// differ names a collection whose mirror differs from the newest version; "": none.
func (m *mirrors) differ(tx *everheap.Tx, b Bank) string {
	switch {
	case !Mirrored(&m.counters, b.counters.All(tx), Alike):
		return "counters"
	case !Mirrored(&m.left, b.left.All(tx), func(a, b Record) bool { return a.Seq == b.Seq && a.Sum == b.Sum }):
		return "records"
	case !Mirrored(&m.log, b.log.All(tx), Alike):
		return "log"
	case !Mirrored(&m.notes, b.notes.All(tx), Alike):
		return "notes"
	case !Mirrored(&m.newest, func(yield func(everheap.Ref[summary], *summary) bool) { yield(b.newest, b.newest.Peek(tx)) }, Alike):
		return "summary"
	}
	return ""
}

// Mirrored reports whether a mirror has exactly what a collection has.
func Mirrored[K comparable, V any](m *Mirror[K, V], all iter.Seq2[K, *V], equal func(a, b V) bool) bool {
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

// A watcher is a child that follows a bank. It acknowledges the number of transactions that
// it has heard of. When the parent asks, after the last transaction, it says whether its
// mirrors equal the bank. Its work may be "readonly".
func init() { Children["watcher"] = watcherChild }

func watcherChild() int {
	c := NewInChild()
	var opts []everheap.Option
	if c.Has("readonly") {
		opts = append(opts, everheap.WithReadOnly())
	}
	s, err := c.Open(opts...)
	if err != nil {
		return Failed("open", err)
	}
	b, err := OpenBank(s)
	if err != nil {
		return Failed("opening the bank", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var m mirrors
	var side sync.WaitGroup
	var told atomic.Uint64
	m.run(ctx, s, b, &side, func(n uint64) {
		if told.Swap(n) == 0 {
			Say("start", 0)
		}
		Ack(n)
	})
	for line := range c.Asked {
		switch line {
		case "cpu":
			began := UsedCPU()
			time.Sleep(time.Second)
			Say("used", (UsedCPU() - began).Milliseconds())
		case "compare": // no process writes from now on
			lacks := "everything"
			same := Wait(Patience, func() bool {
				err = s.View(func(tx *everheap.Tx) error { lacks = m.differ(tx, b); return nil })
				return err != nil || lacks == ""
			})
			if err != nil {
				return Failed("view", err)
			}
			Say("mirrored", same, lacks)
		case "close":
			cancel()
			side.Wait()
			if err := s.Close(); err != nil {
				return Failed("close", err)
			}
			Say("closed")
		}
	}
	return 0
}

// StartWatching starts a watcher of a fleet's bank.
func (f *Fleet) StartWatching(work string, more ...string) *Child {
	f.T.Helper()
	f.starts++
	return StartChild(f.T, "watcher", append(Env(f.Dir, 100+int(f.starts), work, f.seed+f.starts), more...)...)
}

// Transactions returns how many transactions the bank has had.
func (f *Fleet) Transactions() (n uint64) {
	f.T.Helper()
	n, err := f.bank.counters.Get(f.Space, "shared")
	if !IsNotFound(err) {
		Must(f.T, err)
	}
	return n
}

// Hears waits until a watcher has heard of n transactions.
func (c *Child) Hears(n uint64) {
	c.T.Helper()
	c.Await(fmt.Sprintf("the changes of transaction %d", n), func() bool { return c.Acked.Load() >= n })
}

// Comes asks a watcher whether its mirrors equal the bank.
func (c *Child) Comes(asked string) {
	c.T.Helper()
	before := c.Heard("mirrored")
	c.Tell("compare")
	c.Await("the comparison "+asked, func() bool { return c.Heard("mirrored") > before })
	if c.Heard("mirrored false") > 0 {
		c.T.Errorf("%s a watcher's %s differ from the bank's", asked, c.Rest("mirrored false "))
	}
}

// Show formats a change as one line.
func Show[K comparable, V any](c everheap.Change[K, V]) string {
	s := fmt.Sprint(c.Kind(), " ", c.Key)
	if c.Old != nil {
		s += fmt.Sprint(" ", *c.Old)
	}
	if c.New != nil {
		s += fmt.Sprint(" -> ", *c.New)
	}
	if c.More {
		s += " …"
	}
	return s
}
