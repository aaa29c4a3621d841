package everheap_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
	"go.uber.org/goleak"
)

var (
	seedFlag = flag.Uint64("everheap.seed", 0, "seed of the random tests; 0: a fixed one")
	soakFlag = flag.Duration("everheap.soak", 0, "how long each random test goes on; 0: a few rounds")
)

// scaled cuts a number of rounds to what the race detector, -short and continuous
// integration allow.
func scaled(n int) int {
	if raceEnabled {
		n /= 4
	}
	if testing.Short() {
		n /= 4
	} else if os.Getenv("CI") != "" {
		n /= 2
	}
	return max(n, 1)
}

// rounds calls fn n times, scaled, each time with another random source, or for
// as long as -everheap.soak says. The failing round's seed is printed; running
// with -everheap.seed set to it makes that round the first.
func rounds(t *testing.T, n int, fn func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = 1
	}
	round, began := seed, time.Now()
	defer func() {
		if t.Failed() {
			t.Logf("replay with -everheap.seed=%d", round)
		}
	}()
	for ; round < seed+uint64(scaled(n)) || time.Since(began) < *soakFlag; round++ {
		if fn(t, rand.New(rand.NewPCG(round, 0))); t.Failed() {
			return
		}
	}
}

// small is the maximum size of the spaces of most tests.
const small = 256 << 20

// created returns options for a space that gets a maximum size if it is not there yet.
func created(dir string, bytes uint64, opts ...everheap.Option) []everheap.Option {
	if entry, found, _ := registry.Open("").Lookup(dir); found { // it is a name
		dir = entry.Dir
	}
	if _, err := os.Stat(filepath.Join(dir, "heap")); err == nil {
		return opts
	}
	return append([]everheap.Option{everheap.WithMaxSize(bytes)}, opts...)
}

// open opens a space for a test; its options come after a small maximum size. At
// the end of the test the space is checked, opened again for it if need be, and
// closed.
func open(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	s, err := everheap.Open(dir, created(dir, small, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := t.(*testing.B); ok {
		t.Cleanup(func() { s.Close() })
		return s
	}
	t.Cleanup(func() {
		if s.Engine().Closed() {
			again, err := everheap.Open(dir, opts...)
			if err != nil {
				t.Errorf("opening the space again, to check it: %v", err)
				return
			}
			s = again
		}
		checkSpace(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// scratch opens a new space in a directory of its own.
func scratch(t testing.TB, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "s"), opts...)
}

// checkSpace verifies everything in the space.
func checkSpace(t interface {
	Helper()
	Errorf(string, ...any)
}, s *everheap.Space) {
	t.Helper()
	report, err := s.Engine().Check(context.Background())
	if err != nil {
		t.Errorf("check: %v", err)
		return
	}
	for i, f := range report.Findings {
		if i == 10 {
			t.Errorf("check: %d more findings", len(report.Findings)-i)
			break
		}
		t.Errorf("check: block %#x, object %d: %s", f.Addr, f.Object, f.What)
	}
}

// mapOf opens the map "m" of a space.
func mapOf[K comparable, V any](t testing.TB, s *everheap.Space) everheap.Map[K, V] {
	t.Helper()
	m, err := everheap.OpenMap[K, V](s, "m")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// update runs an Update that must succeed.
func update(t testing.TB, s *everheap.Space, fn func(tx *everheap.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// view runs a View that must succeed.
func view(t testing.TB, s *everheap.Space, fn func(tx *everheap.Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within fails the test if fn takes longer than it ever should: it hangs. What all
// goroutines do then is shown.
func within(t testing.TB, d time.Duration, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(d, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, d))
	})
	defer watch.Stop()
	fn()
}

// receive waits for a value, or for the end of the channel, and fails the test if that
// does not come: what it waits for may have failed in another goroutine.
func receive[T any](t interface {
	Helper()
	Fatalf(string, ...any)
}, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited %v for %s in vain", patience, what)
	}
	return v
}

// patient is a context for what should take a moment.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// noneLeft fails the test if there are goroutines that were not there before. Some need a
// while to end on a machine that has much to do.
func noneLeft(t testing.TB, before goleak.Option) {
	t.Helper()
	var err error
	if !wait(patience, func() bool { err = goleak.Find(before); return err == nil }) {
		t.Error(err)
	}
}

// isNotFound reports whether an error says that the key is not there.
func isNotFound(err error) bool { return errors.Is(err, everheap.ErrNotFound) }
