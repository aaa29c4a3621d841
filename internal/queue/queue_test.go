package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for a quick operation, on a busy machine.
const patience = time.Minute

// within runs fn. If fn does not end, it panics, which prints the stacks of all goroutines.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(patience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, patience))
	})
	defer watch.Stop()
	fn()
}

func TestQueue_OneAtATimeInOrder(t *testing.T) {
	var q Queue
	if err := q.Lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	var order []int
	var wg sync.WaitGroup
	for i := range 20 {
		queued := len(waiters(&q))
		wg.Go(func() {
			if err := q.Lock(context.Background()); err != nil {
				t.Error(err)
				return
			}
			order = append(order, i) // guarded by the queue
			q.Unlock()
		})
		awaitWaiters(t, &q, queued+1)
	}
	q.Unlock()
	within(t, "taking turns", wg.Wait)
	for i, n := range order {
		if i != n {
			t.Fatalf("the order is %v", order)
		}
	}
	if !q.TryLock() {
		t.Error("the lock is not free in the end")
	}
}

// awaitWaiters waits until n goroutines wait.
func awaitWaiters(t *testing.T, q *Queue, n int) {
	t.Helper()
	for end := time.Now().Add(patience); len(waiters(q)) < n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("%d wait, want %d", len(waiters(q)), n)
		}
	}
}

// waiters returns the list of waiters.
func waiters(q *Queue) []chan struct{} {
	q.wait.Lock()
	defer q.wait.Unlock()
	return append([]chan struct{}(nil), q.wait.list...)
}

func TestQueue_SelfAndContext(t *testing.T) {
	var q Queue
	if err := q.Lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := q.Lock(context.Background()); !errors.Is(err, ErrSelf) {
		t.Errorf("the second lock of one goroutine: %v", err)
	}
	if q.TryLock() {
		t.Error("it was taken twice")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- q.Lock(ctx) }()
	awaitWaiters(t, &q, 1)
	cancel()
	within(t, "giving up", func() {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	q.Unlock()
	if err := q.Lock(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestQueue_TurnAndContextAtOnce(t *testing.T) { // a lock granted too late is passed on
	var q Queue
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Microsecond)
				if q.Lock(ctx) == nil {
					q.Unlock()
				}
				cancel()
			}
		})
	}
	within(t, "taking turns", wg.Wait)
	if !q.TryLock() {
		t.Error("a turn was lost")
	}
}
