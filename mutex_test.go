package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"go.uber.org/goleak"
)

// soon is a context that ends in a moment.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestMutex_ExcludesGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	a, b := open(t, dir), open(t, dir)
	counter := 0 // the race detector sees that the mutex guards it
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			m := []*everheap.Space{a, b}[g%2].Mutex("m")
			for range 500 {
				if err := m.Lock(context.Background()); err != nil {
					t.Error(err)
					return
				}
				counter++
				if err := m.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	within(t, patience, "locking by turns", wg.Wait)
	if counter != 8*500 {
		t.Errorf("%d of %d", counter, 8*500)
	}
}

func TestMutex_TryLock(t *testing.T) {
	s := scratch(t)
	m, same, other := s.Mutex("m"), s.Mutex("m"), s.Mutex("other")
	lock := func(m *everheap.Mutex, want bool) {
		t.Helper()
		if ok, err := m.TryLock(); ok != want || err != nil {
			t.Errorf("TryLock of %s: %v (%v)", m.Name(), ok, err)
		}
	}
	lock(m, true)
	lock(m, false)
	lock(same, false)
	lock(other, true)
	must(t, same.Unlock())
	lock(same, true)
	must(t, m.Unlock())
	must(t, other.Unlock())
}

func TestMutex_Contexts(t *testing.T) {
	s := scratch(t)
	m := s.Mutex("m")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	must(t, m.Lock(ended)) // free: nothing is waited for
	for _, ctx := range []context.Context{ended, soon(t)} {
		done := make(chan error)
		go func() { done <- s.Mutex("m").Lock(ctx) }()
		err := receive(t, "Lock with a context that ends", done)
		expectError(t, err, everheap.ErrBusy, `lock "m"`, `the mutex "m" is held by process `+fmt.Sprint(os.Getpid()))
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("the cause is not that the context ended: %v", err)
		}
	}
	must(t, m.Unlock())
	must(t, m.Lock(soon(t)))
	must(t, m.Unlock())
}

func TestErrNotHeld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	a, b := open(t, dir), open(t, dir)
	expectError(t, a.Mutex("m").Unlock(), everheap.ErrNotHeld, `unlock "m"`)
	must(t, a.Mutex("m").Lock(context.Background()))
	expectError(t, b.Mutex("m").Unlock(), everheap.ErrNotHeld, "this handle")
	done := make(chan error)
	go func() { done <- a.Mutex("m").Unlock() }() // another goroutine may
	must(t, receive(t, "Unlock", done))
	expectError(t, a.Mutex("m").Unlock(), everheap.ErrNotHeld)
	expectError(t, a.Semaphore("m", 1).Release(), everheap.ErrNotHeld, `release "m"`)
	must(t, a.Semaphore("m", 1).Acquire(context.Background()))
	expectError(t, b.Semaphore("m", 1).Release(), everheap.ErrNotHeld)
	must(t, a.Semaphore("m", 1).Release())
}

func TestErrSelf_Mutex(t *testing.T) {
	s := scratch(t)
	m := s.Mutex("m")
	must(t, m.Lock(context.Background()))
	expectError(t, s.Mutex("m").Lock(context.Background()), everheap.ErrSelf, `has locked the mutex "m" already`)
	must(t, m.Unlock())
	must(t, m.Lock(context.Background()))
	must(t, m.Unlock())

	// A goroutine ends and leaves the mutex locked. Later ones may have its place in
	// the runtime, and are not it.
	for range 20 {
		var wg sync.WaitGroup
		wg.Go(func() { must(t, m.Lock(context.Background())) })
		wg.Wait()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			expectError(t, m.Lock(ctx), everheap.ErrBusy)
		})
		wg.Wait()
		must(t, m.Unlock())
	}
}

func TestSemaphore_CountsInProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	a, b := open(t, dir), open(t, dir)
	const units = 3
	var inside atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			sem := []*everheap.Space{a, b}[g%2].Semaphore("s", units)
			for i := range 200 {
				ok, err := false, error(nil)
				if i%4 == 0 {
					if ok, err = sem.TryAcquire(); !ok && err == nil {
						continue
					}
				} else {
					err = sem.Acquire(context.Background())
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n > units {
					t.Errorf("%d have a unit of %d", n, units)
				}
				inside.Add(-1)
				if err := sem.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	within(t, patience, "acquiring by turns", wg.Wait)
	sem := a.Semaphore("s", units)
	for range units {
		must(t, sem.Acquire(context.Background()))
	}
	expectError(t, sem.Acquire(soon(t)), everheap.ErrBusy, `acquire "s"`, "is held by process")
	if ok, err := b.Semaphore("s", units).TryAcquire(); ok || err != nil {
		t.Errorf("a unit too many (%v)", err)
	}
}

func TestErrUnitsDiffer(t *testing.T) {
	s := scratch(t)
	three, four := s.Semaphore("s", 3), s.Semaphore("s", 4)
	must(t, three.Acquire(context.Background()))
	expectError(t, four.Acquire(context.Background()), everheap.ErrUnitsDiffer, `acquire "s"`, "4 units", "with 3")
	_, err := four.TryAcquire()
	expectError(t, err, everheap.ErrUnitsDiffer)
	must(t, three.Release())
	must(t, four.Acquire(context.Background())) // nobody uses it with three any more
	expectError(t, three.Acquire(context.Background()), everheap.ErrUnitsDiffer)
	must(t, four.Release())
	for _, n := range []int{-1, 0, 1025} {
		expectError(t, s.Semaphore("t", n).Acquire(context.Background()), everheap.ErrUnitsDiffer, fmt.Sprint(n), "1024")
	}
	must(t, s.Semaphore("t", 1024).Acquire(context.Background()))
	if n := s.Semaphore("t", 1024).Units(); n != 1024 {
		t.Error(n)
	}
}

func TestErrTooManyLocks(t *testing.T) {
	s := scratch(t)
	for i := range 1024 {
		must(t, s.Mutex(fmt.Sprint(i)).Lock(context.Background()))
	}
	expectError(t, s.Mutex("more").Lock(context.Background()), everheap.ErrTooManyLocks, "1024", `lock "more"`)
	must(t, s.Mutex("77").Unlock())
	must(t, s.Mutex("more").Lock(context.Background()))
	list, err := s.Locks()
	if err != nil || len(list) != 1024 {
		t.Errorf("%d locks (%v)", len(list), err)
	}
	expectError(t, s.Mutex(strings.Repeat("n", 129)).Lock(context.Background()), everheap.ErrTooLarge, "129 bytes", "128")
}

func TestClose_ReleasesLocks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := filepath.Join(t.TempDir(), "s")
	a, err := everheap.Open(dir, everheap.WithMaxSize(small))
	must(t, err)
	b, err := everheap.Open(dir, everheap.WithMaxSize(small))
	must(t, err)
	m, sem := a.Mutex("m"), a.Semaphore("s", 2)
	must(t, m.Lock(context.Background()))
	must(t, sem.Acquire(context.Background()))
	must(t, b.Semaphore("s", 2).Acquire(context.Background()))
	must(t, b.Mutex("of b").Lock(context.Background()))

	// Who waits by the handle that is closed is told; who waits by another one goes on.
	results := make(chan error, 4)
	got := make(chan error)
	go func() { results <- a.Mutex("m").Lock(context.Background()) }()
	go func() { results <- a.Mutex("of b").Lock(context.Background()) }()
	go func() { results <- a.Semaphore("s", 2).Acquire(context.Background()) }()
	go func() { got <- b.Mutex("m").Lock(context.Background()) }()
	time.Sleep(20 * time.Millisecond)
	must(t, a.Close())
	for range 3 {
		expectError(t, receive(t, "those who wait by the handle that is closed", results), everheap.ErrClosed)
	}
	must(t, receive(t, "the one who waits by another handle", got))
	must(t, b.Semaphore("s", 2).Acquire(context.Background()))
	must(t, b.Mutex("m").Unlock())

	expectError(t, m.Unlock(), everheap.ErrClosed, `unlock "m"`)
	expectError(t, m.Lock(context.Background()), everheap.ErrClosed)
	expectError(t, sem.Release(), everheap.ErrClosed)
	_, err = m.TryLock()
	expectError(t, err, everheap.ErrClosed)
	_, err = sem.TryAcquire()
	expectError(t, err, everheap.ErrClosed)
	_, err = a.Locks()
	expectError(t, err, everheap.ErrClosed)

	list, err := b.Locks()
	if err != nil || len(list) != 2 {
		t.Errorf("b holds %+v (%v)", list, err)
	}
	must(t, b.Close())
	if files, mappings := resources(t, dir); len(files) > 0 || len(mappings) > 0 {
		t.Errorf("after Close there are still %v %v", files, mappings)
	}
	expectError(t, b.Mutex("m").Lock(context.Background()), everheap.ErrClosed)
	noneLeft(t, before)
	s := open(t, dir)
	must(t, s.Mutex("of b").Lock(context.Background())) // released, not left by a dead one
}

// Close and Lock at the same moment: either way nobody holds the lock afterwards.
func TestClose_WhileLocking(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	for range scaled(60) {
		a, err := everheap.Open(dir)
		must(t, err)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for {
					var err error
					if g == 0 {
						err = a.Semaphore("s", 2).Acquire(context.Background())
					} else if err = a.Mutex(fmt.Sprint("m", g/2)).Lock(context.Background()); err == nil && g == 1 {
						return
					} else if err == nil {
						err = a.Mutex(fmt.Sprint("m", g/2)).Unlock()
					}
					if err != nil {
						expectError(t, err, everheap.ErrClosed)
						return
					}
				}
			})
		}
		time.Sleep(100 * time.Microsecond)
		must(t, a.Close())
		within(t, patience, "the end of those who lock", wg.Wait)
		if list, err := s.Locks(); err != nil || len(list) > 0 {
			t.Fatalf("after Close there are held: %+v (%v)", list, err)
		}
		must(t, s.Mutex("m0").Lock(context.Background()))
		must(t, s.Mutex("m0").Unlock())
	}
}

func TestLocks_Listed(t *testing.T) {
	s := scratch(t)
	if list, err := s.Locks(); err != nil || len(list) != 0 {
		t.Errorf("%+v (%v)", list, err)
	}
	must(t, s.Mutex("m").Lock(context.Background()))
	must(t, s.Semaphore("m", 4).Acquire(context.Background()))
	must(t, s.Semaphore("m", 4).Acquire(context.Background()))
	must(t, s.Mutex("idle").Lock(context.Background()))
	must(t, s.Mutex("idle").Unlock())
	list, err := s.Locks()
	must(t, err)
	if len(list) != 2 || list[0].Kind != "mutex" || list[1].Kind != "semaphore" || list[1].Units != 4 || list[0].Units != 1 {
		t.Fatalf("%+v", list)
	}
	for i, l := range list {
		if len(l.Holders) != 1 || l.Name != "m" || l.Waiters != 0 {
			t.Fatalf("%+v", l)
		}
		h := l.Holders[0]
		if age := time.Since(h.Since); !h.Self || h.Dead || h.Stopped || h.PID != os.Getpid() || h.Command == "" ||
			age < 0 || age > time.Minute || h.Units != i+1 {
			t.Errorf("%+v", h)
		}
	}
}
