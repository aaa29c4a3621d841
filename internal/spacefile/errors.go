package spacefile

import "errors"

// The errors of a directory that is no space, or cannot be had.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrBusy     = errors.New("busy")
	ErrIO       = errors.New("the disk failed")
	ErrReplaced = errors.New("a file of the space was removed or replaced")
)
