package spacefile

import (
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/oslock"
)

// CloseLocks closes a heap file that was opened for its locks. They are given back
// first: a fork may have the description as well. The gate comes last: the last
// process that closes a space has the presence exclusively, and one who got the gate while
// it has would be told that somebody recovers the space.
func CloseLocks(f *os.File) {
	for _, lock := range []int64{format.LockPresence, format.LockGate} {
		_ = oslock.Unlock(f, lock) // what fails ends with the process
	}
	f.Close()
}
