package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile writes a file completely and syncs it, or leaves the old file: it replaces a file of that
// name at the end. It writes directly to a path that is not a regular file, such as a tape or a pipe.
// It returns the number of bytes.
func writeFile(path string, write func(w io.Writer) error) (uint64, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return writeDevice(path, write)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays a link
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-") // mode 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // no file of that name is left after the rename
	defer f.Close()
	c := &counter{w: f}
	if err := write(c); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := f.Close(); err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, err
	}
	return c.n, syncDir(filepath.Dir(path))
}

// writeDevice writes to a path that is not a regular file.
func writeDevice(path string, write func(w io.Writer) error) (uint64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	c := &counter{w: f}
	return c.n, errors.Join(write(c), f.Close())
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
