package goroutine

import (
	"sync"
	"testing"
)

func TestID_DiffersBetweenGoroutines(t *testing.T) {
	mine := ID()
	if mine == 0 || ID() != mine {
		t.Fatalf("ID is not stable: %#x, then %#x", mine, ID())
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if ID() == mine {
				t.Error("another goroutine has the same ID at the same time")
			}
		})
	}
	wg.Wait()
	if ID() != mine {
		t.Fatal("ID changed")
	}
}
