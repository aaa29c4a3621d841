package watch

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"go.uber.org/goleak"
)

func TestWatch_Errors(t *testing.T) {
	s, other := spacetest.Scratch(t), spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	only := func(seq iter.Seq2[everheap.Change[string, int], error]) (last error) {
		rounds := 0
		for _, err := range seq {
			last = err
			rounds++
		}
		if rounds != 1 {
			t.Errorf("%d rounds", rounds)
		}
		return last
	}
	ctx := spacetest.Patient(t)
	spacetest.ExpectError(t, only(everheap.Map[string, int]{}.Watch(ctx, s)), everheap.ErrNilHandle, "watch")
	spacetest.ExpectError(t, only(m.Watch(ctx, other)), everheap.ErrDangling)
	wrong, err := everheap.OpenList[int](s, "list")
	spacetest.Must(t, err)
	for _, err := range wrong.Watch(ended(), s) {
		spacetest.ExpectError(t, err, context.Canceled)
	}
	expired, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	err = only(m.Watch(expired, s))
	spacetest.ExpectError(t, err, context.DeadlineExceeded)
	if errors.Is(err, everheap.ErrBusy) {
		t.Errorf("the end of the context is %v", err)
	}
	spacetest.Must(t, s.Close())
	spacetest.ExpectError(t, only(m.Watch(ctx, s)), everheap.ErrClosed)
	for _, err := range s.Changes(ctx) {
		spacetest.ExpectError(t, err, everheap.ErrClosed)
	}
}

// ended returns a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A restore that drops an object ends its watchers; other watchers see the changes of the restore.
func TestWatch_Restore(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		return errors.Join(m.Set(tx, "same", 0), m.Set(tx, "changed", 1), m.Set(tx, "deleted", 2))
	})
	spacetest.Must(t, s.Checkpoint("pin"))
	late, err := everheap.OpenMap[string, int](s, "late")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "changed", 10))
	spacetest.Must(t, m.Set(s, "new", 11))
	_, err = m.Delete(s, "deleted")
	spacetest.Must(t, err)
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, int], error] { return m.Watch(ctx, s) })
	v := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, int], error] { return late.Watch(ctx, s) })
	begun(t, w, func(i int) { spacetest.Must(t, m.Set(s, "begun", i)) })
	begun(t, v, func(i int) { spacetest.Must(t, late.Set(s, "begun", i)) })
	_, err = m.Delete(s, "begun")
	spacetest.Must(t, err)
	if c := w.next(); c.Kind() != everheap.Removed || c.Key != "begun" {
		t.Errorf("%s", spacetest.Show(c))
	}
	spacetest.Must(t, s.Restore(context.Background(), "pin"))
	expectChanges(t, w, false, "updated changed 10 -> 1", "added deleted -> 2", "removed new 11")
	spacetest.ExpectError(t, v.ends(), everheap.ErrNotFound)
	for range 50 { // the restored and the new versions are replaced
		spacetest.Must(t, m.Set(s, "same", 1))
		spacetest.Must(t, m.Set(s, "same", 0))
		spacetest.Must(t, spacetest.Sweep(s))
	}
	spacetest.Must(t, m.Set(s, "same", 5))
	for c := w.next(); c.Key != "same" || *c.New != 5; c = w.next() {
	}
}

func TestWatch_ErrTypeChanged(t *testing.T) {
	type old struct{ N int32 }
	type evolved struct {
		N int64
		M string
	}
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[string, old](s, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "k", old{1}))
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, old], error] {
		return m.Watch(ctx, s, everheap.WithInitial())
	})
	w.next()
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	j := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.ChangeJSON, error] {
		return c.WatchJSON(ctx, everheap.WithInitial())
	})
	j.next()
	_, err = everheap.OpenMap[string, evolved](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.ExpectError(t, w.ends(), everheap.ErrTypeChanged)
	spacetest.ExpectError(t, j.ends(), everheap.ErrTypeChanged)
}

// The same for the other kinds; an evolved object can be watched again.
func TestWatch_ErrTypeChangedOfAllKinds(t *testing.T) {
	type old struct{ N int32 }
	type evolved struct {
		N int64
		M string
	}
	s := spacetest.Scratch(t)
	m, err := everheap.OpenSorted[string, old](s, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "k", old{1}))
	l, err := everheap.OpenList[old](s, "l")
	spacetest.Must(t, err)
	spacetest.Must(t, l.Append(s, old{2}))
	r, err := everheap.OpenRef(s, "r", old{3})
	spacetest.Must(t, err)
	ofSorted := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, old], error] {
		return m.Watch(ctx, s, everheap.WithInitial())
	})
	ofList := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[int, old], error] {
		return l.Watch(ctx, s, everheap.WithInitial())
	})
	ofRef := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[everheap.Ref[old], old], error] {
		return r.Watch(ctx, s, everheap.WithInitial())
	})
	ofSorted.next()
	ofList.next()
	ofRef.next()
	_, err = everheap.OpenSorted[string, evolved](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	list, err := everheap.OpenList[evolved](s, "l", everheap.Evolve())
	spacetest.Must(t, err)
	_, err = everheap.OpenRef(s, "r", evolved{}, everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.ExpectError(t, ofSorted.ends(), everheap.ErrTypeChanged)
	spacetest.ExpectError(t, ofList.ends(), everheap.ErrTypeChanged)
	spacetest.ExpectError(t, ofRef.ends(), everheap.ErrTypeChanged)
	for c, err := range list.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if *c.New != (evolved{N: 2}) {
			t.Errorf("%+v", *c.New)
		}
		break
	}
}

// Close ends all loops of its handle, also in the middle of a version's changes, and leaves no
// goroutine.
func TestWatch_Close(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	again, err := everheap.Open(dir) // the same space: it stays open
	spacetest.Must(t, err)
	m := spacetest.MapOf[int, int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 5000 {
			if err := m.Set(tx, i, i); err != nil {
				return err
			}
		}
		return nil
	})
	var loops sync.WaitGroup
	started := make(chan struct{}, 100)
	for i := range 40 {
		loops.Go(func() {
			n := 0
			for _, err := range m.Watch(context.Background(), s, everheap.WithInitial()) {
				if err != nil {
					spacetest.ExpectError(t, err, everheap.ErrClosed)
					return
				}
				if n++; n == 1 || n == 100 {
					started <- struct{}{}
				}
				if i%2 == 0 && n >= 100 { // in the middle
					time.Sleep(time.Millisecond)
				}
			}
			t.Error("the loop ended without an error")
		})
		loops.Go(func() {
			for _, err := range s.Changes(context.Background()) {
				if err != nil {
					spacetest.ExpectError(t, err, everheap.ErrClosed)
				}
			}
		})
	}
	for range 80 {
		spacetest.Receive(t, "the start of a loop", started)
	}
	spacetest.Within(t, spacetest.Patience, "Close", func() { spacetest.Must(t, s.Close()) })
	spacetest.Within(t, spacetest.Patience, "the end of the loops", loops.Wait)
	spacetest.Must(t, m.Set(again, 1, 2))
	last := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[int, int], error] { return m.Watch(ctx, again) })
	begun(t, last, func(i int) { spacetest.Must(t, m.Set(again, 1, i)) })
	spacetest.Within(t, spacetest.Patience, "Close", func() { spacetest.Must(t, again.Close()) })
	spacetest.ExpectError(t, last.ends(), everheap.ErrClosed)
	spacetest.NoneLeft(t, before)
}

// Leaving the loop by break, a panic or Goexit releases everything.
func TestWatch_Break(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	for i := range 10 {
		spacetest.Must(t, m.Set(s, i, i))
	}
	free := func(how string) {
		t.Helper()
		readers, err := s.Readers()
		spacetest.Must(t, err)
		if len(readers) > 0 {
			t.Errorf("after %s: %d versions are held", how, len(readers))
		}
	}
	for c, err := range m.Watch(context.Background(), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if !c.More {
			t.Error("ten changes are one")
		}
		break
	}
	free("a break in the middle")
	for range m.Watch(context.Background(), s, everheap.WithInitial()) {
		if readers, err := s.Readers(); err != nil || len(readers) == 0 {
			t.Error("nothing is held in the loop", err)
		}
		func() {
			defer func() { recover() }()
			for range m.Watch(context.Background(), s, everheap.WithInitial()) {
				panic("in the loop")
			}
		}()
		break
	}
	free("a panic")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range m.Watch(context.Background(), s, everheap.WithInitial()) {
			runtime.Goexit()
		}
	}()
	spacetest.Receive(t, "Goexit", done)
	free("Goexit")
	next, stop := iter.Pull2(m.Watch(context.Background(), s, everheap.WithInitial()))
	if _, err, ok := next(); err != nil || !ok {
		t.Error(err, ok)
	}
	stop()
	free("stop")
	n := 0
	for c, err := range m.Watch(context.Background(), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if n++; n == 10 {
			if c.More {
				t.Error("the tenth change is not the last")
			}
			break
		}
	}
	free("a break at the end")
	spacetest.Must(t, s.Close())
	spacetest.NoneLeft(t, before)
}

// Closing the space does not wait for an abandoned loop over a watch, or for a loop whose body does
// not end: the watch ends with ErrClosed when the loop continues.
func TestWatch_CloseWhileALoopHangs(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error { return errors.Join(m.Set(tx, 1, 1), m.Set(tx, 2, 2), m.Set(tx, 3, 3)) })
	next, stop := iter.Pull2(m.Watch(context.Background(), s, everheap.WithInitial()))
	defer stop()
	if _, err, ok := next(); err != nil || !ok {
		t.Fatal(err, ok)
	}
	inBody, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		n := 0
		for _, err := range m.Watch(context.Background(), s, everheap.WithInitial()) {
			if err != nil {
				ended <- err
				return
			}
			if n++; n == 2 {
				close(inBody)
				<-goOn
			}
		}
	}()
	spacetest.Receive(t, "the body of a loop", inBody)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	spacetest.Must(t, spacetest.Receive(t, "closing", closed))
	close(goOn)
	spacetest.ExpectError(t, spacetest.Receive(t, "the end of the loop", ended), everheap.ErrClosed)
	_, err, ok := next()
	if !ok {
		t.Error("the loop ended without a word")
	}
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	stop()
	spacetest.NoneLeft(t, before)
}

// A context that ends in the middle of a version's changes ends the loop there.
func TestWatch_ContextEndsInTheMiddle(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		for i := range 1000 {
			err = errors.Join(err, m.Set(tx, i, i))
		}
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := 0
	for _, err := range m.Watch(ctx, s, everheap.WithInitial()) {
		if err != nil {
			spacetest.ExpectError(t, err, context.Canceled)
			break
		}
		if told++; told == 10 {
			cancel()
		}
	}
	if told != 10 {
		t.Errorf("%d changes are told, of which 10 before the end of the context", told)
	}
	if readers, err := s.Readers(); err != nil || len(readers) > 0 {
		t.Errorf("%d versions are held (%v)", len(readers), err)
	}
}
