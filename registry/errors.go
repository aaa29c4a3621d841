package registry

import (
	"errors"
	"fmt"
)

// Errors to be tested with errors.Is.
var (
	// ErrWindowTaken: the window overlaps the window of another entry. The error is a *WindowError.
	ErrWindowTaken = errors.New("registry: window taken")
	// ErrNameTaken: Reserve found the name registered for another directory.
	ErrNameTaken = errors.New("registry: name taken")
	// ErrNotRegistered: Remove found no entry of that name.
	ErrNotRegistered = errors.New("registry: no such space")
	// ErrInvalidName: ValidName refused the name.
	ErrInvalidName = errors.New("registry: invalid name")
	// ErrLocked: one process kept the registry locked for too long, or the context ended first.
	ErrLocked = errors.New("registry: locked")
)

// WindowError says which entry already has addresses of the window to be registered.
type WindowError struct {
	Entry Entry // the entry to be registered
	Other Entry // the entry that has the addresses
}

// Error implements error.
func (e *WindowError) Error() string {
	return fmt.Sprintf("registry: window %s of space %q (%s) overlaps %s of space %q (%s); "+
		"`everheap rebase` gives one of them another place",
		windowString(e.Entry), e.Entry.Name, e.Entry.Dir, windowString(e.Other), e.Other.Name, e.Other.Dir)
}

// Is makes errors.Is(err, ErrWindowTaken) true.
func (e *WindowError) Is(target error) bool { return target == ErrWindowTaken }

// windowString formats a window as first address and size.
func windowString(e Entry) string { return fmt.Sprintf("%#x+%s", e.Base, formatSize(e.Size)) }

// SyntaxError says why a registry file cannot be used. The file is left as it was.
type SyntaxError struct {
	File    string // path of the file
	Line    int    // 1 is the first
	Problem string // what is wrong, and what to write instead
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("registry: %s:%d: %s (nothing was changed; correct that line and try again)", e.File, e.Line, e.Problem)
}
