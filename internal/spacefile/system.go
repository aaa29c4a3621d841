package spacefile

import (
	"errors"
	"os"
	"syscall"

	"github.com/everheap/everheap/internal/mapping"
)

// A System opens, renames and syncs the files of spaces. The zero System calls the operating
// system. Tests give it functions that fail, or that remember what was written.
type System struct {
	Files func(path string, flag int, perm os.FileMode) (mapping.File, error)
	// Rename renames a file or directory; SyncDir makes the names in a directory durable.
	Rename  func(from, to string) error
	SyncDir func(dir string) error

	owner *mapping.Owner // the owner of new files; nil: the user of the process
}

// Open opens a file of a space. A file that it creates has exactly the permissions perm and
// the System's owner, whatever the umask and the user of the process are.
func (s *System) Open(dir *mapping.Dir, name string, flag int, perm os.FileMode) (f mapping.File, err error) {
	if s.Files != nil {
		f, err = s.Files(dir.Join(name), flag, perm)
	} else {
		f, err = dir.OpenFile(name, flag, perm)
	}
	if err != nil || flag&os.O_CREATE == 0 {
		return f, err
	}
	if err = mapping.Own(f, perm, s.owner); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Move renames a file of a space.
func (s *System) Move(dir *mapping.Dir, from, to string) error {
	if s.Rename != nil {
		return s.Rename(dir.Join(from), dir.Join(to))
	}
	return dir.Rename(from, to)
}

func (s *System) moveDir(from, to string) error {
	if s.Rename != nil {
		return s.Rename(from, to)
	}
	return moveTo(from, to)
}

// SyncNames makes the names of the files of a space durable.
func (s *System) SyncNames(dir *mapping.Dir) error {
	if s.SyncDir != nil {
		return s.SyncDir(dir.Path())
	}
	return dir.Sync()
}

// SyncName makes the name of the directory of a space durable.
func (s *System) SyncName(dir *mapping.Dir) error {
	if s.SyncDir != nil {
		return s.SyncDir(dir.Parent())
	}
	return dir.SyncParent()
}

// syncDir makes the names in a directory durable.
func (s *System) syncDir(dir string) error {
	if s.SyncDir != nil {
		return s.SyncDir(dir)
	}
	return mapping.SyncDir(dir)
}

// moveTo is rename(2). Unlike os.Rename, it replaces an empty directory.
func moveTo(from, to string) error {
	if err := syscall.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
