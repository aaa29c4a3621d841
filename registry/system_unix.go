//go:build unix

package registry

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noBlock keeps the opening of a pipe from waiting for its other end.
const noBlock = unix.O_NONBLOCK

// tryLock takes the exclusive flock of f, and reports whether it was free.
func tryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// ownerOf returns the user and the group that a file belongs to.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	sys := info.Sys().(*syscall.Stat_t)
	return int(sys.Uid), int(sys.Gid)
}
