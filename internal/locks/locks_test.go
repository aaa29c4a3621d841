package locks_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/engine"
)

// patience is how long a test waits for an event that should take a moment, on a busy machine.
const patience = time.Minute

// A lock without a handle costs no memory unless it is held: a new handle finds a held one.
func TestLockTable_ForgetsGarbage(t *testing.T) {
	sp, err := engine.Open(filepath.Join(t.TempDir(), "s"), engine.Options{MaxSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	s := sp.NewSession()
	ctx := context.Background()
	for i := range 5000 {
		m, sem := s.Mutex(fmt.Sprint(i)), s.Semaphore(fmt.Sprint(i), 2)
		if err := m.Lock(ctx); err != nil {
			t.Fatal(err)
		}
		if err := sem.Acquire(ctx); err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			continue // this one is held
		}
		if err := m.Unlock(); err != nil {
			t.Fatal(err)
		}
		if err := sem.Release(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); s.Known() > 6; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d locks are still in the table", s.Known())
		}
		runtime.GC()
	}
	for i := range 3 {
		m := s.Mutex(fmt.Sprint(i))
		if ok, err := m.TryLock(); ok || err != nil {
			t.Errorf("a mutex that was held is not (%v)", err)
		}
		if err := m.Unlock(); err != nil {
			t.Error(err)
		}
		if err := s.Semaphore(fmt.Sprint(i), 2).Release(); err != nil {
			t.Error(err)
		}
	}
	s.Close()
	for end := time.Now().Add(patience); s.Known() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d locks are still in the table", s.Known())
		}
		runtime.GC()
	}
}
