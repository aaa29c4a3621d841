// Package oslock is the only place that takes locks of the operating system
// and waits on its futexes.
//
// Terms: a lock is an open-file-description lock on one byte of a file, far
// beyond any data. It belongs to the description, that is to one os.OpenFile,
// not to the process or a thread. The kernel drops it when the last descriptor
// of the description is closed and the last mapping made through it is gone:
// at the latest when the process dies, unless a fork of the process has copies of
// them. A futex is a 32-bit word in memory that processes share; threads sleep on
// it until another thread wakes them. WaitFile alone takes a lock of another kind: the
// flock of a whole file, which belongs to the description, too.
//
// Invariants:
//
//	OL1 No call but Wait and WaitFile waits for a lock: the others report that it is taken.
//	OL2 A futex wait ends at its timeout at the latest, and may end at any time
//	    for no reason: the caller reads its word again.
//	OL3 Locks of one description never conflict with each other. A process needs a
//	    second description to see its own locks as others see them.
//
// OL4 and OL5 are at Wait.
//
// Start reading at TryLock, then FutexWait.
package oslock

import (
	"errors"
	"fmt"
	"os"
)

// ErrUnsupported says that the system has no locks of open file descriptions
// on this file: an old kernel, a file system without locks, or not Linux.
var ErrUnsupported = errors.New("locks of open file descriptions are not supported here")

// lockError says which lock operation failed, where and why.
func lockError(op string, f *os.File, off int64, err error) error {
	return fmt.Errorf("%s byte %d of %s: %w", op, off, f.Name(), err)
}
