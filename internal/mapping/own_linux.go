package mapping

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Owner is the user and the group that a file belongs to.
type Owner struct{ UID, GID int }

// OwnerOf returns the owner of a file.
func OwnerOf(f *os.File) (*Owner, error) {
	var s unix.Stat_t
	if err := retryInterrupted(func() error { return unix.Fstat(int(f.Fd()), &s) }); err != nil {
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return &Owner{int(s.Uid), int(s.Gid)}, nil
}

// Own gives a new file the permissions, whatever the umask of the process, and the owner
// (nil: it keeps its owner), as far as the system allows: root can give a file to any owner,
// and other users can give it to a group that they are in. Own does not change the
// permissions of a file that another user has created meanwhile.
func Own(f File, perm os.FileMode, owner *Owner) error {
	fd := int(f.Fd())
	var s unix.Stat_t
	if err := retryInterrupted(func() error { return unix.Fstat(fd, &s) }); err != nil {
		return err
	}
	if owner != nil && (int(s.Uid) != owner.UID || int(s.Gid) != owner.GID) {
		if err := unix.Fchown(fd, owner.UID, owner.GID); err != nil && int(s.Gid) != owner.GID {
			_ = unix.Fchown(fd, -1, owner.GID) // if the group fails too, the file still works for this user
		}
	}
	if os.FileMode(s.Mode&0o777) == perm.Perm() {
		return nil
	}
	err := unix.Fchmod(fd, uint32(perm.Perm()))
	if errors.Is(err, fs.ErrPermission) && int(s.Uid) != os.Geteuid() {
		return nil
	}
	return err
}

// RenameNew renames a file. If the new name exists, the error is fs.ErrExist.
func RenameNew(from, to string) error {
	err := retryInterrupted(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
	if err == unix.EINVAL || err == unix.ENOSYS { // the file system has no rename without replacing
		if err = unix.Link(from, to); err == nil {
			err = unix.Unlink(from)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
