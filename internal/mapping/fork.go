package mapping

import (
	"runtime"
	"sync/atomic"
)

// A fork made by fork(2) without an exec, as a program that hosts this library may make
// one, has a copy of the memory, and none of the other threads. Whatever belongs to one
// process alone must detect it. The kernel wipes one page in the fork, so a word there
// tells, at the cost of a load: it has the generation of the process, which is 0 in a fork
// until its first call of Generation, and another one from then on.

// forks is the knowledge of forks.
var forks = newForks()

type forkState struct {
	page   *forkPage
	count  uint64   // newest generation, in memory that a fork inherits
	resets []func() // see OnFork
	err    error    // why forks would not be seen
}

// forkPage is the page that is wiped.
type forkPage struct {
	generation atomic.Uint64 // 0: this is a fork in which no goroutine has asked yet
	asked      atomic.Uint64 // 1: a goroutine is about to set the generation
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

// OnFork makes the first Generation in a fork call reset, which corrects the tables of open
// spaces and held mutexes: they are the parent's. The program calls OnFork when it begins.
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
		runtime.Gosched() // another thread of the fork is at it
	}
}

// Forked reports whether this process is a fork of the one that got the generation.
func Forked(generation uint64) bool { return forks.page.generation.Load() != generation }
