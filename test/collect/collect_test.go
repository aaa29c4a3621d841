package collect

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A chain is a value that refers to another one.
type chain struct {
	N    int
	Next everheap.Ref[chain]
}

// A chainedSpace is a space with a map of chains. Its collections drop one object at a time, and call
// step before each.
type chainedSpace struct {
	*everheap.Space
	t    testing.TB
	m    everheap.Map[string, everheap.Ref[chain]]
	step func(n int)
	made int
}

func newChainedSpace(t testing.TB) *chainedSpace {
	c := &chainedSpace{t: t}
	n := 0
	c.Space = spacetest.Scratch(t, spacetest.WithoutBackground(), spacetest.WithCollecting(1, func() {
		if n++; c.step != nil {
			c.step(n)
		}
	}))
	c.m = spacetest.MapOf[string, everheap.Ref[chain]](t, c.Space)
	return c
}

// link makes a value that refers to another one, or to none, and returns a reference to it.
func (c *chainedSpace) link(next everheap.Ref[chain]) (r everheap.Ref[chain]) {
	c.t.Helper()
	spacetest.Update(c.t, c.Space, func(tx *everheap.Tx) (err error) {
		c.made++
		r, err = everheap.New(tx, chain{c.made, next})
		return err
	})
	return r
}

// name gives a chain a name; the zero chain removes the name.
func (c *chainedSpace) name(name string, r everheap.Ref[chain]) {
	c.t.Helper()
	if r.IsNil() {
		spacetest.Must(c.t, spacetest.Second(c.m.Delete(c.Space, name)))
		return
	}
	spacetest.Must(c.t, c.m.Set(c.Space, name, r))
}

// isThere fails the test unless the object exists, or does not exist if want is false.
func (c *chainedSpace) isThere(r everheap.Ref[chain], want bool) {
	c.t.Helper()
	_, err := r.Get(c.Space)
	if err != nil && !errors.Is(err, everheap.ErrNotFound) || (err == nil) != want {
		c.t.Errorf("object %x: %v, want it there: %v", r.ID(), err, want)
	}
}

// The object of a handle was dropped while nothing referred to it, so the handle is dangling. Then a
// checkpoint is restored in the middle of a collection, and the object exists again. The objects that
// it refers to must stay, although its block is an old one (G2).
func TestCollect_RestoredBehindAHandle(t *testing.T) {
	var none everheap.Ref[chain]
	c := newChainedSpace(t)
	last := c.link(none)
	between := c.link(last)
	first := c.link(between)
	c.name("first", first)
	spacetest.Must(t, c.Checkpoint("whole"))
	c.name("last", last)
	c.name("first", none)
	c.step = func(int) {
		if _, err := between.Get(c.Space); err != nil {
			c.step = nil
			c.name("first", first)
		}
	}
	spacetest.Collect(t, c.Space)
	c.isThere(between, false)
	c.isThere(first, true)
	c.name("last", none)
	c.step = func(int) {
		c.step = nil
		spacetest.Must(t, c.Restore(context.Background(), "whole"))
	}
	if stats := spacetest.Collect(t, c.Space); stats.Rescued != 1 || stats.Dropped != 0 {
		t.Errorf("%+v", stats)
	}
	for _, r := range []everheap.Ref[chain]{first, between, last} {
		c.isThere(r, true)
	}
}

// No operation uses a dropped object: linking, watching and reading it are errors.
func TestCollect_WhatIsGone(t *testing.T) { // G6
	var none everheap.Ref[chain]
	c := newChainedSpace(t)
	r := c.link(none)
	c.name("r", r)
	var list everheap.List[int]
	spacetest.Update(t, c.Space, func(tx *everheap.Tx) (err error) {
		list, err = everheap.NewList[int](tx)
		if err == nil {
			err = list.Append(tx, 1, 2, 3)
		}
		return err
	})
	spacetest.Must(t, c.Checkpoint("before"))
	next, stop := iter.Pull2(r.Watch(context.Background(), c.Space))
	defer stop()
	spacetest.View(t, c.Space, func(tx *everheap.Tx) error {
		c.name("r", none)
		if stats := spacetest.Collect(t, c.Space); stats.Dropped != 2 || stats.Objects != 3 || stats.Batches != 2 {
			t.Errorf("%+v", stats)
		}
		if v, err := r.Get(tx); err != nil || v.N != 1 || *r.Peek(tx) != v { // the version is held
			t.Error(v, err)
		}
		return nil
	})
	c.isThere(r, false)
	if err := r.Set(c.Space, chain{}); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("setting a dropped object: %v", err)
	}
	if err := list.Append(c.Space, 4); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("appending to a dropped list: %v", err)
	}
	if err := c.m.Set(c.Space, "r", r); !errors.Is(err, everheap.ErrDangling) {
		t.Errorf("linking a dropped object: %v", err)
	}
	if _, err, ok := next(); !ok || !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("watching a dropped object: %v, %v", err, ok)
	}
	spacetest.Must(t, c.ViewAt("before", func(tx *everheap.Tx) error {
		n, err := list.Len(tx)
		if v := r.Peek(tx); v.N != 1 || n != 3 {
			t.Error(v, n)
		}
		return err
	}))
	if n := c.link(none); n.ID() <= list.ID() {
		t.Errorf("the ID %x was given again, after %x", n.ID(), list.ID())
	}
	spacetest.Must(t, c.Restore(context.Background(), "before"))
	c.isThere(r, true)
	spacetest.Collect(t, c.Space)
	c.isThere(r, true)
	if n, err := list.Len(c.Space); !errors.Is(err, everheap.ErrNotFound) { // as nothing referred to it
		t.Error(n, err)
	}
}

// A collection does not drop an object that a transaction makes and links meanwhile: one waits for
// the other.
func TestCollect_WhileATransactionRuns(t *testing.T) {
	var none everheap.Ref[chain]
	c := newChainedSpace(t)
	moved := c.link(none)
	c.name("from", moved)
	c.link(none) // so that there is an object to drop
	var made everheap.Ref[chain]
	collected := make(chan error, 1)
	marked := make(chan bool)
	c.step = func(n int) {
		if n == 1 {
			close(marked)
		}
	}
	spacetest.Update(t, c.Space, func(tx *everheap.Tx) (err error) {
		if err := spacetest.Second(c.m.Delete(tx, "from")); err != nil {
			return err
		}
		go func() {
			_, err := c.Collect(context.Background())
			collected <- err
		}()
		spacetest.Receive(t, "a collection", marked) // the collection waits for the transaction now
		if made, err = everheap.New(tx, chain{Next: moved}); err != nil {
			return err
		}
		return c.m.Set(tx, "to", made)
	})
	spacetest.Must(t, spacetest.Receive(t, "the end of the collection", collected))
	c.isThere(moved, true)
	c.isThere(made, true)
}

// Collect inside an Update would wait for itself, and is refused; so is Collect of a read-only space;
// a context ends a collection.
func TestCollect_Refused(t *testing.T) {
	var none everheap.Ref[chain]
	c := newChainedSpace(t)
	gone := c.link(none)
	spacetest.Update(t, c.Space, func(*everheap.Tx) error {
		if _, err := c.Collect(context.Background()); !errors.Is(err, everheap.ErrSelf) {
			t.Errorf("inside an Update: %v", err)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	c.step = func(int) { cancel() }
	if stats, err := c.Collect(ctx); !errors.Is(err, context.Canceled) || stats.Dropped > 1 {
		t.Errorf("with a context that ends: %v, %+v", err, stats)
	}
	c.step = nil
	spacetest.Collect(t, c.Space)
	c.isThere(gone, false)
	dir := c.Stats().Dir
	spacetest.Must(t, c.Close())
	if _, err := c.Collect(context.Background()); !errors.Is(err, everheap.ErrClosed) {
		t.Errorf("of a closed space: %v", err)
	}
	s := spacetest.Open(t, dir, everheap.WithReadOnly())
	if _, err := s.Collect(context.Background()); !errors.Is(err, everheap.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
}

// Large collections are dropped at once, and a sweep finds their blocks; afterwards the space is as
// small as before.
func TestCollect_LargeObjects(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	m := spacetest.MapOf[string, everheap.Map[int, string]](t, s)
	empty := s.Stats().Live
	for round := range 3 {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			large, err := everheap.NewMap[int, string](tx)
			if err != nil {
				return err
			}
			sorted, err := everheap.NewSorted[int, string](tx)
			if err != nil {
				return err
			}
			list, err := everheap.NewList[string](tx)
			for i := 0; i < 5000 && err == nil; i++ {
				text := strings.Repeat("x", i%100)
				err = errors.Join(large.Set(tx, i, text), sorted.Set(tx, i, text), list.Append(tx, text))
			}
			return errors.Join(err, m.Set(tx, "large", large))
		})
		if round == 1 {
			spacetest.Must(t, spacetest.Second(m.Delete(s, "large")))
		}
	}
	spacetest.Must(t, m.Set(s, "none", everheap.Map[int, string]{})) // so that the list of changes is short
	before := s.Stats()
	stats := spacetest.Collect(t, s)
	after := s.Stats()
	if stats.Dropped != 8 || stats.Bytes != before.Live-after.Live || after.Leaked < stats.Bytes*9/10 {
		t.Errorf("%+v: %d bytes before, %d after, of which %d leaked", stats, before.Live, after.Live, after.Leaked)
	}
	spacetest.Must(t, spacetest.Second(m.Delete(s, "large")))
	spacetest.Collect(t, s)
	spacetest.Must(t, spacetest.Sweep(s))
	if live := s.Stats().Live; live > empty+4096 {
		t.Errorf("%d bytes when it was empty, %d now", empty, live)
	}
	used := s.Stats().Used
	spacetest.Update(t, s, func(tx *everheap.Tx) error { // in the space that is free now
		large, err := everheap.NewMap[int, string](tx)
		for i := 0; i < 20000 && err == nil; i++ {
			err = large.Set(tx, i, "again")
		}
		return err
	})
	if now := s.Stats().Used; now > used {
		t.Errorf("%d bytes were used, %d are now", used, now)
	}
}

// The object table does not grow with the number of dropped objects.
func TestCollect_TableShrinks(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	var live [3]uint64
	for i := range live {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for range 20000 {
				if _, err := everheap.New(tx, uint64(1)); err != nil {
					return err
				}
			}
			return nil
		})
		stats := spacetest.Collect(t, s)
		if live[i] = s.Stats().Live; stats.Dropped != 20000 {
			t.Errorf("%+v", stats)
		}
	}
	if live[2] > live[0]+4096 {
		t.Errorf("bytes after each collection: %v", live)
	}
}

// The background collects once when a collection is due, and not otherwise.
func TestCollect_InTheBackground(t *testing.T) {
	t.Parallel() // this test mostly waits
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, everheap.Ref[uint64]](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 3000 {
			r, err := everheap.New(tx, uint64(i))
			if err == nil {
				err = m.Set(tx, i, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 2000 {
			if err := spacetest.Second(m.Delete(tx, i)); err != nil {
				return err
			}
		}
		return nil
	})
	settled := spacetest.Wait(spacetest.Patience, func() bool {
		spacetest.Update(t, s, func(tx *everheap.Tx) error { // a collection between the two transactions finds nothing; another one follows then
			r, err := m.Get(tx, 2500)
			for i := 0; i < 50 && err == nil; i++ {
				err = m.Set(tx, 2500, r)
			}
			return err
		})
		return s.Stats().Objects < 1100
	})
	if !settled {
		t.Fatalf("%d objects are left", s.Stats().Objects)
	}
	if !spacetest.Wait(spacetest.Patience, func() bool { return s.Stats().Collected.Dropped > 0 }) {
		t.Errorf("the last collection of the process: %+v", s.Stats().Collected)
	}
	version, began := s.Stats().Version, time.Now()
	quiet := spacetest.Wait(spacetest.Patience, func() bool { // a collection that has begun may finish, and one more may find nothing
		if now := s.Stats().Version; now > version {
			version, began = now, time.Now()
		}
		return time.Since(began) > 1500*time.Millisecond
	})
	if !quiet {
		t.Errorf("no process writes, but there are new versions, the last one %d", version)
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		n := 2000
		for i, r := range m.All(tx) {
			if v, err := r.Get(tx); err != nil || v != uint64(i) {
				return fmt.Errorf("object %d: %d, %v", i, v, err)
			}
			n++
		}
		if n != 3000 {
			t.Errorf("%d objects are left", n-2000)
		}
		return nil
	})
}

// Types change in the middle of a collection: objects that values of the new type refer to stay.
func TestCollect_WhileTypesChange(t *testing.T) { // G2
	var none everheap.Ref[chain]
	c := newChainedSpace(t)
	kept, late := c.link(none), c.link(none)
	c.link(none)
	addOld := func() {
		type entry struct{ To everheap.Ref[chain] }
		m, err := everheap.OpenMap[string, entry](c.Space, "entries")
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(c.Space, "kept", entry{kept}))
		spacetest.Must(t, m.Set(c.Space, "late", entry{}))
	}
	addNew := func() {
		type entry struct {
			N  int
			To everheap.Ref[chain]
		}
		m, err := everheap.OpenMap[string, entry](c.Space, "entries", everheap.Evolve())
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(c.Space, "late", entry{1, late}))
		spacetest.Must(t, m.Set(c.Space, "later", entry{To: late}))
	}
	addOld()
	c.step = func(int) {
		c.step = nil
		addNew()
	}
	if stats := spacetest.Collect(t, c.Space); stats.Dropped != 1 || stats.Rescued != 1 {
		t.Errorf("%+v", stats)
	}
	c.isThere(kept, true)
	c.isThere(late, true)
}

// A collection examines a changed object again even if the object was made after the collection
// began: a link in it counts.
func TestCollect_LinkedFromWhatIsNew(t *testing.T) {
	var none, made everheap.Ref[chain]
	c := newChainedSpace(t)
	c.link(none)
	c.link(none)
	last := c.link(none)
	c.step = func(n int) {
		switch n {
		case 1:
			made = c.link(none)
			c.name("made", made)
		case 2:
			spacetest.Must(t, made.Set(c.Space, chain{Next: last}))
		}
	}
	if stats := spacetest.Collect(t, c.Space); stats.Dropped != 2 || stats.Rescued != 1 {
		t.Errorf("%+v", stats)
	}
	c.isThere(made, true)
	c.isThere(last, true)
}
