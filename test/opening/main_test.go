// Package opening tests how processes open and close a space: many at once, beside waiting and
// suspended processes, in every mode and by different users.
//
// Start reading at TestClose_WaitingKeepsNobodyFromOtherSpaces.
package opening

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
	"go.uber.org/goleak"
)

var soakFlag = flag.Duration("everheap.soak", 0, "if it is set, as many processes as there can be are started")

func TestMain(m *testing.M) {
	proctest.Main()
	flag.Parse()
	os.Exit(m.Run())
}

// small is the maximum size of the spaces here.
const small = 256 << 20

// open opens a space, and checks and closes it at the end of the test.
func open(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	s := openPlain(t, dir, opts...)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		again, err := everheap.Open(dir)
		if err != nil {
			t.Errorf("opening the space to check it: %v", err)
			return
		}
		report, err := again.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("check: %+v (%v)", report.Findings, err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openPlain is open without the check.
func openPlain(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "heap")); err != nil { // a new space gets a size
		opts = append([]everheap.Option{everheap.WithMaxSize(small)}, opts...)
	}
	s, err := everheap.Open(dir, opts...)
	must(t, err)
	return s
}

// mapOf opens the map "m" of a space.
func mapOf(t testing.TB, s *everheap.Space) everheap.Map[string, int] {
	t.Helper()
	m, err := everheap.OpenMap[string, int](s, "m")
	must(t, err)
	return m
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(proctest.Patience):
		t.Fatalf("%s did not come in %v", what, proctest.Patience)
	}
	return v
}

// within panics, with the stacks of all goroutines, if fn hangs.
func within(t testing.TB, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(proctest.Patience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, proctest.Patience))
	})
	defer watch.Stop()
	fn()
}

// expectError fails the test unless the error is of the kind and has the texts.
func expectError(t testing.TB, err, kind error, texts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("the error is %v, not %v", err, kind)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

// openFiles lists the open files of this process in a directory.
func openFiles(t testing.TB, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, dir) {
			files = append(files, to)
		}
	}
	return files
}

// noneLeft fails the test if there are more goroutines than before.
func noneLeft(t testing.TB, before goleak.Option) {
	t.Helper()
	var err error
	if !proctest.Wait(func() bool { err = goleak.Find(before); return err == nil }) {
		t.Error(err)
	}
}
