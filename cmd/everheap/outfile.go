package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile writes a file that is there whole, and on disk, or not at all: one of that
// name is replaced at the end. What is no regular file, a tape or a pipe, is written
// directly. It returns the number of bytes.
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
	defer os.Remove(f.Name()) // there is none of that name after the end
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

// writeDevice writes to something that cannot be replaced.
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
