// Package files_test tests changes to the files of an open space: they are moved, cut, removed and
// replaced.
package files_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// patience bounds the wait for events that must happen soon; a passing test does not wait that long.
const patience = time.Minute

// children has the functions that the test binary runs as a child process; each gets the directory of
// a space, and prints its results.
var children = map[string]func(dir string) error{}

func TestMain(m *testing.M) {
	if name := os.Getenv("EVERHEAP_FILES_CHILD"); name != "" {
		if err := children[name](os.Getenv("EVERHEAP_FILES_DIR")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command returns the command for a child process.
func command(name, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "EVERHEAP_FILES_CHILD="+name, "EVERHEAP_FILES_DIR="+dir)
	return cmd
}

// run runs a child to its end, and returns the lines that it printed. A child may kill itself, as if
// the power failed.
func run(t *testing.T, name, dir string) []string {
	t.Helper()
	cmd := command(name, dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	watch := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	err := cmd.Wait()
	watch.Stop()
	if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && !(ok && state.Signaled() && state.Signal() == syscall.SIGKILL) {
		t.Fatalf("the process %s ended with %v:\n%s", name, err, &out)
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

// powerFails ends this process as a power loss would.
func powerFails() error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	select {}
}

// reboot removes the memory that running processes shared.
func reboot(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "live")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect fails the test unless err is all of the targets, and its text has the parts.
func expect(t testing.TB, what string, err error, parts []string, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: the error is %v, want %v", what, err, target)
			return
		}
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: the error does not say %q: %v", what, p, err)
		}
	}
}

const window = 1 << 30

// testContext is the context of the children's calls.
var testContext = context.Background()

// open opens a space in which commits are durable when they return.
func open(dir string, opts ...everheap.Option) (*everheap.Space, everheap.Map[int, string], error) {
	s, err := everheap.Open(dir, append([]everheap.Option{everheap.WithMaxSize(window), everheap.WithDurability(everheap.Durable)}, opts...)...)
	if err != nil {
		return nil, everheap.Map[int, string]{}, err
	}
	m, err := everheap.OpenMap[int, string](s, "m")
	if err != nil {
		return nil, m, errors.Join(err, s.Close())
	}
	return s, m, nil
}

// opened is open in a test, which closes the space at its end which must succeed.
func opened(t *testing.T, dir string, opts ...everheap.Option) (*everheap.Space, everheap.Map[int, string]) {
	t.Helper()
	s, m, err := open(dir, opts...)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing %s: %v", dir, err)
		}
	})
	return s, m
}

// holds fails the test unless the keys from 0 on have the value, and the space is whole.
func holds(t *testing.T, s *everheap.Space, m everheap.Map[int, string], n int, value string) {
	t.Helper()
	for i := range n {
		if v, err := m.Get(s, i); err != nil || v != value {
			t.Fatalf("key %d has %.20q (%v), want %.20q", i, v, err, value)
		}
	}
	whole(t, s)
}

// whole fails the test unless a check of the space finds no damage.
func whole(t *testing.T, s *everheap.Space) {
	t.Helper()
	report, err := s.Check(t.Context())
	must(t, err)
	for _, f := range report.Findings {
		t.Errorf("check: %s", f.What)
	}
}
