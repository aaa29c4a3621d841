// Package oslock is the only package that takes file locks and waits on futexes.
//
// Terms: a lock is an open-file-description lock on one byte of a file, far beyond any data.
// It belongs to the description, that is to one os.OpenFile, not to the process or a thread.
// The kernel releases it when the last descriptor of the description is closed and the last
// mapping made through it is gone: at the latest when the process dies, unless a forked
// child has copies of them. A futex is a 32-bit word in memory that processes share; threads
// sleep on it until another thread wakes them. Only WaitFile takes a lock of another kind:
// the flock of a whole file, which belongs to the description, too.
//
// Invariants:
//
//	OL1 Only Wait and WaitFile wait for a lock. All other calls return at once and report
//	    whether it is taken.
//	OL2 A futex wait ends at its timeout at the latest, and it may end earlier for no reason:
//	    so the caller reads the word again.
//	OL3 Locks of one description never conflict with each other. So a process needs a second
//	    description to see its own locks as other processes see them.
//
// wait_linux.go states OL4 and OL5.
//
// Start reading at TryLock, then FutexWait.
package oslock

import (
	"errors"
	"fmt"
	"os"
)

// ErrUnsupported says that this file cannot have open-file-description locks: the kernel is
// too old, the file system has no locks, or the system is not Linux.
var ErrUnsupported = errors.New("open-file-description locks are not supported here")

// lockError names the lock operation that failed, the byte and the file.
func lockError(op string, f *os.File, off int64, err error) error {
	return fmt.Errorf("%s byte %d of %s: %w", op, off, f.Name(), err)
}
