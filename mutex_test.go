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
	"github.com/everheap/everheap/internal/spacetest"
	"go.uber.org/goleak"
)

func TestMutex_ExcludesGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	a, b := spacetest.Open(t, dir), spacetest.Open(t, dir)
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
	spacetest.Within(t, spacetest.Patience, "locking by turns", wg.Wait)
	if counter != 8*500 {
		t.Errorf("%d of %d", counter, 8*500)
	}
}

func TestMutex_TryLock(t *testing.T) {
	s := spacetest.Scratch(t)
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
	spacetest.Must(t, same.Unlock())
	lock(same, true)
	spacetest.Must(t, m.Unlock())
	spacetest.Must(t, other.Unlock())
}

func TestMutex_Contexts(t *testing.T) {
	s := spacetest.Scratch(t)
	m := s.Mutex("m")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	spacetest.Must(t, m.Lock(ended)) // the mutex is free: Lock does not wait
	for _, ctx := range []context.Context{ended, spacetest.Soon(t)} {
		done := make(chan error)
		go func() { done <- s.Mutex("m").Lock(ctx) }()
		err := spacetest.Receive(t, "Lock with a context that ends", done)
		spacetest.ExpectError(t, err, everheap.ErrBusy, `lock "m"`, `the mutex "m" is held by process `+fmt.Sprint(os.Getpid()))
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("the cause is not that the context ended: %v", err)
		}
	}
	spacetest.Must(t, m.Unlock())
	spacetest.Must(t, m.Lock(spacetest.Soon(t)))
	spacetest.Must(t, m.Unlock())
}

func TestErrNotHeld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	a, b := spacetest.Open(t, dir), spacetest.Open(t, dir)
	spacetest.ExpectError(t, a.Mutex("m").Unlock(), everheap.ErrNotHeld, `unlock "m"`)
	spacetest.Must(t, a.Mutex("m").Lock(context.Background()))
	spacetest.ExpectError(t, b.Mutex("m").Unlock(), everheap.ErrNotHeld, "this handle")
	done := make(chan error)
	go func() { done <- a.Mutex("m").Unlock() }() // another goroutine may
	spacetest.Must(t, spacetest.Receive(t, "Unlock", done))
	spacetest.ExpectError(t, a.Mutex("m").Unlock(), everheap.ErrNotHeld)
	spacetest.ExpectError(t, a.Semaphore("m", 1).Release(), everheap.ErrNotHeld, `release "m"`)
	spacetest.Must(t, a.Semaphore("m", 1).Acquire(context.Background()))
	spacetest.ExpectError(t, b.Semaphore("m", 1).Release(), everheap.ErrNotHeld)
	spacetest.Must(t, a.Semaphore("m", 1).Release())
}

func TestErrSelf_Mutex(t *testing.T) {
	s := spacetest.Scratch(t)
	m := s.Mutex("m")
	spacetest.Must(t, m.Lock(context.Background()))
	spacetest.ExpectError(t, s.Mutex("m").Lock(context.Background()), everheap.ErrSelf, `has locked the mutex "m" already`)
	spacetest.Must(t, m.Unlock())
	spacetest.Must(t, m.Lock(context.Background()))
	spacetest.Must(t, m.Unlock())

	// A goroutine ends and leaves the mutex locked. A later goroutine may get its descriptor, and
	// must not count as the holder.
	for range 20 {
		var wg sync.WaitGroup
		wg.Go(func() { spacetest.Must(t, m.Lock(context.Background())) })
		wg.Wait()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			spacetest.ExpectError(t, m.Lock(ctx), everheap.ErrBusy)
		})
		wg.Wait()
		spacetest.Must(t, m.Unlock())
	}
}

func TestSemaphore_CountsInProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	a, b := spacetest.Open(t, dir), spacetest.Open(t, dir)
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
	spacetest.Within(t, spacetest.Patience, "acquiring by turns", wg.Wait)
	sem := a.Semaphore("s", units)
	for range units {
		spacetest.Must(t, sem.Acquire(context.Background()))
	}
	spacetest.ExpectError(t, sem.Acquire(spacetest.Soon(t)), everheap.ErrBusy, `acquire "s"`, "is held by process")
	if ok, err := b.Semaphore("s", units).TryAcquire(); ok || err != nil {
		t.Errorf("a unit too many (%v)", err)
	}
}

func TestErrUnitsDiffer(t *testing.T) {
	s := spacetest.Scratch(t)
	three, four := s.Semaphore("s", 3), s.Semaphore("s", 4)
	spacetest.Must(t, three.Acquire(context.Background()))
	spacetest.ExpectError(t, four.Acquire(context.Background()), everheap.ErrUnitsDiffer, `acquire "s"`, "4 permits", "with 3")
	_, err := four.TryAcquire()
	spacetest.ExpectError(t, err, everheap.ErrUnitsDiffer)
	spacetest.Must(t, three.Release())
	spacetest.Must(t, four.Acquire(context.Background())) // no handle with three permits is in use any more
	spacetest.ExpectError(t, three.Acquire(context.Background()), everheap.ErrUnitsDiffer)
	spacetest.Must(t, four.Release())
	for _, n := range []int{-1, 0, 1025} {
		spacetest.ExpectError(t, s.Semaphore("t", n).Acquire(context.Background()), everheap.ErrUnitsDiffer, fmt.Sprint(n), "1024")
	}
	spacetest.Must(t, s.Semaphore("t", 1024).Acquire(context.Background()))
	if n := s.Semaphore("t", 1024).Units(); n != 1024 {
		t.Error(n)
	}
}

func TestErrTooManyLocks(t *testing.T) {
	s := spacetest.Scratch(t)
	for i := range 1024 {
		spacetest.Must(t, s.Mutex(fmt.Sprint(i)).Lock(context.Background()))
	}
	spacetest.ExpectError(t, s.Mutex("more").Lock(context.Background()), everheap.ErrTooManyLocks, "1024", `lock "more"`)
	spacetest.Must(t, s.Mutex("77").Unlock())
	spacetest.Must(t, s.Mutex("more").Lock(context.Background()))
	list, err := s.Locks()
	if err != nil || len(list) != 1024 {
		t.Errorf("%d locks (%v)", len(list), err)
	}
	spacetest.ExpectError(t, s.Mutex(strings.Repeat("n", 129)).Lock(context.Background()), everheap.ErrTooLarge, "129 bytes", "128")
}

func TestClose_ReleasesLocks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := filepath.Join(t.TempDir(), "s")
	a, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	b, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	m, sem := a.Mutex("m"), a.Semaphore("s", 2)
	spacetest.Must(t, m.Lock(context.Background()))
	spacetest.Must(t, sem.Acquire(context.Background()))
	spacetest.Must(t, b.Semaphore("s", 2).Acquire(context.Background()))
	spacetest.Must(t, b.Mutex("of b").Lock(context.Background()))

	// A waiter on the closed handle gets an error; a waiter on another handle continues to wait.
	results := make(chan error, 4)
	got := make(chan error)
	go func() { results <- a.Mutex("m").Lock(context.Background()) }()
	go func() { results <- a.Mutex("of b").Lock(context.Background()) }()
	go func() { results <- a.Semaphore("s", 2).Acquire(context.Background()) }()
	go func() { got <- b.Mutex("m").Lock(context.Background()) }()
	time.Sleep(20 * time.Millisecond)
	spacetest.Must(t, a.Close())
	for range 3 {
		spacetest.ExpectError(t, spacetest.Receive(t, "the waiters on the closed handle", results), everheap.ErrClosed)
	}
	spacetest.Must(t, spacetest.Receive(t, "the one who waits by another handle", got))
	spacetest.Must(t, b.Semaphore("s", 2).Acquire(context.Background()))
	spacetest.Must(t, b.Mutex("m").Unlock())

	spacetest.ExpectError(t, m.Unlock(), everheap.ErrClosed, `unlock "m"`)
	spacetest.ExpectError(t, m.Lock(context.Background()), everheap.ErrClosed)
	spacetest.ExpectError(t, sem.Release(), everheap.ErrClosed)
	_, err = m.TryLock()
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	_, err = sem.TryAcquire()
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	_, err = a.Locks()
	spacetest.ExpectError(t, err, everheap.ErrClosed)

	list, err := b.Locks()
	if err != nil || len(list) != 2 {
		t.Errorf("b holds %+v (%v)", list, err)
	}
	spacetest.Must(t, b.Close())
	if files, mappings := resources(t, dir); len(files) > 0 || len(mappings) > 0 {
		t.Errorf("after Close there are still %v %v", files, mappings)
	}
	spacetest.ExpectError(t, b.Mutex("m").Lock(context.Background()), everheap.ErrClosed)
	spacetest.NoneLeft(t, before)
	s := spacetest.Open(t, dir)
	spacetest.Must(t, s.Mutex("of b").Lock(context.Background())) // released by Close, not left by a dead holder
}

// Close and Lock at the same moment: either way the lock is free afterwards.
func TestClose_WhileLocking(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	for range spacetest.Scaled(60) {
		a, err := everheap.Open(dir)
		spacetest.Must(t, err)
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
						spacetest.ExpectError(t, err, everheap.ErrClosed)
						return
					}
				}
			})
		}
		time.Sleep(100 * time.Microsecond)
		spacetest.Must(t, a.Close())
		spacetest.Within(t, spacetest.Patience, "the end of those who lock", wg.Wait)
		if list, err := s.Locks(); err != nil || len(list) > 0 {
			t.Fatalf("after Close there are held: %+v (%v)", list, err)
		}
		spacetest.Must(t, s.Mutex("m0").Lock(context.Background()))
		spacetest.Must(t, s.Mutex("m0").Unlock())
	}
}

func TestLocks_Listed(t *testing.T) {
	s := spacetest.Scratch(t)
	if list, err := s.Locks(); err != nil || len(list) != 0 {
		t.Errorf("%+v (%v)", list, err)
	}
	spacetest.Must(t, s.Mutex("m").Lock(context.Background()))
	spacetest.Must(t, s.Semaphore("m", 4).Acquire(context.Background()))
	spacetest.Must(t, s.Semaphore("m", 4).Acquire(context.Background()))
	spacetest.Must(t, s.Mutex("idle").Lock(context.Background()))
	spacetest.Must(t, s.Mutex("idle").Unlock())
	list, err := s.Locks()
	spacetest.Must(t, err)
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
