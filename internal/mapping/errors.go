package mapping

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Errors of the package, for errors.Is.
var (
	// ErrNoSpace: the disk, a quota or the window is full, or the file has reached the
	// size limit of the process. Earlier data are intact.
	ErrNoSpace = errors.New("no space left")
	// ErrAddressInUse: something else is mapped in the window.
	ErrAddressInUse = errors.New("the address range is in use")
	// ErrUnsupported: this machine, build, file system or limit cannot hold a space;
	// every such error is an *UnsupportedError.
	ErrUnsupported = errors.New("not supported")
	// ErrReplaced: another file has taken the name of an open one.
	ErrReplaced = errors.New("another file has taken its place")
	// ErrIO: reading, writing or syncing a file failed.
	ErrIO = errors.New("input/output error")
)

// UnsupportedError says what is not supported and what to do about it; it is
// an ErrUnsupported.
type UnsupportedError struct {
	What   string // "the file system of /mnt (nfs)"
	Reason string // why it cannot work
	Advice string // what to do
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported: %s; %s", e.What, e.Reason, e.Advice)
}

// Is makes every UnsupportedError an ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// classify turns an error of a file operation into an ErrNoSpace if it says that space is
// short, and otherwise into an ErrIO. Errors of this package, and that of a closed file,
// stay as they are.
func classify(err error) error {
	for _, known := range []error{ErrNoSpace, ErrIO, ErrUnsupported, os.ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}

// asIO turns any error of a sync into an ErrIO, except that of a closed file: even an error
// about missing space means that written data did not reach the disk.
func asIO(err error) error {
	if errors.Is(err, ErrIO) || errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}
