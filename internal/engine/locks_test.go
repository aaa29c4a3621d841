package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// Locks that nobody has a handle on cost no memory, unless they are held: then a new
// handle finds them so.
func TestLockTable_ForgetsGarbage(t *testing.T) {
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	u := sp.NewSession()
	ctx := context.Background()
	for i := range 5000 {
		m, s := u.Mutex(fmt.Sprint(i)), u.Semaphore(fmt.Sprint(i), 2)
		if err := m.Lock(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Acquire(ctx); err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			continue // held
		}
		if err := m.Unlock(); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(patience); sp.locks.Len() > 6; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d locks are known still", sp.locks.Len())
		}
		runtime.GC()
	}
	for i := range 3 {
		m := u.Mutex(fmt.Sprint(i))
		if ok, err := m.TryLock(); ok || err != nil {
			t.Errorf("a mutex that was held is not (%v)", err)
		}
		if err := m.Unlock(); err != nil {
			t.Error(err)
		}
		if err := u.Semaphore(fmt.Sprint(i), 2).Release(); err != nil {
			t.Error(err)
		}
	}
	u.Close()
	for end := time.Now().Add(patience); sp.locks.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d locks are known still", sp.locks.Len())
		}
		runtime.GC()
	}
}
