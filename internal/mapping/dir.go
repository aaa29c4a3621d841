package mapping

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Dir is the directory of a space, opened once. The library reaches the files in it through
// the descriptor. So it works in that directory even after a move, and never in another
// directory that has taken the name.
//
//	M7  A Dir opens, renames and removes only files of the directory that was opened. No
//	    method looks up a path from the root again.
type Dir struct {
	f    *os.File
	path string // the path by which it was opened
	id   FileID
}

// FileID identifies a file while a process has it open.
type FileID struct{ Device, Inode uint64 }

// Status is the system's information about a file.
type Status struct {
	FileID
	Size  int64
	Disk  int64 // bytes that the file takes on disk
	Links uint64
}

// OpenDir opens a directory by its path, which should be absolute: messages show it.
func OpenDir(path string) (*Dir, error) {
	f, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{f: f, path: path}
	s, err := StatusOf(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.id = s.FileID
	return d, nil
}

// Path returns the present path of the directory, for messages: the path by which it was
// opened, if that still names it, and otherwise the path that the system knows. After Close,
// or if the directory was removed, it is the path by which it was opened.
func (d *Dir) Path() string {
	if s, err := statusAt(d.path); err == nil && s.FileID == d.id {
		return d.path
	}
	if s, err := StatusOf(d.f); err != nil || s.Links == 0 {
		return d.path // it was removed
	}
	if now := currentPath(d.f); now != "" {
		return now
	}
	return d.path
}

// Opened returns the path by which the directory was opened.
func (d *Dir) Opened() string { return d.path }

// Join returns the path of a file in the directory, for messages.
func (d *Dir) Join(name string) string { return filepath.Join(d.Path(), name) }

// Open opens or creates a file in the directory, as os.OpenFile does.
func (d *Dir) Open(name string, flag int, perm os.FileMode) (*os.File, error) {
	return openAt(d, name, flag, perm)
}

// OpenFile is Open for a File.
func (d *Dir) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := d.Open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return FileOf(f), nil
}

// Stat returns the status of the file that has the name now, by one system call.
func (d *Dir) Stat(name string) (Status, error) { return statAt(d, name) }

// Has reports whether the name names the file.
func (d *Dir) Has(name string, id FileID) bool {
	s, err := d.Stat(name)
	return err == nil && s.FileID == id
}

// Again opens the file f once more, by its name in the directory. If the name names another
// file, the error is an ErrReplaced.
func (d *Dir) Again(f *os.File, name string, flag int) (*os.File, error) {
	want, err := StatusOf(f)
	if err != nil {
		return nil, err
	}
	again, err := d.Open(name, flag, 0)
	if err != nil {
		return nil, err
	}
	got, err := StatusOf(again)
	if err == nil && got.FileID != want.FileID {
		err = fmt.Errorf("%w: %s", ErrReplaced, d.Join(name))
	}
	if err != nil {
		return nil, errors.Join(err, again.Close())
	}
	return again, nil
}

// Rename renames a file in the directory, and replaces a file that has the new name.
func (d *Dir) Rename(from, to string) error { return renameAt(d, from, to) }

// Remove removes a file from the directory.
func (d *Dir) Remove(name string) error { return removeAt(d, name) }

// Sync makes the names in the directory durable. An error wraps ErrIO, or is that of opening
// the directory.
func (d *Dir) Sync() error { return d.sync(".") }

// SyncParent makes the name of the directory durable. An error wraps ErrIO, or is that
// of opening the parent.
func (d *Dir) SyncParent() error { return d.sync("..") }

// sync syncs the directory with a name in this one.
func (d *Dir) sync(name string) error {
	f, err := openAt(d, name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(syncDirectory(f), f.Close())
}

// Parent returns the path of the directory that this one lies in.
func (d *Dir) Parent() string { return filepath.Dir(d.Path()) }

// Close closes the directory; files that were opened in it stay open.
func (d *Dir) Close() error { return d.f.Close() }
