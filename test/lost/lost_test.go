package lost_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
)

const page = 4096

// cuts are the ways to damage a live file. Each gets its path and length, and the path of the live
// file of another space.
var cuts = map[string]func(path string, size int64, other string) error{
	"to nothing": func(path string, _ int64, _ string) error { return os.Truncate(path, 0) },
	"to a page":  func(path string, _ int64, _ string) error { return os.Truncate(path, page) },
	"to a page and some words": func(path string, _ int64, _ string) error {
		return os.Truncate(path, page+16)
	},
	"to half of it": func(path string, size int64, _ string) error { return os.Truncate(path, size/2/page*page) },
	"by a page":     func(path string, size int64, _ string) error { return os.Truncate(path, size-page) },
	"by a word":     func(path string, size int64, _ string) error { return os.Truncate(path, size-8) },
	"and made longer again": func(path string, size int64, _ string) error {
		return errors.Join(os.Truncate(path, 0), os.Truncate(path, size))
	},
	"by half and made longer again": func(path string, size int64, _ string) error {
		return errors.Join(os.Truncate(path, size/2), os.Truncate(path, size))
	},
	"to some words and made longer again": func(path string, size int64, _ string) error {
		return errors.Join(os.Truncate(path, page+16), os.Truncate(path, size))
	},
	"by a page and made longer again": func(path string, size int64, _ string) error {
		return errors.Join(os.Truncate(path, size-page), os.Truncate(path, size))
	},
	"written over with noise": func(path string, size int64, _ string) error { // as cp does
		b := make([]byte, size)
		if _, err := rand.Read(b); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	},
	"written over with less": func(path string, _ int64, _ string) error {
		return os.WriteFile(path, bytes.Repeat([]byte("less"), 5000), 0o600)
	},
	"written over with that of another space": func(path string, _ int64, other string) error {
		b, err := os.ReadFile(other)
		if err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	},
}

func init() {
	children["idle"] = func(c *child) error {
		if err := c.open(); err != nil {
			return err
		}
		c.ready()
		c.cut()
		return c.idle()
	}
	children["idle reader"] = func(c *child) error {
		if err := c.open(everheap.WithReadOnly()); err != nil {
			return err
		}
		c.ready()
		c.cut()
		if err := c.space.Close(); err != nil { // otherwise it has not noticed yet, and had nothing to do
			return lost("close", err)
		}
		return nil
	}
	children["getter"] = func(c *child) error { return c.until(c.get) }
	children["viewer"] = func(c *child) error { return c.until(c.view) }
	children["verifier"] = func(c *child) error { return c.until(c.view, everheap.WithVerify()) }
	children["read-only viewer"] = func(c *child) error {
		if err := c.open(everheap.WithReadOnly()); err != nil {
			return err
		}
		c.ready()
		for i := 0; ; i++ {
			if err := c.view(i); err != nil {
				return errors.Join(lost("view", err), lost("close", c.space.Close()))
			}
		}
	}
	children["long viewer"] = longView
	children["setter"] = func(c *child) error {
		return c.until(func(i int) error { return c.m.Set(c.space, -1000-i%500, value(i%entries)) })
	}
	children["updater"] = func(c *child) error { return c.until(c.update) }
	children["durable setter"] = func(c *child) error {
		return c.until(func(i int) error {
			key := entries + i*7
			err := c.m.Set(c.space, key, value(key%entries))
			if err == nil {
				proctest.Say("durable", key)
			}
			return err
		}, everheap.WithDurability(everheap.Durable))
	}
	children["syncer"] = func(c *child) error {
		return c.until(func(i int) error {
			key := entries + i*7 + 1
			err := c.m.Set(c.space, key, value(key%entries))
			if err == nil {
				if err = c.space.Sync(context.Background()); err == nil {
					proctest.Say("durable", key)
				}
			}
			return err
		})
	}
	children["crowd"] = crowd
	children["watcher"] = func(c *child) error {
		return c.parked(func() error {
			return watched(context.Background(), c.space, c.m, func(everheap.Change[int, string]) {})
		})
	}
	children["follower"] = func(c *child) error {
		return c.parked(func() error { return followed(context.Background(), c.space, func() {}) })
	}
	children["mutex holder"] = func(c *child) error { return c.holder(c.mutexOf("m")) }
	children["mutex waiter"] = func(c *child) error { return c.waiter(c.mutexOf("m")) }
	children["semaphore holder"] = func(c *child) error { return c.holder(c.semaphoreOf("s")) }
	children["semaphore waiter"] = func(c *child) error { return c.waiter(c.semaphoreOf("s")) }
	children["locker"] = func(c *child) error {
		return c.until(func(i int) error {
			mu := c.space.Mutex("short")
			if err := mu.Lock(context.Background()); err != nil && !errors.Is(err, everheap.ErrOwnerDied) {
				return err
			}
			return mu.Unlock()
		})
	}
	children["steward"] = func(c *child) error { return c.until(c.steward) }
	children["closer"] = closer
	children["opener"] = opener
}

// until calls do again and again, until the error says that live is lost.
func (c *child) until(do func(i int) error, opts ...everheap.Option) error {
	if err := c.open(opts...); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if i == 10 {
			c.ready()
		}
		if err := do(i); err != nil {
			if isBusy(err) {
				continue
			}
			if err := lost(fmt.Sprintf("round %d", i), err); err != nil {
				return err
			}
			return c.close()
		}
	}
}

// idle does nothing until the process has noticed the loss, and then verifies that every call is
// refused.
func (c *child) idle() error {
	for began := time.Now(); !c.space.Stats().Closed; time.Sleep(time.Millisecond) {
		if time.Since(began) > proctest.Patience {
			return errors.New("it does not find out")
		}
	}
	return c.close()
}

// isBusy reports whether an error comes from a busy machine: too many processes write anchors, or a
// slow process was taken for a suspended one.
func isBusy(err error) bool {
	return errors.Is(err, everheap.ErrBusy) || errors.Is(err, everheap.ErrSuspended)
}

// get reads one entry.
func (c *child) get(i int) error {
	v, err := c.m.Get(c.space, i%entries)
	if err == nil && v != value(i%entries) {
		return fmt.Errorf("key %d has %.20q", i%entries, v)
	}
	return err
}

// view reads all entries.
func (c *child) view(i int) error {
	return c.space.View(func(tx *everheap.Tx) error {
		n := 0
		for key, v := range c.m.All(tx) {
			if key >= 0 && key < entries {
				n++
				if *v != value(key) {
					return fmt.Errorf("key %d has %.20q", key, *v)
				}
			}
		}
		if n != entries {
			return fmt.Errorf("there are %d entries of %d", n, entries)
		}
		if v := c.m.Peek(tx, i%entries); v == nil || *v != value(i%entries) {
			return fmt.Errorf("key %d has %v", i%entries, v)
		}
		return nil
	})
}

// update changes many entries in one transaction.
func (c *child) update(i int) error {
	return c.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for k := range 100 {
			if err := c.m.Set(tx, -2000-k, value((i+k)%entries)); err != nil {
				return err
			}
		}
		return nil
	})
}

// longView is in a View while the file is cut. Then it still reads its version, or gets an error.
func longView(c *child) error {
	if err := c.open(); err != nil {
		return err
	}
	var told error
	err := c.space.View(func(tx *everheap.Tx) error {
		c.ready()
		c.cut()
		for range 200 { // others write, and would reuse the replaced blocks
			for i := range entries {
				if v := c.m.Peek(tx, i); v == nil || *v != value(i) {
					told = fmt.Errorf("in the view key %d has %v", i, v)
					return told
				}
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	if told != nil {
		return told
	}
	if err != nil {
		if err := lost("view", err); err != nil {
			return err
		}
	}
	return c.idle()
}

// crowd has many goroutines that write, in a queue, and others that read.
func crowd(c *child) error {
	if err := c.open(); err != nil {
		return err
	}
	var all sync.WaitGroup
	outcomes := make([]error, 16)
	for g := range outcomes {
		all.Go(func() {
			for i := 0; outcomes[g] == nil; i++ {
				var err error
				switch g % 4 {
				case 0:
					err = c.m.Set(c.space, -3000-g, value(i%entries))
				case 1:
					err = c.update(i)
				case 2:
					err = c.view(i)
				case 3:
					err = c.get(i)
				}
				if !isBusy(err) {
					outcomes[g] = err
				}
			}
		})
	}
	c.ready()
	all.Wait()
	for _, err := range outcomes {
		if err := lost("crowd", err); err != nil {
			return err
		}
	}
	return c.close()
}

// parked waits in a call that the loss of live must end.
func (c *child) parked(wait func() error) error {
	if err := c.open(); err != nil {
		return err
	}
	c.ready()
	if err := lost("waiting", wait()); err != nil {
		return err
	}
	return c.close()
}

// locker is a mutex or a semaphore.
type locker struct {
	lock   func(ctx context.Context) error
	unlock func() error
}

func (c *child) mutexOf(name string) func() locker {
	return func() locker { m := c.space.Mutex(name); return locker{m.Lock, m.Unlock} }
}

func (c *child) semaphoreOf(name string) func() locker {
	return func() locker { s := c.space.Semaphore(name, 1); return locker{s.Acquire, s.Release} }
}

// holder holds a lock while the file is cut, and other goroutines of the process wait for it.
func (c *child) holder(of func() locker) error {
	if err := c.open(); err != nil {
		return err
	}
	l := of()
	if err := l.lock(context.Background()); err != nil {
		return err
	}
	waiting := make(chan error, 3)
	for range cap(waiting) {
		go func() { waiting <- of().lock(context.Background()) }()
	}
	c.ready()
	for range cap(waiting) {
		if err := lost("waiting beside the holder", <-waiting); err != nil {
			return err
		}
	}
	c.cut()
	if err := lost("unlock", l.unlock()); err != nil {
		return err
	}
	return c.close()
}

// waiter waits for a lock that another process holds.
func (c *child) waiter(of func() locker) error {
	return c.parked(func() error { return of().lock(context.Background()) })
}

// steward calls the operations of an operator.
func (c *child) steward(i int) error {
	s, ctx := c.space, context.Background()
	switch i % 9 {
	case 0:
		report, err := s.Check(ctx)
		if err == nil && len(report.Findings) > 0 {
			return fmt.Errorf("check: %v", report.Findings)
		}
		return err
	case 1:
		return second(s.Collect(ctx))
	case 2:
		return second(s.Compact(ctx))
	case 3:
		return s.Checkpoint(fmt.Sprint("c", i))
	case 4:
		err := s.DropCheckpoint(fmt.Sprint("c", i-1))
		if errors.Is(err, everheap.ErrNotFound) {
			return nil
		}
		return err
	case 5:
		return s.Backup(io.Discard)
	case 6:
		return second(s.Readers())
	case 7:
		return second(s.Locks())
	}
	return second(s.Processes())
}

// closer writes, closes the space and opens it, again and again, so that one of these meets the cut.
// If it opens the space after all others have left, it gets no error.
func closer(c *child) error {
	return c.comes(func(i int) error { return c.m.Set(c.space, -5000, value(i%entries)) })
}

// opener only opens and closes the space.
func opener(c *child) error { return c.comes(func(int) error { return nil }) }

// comes opens and closes the space again and again, until some time after the cut.
func (c *child) comes(do func(i int) error) error {
	over := make(chan struct{})
	for i := 0; ; i++ {
		if err := c.open(); err != nil {
			return isRefused(err)
		}
		if i == 0 {
			c.ready()
			go func() { c.cut(); close(over) }()
		}
		if err := do(i); err != nil && !isBusy(err) {
			if err := lost("inside", err); err != nil {
				return err
			}
			return c.close()
		}
		if err := c.space.Close(); err != nil && !isBusy(err) {
			return lost("close", err)
		}
		select {
		case <-over:
			return nil
		default:
		}
	}
}

// isRefused returns an error unless err is right for opening a space whose live file was cut while
// others have it open.
func isRefused(err error) error {
	if errors.Is(err, everheap.ErrLiveLost) || errors.Is(err, everheap.ErrBusy) && strings.Contains(err.Error(), "live file") {
		return nil
	}
	return err
}

// No process dies, every process gets an error, and when all have left no durable commit is missing.
func TestLostLive_NobodyDies(t *testing.T) { // L14, L15, L16, X1, X2, X3, X4, X5, X6
	other := prepare(t)
	_, _, err := open(other)
	must(t, err)
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			dir := prepare(t)
			path := filepath.Join(dir, "live")
			all := map[string]*proctest.Proc{}
			begin := func(name string) { all[name] = proctest.Start(t, name, dir, nil) }
			for _, name := range []string{"mutex holder", "semaphore holder", "idle"} { // first: others wait for their locks
				begin(name)
				all[name].Hear("ready")
			}
			for name := range children {
				if all[name] == nil {
					begin(name)
				}
			}
			for _, p := range all {
				p.Hear("ready")
			}
			info, err := os.Stat(path)
			must(t, err)
			must(t, cut(path, info.Size(), filepath.Join(other, "live")))
			for _, p := range all {
				p.Tell("cut") // a child that does not listen notices otherwise
			}
			var durable []int
			for name, p := range all {
				if p.Ends(); t.Failed() {
					t.Fatalf("that was %s", name)
				}
				for _, said := range p.Said("durable") {
					key, err := strconv.Atoi(said)
					must(t, err)
					durable = append(durable, key)
				}
			}
			if len(durable) == 0 {
				t.Error("nothing was durable before")
			}
			survives(t, dir, durable)
		})
	}
}
