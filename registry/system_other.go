//go:build !unix

package registry

import (
	"errors"
	"io/fs"
	"os"
)

const noBlock = 0

// errLocks says why a registry cannot be changed on this system.
var errLocks = errors.New("this system has no file locks as Unix has them, and no spaces")

func tryLock(f *os.File) (bool, error) { return false, errLocks }

// ownerOf returns what os.Geteuid and os.Getegid return here: files have no such owners.
func ownerOf(info fs.FileInfo) (uid, gid int) { return -1, -1 }
