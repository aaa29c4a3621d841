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
	// ErrAddressInUse: another mapping lies in the window.
	ErrAddressInUse = errors.New("the address range is in use")
	// ErrUnsupported: this machine, build, file system or limit cannot hold a space;
	// every such error is an *UnsupportedError.
	ErrUnsupported = errors.New("not supported")
	// ErrReplaced: the name of an open file names another file now.
	ErrReplaced = errors.New("the file was replaced by another one")
	// ErrIO: reading, writing or syncing a file failed.
	ErrIO = errors.New("input/output error")
)

// UnsupportedError is an ErrUnsupported that says what is not supported, why, and what to
// do.
type UnsupportedError struct {
	What   string // "the file system of /mnt (nfs)"
	Reason string // why that cannot work
	Advice string // what to do
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported: %s; %s", e.What, e.Reason, e.Advice)
}

// Is makes every UnsupportedError an ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// classify turns an error of a file operation into an ErrNoSpace if it says that space has
// run out, and otherwise into an ErrIO. It keeps errors of this package and os.ErrClosed as
// they are.
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

// asIO turns any error of a sync but os.ErrClosed into an ErrIO: even an error about disk
// space means that written data did not reach the disk.
func asIO(err error) error {
	if errors.Is(err, ErrIO) || errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}
