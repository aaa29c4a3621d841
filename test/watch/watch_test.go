package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// watcher runs a loop over changes in a goroutine.
type watcher[C any] struct {
	t       *testing.T
	changes chan C
	end     chan error // the error of the last round; nil: the loop ended without an error
	cancel  context.CancelFunc
}

// startWatcher starts the loop; it has started when a change can be made.
func startWatcher[C any](t *testing.T, seq func(ctx context.Context) iter.Seq2[C, error]) *watcher[C] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher[C]{t: t, changes: make(chan C, 1000), end: make(chan error, 1), cancel: cancel}
	go func() {
		var last error
		for c, err := range seq(ctx) {
			if last != nil {
				t.Errorf("the loop continues after %v", last)
			}
			if last = err; err == nil {
				select {
				case w.changes <- c:
				case <-ctx.Done(): // the test reads no more
				}
			}
		}
		w.end <- last
	}()
	t.Cleanup(cancel)
	return w
}

// next waits for a change.
func (w *watcher[C]) next() C {
	w.t.Helper()
	select {
	case c := <-w.changes:
		return c
	case err := <-w.end:
		w.t.Fatalf("the loop has ended: %v", err)
	case <-time.After(spacetest.Patience):
		w.t.Fatal("no change comes")
	}
	panic("unreachable")
}

// ends waits for the end of the loop.
func (w *watcher[C]) ends() error {
	w.t.Helper()
	select {
	case err := <-w.end:
		return err
	case <-time.After(spacetest.Patience):
		w.t.Fatal("the loop does not end")
	}
	panic("unreachable")
}

// expectChanges waits for changes, given as text. The changes of one version may come in any order
// unless ordered is set.
func expectChanges[K comparable, V any](t *testing.T, w *watcher[everheap.Change[K, V]], ordered bool, want ...string) {
	t.Helper()
	var got []string
	version := everheap.Version(0)
	for i := range want {
		c := w.next()
		if version == 0 {
			version = c.Version
		}
		if c.Version != version || c.More != (i < len(want)-1) {
			t.Errorf("change %d of %d: of version %d, not %d; more: %v", i+1, len(want), c.Version, version, c.More)
		}
		c.More = false
		got = append(got, spacetest.Show(c))
	}
	if !ordered {
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// begun makes changes until the watcher has yielded one, so that its loop has begun, and waits for
// the last one.
func begun[K comparable](t *testing.T, w *watcher[everheap.Change[K, int]], set func(v int)) {
	t.Helper()
	i := 0
	if !spacetest.Wait(spacetest.Patience, func() bool { i++; set(i); return len(w.changes)+len(w.end) > 0 }) {
		t.Fatal("the loop does not begin")
	}
	set(-1)
	for c := w.next(); c.More || c.New == nil || *c.New != -1; c = w.next() {
	}
}

func TestWatch_Map(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Must(t, m.Set(s, "before", 1))
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, int], error] {
		return m.Watch(ctx, s, everheap.WithInitial())
	})
	expectChanges(t, w, false, "added before -> 1")
	spacetest.Must(t, m.Set(s, "a", 1))
	expectChanges(t, w, false, "added a -> 1")
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		_, err := m.Delete(tx, "before")
		return errors.Join(err, m.Set(tx, "a", 2), m.Set(tx, "b", 3), m.Set(tx, "c", 4))
	})
	expectChanges(t, w, false, "added b -> 3", "added c -> 4", "removed before 1", "updated a 1 -> 2")
	// Setting an equal value is not a change; nor are changes of other collections.
	other, err := everheap.OpenMap[int, string](s, "other")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s, "a", 2))
	spacetest.Must(t, other.Set(s, 1, "x"))
	spacetest.Update(t, s, func(tx *everheap.Tx) error { return errors.Join(m.Set(tx, "d", 1), m.Set(tx, "d", 2)) })
	expectChanges(t, w, false, "added d -> 2")
	w.cancel()
	if err := w.ends(); !errors.Is(err, context.Canceled) || errors.Is(err, everheap.ErrBusy) {
		t.Errorf("after the context has ended: %v", err)
	}
}

func TestWatch_Sorted(t *testing.T) {
	s := spacetest.Scratch(t)
	m, err := everheap.OpenSorted[string, int](s, "m")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error { return errors.Join(m.Set(tx, "k", 1), m.Set(tx, "b", 2)) })
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, int], error] {
		return m.Watch(ctx, s, everheap.WithInitial())
	})
	expectChanges(t, w, true, "added b -> 2", "added k -> 1")
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		_, err := m.Delete(tx, "k")
		return errors.Join(err, m.Set(tx, "z", 3), m.Set(tx, "a", 4), m.Set(tx, "b", 5))
	})
	expectChanges(t, w, true, "added a -> 4", "updated b 2 -> 5", "removed k 1", "added z -> 3")
}

func TestWatch_List(t *testing.T) {
	s := spacetest.Scratch(t)
	l, err := everheap.OpenList[string](s, "l")
	spacetest.Must(t, err)
	spacetest.Must(t, l.Append(s, "a", "b"))
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[int, string], error] {
		return l.Watch(ctx, s, everheap.WithInitial())
	})
	expectChanges(t, w, true, "added 0 -> a", "added 1 -> b")
	spacetest.Update(t, s, func(tx *everheap.Tx) error { return errors.Join(l.Append(tx, "c", "d"), l.Set(tx, 0, "A")) })
	expectChanges(t, w, true, "updated 0 a -> A", "added 2 -> c", "added 3 -> d")
	spacetest.Must(t, l.Truncate(s, 1))
	expectChanges(t, w, true, "removed 1 b", "removed 2 c", "removed 3 d")
	spacetest.Must(t, l.Append(s, "x", "y"))
	expectChanges(t, w, true, "added 1 -> x", "added 2 -> y")
	spacetest.Update(t, s, func(tx *everheap.Tx) error { return errors.Join(l.Truncate(tx, 1), l.Append(tx, "x", "z", "w")) })
	expectChanges(t, w, true, "updated 2 y -> z", "added 3 -> w")
	spacetest.Must(t, l.Truncate(s, 0))
	expectChanges(t, w, true, "removed 0 A", "removed 1 x", "removed 2 z", "removed 3 w")
}

func TestWatch_Ref(t *testing.T) {
	s := spacetest.Scratch(t)
	type config struct {
		Name string
		Tags []string
	}
	r, err := everheap.OpenRef(s, "r", config{Name: "one"})
	spacetest.Must(t, err)
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[everheap.Ref[config], config], error] {
		return r.Watch(ctx, s, everheap.WithInitial())
	})
	if c := w.next(); c.Key != r || c.Old != nil || c.New.Name != "one" || c.Kind() != everheap.Added {
		t.Errorf("%v", c)
	}
	spacetest.Must(t, r.Set(s, config{"one", nil})) // as it was
	spacetest.Must(t, r.Set(s, config{"one", []string{"x"}}))
	if c := w.next(); c.Old.Tags != nil || len(c.New.Tags) != 1 || c.Kind() != everheap.Updated || c.More {
		t.Errorf("%v", c)
	}
}

// The values in a change belong to the caller, and outlive the space.
func TestWatch_ValuesAreCopies(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, []string](t, s)
	spacetest.Must(t, m.Set(s, "k", []string{"old"}))
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[string, []string], error] {
		return m.Watch(ctx, s, everheap.WithInitial())
	})
	first := w.next()
	spacetest.Must(t, m.Set(s, "k", []string{"new", "values"}))
	second := w.next()
	(*first.New)[0] = "mine"
	w.cancel()
	_ = w.ends()
	spacetest.Must(t, s.Close())
	if (*second.Old)[0] != "old" || (*second.New)[1] != "values" {
		t.Errorf("%v, %v", *second.Old, *second.New)
	}
}

// A loop without WithInitial begins with the changes after its start.
func TestWatch_FromNowOn(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	for i := range 100 {
		spacetest.Must(t, m.Set(s, i, i))
	}
	w := startWatcher(t, func(ctx context.Context) iter.Seq2[everheap.Change[int, int], error] { return m.Watch(ctx, s) })
	begun(t, w, func(i int) { spacetest.Must(t, m.Set(s, 1000, i)) })
	spacetest.Must(t, m.Set(s, 7, 70))
	expectChanges(t, w, false, "updated 7 7 -> 70")
}

func TestChanges(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	ctx, cancel := context.WithTimeout(context.Background(), spacetest.Patience)
	defer cancel()
	last, rounds := s.Stats().Version, 0
	stop := commitUntilStopped(t, func(i int) { _ = m.Set(s, 0, i) })
	final := everheap.Version(0)
	for v, err := range s.Changes(ctx) {
		spacetest.Must(t, err)
		if rounds == 0 {
			stop()
			go func() {
				for i := range 2000 {
					_ = m.Set(s, 1, i)
				}
			}()
		}
		if v <= last {
			t.Fatalf("version %d comes after %d", v, last)
		}
		last = v
		if rounds++; rounds%10 == 0 {
			time.Sleep(time.Millisecond) // slow: it skips versions
		}
		if n, err := m.Get(s, 1); err == nil && n == 1999 {
			if final = s.Stats().Version; v >= final {
				break
			}
		}
	}
	t.Logf("2000 commits in %d rounds", rounds)
	time.AfterFunc(10*time.Millisecond, cancel)
	for v, err := range s.Changes(ctx) { // it ends while the loop waits
		if !errors.Is(err, context.Canceled) {
			t.Errorf("version %d, %v", v, err)
		}
	}
	for v, err := range s.Changes(ctx) { // it has ended before the loop starts
		if !errors.Is(err, context.Canceled) {
			t.Errorf("version %d, %v", v, err)
		}
	}
}

// A slow watcher gets the combined changes of all versions that came meanwhile, with the last
// version. The same holds for Changes.
func TestWatch_Slow(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Must(t, m.Set(s, "a", 0))
	const versions = 300
	commit := func() {
		for i := range versions {
			spacetest.Must(t, m.Set(s, "a", i))
			spacetest.Must(t, m.Set(s, "passing", i))
		}
		spacetest.Must(t, m.Set(s, "b", 1))
		spacetest.Must(t, m.Set(s, "a", -1))
		_, err := m.Delete(s, "passing")
		spacetest.Must(t, err)
	}
	var got []string
	last := everheap.Version(0)
	for c, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		last = c.Version
		if got = append(got, spacetest.Show(everheap.Change[string, int]{Key: c.Key, Old: c.Old, New: c.New})); len(got) == 1 {
			commit()
		} else if !c.More {
			break
		}
	}
	slices.Sort(got[1:])
	if want := []string{"added a -> 0", "added b -> 1", "updated a 0 -> -1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if now := s.Stats().Version; last != now {
		t.Errorf("told of version %d, the newest is %d", last, now)
	}
	stop := commitUntilStopped(t, func(i int) { _ = m.Set(s, "a", i) })
	rounds := 0
	for v, err := range s.Changes(spacetest.Patient(t)) {
		spacetest.Must(t, err)
		if rounds++; rounds == 1 {
			stop()
			commit()
			continue
		}
		if now := s.Stats().Version; v != now {
			t.Errorf("Changes tells of version %d, the newest is %d", v, now)
		}
		break
	}
}

// commitUntilStopped commits over and over, so that a loop that begins meanwhile sees a commit. stop
// waits for the last one; the end of the test stops as well.
func commitUntilStopped(t testing.TB, commit func(i int)) (stop func()) {
	var committer sync.WaitGroup
	end := make(chan struct{})
	committer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
				commit(i)
			}
		}
	})
	stop = sync.OnceFunc(func() { close(end); committer.Wait() })
	t.Cleanup(stop)
	return stop
}

// A loop's body that changes the watched object sees its own changes.
func TestWatch_BodyWrites(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	spacetest.Must(t, m.Set(s, "n", 0))
	for c, err := range m.Watch(spacetest.Patient(t), s, everheap.WithInitial()) {
		spacetest.Must(t, err)
		if *c.New == 100 {
			break
		}
		spacetest.Must(t, m.Set(s, "n", *c.New+1))
	}
}

// The changes of a watcher, replayed on a Go map, give the contents of every version that it gets;
// with several watchers, fast and slow.
func TestWatch_Model(t *testing.T) {
	spacetest.Rounds(t, 6, func(t *testing.T, r *rand.Rand) {
		s := spacetest.Scratch(t)
		m := spacetest.MapOf[uint16, string](t, s)
		keys := 10 + r.IntN(3000)
		var lock sync.Mutex
		states := map[everheap.Version]map[uint16]string{}
		model := map[uint16]string{}
		var loops sync.WaitGroup
		end := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for i := range 4 {
			slow := i % 2 * r.IntN(4)
			loops.Go(func() {
				mirror := map[uint16]string{}
				for c, err := range m.Watch(ctx, s, everheap.WithInitial()) {
					if err != nil {
						if !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
						return
					}
					old, was := mirror[c.Key]
					if was != (c.Old != nil) || was && old != *c.Old || c.Old == nil && c.New == nil || was && c.New != nil && old == *c.New {
						t.Errorf("version %d: %s, the mirror has %v %q", c.Version, spacetest.Show(c), was, old)
						return
					}
					if delete(mirror, c.Key); c.New != nil {
						mirror[c.Key] = *c.New
					}
					if c.More {
						continue
					}
					lock.Lock()
					want, known := states[c.Version]
					lock.Unlock()
					if known && !maps.Equal(mirror, want) {
						t.Errorf("version %d: the mirror has %d entries, the map %d, or they differ", c.Version, len(mirror), len(want))
						return
					}
					if known && mirror[^uint16(0)] == "end" {
						end <- struct{}{}
						return
					}
					time.Sleep(time.Duration(slow) * time.Millisecond)
				}
			})
		}
		commit := func(fn func(tx *everheap.Tx) error) {
			lock.Lock() // the state is known before a watcher asks for it
			defer lock.Unlock()
			version := everheap.Version(0)
			spacetest.Update(t, s, func(tx *everheap.Tx) error { version = tx.Version() + 1; return fn(tx) })
			states[version] = maps.Clone(model)
		}
		for range 150 {
			commit(func(tx *everheap.Tx) error {
				n := 1 + r.IntN(4)
				if r.IntN(10) == 0 {
					n = r.IntN(keys)
				}
				for range n {
					key := uint16(r.IntN(keys))
					if r.IntN(3) == 0 {
						delete(model, key)
						if _, err := m.Delete(tx, key); err != nil {
							return err
						}
						continue
					}
					model[key] = fmt.Sprint(r.IntN(5))
					if err := m.Set(tx, key, model[key]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		commit(func(tx *everheap.Tx) error {
			model[^uint16(0)] = "end"
			return m.Set(tx, ^uint16(0), "end")
		})
		spacetest.Within(t, spacetest.Patience, "the last state", func() {
			for range 4 {
				<-end
			}
		})
		spacetest.Within(t, spacetest.Patience, "the end of the loops", loops.Wait)
	})
}

// Thousands of watchers need one slot for each version that they hold, and one
// goroutine that waits.
func TestWatch_Many(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	const many = 3000
	spacetest.Must(t, m.Set(s, 0, 0))
	var loops, seen sync.WaitGroup
	seen.Add(many)
	last := make(chan struct{}, many)
	for range many {
		loops.Go(func() {
			started := false
			for c, err := range m.Watch(context.Background(), s, everheap.WithInitial()) {
				if err != nil {
					spacetest.ExpectError(t, err, everheap.ErrClosed)
					return
				}
				if !started {
					started = true
					seen.Done()
				}
				if *c.New == 100 {
					last <- struct{}{}
				}
			}
		})
	}
	spacetest.Within(t, spacetest.Patience, "the first change of each", seen.Wait)
	readers, err := s.Readers()
	spacetest.Must(t, err)
	if len(readers) > 2 {
		t.Errorf("%d slots are held", len(readers))
	}
	for i := range 101 {
		spacetest.Must(t, m.Set(s, 0, i))
	}
	spacetest.Within(t, spacetest.Patience, "the last change", func() {
		for range many {
			<-last
		}
	})
	spacetest.Must(t, s.Close())
	spacetest.Within(t, spacetest.Patience, "the end of the loops", loops.Wait)
}
