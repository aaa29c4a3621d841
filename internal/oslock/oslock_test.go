//go:build linux

package oslock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// far is an offset far beyond any data, like those of a space's locks.
const far = 1 << 60

// patience is how long a test waits before it fails; a test that passes does not wait for it.
const patience = 20 * time.Second

// Roles of the test binary when it is run as a child.
const (
	roleEnv = "EVERHEAP_TEST_OSLOCK_ROLE"
	pathEnv = "EVERHEAP_TEST_OSLOCK_PATH"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "hold":
		childHolds()
	case "wait":
		childWaits()
	}
}

// child starts the test binary in a role, and returns once it has printed "ready".
func child(t *testing.T, role, path string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleEnv+"="+role, pathEnv+"="+path)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe() // the child ends when this closes, with the test
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Process.Kill(); c.Wait() })
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return c, lines
}

// childHolds takes the lock at far and waits to be killed.
func childHolds() {
	f, err := os.OpenFile(os.Getenv(pathEnv), os.O_RDWR, 0)
	if err == nil {
		var ok bool
		if ok, err = TryLock(f, far, false); !ok && err == nil {
			err = errors.New("the lock is taken")
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// childWaits waits on the first word of the file until it is 1.
func childWaits() {
	word, err := mapWord(os.Getenv(pathEnv))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for end := time.Now().Add(patience); atomic.LoadUint32(word) == 0 && time.Now().Before(end); {
		if FutexWait(word, 0, patience) {
			fmt.Println("woken")
			os.Exit(0)
		}
	}
	fmt.Println("not woken")
}

// mapWord maps the first page of a file and returns its first word.
func mapWord(path string) (*uint32, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*uint32)(unsafe.Pointer(&b[0])), nil
}

// lockFile creates a file of one page; open opens it once more.
func lockFile(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "locked")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func wantLock(t *testing.T, f *os.File, off int64, shared, want bool) {
	t.Helper()
	if ok, err := TryLock(f, off, shared); ok != want || err != nil {
		t.Fatalf("TryLock(byte %d, shared %v) = %v, %v, want %v", off, shared, ok, err, want)
	}
}

func wantHeld(t *testing.T, f *os.File, off int64, want bool) {
	t.Helper()
	if held, err := HeldByOther(f, off); held != want || err != nil {
		t.Fatalf("HeldByOther(byte %d) = %v, %v, want %v", off, held, err, want)
	}
}

func TestTryLock_TwoDescriptions(t *testing.T) { // OL1
	path := lockFile(t)
	a, b := open(t, path, os.O_RDWR), open(t, path, os.O_RDWR)
	wantHeld(t, b, far, false)
	wantLock(t, a, far, false, true)
	wantLock(t, a, far, false, true) // OL3
	wantHeld(t, a, far, false)       // OL3
	wantHeld(t, b, far, true)
	wantLock(t, b, far, false, false)
	wantLock(t, b, far, true, false)
	wantLock(t, b, far+1, false, true) // the lock of the next byte is free
	wantLock(t, b, far-1, false, true)
	if err := Unlock(a, far); err != nil {
		t.Fatal(err)
	}
	wantLock(t, b, far, false, true)
	if err := Unlock(a, far); err != nil { // b has the lock: no effect
		t.Fatal(err)
	}
	wantHeld(t, a, far, true)
	b.Close()
	wantHeld(t, a, far, false)
}

func TestTryLock_Converts(t *testing.T) {
	path := lockFile(t)
	a, b := open(t, path, os.O_RDWR), open(t, path, os.O_RDWR)
	wantLock(t, a, far, true, true)
	wantLock(t, b, far, true, true)
	wantHeld(t, b, far, true)
	wantLock(t, a, far, false, false)
	if err := Unlock(b, far); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, b, far, true) // a failed conversion kept a's shared lock
	wantLock(t, a, far, false, true)
	wantLock(t, b, far, true, false)
	wantLock(t, a, far, true, true)
	wantLock(t, b, far, true, true)
}

func TestTryLock_ReadOnlyFile(t *testing.T) {
	path := lockFile(t)
	f, other := open(t, path, os.O_RDONLY), open(t, path, os.O_RDWR)
	wantLock(t, f, far, true, true)
	wantHeld(t, other, far, true)
	wantHeld(t, f, far, false)
	if ok, err := TryLock(f, far, false); ok || !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), path) {
		t.Fatalf("an exclusive lock through a file that is open for reading: %v, %v", ok, err)
	}
}

func TestTryLock_ClosedFile(t *testing.T) {
	f := open(t, lockFile(t), os.O_RDWR)
	f.Close()
	if _, err := TryLock(f, far, false); !errors.Is(err, os.ErrClosed) {
		t.Errorf("TryLock: %v", err)
	}
	if _, err := HeldByOther(f, far); !errors.Is(err, os.ErrClosed) {
		t.Errorf("HeldByOther: %v", err)
	}
	if err := Unlock(f, far); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Unlock: %v", err)
	}
}

func TestTryLock_DroppedWhenProcessIsKilled(t *testing.T) { // L2
	path := lockFile(t)
	c, _ := child(t, "hold", path)
	f := open(t, path, os.O_RDWR)
	wantHeld(t, f, far, true)
	wantLock(t, f, far, true, false)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait() // always an error: the child was killed
	wantHeld(t, f, far, false)
	wantLock(t, f, far, false, true)
}

// The kernel closes the descriptor when the child is executed, so the child does not keep
// the lock.
func TestTryLock_NotInherited(t *testing.T) {
	path := lockFile(t)
	mine := open(t, path, os.O_RDWR)
	wantLock(t, mine, far+1, false, true)
	child(t, "hold", path)
	mine.Close()
	wantHeld(t, open(t, path, os.O_RDWR), far+1, false)
}

func TestFutexWait_ReturnsWithoutWake(t *testing.T) { // OL2
	word, err := mapWord(lockFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if FutexWait(word, 1, patience) {
		t.Error("FutexWait reports a wake, but the word had another value")
	}
	for _, d := range []time.Duration{-1, 0, 1, 5 * time.Millisecond} {
		if FutexWait(word, 0, d) {
			t.Errorf("FutexWait reports a wake that nobody made, timeout %v", d)
		}
	}
	if n := FutexWake(word, 100); n != 0 {
		t.Errorf("FutexWake woke %d threads, but none waits", n)
	}
	if n := FutexWake(word, -1); n != 0 {
		t.Errorf("FutexWake(-1) woke %d threads", n)
	}
}

// More threads wait than there are processors, and still a goroutine runs that wakes them.
func TestFutexWait_LeavesProcessorsFree(t *testing.T) {
	path := lockFile(t)
	word, err := mapWord(path)
	if err != nil {
		t.Fatal(err)
	}
	waker, err := mapWord(path) // the same word at another address
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 16
	done := make(chan bool, waiters)
	for range waiters {
		go func() { done <- FutexWait(word, 0, patience) }()
	}
	woken := 0
	for end := time.Now().Add(patience); woken < waiters && time.Now().Before(end); time.Sleep(time.Millisecond) {
		woken += FutexWake(waker, 3)
	}
	reported := 0
	for range waiters {
		if <-done {
			reported++
		}
	}
	if woken != waiters || reported != waiters {
		t.Fatalf("FutexWake woke %d threads, %d report a wake, want %d", woken, reported, waiters)
	}
}

func TestFutexWake_AcrossProcesses(t *testing.T) {
	path := lockFile(t)
	word, err := mapWord(path)
	if err != nil {
		t.Fatal(err)
	}
	_, lines := child(t, "wait", path)
	woken := 0
	for end := time.Now().Add(patience); woken == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		woken = FutexWake(word, 1)
	}
	if line, err := lines.ReadString('\n'); woken != 1 || line != "woken\n" {
		t.Fatalf("woke %d; the child said %q, %v", woken, line, err)
	}
}
