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

// The runtime reuses descriptors, but not the numbers.
func TestGoID_NeverUsedTwice(t *testing.T) {
	mine := GoID()
	if mine == 0 || mine != tracedGoID() {
		t.Fatalf("the number is %d, the stack trace shows %d", mine, tracedGoID())
	}
	seen := map[uint64]bool{mine: true}
	again := map[uintptr]bool{}
	reused := 0
	for range 1000 {
		var wg sync.WaitGroup
		wg.Go(func() {
			n := GoID()
			if seen[n] || n != tracedGoID() {
				t.Errorf("a goroutine has the number %d, its stack trace shows %d", n, tracedGoID())
			}
			seen[n] = true
			if again[ID()] {
				reused++
			}
			again[ID()] = true
		})
		wg.Wait()
	}
	if reused == 0 {
		t.Error("no descriptor was reused: the test shows nothing")
	}
}
