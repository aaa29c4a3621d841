//go:build !linux

package oslock

import (
	"context"
	"os"
	"time"
)

// TryLock is not supported on this system.
func TryLock(f *os.File, off int64, shared bool) (bool, error) {
	return false, lockError("locking", f, off, ErrUnsupported)
}

// Unlock is not supported on this system.
func Unlock(f *os.File, off int64) error {
	return lockError("unlocking", f, off, ErrUnsupported)
}

// UnlockAll is not supported on this system.
func UnlockAll(f *os.File, off, n int64) error { return lockError("unlocking", f, off, ErrUnsupported) }

// HeldByOther is not supported on this system.
func HeldByOther(f *os.File, off int64) (bool, error) {
	return false, lockError("testing the lock of", f, off, ErrUnsupported)
}

// Held is not supported on this system.
func Held(f *os.File, from, to int64) (first, end int64, held bool, err error) {
	return 0, 0, false, lockError("looking for locks of", f, from, ErrUnsupported)
}

// Holder is a process that holds a lock.
type Holder struct {
	PID     int
	Command string
	Stopped bool
}

// Holders returns no processes on this system.
func Holders(f *os.File, off int64) []Holder { return nil }

// Wait is not supported on this system.
func Wait(ctx context.Context, open func() (*os.File, error), off int64, shared bool) (*os.File, error) {
	return nil, ErrUnsupported
}

// WaitFile is not supported on this system.
func WaitFile(ctx context.Context, open func() (*os.File, error)) (*os.File, error) {
	return nil, ErrUnsupported
}

// FutexWait sleeps for at most 10 ms: this system has no futexes on shared files.
func FutexWait(addr *uint32, val uint32, timeout time.Duration) (woken bool) {
	time.Sleep(min(timeout, 10*time.Millisecond))
	return false
}

// FutexWake wakes no thread on this system.
func FutexWake(addr *uint32, n int) int { return 0 }

// Yield lets other threads run first.
func Yield() { time.Sleep(time.Microsecond) }

// ProcessGone always returns false on this system, which means that it does not know.
func ProcessGone(pid int) bool { return false }
