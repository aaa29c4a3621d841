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

// Own gives a new file the permissions, whatever the mask of the process, and the owner
// (nil: none), as far as the system lets this process give files away: root can, and other
// users can give it to a group that they are in. The permissions of a file that another
// user has created meanwhile stay.
func Own(f File, perm os.FileMode, owner *Owner) error {
	fd := int(f.Fd())
	var s unix.Stat_t
	if err := retryInterrupted(func() error { return unix.Fstat(fd, &s) }); err != nil {
		return err
	}
	if owner != nil && (int(s.Uid) != owner.UID || int(s.Gid) != owner.GID) {
		if err := unix.Fchown(fd, owner.UID, owner.GID); err != nil && int(s.Gid) != owner.GID {
			_ = unix.Fchown(fd, -1, owner.GID) // not even the group: the file works for this user
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

// RenameNew gives a file another name. If the name is in use, the error is fs.ErrExist.
func RenameNew(from, to string) error {
	err := retryInterrupted(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
	if err == unix.EINVAL || err == unix.ENOSYS { // a file system that cannot do it in one step
		if err = unix.Link(from, to); err == nil {
			err = unix.Unlink(from)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
