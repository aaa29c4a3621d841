//go:build unix

// Package spacetest has the common parts of tests of spaces, in the root and in the packages
// of test: rounds with seeds, spaces that are checked at the end of a test, access to the
// engine of a space, and contents that prove whether they are consistent. It is only for
// tests.
//
// Terms: a child is a process that runs a part of a test (child.go). A bank is contents of a
// space that many children change (bank.go); a fleet is a bank with its children (fleet.go);
// mirrors are a watcher's copies of a bank's collections (mirror.go). Lock work is the
// children's use of named locks (lockwork.go). A world is a space with objects of all kinds
// (world.go). A dump has the contents of a backup (backup.go). A test that needs only a
// process and its lines uses package proctest.
//
// Start reading at Main, then Rounds, Open and Child.
package spacetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

var (
	SeedFlag = flag.Uint64("everheap.seed", 0, "seed of the random tests; 0: a fixed one")
	soakFlag = flag.Duration("everheap.soak", 0, "how long each random test goes on; 0: a few rounds")
)

// Scaled reduces a number of rounds unless -everheap.soak is set: to half of it, to a
// quarter with -short, and to a quarter of that under the race detector. So testing all
// packages takes a reasonable time.
func Scaled(n int) int {
	if RaceEnabled {
		n /= 4
	}
	switch {
	case testing.Short():
		n /= 4
	case *soakFlag == 0:
		n /= 2
	}
	return max(n, 1)
}

// Rounds calls fn Scaled(n) times, each time with another random source, or for as long as
// -everheap.soak says. It prints the seed of a round that fails; with -everheap.seed set to
// that, this round is the first.
func Rounds(t *testing.T, n int, fn func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	seed := *SeedFlag
	if seed == 0 {
		seed = 1
	}
	round, began := seed, time.Now()
	defer func() {
		if t.Failed() {
			t.Logf("replay with -everheap.seed=%d", round)
		}
	}()
	for ; round < seed+uint64(Scaled(n)) || time.Since(began) < *soakFlag; round++ {
		if fn(t, rand.New(rand.NewPCG(round, 0))); t.Failed() {
			return
		}
	}
}

// Small is the maximum size of the spaces of most tests.
const Small = 256 << 20

// Created returns options that set a maximum size if the space does not exist yet.
func Created(dir string, bytes uint64, opts ...everheap.Option) []everheap.Option {
	if entry, found, _ := registry.Open("").Lookup(dir); found { // dir is a name
		dir = entry.Dir
	}
	if _, err := os.Stat(filepath.Join(dir, "heap")); err == nil {
		return opts
	}
	return append([]everheap.Option{everheap.WithMaxSize(bytes)}, opts...)
}

// Open opens a space for a test, with a small maximum size and then the given options. At
// the end of the test it checks the space, which it opens again if it was closed, and closes
// it.
func Open(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	s, err := everheap.Open(dir, Created(dir, Small, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := t.(*testing.B); ok {
		t.Cleanup(func() { s.Close() })
		return s
	}
	t.Cleanup(func() {
		if Engine(s).Closed() {
			again, err := everheap.Open(dir, opts...)
			if err != nil {
				t.Errorf("opening the space again, to check it: %v", err)
				return
			}
			s = again
		}
		CheckSpace(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Scratch opens a new space in a new directory.
func Scratch(t testing.TB, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "s"), opts...)
}

// CheckSpace verifies everything in the space.
func CheckSpace(t interface {
	Helper()
	Errorf(string, ...any)
}, s *everheap.Space) {
	t.Helper()
	report, err := Engine(s).Check(context.Background())
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

// MapOf opens the map "m" of a space.
func MapOf[K comparable, V any](t testing.TB, s *everheap.Space) everheap.Map[K, V] {
	t.Helper()
	m, err := everheap.OpenMap[K, V](s, "m")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Update runs an Update that must succeed.
func Update(t testing.TB, s *everheap.Space, fn func(tx *everheap.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// View runs a View that must succeed.
func View(t testing.TB, s *everheap.Space, fn func(tx *everheap.Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Within panics if fn takes longer than d, which means that it hangs. So the stacks of all
// goroutines are printed.
func Within(t testing.TB, d time.Duration, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(d, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, d))
	})
	defer watch.Stop()
	fn()
}

// Receive waits for a value from the channel, or until it is closed, and fails the test if
// it waits too long: the sender may have failed in another goroutine.
func Receive[T any](t interface {
	Helper()
	Fatalf(string, ...any)
}, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(Patience):
		t.Fatalf("waited %v for %s in vain", Patience, what)
	}
	return v
}

// Patient returns a context that ends after Patience.
func Patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// NoneLeft fails the test if there are goroutines that did not exist before. It waits for
// some time, since on a busy machine goroutines need longer to end.
func NoneLeft(t testing.TB, before goleak.Option) {
	t.Helper()
	var err error
	if !Wait(Patience, func() bool { err = goleak.Find(before); return err == nil }) {
		t.Error(err)
	}
}

// IsNotFound reports whether an error says that the key was not found.
func IsNotFound(err error) bool { return errors.Is(err, everheap.ErrNotFound) }

// Collect runs a collection that must succeed.
func Collect(t testing.TB, s *everheap.Space) everheap.CollectStats {
	t.Helper()
	stats, err := s.Collect(context.Background())
	Must(t, err)
	return stats
}

// Holds compares a map with the entries that it must have.
func Holds(t testing.TB, s *everheap.Space, m everheap.Map[int, string], want map[int]string) {
	t.Helper()
	if n, err := m.Len(s); n != len(want) || err != nil {
		t.Errorf("%d entries, %v; want %d", n, err, len(want))
	}
	for k, v := range want {
		if got, err := m.Get(s, k); got != v || err != nil {
			t.Fatalf("entry %d is %.40q, %v", k, got, err)
		}
	}
}

// ExpectError fails the test unless err is the target and its text contains the parts.
func ExpectError(t *testing.T, err, target error, parts ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("the error is %v, want %v", err, target)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error does not say %q: %v", p, err)
		}
	}
}

// Second returns the error of a call that has two results.
func Second[T any](_ T, err error) error { return err }

// Difference describes how two values differ; "" if they do not. It compares them in a fast
// way first: cmp takes a hundred times as long.
func Difference(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty())
}

// ErrOfTest is the error of functions that must fail.
var ErrOfTest = errors.New("an error of the test")

// Soon returns a context that ends in a moment.
func Soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// MemoryDir creates a directory, in memory if possible.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "everheap-cut-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Background is a context without an end.
var Background = context.Background()

// Agree compares the contents of two versions.
func Agree(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %.2000s", what, diff)
	}
}
