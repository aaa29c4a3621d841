//go:build !unix

package spacefile

import (
	"io/fs"
	"os"
)

// SameOwner does nothing: spaces are not supported on this system.
func SameOwner(f *os.File, now, as fs.FileInfo) error { return nil }
