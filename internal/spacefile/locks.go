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

// OpenLocks opens the heap file for its locks. A process is a guest if it opens the space
// read-only and has no permission to write the file.
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

// SameHeap returns ErrOtherHeap if the name of the heap file no longer names the file in
// Locks, or if that file is not the one that OpenDir was asked for.
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

// ErrOtherHeap says that the heap file is not the expected one: another process has replaced it.
var ErrOtherHeap = errors.New("the heap file was replaced meanwhile")

// openAgain opens the file of f once more: a new description of the same file, whatever its
// name names now (K7).
func openAgain(f *os.File) (*os.File, error) {
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	again, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return os.OpenFile(path, os.O_RDONLY, 0)
	}
	return again, nil
}

// Forbidden reports whether an error says that this user may not write the files, or that
// the file system is read-only.
func Forbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// CloseLocks releases all locks of a heap file that was opened for its locks, and closes it.
// Closing alone might not release them: a forked child may have the description as well.
// CloseLocks releases the gate last. The last process that closes a space holds presence
// exclusively; if it released the gate before presence, a process that got the gate would
// find presence taken and report that another one recovers the space.
func CloseLocks(f *os.File) {
	for _, lock := range []int64{format.LockPresence, format.LockGate} {
		_ = oslock.Unlock(f, lock) // if it fails, the lock ends with the process
	}
	f.Close()
}
