// Package windows suspends a process between any two steps of the protocols, lets others change,
// free, sweep, punch, grow, collect, restore and close everything meanwhile, and wakes it: the
// process must do no harm with its old knowledge.
//
// Start reading at windows, the table of what may have happened in each window, and why
// that is right; then at programme.
package windows

import (
	"context"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
)

var soakFlag = flag.Duration("everheap.soak", 0, "if it is set, windows are tried at random occurrences for so long")

func TestMain(m *testing.M) {
	proctest.Main()
	_ = flag.Set("test.parallel", "6") // victims are suspended most of the time; the flag overrides this
	flag.Parse()
	os.Exit(m.Run())
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forAWhile returns a context for a quick operation.
func forAWhile() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), proctest.Patience)
}

// again repeats an operation with which a woken process can interfere.
func again(fn func() error) error {
	for began := time.Now(); ; {
		err := fn()
		if !errors.Is(err, everheap.ErrSuspended) || time.Since(began) > proctest.Patience {
			return err
		}
	}
}
