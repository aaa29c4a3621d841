package mapping

import (
	"runtime"
	"sync/atomic"
)

// A program that hosts this library may call fork(2) without an exec. The child, called a
// fork here, has a copy of the memory and none of the other threads. Code whose state
// belongs to one process must detect that it runs in a fork. So the library has one page
// that the kernel wipes in a fork, with the generation of the process in it: to detect a
// fork costs one load. In a fork the generation is 0 until the first call of Generation, and
// then a new number.

// forks has the state by which a process detects that it is a fork.
var forks = newForks()

type forkState struct {
	page   *forkPage
	count  uint64   // the newest generation; a fork inherits it
	resets []func() // see OnFork
	err    error    // why this process could not detect forks; nil: it can
}

// forkPage is the page that the kernel wipes in a fork.
type forkPage struct {
	generation atomic.Uint64 // 0: this is a fork in which no goroutine has called Generation yet
	asked      atomic.Uint64 // 1: a goroutine is about to set generation
}

// newForks maps the page when the program begins, while no thread forks.
func newForks() (f forkState) {
	f = forkState{page: new(forkPage), count: 1}
	if addr, err := mapWiped(); err != nil {
		f.err = &UnsupportedError{"this kernel", "it cannot wipe memory at a fork (" + err.Error() + ")", "use Linux 4.17 or newer"}
	} else {
		f.page = (*forkPage)(pointer(addr))
	}
	f.page.asked.Store(1)
	f.page.generation.Store(1)
	return f
}

// OnFork registers reset, which the first call of Generation in a fork runs. It corrects the
// tables of open spaces and held mutexes, which are the parent's. A package calls OnFork
// while the program starts.
func OnFork(reset func()) { forks.resets = append(forks.resets, reset) }

// Generation returns the number of this process, which differs from those of its parents
// and of its forks.
func Generation() uint64 {
	for {
		if g := forks.page.generation.Load(); g != 0 {
			return g
		}
		if forks.page.asked.CompareAndSwap(0, 1) {
			forks.count++
			for _, reset := range forks.resets {
				reset()
			}
			forks.page.generation.Store(forks.count)
			continue
		}
		runtime.Gosched() // another thread of the fork is about to set it
	}
}

// Forked reports whether this process is a fork of the process with that generation.
func Forked(generation uint64) bool { return forks.page.generation.Load() != generation }
