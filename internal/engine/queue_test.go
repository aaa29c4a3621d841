package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestQueue_OneAtATimeInOrder(t *testing.T) {
	var q queue
	if err := q.lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	var order []int
	var wg sync.WaitGroup
	for i := range 20 {
		queued := len(waiters(&q))
		wg.Go(func() {
			if err := q.lock(context.Background()); err != nil {
				t.Error(err)
				return
			}
			order = append(order, i) // guarded by the queue
			q.unlock()
		})
		for len(waiters(&q)) == queued {
			time.Sleep(100 * time.Microsecond)
		}
	}
	q.unlock()
	wg.Wait()
	for i, n := range order {
		if i != n {
			t.Fatalf("the order is %v", order)
		}
	}
	if !q.tryLock() {
		t.Error("the lock is not free in the end")
	}
}

// waiters returns those that wait.
func waiters(q *queue) []chan struct{} {
	q.wait.Lock()
	defer q.wait.Unlock()
	return append([]chan struct{}(nil), q.wait.list...)
}

func TestQueue_SelfAndContext(t *testing.T) {
	var q queue
	if err := q.lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := q.lock(context.Background()); !errors.Is(err, ErrSelf) {
		t.Errorf("the second lock of one goroutine: %v", err)
	}
	if q.tryLock() {
		t.Error("it was taken twice")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- q.lock(ctx) }()
	for len(waiters(&q)) == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	q.unlock()
	if err := q.lock(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestQueue_TurnAndContextAtOnce(t *testing.T) { // the turn that comes too late is passed on
	var q queue
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Microsecond)
				if q.lock(ctx) == nil {
					q.unlock()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if !q.tryLock() {
		t.Error("a turn was lost")
	}
}
