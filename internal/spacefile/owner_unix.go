//go:build unix

package spacefile

import (
	"io/fs"
	"os"
	"syscall"
)

// SameOwner gives f the user and the group of another file. now is the status of f, as that
// of the other file.
func SameOwner(f *os.File, now, as fs.FileInfo) error {
	have, want := now.Sys().(*syscall.Stat_t), as.Sys().(*syscall.Stat_t)
	if have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}
