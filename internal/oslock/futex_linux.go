package oslock

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2). Neither is FUTEX_PRIVATE: processes share the word, and the kernel
// finds it by file and offset, not by address.
const (
	futexWait = 0
	futexWake = 1
)

// fallbackTick is the longest sleep of FutexWait where the kernel refuses futexes.
const fallbackTick = 10 * time.Millisecond

// FutexWait sleeps while *addr is val, until a FutexWake or the timeout, and reports whether
// a FutexWake woke it. It returns at once if *addr is another value or the timeout is not
// positive, and it may return early for no reason (OL2). While it sleeps the thread is in a
// system call, so other goroutines keep running. addr must stay mapped until it returns.
func FutexWait(addr *uint32, val uint32, timeout time.Duration) (woken bool) {
	if timeout <= 0 {
		return false
	}
	ts := unix.NsecToTimespec(timeout.Nanoseconds())
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait,
		uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return true
	case unix.EAGAIN, unix.EINTR, unix.ETIMEDOUT:
		return false
	}
	// A sandbox may forbid futexes of files. Callers read the word again in a loop: polling
	// slowly is right, since returning at once would burn a core.
	time.Sleep(min(timeout, fallbackTick))
	return false
}

// FutexWake wakes up to n threads that wait on addr, in any process, and
// returns how many it woke.
func FutexWake(addr *uint32, n int) int {
	if n <= 0 {
		return 0
	}
	woken, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake,
		uintptr(min(n, math.MaxInt32)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(woken)
}

// Yield lets other threads, of any process, run on this core first.
func Yield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
