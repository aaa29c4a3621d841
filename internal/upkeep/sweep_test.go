package upkeep

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/turn"
)

// tryAgain waits for other sweepers, however long they take, until its context ends or the space is
// closed; or until it has used up its tries.
func TestTryAgain_WaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &Upkeep{Turn: &turn.Turn{Member: new(member.Member)}}
		began := time.Now()
		over := func() (bool, error) { return time.Since(began) >= time.Hour, nil }
		never := func() (bool, error) { return false, nil }
		if err := u.tryAgain(t.Context(), untilDone, over); err != nil || time.Since(began) < time.Hour {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := u.tryAgain(t.Context(), compactTries, never); !errors.Is(err, failure.ErrBusy) {
			t.Errorf("after many tries: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := u.tryAgain(ctx, untilDone, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the context has ended: %v", err)
		}
		time.AfterFunc(time.Minute, func() { u.Shut.Store(true) })
		if err := u.tryAgain(t.Context(), untilDone, never); !errors.Is(err, failure.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
