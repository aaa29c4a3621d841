//go:build !linux

package mapping

import "os"

// Owner is the user and the group that a file belongs to.
type Owner struct{ UID, GID int }

// OwnerOf is not supported on this system.
func OwnerOf(f *os.File) (*Owner, error) { return nil, errSystem }

// Own is not supported on this system.
func Own(f File, perm os.FileMode, owner *Owner) error { return errSystem }

// RenameNew is not supported on this system.
func RenameNew(from, to string) error { return errSystem }
