package failure_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/everheap/everheap/internal/failure"
)

// An error of the system about the disk becomes an error of the public interface, in any operation.
func TestOfOpen_OfTheSystem(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{syscall.ENOSPC: failure.ErrNoSpace, syscall.EDQUOT: failure.ErrNoSpace, syscall.EIO: failure.ErrIO} {
		err := failure.OfOpen("s", fmt.Errorf("registry: %w", &os.PathError{Op: "write", Path: "/x", Err: errno}))
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
		if again := failure.OfOpen("s", err); again != err {
			t.Errorf("explained twice: %v", again)
		}
	}
}
