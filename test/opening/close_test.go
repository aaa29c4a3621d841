package opening

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
	"go.uber.org/goleak"
)

// closing begins to close a space in another goroutine, and returns when no transaction
// can begin any more; the channel gets what Close returns.
func closing(t testing.TB, s *everheap.Space) <-chan error {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	begun := func() bool { return errors.Is(s.View(func(*everheap.Tx) error { return nil }), everheap.ErrClosed) }
	if !proctest.Wait(begun) {
		t.Fatal("Close does not begin")
	}
	return closed
}

// heldView begins a View in another goroutine, which ends when release is closed.
func heldView(t testing.TB, s *everheap.Space) (release chan<- struct{}, done <-chan error) {
	t.Helper()
	inside, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.View(func(*everheap.Tx) error {
			close(inside)
			<-end
			return nil
		})
	}()
	receive(t, "a View", inside)
	return end, ended
}

// While Close waits for a View, other spaces are opened, used and closed, by others and
// by that very View.
func TestClose_WaitingKeepsNobodyFromOtherSpaces(t *testing.T) { // K1
	dir := t.TempDir()
	x := openPlain(t, filepath.Join(dir, "x"))
	other := func(name string) error {
		s, err := everheap.Open(filepath.Join(dir, name), everheap.WithMaxSize(small))
		if err != nil {
			return err
		}
		m, err := everheap.OpenMap[string, int](s, "m")
		if err == nil {
			err = m.Set(s, "k", 1)
		}
		if err != nil {
			return err
		}
		return s.Close()
	}
	inside, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- x.View(func(*everheap.Tx) error {
			close(inside)
			<-goOn
			return other("y")
		})
	}()
	receive(t, "the View", inside)
	closed := closing(t, x)
	opened := make(chan error, 1)
	go func() { opened <- other("z") }()
	must(t, receive(t, "a third space to be opened and closed", opened))
	select {
	case err := <-closed:
		t.Errorf("Close did not wait for the View: %v", err)
	default:
	}
	close(goOn)
	must(t, receive(t, "the View that opens a space", done))
	must(t, receive(t, "Close", closed))
}

// A space that is opened again while Close waits for a View stays open, with its contents; and Open
// does not wait, not even inside that View.
func TestOpen_TakesBackAClosingThatWaits(t *testing.T) { // K3
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	m := mapOf(t, s)
	must(t, m.Set(s, "k", 1))
	inside, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var again *everheap.Space
	go func() {
		done <- s.View(func(*everheap.Tx) (err error) {
			close(inside)
			<-goOn
			again, err = everheap.Open(dir)
			return err
		})
	}()
	receive(t, "the View", inside)
	closed := closing(t, s)
	close(goOn)
	must(t, receive(t, "the View that opens its own space", done))
	must(t, receive(t, "Close", closed))
	must(t, m.Set(again, "k", 2))
	if v, err := m.Get(again, "k"); err != nil || v != 2 {
		t.Errorf("%d (%v)", v, err)
	}
	expectError(t, m.Set(s, "k", 3), everheap.ErrClosed)
	must(t, again.Close())
	if files := openFiles(t, dir); len(files) > 0 {
		t.Errorf("after the last Close there are still %v", files)
	}
}

// An Open in the other mode cannot take a closing back, and says so at once.
func TestErrBusy_OpenInAnotherModeWhileClosing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	release, done := heldView(t, s)
	closed := closing(t, s)
	_, err := everheap.Open(dir, everheap.WithReadOnly())
	expectError(t, err, everheap.ErrBusy, "another mode")
	close(release)
	must(t, receive(t, "the View", done))
	must(t, receive(t, "Close", closed))
	r, err := everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	must(t, r.Close())
}

// Close returns inside every function that the library calls; the transaction around it ends as
// usual, and then the space is closed.
func TestClose_InsideTransactions(t *testing.T) {
	ctx := context.Background()
	for name, inside := range map[string]func(s *everheap.Space, m everheap.Map[string, int], fn func()) error{
		"View": func(s *everheap.Space, m everheap.Map[string, int], fn func()) error {
			return s.View(func(tx *everheap.Tx) error {
				p := m.Peek(tx, "k")
				fn()
				if *p != 1 {
					return fmt.Errorf("after Close the View sees %d", *p)
				}
				return nil
			})
		},
		"Update": func(s *everheap.Space, m everheap.Map[string, int], fn func()) error {
			return s.Update(ctx, func(tx *everheap.Tx) error {
				if err := m.Set(tx, "new", 2); err != nil {
					return err
				}
				fn()
				return m.Set(tx, "newer", 3)
			})
		},
		"Modify": func(s *everheap.Space, m everheap.Map[string, int], fn func()) error {
			return m.Modify(s, "k", func(v *int) error { fn(); *v = 1; return nil })
		},
		"ViewAt": func(s *everheap.Space, m everheap.Map[string, int], fn func()) error {
			if err := s.Checkpoint("c"); err != nil {
				return err
			}
			return s.ViewAt("c", func(*everheap.Tx) error { fn(); return nil })
		},
		"Watch": func(s *everheap.Space, m everheap.Map[string, int], fn func()) error {
			written := make(chan error, 1)
			go func() { // until the space is closed: the loop only yields versions after its beginning
				var err error
				for i := 0; err == nil; i++ {
					err = m.Set(s, "other", i)
				}
				written <- err
			}()
			for range s.Changes(ctx) {
				fn()
				break
			}
			if err := <-written; !errors.Is(err, everheap.ErrClosed) {
				return err
			}
			return nil
		},
		"Resume": func(s *everheap.Space, m everheap.Map[string, int], fn func()) error {
			_ = everheap.Resume(ctx, s, "r", 0, func(*int, func() error) error { fn(); return nil })
			return nil // whatever the error about the closed space is
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			dir := filepath.Join(t.TempDir(), "s")
			s := openPlain(t, dir)
			m := mapOf(t, s)
			must(t, m.Set(s, "k", 1))
			within(t, "closing inside", func() {
				must(t, inside(s, m, func() { must(t, s.Close()) }))
			})
			if !proctest.Wait(func() bool { return len(openFiles(t, dir)) == 0 }) {
				t.Error("the space does not end after the transaction")
			}
			noneLeft(t, before)
			s = open(t, dir)
			if v, err := m.Get(s, "k"); err != nil || v != 1 {
				t.Errorf("k is %d (%v)", v, err)
			}
			if name == "Update" {
				if v, err := m.Get(s, "newer"); err != nil || v != 3 {
					t.Errorf("the value that the Update committed after Close is %d (%v)", v, err)
				}
			}
		})
	}
}

// Commits before a Close inside a View are durable when Close returns, although the View continues.
func TestClose_InsideViewIsDurable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := openPlain(t, dir, everheap.WithFlushInterval(time.Hour))
	m := mapOf(t, s)
	must(t, m.Set(s, "k", 1))
	must(t, s.View(func(tx *everheap.Tx) error {
		must(t, s.Close())
		// Another process has only the files, as if this process had died.
		copied := filepath.Join(t.TempDir(), "copy")
		must(t, os.CopyFS(copied, os.DirFS(dir)))
		must(t, os.Remove(filepath.Join(copied, "live")))
		must(t, everheap.Rebase(context.Background(), copied, 0))
		c, err := everheap.Open(copied)
		if err != nil {
			return err
		}
		defer c.Close()
		if v, err := mapOf(t, c).Get(c, "k"); err != nil || v != 1 {
			t.Errorf("on disk is %d (%v)", v, err)
		}
		return nil
	}))
}

func TestClose_TwiceAtOnce(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "s")
		s := open(t, dir)
		m := mapOf(t, s)
		must(t, m.Set(s, "k", 1))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		within(t, "closing", wg.Wait)
	}
}

// Handles are opened and closed by many goroutines at once: each finds the space open
// for as long as it has its handle.
func TestOpen_WhileTheSpaceIsBeingClosed(t *testing.T) { // K2
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	m, err := everheap.OpenMap[int, int](s, "ints")
	must(t, err)
	must(t, s.Close())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				s, err := everheap.Open(dir)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				if err := m.Set(s, g, i); err != nil {
					t.Errorf("set: %v", err)
				}
				if v, err := m.Get(s, g); err != nil || v != i {
					t.Errorf("get: %d, want %d (%v)", v, i, err)
				}
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		})
	}
	within(t, "opening and closing", wg.Wait)
}
