package spacefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

// OpenLocks opens the heap file for its locks. A process that only reads and may not write
// the file is a guest.
func (d *Dir) OpenLocks(readOnly bool) (guest bool, err error) {
	d.Locks, err = d.Open(HeapName, os.O_RDWR, 0)
	if err != nil && Forbidden(err) && readOnly {
		guest = true
		d.Locks, err = d.Open(HeapName, os.O_RDONLY, 0)
	}
	if err != nil {
		return guest, err
	}
	if d.system.owner, err = mapping.OwnerOf(d.Locks); err != nil {
		return guest, err
	}
	return guest, d.SameHeap()
}

// SameHeap returns an error if the heap file of that name is not the one that was opened,
// or not the one that OpenDir was asked for.
func (d *Dir) SameHeap() error {
	mine, err := mapping.StatusOf(d.Locks)
	if err != nil {
		return err
	}
	if !d.Has(HeapName, mine.FileID) || d.wanted != (mapping.FileID{}) && d.wanted != mine.FileID {
		return ErrOtherHeap
	}
	return nil
}

// ErrOtherHeap says that the heap file is another one than it was a moment ago.
var ErrOtherHeap = errors.New("the heap file was replaced meanwhile")

// openAgain opens the file of an open one once more: a description of its own, of the
// same file, whatever its name leads to now (K7).
func openAgain(f *os.File) (*os.File, error) {
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	again, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return os.OpenFile(path, os.O_RDONLY, 0)
	}
	return again, nil
}

// Forbidden reports whether an error says that the files cannot be written by this user,
// or there.
func Forbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// CloseLocks closes a heap file that was opened for its locks. They are given back
// first: a fork may have the description as well. The gate comes last: the last process
// that closes a space holds presence exclusively, and a process that got the gate meanwhile
// would be told that another one recovers the space.
func CloseLocks(f *os.File) {
	for _, lock := range []int64{format.LockPresence, format.LockGate} {
		_ = oslock.Unlock(f, lock) // what fails ends with the process
	}
	f.Close()
}
