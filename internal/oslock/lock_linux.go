package oslock

import (
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// TryLock takes a shared or exclusive lock on the byte at off for the description of f, or
// converts the lock that the description has. It reports whether it got the lock; if not, an
// existing lock of the description is unchanged. An exclusive lock needs f open for writing,
// a shared lock needs it open for reading. The error wraps os.ErrClosed, ErrUnsupported, or
// the kernel's error.
func TryLock(f *os.File, off int64, shared bool) (bool, error) {
	kind := int16(unix.F_WRLCK)
	if shared {
		kind = unix.F_RDLCK
	}
	_, err := control(f, unix.F_OFD_SETLK, kind, off)
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	if err != nil {
		return false, lockError("locking", f, off, err)
	}
	return true, nil
}

// Unlock releases the lock on the byte at off. It is not an error if the description of f
// has no lock there.
func Unlock(f *os.File, off int64) error {
	if _, err := control(f, unix.F_OFD_SETLK, unix.F_UNLCK, off); err != nil {
		return lockError("unlocking", f, off, err)
	}
	return nil
}

// UnlockAll releases all locks of the description of f on n bytes from off.
func UnlockAll(f *os.File, off, n int64) error {
	lk := unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart, Start: off, Len: n}
	if err := controlLock(f, unix.F_OFD_SETLK, &lk); err != nil {
		return lockError("unlocking", f, off, err)
	}
	return nil
}

// HeldByOther reports whether a description other than that of f holds a lock, shared or
// exclusive, on the byte at off. It takes no lock.
func HeldByOther(f *os.File, off int64) (bool, error) {
	found, err := control(f, unix.F_OFD_GETLK, unix.F_WRLCK, off)
	if err != nil {
		return false, lockError("testing the lock of", f, off, err)
	}
	return found != unix.F_UNLCK, nil
}

// Held returns a range [first, end) of bytes that touches [from, to) and on which a
// description other than that of f holds a lock; held is false if there is no such range.
// The range may reach beyond [from, to).
func Held(f *os.File, from, to int64) (first, end int64, held bool, err error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: from, Len: to - from}
	if err := controlLock(f, unix.F_OFD_GETLK, &lk); err != nil {
		return 0, 0, false, lockError("looking for locks of", f, from, err)
	}
	if lk.Type == unix.F_UNLCK {
		return 0, 0, false, nil
	}
	if lk.Len == 0 { // the kernel's way to say: up to the largest offset
		return lk.Start, math.MaxInt64, true, nil
	}
	return lk.Start, lk.Start + lk.Len, true, nil
}

// control runs one lock command on the byte at off and returns the type of lock that the
// kernel reports. It goes through SyscallConn, so that a concurrent Close cannot make it act
// on another file that got the same descriptor.
func control(f *os.File, cmd int, kind int16, off int64) (int16, error) {
	lk := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: off, Len: 1}
	err := controlLock(f, cmd, &lk)
	return lk.Type, err
}

// controlLock is control with the kernel's own struct for the lock. Its Pid must be 0 for
// open-file-description locks.
func controlLock(f *os.File, cmd int, lk *unix.Flock_t) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	off := lk.Start
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = unix.FcntlFlock(fd, cmd, lk); failed != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return os.ErrClosed // the only error that Control returns, by its public name
	}
	if failed == unix.EINVAL && off >= 0 || failed == unix.ENOSYS || failed == unix.EOPNOTSUPP {
		return fmt.Errorf("%w: %w", ErrUnsupported, failed)
	}
	return failed
}
