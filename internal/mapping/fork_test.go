//go:build linux

package mapping

import (
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inFork runs fn in a fork of this process and returns the result of fn. The fork has one
// thread; fn must not wait, allocate or grow the stack.
func inFork(t *testing.T, fn func() uintptr) uintptr {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		code := fn()
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
		}
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil || !status.Exited() {
		t.Fatalf("the fork: %v, status %#x", err, status)
	}
	return uintptr(status.ExitStatus())
}

func TestForked(t *testing.T) {
	mine := Generation()
	if mine == 0 || Generation() != mine || Forked(mine) {
		t.Fatalf("generation %d, then %d, forked %v", mine, Generation(), Forked(mine))
	}
	code := inFork(t, func() uintptr {
		if !Forked(mine) {
			return 1
		}
		return 0
	})
	if code != 0 {
		t.Error("a fork does not detect that it is a fork")
	}
	if Forked(mine) {
		t.Error("the parent of a fork counts as one")
	}
}

func TestMapShared_NotInAFork(t *testing.T) { // M8, Q1
	f, _ := heapFile(t)
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	s, err := MapShared(f, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := s.addr
	code := inFork(t, func() uintptr { // msync fails where nothing is mapped
		_, _, errno := syscall.RawSyscall(unix.SYS_MSYNC, uintptr(addr), pageSize, unix.MS_ASYNC)
		return uintptr(errno)
	})
	if code != uintptr(unix.ENOMEM) {
		t.Errorf("a fork has the shared memory: msync says %v", syscall.Errno(code))
	}
}
