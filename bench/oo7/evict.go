package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// evict asks the system to forget the contents of the files in a directory, which no
// process has mapped: what is read next comes from the disk. A file system that lives
// in memory forgets nothing.
func evict(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && err == nil {
			err = evictFile(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

func evictFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // what is not on disk cannot be forgotten
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
