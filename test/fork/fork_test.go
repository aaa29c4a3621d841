// Package fork tests the library in a C program that forks. It is a module of its own, since only
// this test needs cgo and a C compiler.
package fork

import (
	"bufio"
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

// patience bounds the time of quick operations.
const patience = time.Minute

// program is the path of the built program.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "everheap-fork-")
	if err == nil {
		program, err = build(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the program:", err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the program: the library as an archive, and C that calls it.
func build(dir string) (string, error) {
	archive, program := filepath.Join(dir, "host.a"), filepath.Join(dir, "program")
	for _, command := range [][]string{
		{"go", "build", "-buildmode=c-archive", "-o", archive, "./host"},
		{"gcc", "-Wall", "-I", dir, "-o", program, "program/main.c", archive, "-lpthread"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return program, nil
}

// command prepares the program. A fork of a Go program can do little, whatever the library does: it
// has one thread, and where the runtime needs other threads, it waits for ever. Calls find an unused
// processor of the runtime if there are enough; a garbage collection, or a wait for another
// goroutine, would never end.
func command(ctx context.Context, what, dir string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, what, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its forks
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), "GOMAXPROCS=16", "GOGC=off", "EVERHEAP_HOME="+filepath.Dir(dir))
	return cmd
}

// run runs the program, which must print that all is well. hung says that it did not end.
func run(t *testing.T, what string, bound time.Duration) (dir string, hung bool) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	cmd := command(ctx, what, dir)
	cmd.WaitDelay = time.Second // a fork may have the pipes
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return dir, true
	}
	if err != nil || !bytes.Contains(out, []byte("well\n")) {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	return dir, false
}

// tries is how often a run that did not end is repeated. A fork has a copy of the runtime's locks and
// states: if another thread had a lock at the moment of the fork, the fork waits for it for ever,
// before it reaches the library. About one of forty forks does, on a machine with other load; the
// stack of one ended in runtime.casgstatus, on its return from fork.
const tries = 6

// mustRun is run for a program that must end, unless the runtime hangs.
func mustRun(t *testing.T, what string) (dir string) {
	t.Helper()
	for range tries {
		dir, hung := run(t, what, patience/tries)
		if !hung {
			return dir
		}
	}
	t.Fatalf("%s: did not end in %d tries of %v", what, tries, patience/tries)
	return ""
}

// open opens the space in this process, and checks it.
func open(t *testing.T, dir string) (*everheap.Space, everheap.Map[int, string]) {
	t.Helper()
	s, err := everheap.Open(dir, everheap.WithMaxSize(256<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r, err := s.Check(context.Background())
		if errors.Is(err, everheap.ErrClosed) {
			return // by the test
		}
		if err != nil || len(r.Findings) > 0 {
			t.Errorf("check: %v, %v", r.Findings, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := everheap.OpenMap[int, string](s, "m")
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// A fork uses its parent's handle while the parent writes: every call of the fork is an error, and
// every call of the parent works.
func TestFork_BesideItsParent(t *testing.T) {
	s, m := open(t, mustRun(t, "beside"))
	if n, err := m.Len(s); n != 3000 || err != nil {
		t.Errorf("%d entries (%v), want those of the parent, 3000", n, err)
	}
}

// A fork opens the space again, and writes and reads; it ends as if it was killed. Opening needs more
// of the runtime than an error does, and may wait for ever in each of the tries.
func TestFork_OpensAgain(t *testing.T) { // Q4
	dir, hung := "", true
	for i := 0; i < tries && hung; i++ {
		dir, hung = run(t, "again", patience/tries)
	}
	if hung {
		t.Skipf("the runtime of Go stood still in each of %d forks", tries)
	}
	s, m := open(t, dir)
	for _, key := range []int{0, 1000, 1199, 2999} {
		if ok, err := m.Has(s, key); !ok || err != nil {
			t.Errorf("key %d: %v, %v", key, ok, err)
		}
	}
}

// A fork is made in the middle of a transaction: the parent commits it, and the fork
// cannot.
func TestFork_InsideATransaction(t *testing.T) { // Q2
	s, m := open(t, mustRun(t, "within"))
	if n, err := m.Len(s); n != 1000 || err != nil {
		t.Errorf("%d entries (%v), want 1000", n, err)
	}
}

// A process is killed, and its fork, which does not use the library, lives on: other processes find
// the process dead, and take over its locks.
func TestFork_OutlivesItsKilledParent(t *testing.T) { // Q3
	dir := filepath.Join(t.TempDir(), "s")
	s, m := open(t, dir)
	cmd := command(context.Background(), "orphan", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	var orphan int
	if _, scanned := fmt.Sscanf(line, "forked %d", &orphan); err != nil || scanned != nil {
		t.Fatalf("the program said %q (%v)", line, errors.Join(err, scanned))
	}
	defer syscall.Kill(orphan, syscall.SIGKILL)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, 2, "after") }); err != nil {
		t.Fatal(err)
	}
	wrote := time.Since(killed)
	if err := s.Mutex("x").Lock(ctx); !errors.Is(err, everheap.ErrOwnerDied) {
		t.Errorf("locking the mutex of the dead process: %v", err)
	}
	t.Logf("the others wrote after %v, and had the mutex after %v", wrote, time.Since(killed))
	if err := s.Mutex("x").Unlock(); err != nil {
		t.Error(err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		readers, err := s.Readers()
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, r := range readers {
			if !r.Self {
				held++
			}
		}
		if held == 0 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("the dead one still holds %d versions after %v", held, patience)
		}
	}
	if err := s.Close(); err != nil { // as the last user, which needs the space for itself
		t.Fatal(err)
	}
	info, err := everheap.Describe(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Open {
		t.Error("the space counts as open, although only the fork is left")
	}
	if err := syscall.Kill(orphan, 0); err != nil {
		t.Errorf("the fork did not live all the time: the test shows nothing: %v", err)
	}
	if _, err := everheap.Compact(context.Background(), dir); err != nil {
		t.Errorf("compacting the closed space: %v", err)
	}
	open(t, dir)
}
