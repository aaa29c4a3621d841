package spacefile

import (
	"errors"
	"fmt"
)

// Errors that say why a process cannot use the directory of a space.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrBusy     = errors.New("busy")
	ErrIO       = errors.New("the disk failed")
	ErrReplaced = errors.New("a file of the space was removed or replaced")
)

// ErrNoSpaceHere says that a directory has no heap file.
var ErrNoSpaceHere = fmt.Errorf("%w: there is no space in this directory", ErrNotFound)
