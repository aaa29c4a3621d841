package upkeep

import (
	"errors"
	"fmt"
	"testing"

	"github.com/everheap/everheap/internal/failure"
)

// A try whose move or sweep was busy has no error; any other error counts, even if the other step
// was busy.
func TestAfterMoving_OthersAtWork(t *testing.T) {
	busy, fault := fmt.Errorf("sweeping: %w", failure.ErrBusy), fmt.Errorf("writing: %w", failure.ErrIO)
	for _, c := range []struct {
		move, sweep, err error
		busy             bool
	}{
		{nil, nil, nil, false},
		{nil, busy, nil, true},
		{busy, nil, nil, true},
		{busy, busy, nil, true},
		{fault, busy, failure.ErrIO, true},
		{busy, fault, failure.ErrIO, true},
		{fault, nil, failure.ErrIO, false},
	} {
		if busy, err := afterMoving(c.move, c.sweep); busy != c.busy || !errors.Is(err, c.err) || errors.Is(err, failure.ErrBusy) {
			t.Errorf("moving %v, sweeping %v: %t, %v", c.move, c.sweep, busy, err)
		}
	}
}

// A try counts only if it was not stopped by others.
func TestShrunk_Futile(t *testing.T) { // H2
	fault := fmt.Errorf("writing: %w", failure.ErrIO)
	for _, c := range []struct {
		s      shrunk
		err    error
		futile bool
	}{
		{shrunk{}, nil, false},
		{shrunk{more: true}, nil, false},
		{shrunk{busy: true}, nil, true},
		{shrunk{busy: true}, fault, false},
		{shrunk{}, fmt.Errorf("sweeping: %w", failure.ErrBusy), true},
		{shrunk{}, fmt.Errorf("sweeping: %w", failure.ErrSuspended), true},
	} {
		if got := c.s.futile(c.err); got != c.futile {
			t.Errorf("%+v with %v: %t", c.s, c.err, got)
		}
	}
}
