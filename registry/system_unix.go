//go:build unix

package registry

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// noBlock keeps the opening of a pipe from waiting for its other end.
const noBlock = unix.O_NONBLOCK

// ownerOf returns the user and the group of a file.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	sys := info.Sys().(*syscall.Stat_t)
	return int(sys.Uid), int(sys.Gid)
}
