//go:build invariants && linux

package invariant

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Enabled reports whether the program was built with the tag invariants.
const Enabled = true

// PointVariable is the environment variable that arms a point, for example
// EVERHEAP_POINT=commit.swap:3:kill or commit.swap:3:stop. It is read at the
// first point that is passed.
const PointVariable = "EVERHEAP_POINT"

var armed struct {
	once  sync.Once
	name  string
	stop  bool
	count atomic.Int64
}

// hook is the function that Hook was given; nil: none.
var hook atomic.Pointer[func(name string)]

// Hook makes every Point call fn first, in the goroutine that passes the point, until the
// test calls the returned function. It is for tests that hold one goroutine at a point while
// other goroutines of the process run.
func Hook(fn func(name string)) (remove func()) {
	hook.Store(&fn)
	return func() { hook.CompareAndSwap(&fn, nil) }
}

// Point sends the process SIGKILL or SIGSTOP if EVERHEAP_POINT names this point and this is
// the pass that it counts to.
func Point(name string) {
	if fn := hook.Load(); fn != nil {
		(*fn)(name)
	}
	armed.once.Do(arm)
	if name != armed.name || armed.count.Add(-1) != 0 {
		return
	}
	signal := syscall.SIGKILL
	if armed.stop {
		signal = syscall.SIGSTOP
	}
	// Send the signal to this thread, so that it runs no further. If the signal went to the
	// process, another thread might take it, and this one would run on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), signal)
}

// arm reads the variable. It panics if the variable is not valid: otherwise a test would
// wait in vain.
func arm() {
	text := os.Getenv(PointVariable)
	if text == "" {
		return
	}
	parts := strings.Split(text, ":")
	n, err := int64(0), error(nil)
	if len(parts) == 3 {
		n, err = strconv.ParseInt(parts[1], 10, 64)
	}
	if len(parts) != 3 || err != nil || !slices.Contains(Points, parts[0]) || parts[2] != "kill" && parts[2] != "stop" {
		panic(fmt.Sprintf("everheap: %s is %q; it takes POINT:COUNT:kill or :stop, with one of invariant.Points", PointVariable, text))
	}
	armed.count.Store(n)
	armed.stop = parts[2] == "stop"
	armed.name = parts[0]
}

// Assert panics with the message and the last events if ok is false: a bug of this library.
func Assert(ok bool, message string) {
	if !ok {
		panic("everheap: invariant violated: " + message + "\nthe last events:\n" + history())
	}
}

// AssertAt is Assert for a piece of the heap at an address: it prints the last events of
// that piece.
func (r Record) AssertAt(ok bool, at uint64, message string) {
	if !ok {
		r.fail(at, message)
	}
}

// fail panics with a message, and the last events of the piece of the heap at an address.
func (r Record) fail(at uint64, message string) {
	panic(fmt.Sprintf("everheap: invariant violated: %s, at %#x\nits last events:\n%s", message, at, r.History(at)))
}

// PoisonByte fills reclaimed blocks.
const PoisonByte = 0xDB

// Poison overwrites memory that no goroutine may read from now on.
func Poison(b []byte) {
	for i := range b {
		b[i] = PoisonByte
	}
}
