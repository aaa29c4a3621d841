package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// progress is the state of the runs in these tests.
type progress struct {
	N    int
	Note string
}

// resume is a Resume with this state.
func resume(s *everheap.Space, run func(p *progress, checkpoint func() error) error) error {
	return everheap.Resume(spacetest.Background, s, "job", progress{Note: "new"}, run)
}

// stored returns the state that is committed.
func stored(t *testing.T, s *everheap.Space) progress {
	t.Helper()
	r, err := everheap.OpenRef(s, "job", progress{})
	spacetest.Must(t, err)
	p, err := r.Get(s)
	spacetest.Must(t, err)
	return p
}

// elsewhere runs fn in another goroutine, and returns when it has ended.
func elsewhere(fn func()) {
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(spacetest.Patience): // deadlock: it waits for the run that waits for it
		debug.SetTraceback("all")
		panic("the other goroutine does not end")
	}
}

// seen returns the map and the state, as another goroutine sees them.
func seen(t *testing.T, s *everheap.Space, m everheap.Map[string, int]) (n, state int) {
	t.Helper()
	elsewhere(func() {
		var err error
		if n, err = m.Get(s, "n"); err != nil && !spacetest.IsNotFound(err) {
			t.Error(err)
		}
		r, err := everheap.OpenRef(s, "job", progress{})
		if err != nil {
			t.Error(err)
		}
		p, err := r.Get(s)
		if err != nil {
			t.Error(err)
		}
		state = p.N
	})
	return n, state
}

// step does one step: the map and the state count together.
func step(s *everheap.Space, m everheap.Map[string, int], p *progress) error {
	p.N++
	return m.Upsert(s, "n", func(v *int, _ bool) error { *v++; return nil })
}

func TestResume_CommitsStateAndChangesTogether(t *testing.T) { // S1
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	look := func(when string, n, state int) {
		t.Helper()
		if a, b := seen(t, s, m); a != n || b != state {
			t.Errorf("%s: others see %d in the map and %d in the state, not %d and %d", when, a, b, n, state)
		}
	}
	spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
		if *p != (progress{Note: "new"}) {
			t.Errorf("it begins with %+v", p)
		}
		spacetest.Must(t, step(s, m, p))
		spacetest.Must(t, step(s, m, p))
		if v, err := m.Get(s, "n"); err != nil || v != 2 {
			t.Errorf("run sees %d (%v) of its own changes", v, err)
		}
		look("before the first checkpoint", 0, 0)
		spacetest.Must(t, checkpoint())
		look("after it", 2, 2)
		spacetest.Must(t, step(s, m, p))
		look("before the end", 2, 2)
		return nil
	}))
	look("after the end", 3, 3)
	spacetest.Must(t, resume(s, func(p *progress, _ func() error) error {
		if *p != (progress{3, "new"}) {
			t.Errorf("called again, it begins with %+v", p)
		}
		return nil
	}))
	look("after one more", 3, 3)
}

// Unless a run ends with nil, its changes since the last checkpoint are undone, and the next run
// continues from the checkpoint.
func TestResume_UndoesTheRest(t *testing.T) {
	boom := errors.New("boom")
	ways := map[string]func() error{
		"error":  func() error { return boom },
		"panic":  func() error { panic(boom) },
		"goexit": func() error { runtime.Goexit(); return nil },
		"fault":  nil,
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			m := spacetest.MapOf[string, int](t, s)
			l, err := everheap.OpenList[int](s, "l")
			spacetest.Must(t, err)
			elsewhere(func() {
				defer func() {
					if p := recover(); (p != nil) != (name == "panic") || p != nil && p != boom {
						t.Errorf("recovered %v", p)
					}
				}()
				err := resume(s, func(p *progress, checkpoint func() error) error {
					spacetest.Must(t, step(s, m, p))
					spacetest.Must(t, l.Append(s, 1))
					spacetest.Must(t, checkpoint())
					spacetest.Must(t, step(s, m, p))
					spacetest.Must(t, l.Append(s, 2))
					spacetest.Must(t, s.Update(spacetest.Background, func(tx *everheap.Tx) error { return m.Set(tx, "more", 1) }))
					_, err := everheap.OpenMap[int, int](s, "new in between")
					spacetest.Must(t, err)
					if end == nil {
						return s.View(func(tx *everheap.Tx) error { *m.Peek(tx, "n") = 7; return nil })
					}
					return end()
				})
				want := boom
				if name == "fault" {
					want = everheap.ErrFault
				}
				if !errors.Is(err, want) {
					t.Errorf("Resume returns %v", err)
				}
			})
			if n, state := seen(t, s, m); n != 1 || state != 1 {
				t.Errorf("%d and %d are there", n, state)
			}
			if n, err := l.Len(s); n != 1 || err != nil {
				t.Errorf("the list has %d elements (%v)", n, err)
			}
			_, err = everheap.OpenMap[int, int](readerOf(t, s), "new in between")
			spacetest.ExpectError(t, err, everheap.ErrNotFound)
			spacetest.Must(t, m.Set(s, "others", 1)) // others can write again
			spacetest.Must(t, resume(s, func(p *progress, _ func() error) error { return step(s, m, p) }))
			if n, state := seen(t, s, m); n != 2 || state != 2 {
				t.Errorf("after one more step %d and %d are there", n, state)
			}
		})
	}
}

// readerOf returns a scope that creates nothing: a View that ends with the test.
func readerOf(t *testing.T, s *everheap.Space) everheap.Scope {
	scope := make(chan *everheap.Tx)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.View(func(tx *everheap.Tx) error { scope <- tx; <-end; return nil })
	}()
	t.Cleanup(func() { close(end); <-ended })
	return spacetest.Receive(t, "a View", scope)
}

// A run that only computes does not block writers; after a change it does, until the checkpoint.
// Before its first change it sees the changes of others.
func TestResume_LocksOnlyOnceItHasChanged(t *testing.T) { // S2
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
		for range 2 {
			elsewhere(func() { spacetest.Must(t, m.Set(s, "other", p.N+1)) })
			if v, err := m.Get(s, "other"); v != p.N+1 || err != nil {
				t.Errorf("run sees %d (%v) of others", v, err)
			}
			spacetest.Must(t, step(s, m, p))
			waited := make(chan error)
			go func() {
				ctx, cancel := context.WithTimeout(spacetest.Background, 20*time.Millisecond)
				defer cancel()
				waited <- s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, "other", -1) })
			}()
			spacetest.ExpectError(t, spacetest.Receive(t, "an Update with a context that ends", waited), everheap.ErrBusy)
			spacetest.Must(t, checkpoint())
		}
		return nil
	}))
}

func TestResume_UpdateJoins(t *testing.T) { // S5
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	boom := errors.New("boom")
	spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
		spacetest.Must(t, s.Update(spacetest.Background, func(tx *everheap.Tx) error { // it may begin the transaction
			spacetest.Must(t, m.Set(tx, "n", 10))
			return m.Modify(s, "n", func(v *int) error { *v++; return nil }) // in any way
		}))
		if n, _ := seen(t, s, m); n != 0 {
			t.Errorf("others see %d before the checkpoint", n)
		}
		p.N = 11
		spacetest.Must(t, checkpoint())
		// An Update that fails before it has changed anything just returns its error.
		err := s.Update(spacetest.Background, func(tx *everheap.Tx) error {
			if ok, err := m.Has(tx, "absent"); ok || err != nil {
				t.Errorf("absent is there (%v)", err)
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("Update returns %v", err)
		}
		err = s.Update(spacetest.Background, func(tx *everheap.Tx) error { _, err := m.Get(tx, "absent"); return err })
		spacetest.ExpectError(t, err, everheap.ErrNotFound)
		spacetest.Must(t, m.Set(s, "n", 12))
		p.N = 12
		return nil
	}))
	if n, state := seen(t, s, m); n != 12 || state != 12 {
		t.Errorf("%d and %d are there", n, state)
	}
}

// An Update of a run that fails after a change ends the run, even if the run ignores the error;
// inside a View of the run, it does so when the View ends.
func TestResume_UpdateThatFailsHalfwayEndsIt(t *testing.T) { // S4
	boom := errors.New("boom")
	for _, way := range []string{"", "panic", "view"} {
		t.Run(way, func(t *testing.T) {
			s := spacetest.Scratch(t)
			m := spacetest.MapOf[string, int](t, s)
			spacetest.Must(t, m.Set(s, "base", 1))
			fail := func() {
				if way == "panic" {
					defer func() { _ = recover() }()
				}
				err := s.Update(spacetest.Background, func(tx *everheap.Tx) error {
					spacetest.Must(t, m.Set(tx, "n", 100))
					if way == "panic" {
						panic(boom)
					}
					return boom
				})
				if !errors.Is(err, boom) {
					t.Errorf("Update returns %v", err)
				}
			}
			err := resume(s, func(p *progress, checkpoint func() error) error {
				spacetest.Must(t, step(s, m, p))
				spacetest.Must(t, checkpoint())
				spacetest.Must(t, step(s, m, p))
				if way == "view" {
					spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
						fail()
						if v := m.Peek(tx, "n"); v == nil || *v != 2 {
							t.Errorf("the View sees %v", v)
						}
						return nil
					}))
				} else {
					fail()
				}
				for what, err := range everything(s, m, checkpoint) {
					if err == nil || !strings.Contains(err.Error(), "an Update of this run has failed") {
						t.Errorf("%s afterwards: %v", what, err)
					}
				}
				elsewhere(func() { spacetest.Must(t, m.Set(s, "other", 1)) }) // no writer is blocked any more
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), "an Update of this run has failed") {
				t.Errorf("Resume returns %v", err)
			}
			if n, state := seen(t, s, m); n != 1 || state != 1 {
				t.Errorf("%d and %d are there", n, state)
			}
		})
	}
}

// everything calls all kinds of operations in a run, and returns the errors.
func everything(s *everheap.Space, m everheap.Map[string, int], checkpoint func() error) map[string]error {
	errs := map[string]error{}
	_, errs["get"] = m.Get(s, "base")
	errs["set"] = m.Set(s, "n", 5)
	_, errs["len"] = m.Len(s)
	errs["update"] = s.Update(spacetest.Background, func(*everheap.Tx) error { return nil })
	errs["view"] = s.View(func(*everheap.Tx) error { return nil })
	_, errs["open"] = everheap.OpenList[int](s, "new")
	_, errs["open again"] = everheap.OpenMap[string, int](s, "m")
	errs["checkpoint"] = checkpoint()
	return errs
}

// A View of a run sees the changes so far, by all operations. It cannot write, and does not change
// while the run continues.
func TestResume_ViewSeesOwnChanges(t *testing.T) { // S5
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	l, err := everheap.OpenList[string](s, "l")
	spacetest.Must(t, err)
	for i := range 100 {
		spacetest.Must(t, m.Set(s, fmt.Sprint("key ", i), i))
	}
	spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
		spacetest.Must(t, s.View(func(tx *everheap.Tx) error { // a View of the committed version
			spacetest.Must(t, m.Set(s, "key 0", 50)) // begins the transaction
			if *m.Peek(tx, "key 0") != 0 {
				t.Error("a View has changed")
			}
			return nil
		}))
		added, err := everheap.OpenMap[int, progress](s, "added") // of types not stored yet
		spacetest.Must(t, err)
		spacetest.Must(t, added.Set(s, 1, progress{1, "one"}))
		spacetest.Must(t, l.Append(s, "a", "b"))
		err = s.View(func(tx *everheap.Tx) error {
			spacetest.ExpectError(t, m.Set(tx, "x", 1), everheap.ErrReadOnly)
			spacetest.ExpectError(t, checkpoint(), everheap.ErrSelf, "after it has returned")
			borrowed := m.Peek(tx, "key 0")
			n := 0
			for k, v := range m.All(tx) { // the loop does not see changes made meanwhile
				want := n
				if _, err := fmt.Sscanf(k, "key %d", &want); err != nil {
					t.Error(err)
				}
				if want == 0 {
					want = 50
				}
				if *v != want {
					t.Errorf("%s is %d", k, *v)
				}
				spacetest.Must(t, m.Set(s, k, -1))
				spacetest.Must(t, m.Set(s, k, -2))
				spacetest.Must(t, m.Set(s, "more "+k, 0))
				_, err := m.Delete(s, k)
				spacetest.Must(t, err)
				n++
			}
			spacetest.Must(t, l.Truncate(s, 0))
			spacetest.Must(t, l.Append(s, "c"))
			done := make(chan struct{})
			for range 2 { // a View may be shared
				go func() {
					defer func() { done <- struct{}{} }()
					if v, err := added.Get(tx, 1); err != nil || v.Note != "one" {
						t.Errorf("%+v (%v)", v, err)
					}
					if v, err := l.Get(tx, 1); err != nil || v != "b" {
						t.Errorf("%q (%v)", v, err)
					}
				}()
			}
			spacetest.Receive(t, "a reader", done)
			spacetest.Receive(t, "the other reader", done)
			if n != 100 || *borrowed != 50 || *m.Peek(tx, "key 99") != 99 || m.Peek(tx, "more key 1") != nil {
				t.Errorf("the View has changed: %d entries, %d", n, *borrowed)
			}
			return s.View(func(tx *everheap.Tx) error {
				if m.Peek(tx, "key 0") != nil || *m.Peek(tx, "more key 0") != 0 || *l.Peek(tx, 0) != "c" {
					t.Error("a View in it sees something else")
				}
				return nil
			})
		})
		spacetest.Must(t, err)
		p.N = 100
		return nil
	}))
	if n, err := m.Len(s); n != 100 || err != nil {
		t.Errorf("%d entries (%v)", n, err)
	}
	if v, err := l.Get(s, 0); v != "c" || err != nil {
		t.Errorf("%q (%v)", v, err)
	}
}

func TestResume_Types(t *testing.T) {
	s := spacetest.Scratch(t)
	ran := false
	err := everheap.Resume(spacetest.Background, s, "no", struct{ C chan int }{}, func(*struct{ C chan int }, func() error) error { ran = true; return nil })
	spacetest.ExpectError(t, err, everheap.ErrUnstorable, "C")
	spacetest.Must(t, resume(s, func(p *progress, _ func() error) error { p.N = 5; return nil }))
	type wider struct {
		N    int
		Note string
		More bool
	}
	run := func(w *wider, _ func() error) error {
		if ran = true; w.N != 5 {
			t.Errorf("it begins with %+v", w)
		}
		return nil
	}
	spacetest.ExpectError(t, everheap.Resume(spacetest.Background, s, "job", wider{}, run), everheap.ErrTypeChanged, "job", "More")
	spacetest.MapOf[string, int](t, s)
	spacetest.ExpectError(t, everheap.Resume(spacetest.Background, s, "m", wider{}, run), everheap.ErrTypeChanged)
	if ran {
		t.Error("it ran")
	}
	_, err = everheap.OpenRef(s, "job", wider{}, everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.Must(t, everheap.Resume(spacetest.Background, s, "job", wider{}, run))
	spacetest.ExpectError(t, everheap.Resume(spacetest.Background, s, strings.Repeat("x", 200), wider{}, run), everheap.ErrTooLarge)
}

func TestResume_ReadOnlyAndClosed(t *testing.T) {
	dir := t.TempDir() + "/s"
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	run := func(p *progress, _ func() error) error { p.N++; return nil }
	spacetest.Must(t, resume(s, run))
	spacetest.Must(t, s.Close())
	spacetest.ExpectError(t, resume(s, run), everheap.ErrClosed)
	r := spacetest.Open(t, dir, everheap.WithReadOnly())
	spacetest.ExpectError(t, resume(r, run), everheap.ErrReadOnly)
}

// Closing the handle under a run ends it: what is open is committed or not, whole.
func TestResume_CloseMeanwhile(t *testing.T) {
	dir := t.TempDir() + "/s"
	keeper := spacetest.Open(t, dir)
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	m := spacetest.MapOf[string, int](t, keeper)
	err = resume(s, func(p *progress, checkpoint func() error) error {
		spacetest.Must(t, step(s, m, p))
		elsewhere(func() { spacetest.Must(t, s.Close()) }) // another handle keeps the space open
		spacetest.Must(t, checkpoint())
		return step(s, m, p)
	})
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	if n, state := seen(t, keeper, m); n != 1 || state != 1 {
		t.Errorf("%d and %d are there", n, state)
	}
}

// Only one run at a time can have a name. The second waits, as long as its context allows, and
// continues where the first ends.
func TestResume_OneAtATime(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	second := make(chan error)
	spacetest.Must(t, resume(s, func(p *progress, _ func() error) error {
		elsewhere(func() {
			ctx, cancel := context.WithTimeout(spacetest.Background, 10*time.Millisecond)
			defer cancel()
			err := everheap.Resume(ctx, s, "job", progress{}, func(*progress, func() error) error { t.Error("it ran"); return nil })
			spacetest.ExpectError(t, err, everheap.ErrBusy)
			spacetest.Must(t, everheap.Resume(spacetest.Background, s, "another job", progress{}, func(p *progress, _ func() error) error { return step(s, m, p) }))
		})
		go func() { second <- resume(s, func(p *progress, _ func() error) error { return step(s, m, p) }) }()
		return step(s, m, p)
	}))
	spacetest.Must(t, spacetest.Receive(t, "the second run", second))
	if n, state := seen(t, s, m); n != 3 || state != 2 {
		t.Errorf("%d and %d are there", n, state)
	}
}

// Other handles of the process on the space take part, and other spaces do not.
func TestResume_OtherHandles(t *testing.T) {
	dir := t.TempDir() + "/s"
	s, again, other := spacetest.Open(t, dir), spacetest.Open(t, dir), spacetest.Scratch(t)
	m, theirs := spacetest.MapOf[string, int](t, s), spacetest.MapOf[string, int](t, other)
	boom := errors.New("boom")
	err := resume(s, func(p *progress, _ func() error) error {
		spacetest.Must(t, m.Set(again, "n", 1))
		spacetest.Must(t, theirs.Set(other, "n", 1))
		if v, err := m.Get(s, "n"); v != 1 || err != nil {
			t.Errorf("%d (%v)", v, err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Error(err)
	}
	if n, _ := seen(t, s, m); n != 0 {
		t.Errorf("%d is there", n)
	}
	if v, err := theirs.Get(other, "n"); v != 1 || err != nil {
		t.Errorf("%d (%v) is in the other space", v, err)
	}
}

// In a Durable space, and after a Durable Update, a checkpoint is on disk when it
// returns.
func TestResume_Durable(t *testing.T) {
	for _, how := range []string{"space", "update"} {
		t.Run(how, func(t *testing.T) {
			opts := []everheap.Option{everheap.WithFlushInterval(time.Hour)}
			if how == "space" {
				opts = append(opts, everheap.Durable)
			}
			s := spacetest.Scratch(t, opts...)
			m := spacetest.MapOf[string, int](t, s)
			spacetest.Must(t, resume(s, func(p *progress, checkpoint func() error) error {
				spacetest.Must(t, step(s, m, p))
				if how == "update" {
					spacetest.Must(t, s.Update(spacetest.Background, func(tx *everheap.Tx) error { return m.Set(tx, "more", 1) }, everheap.Durable))
				}
				spacetest.Must(t, checkpoint())
				if st := s.Stats(); st.Durable != st.Version {
					t.Errorf("version %d is committed, and %d on disk", st.Version, st.Durable)
				}
				return nil
			}))
		})
	}
}
