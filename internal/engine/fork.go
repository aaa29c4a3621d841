package engine

import (
	"sync"

	"github.com/everheap/everheap/internal/mapping"
)

// A fork of a process that has a space open, as a program makes that hosts this library,
// inherits all that is in Go memory: the lists of free space, the number of its entry,
// its slots, what it holds and what it is in the middle of. All that is the parent's,
// and two that go by it would write into the same blocks.
//
//	Q1  A fork has nothing where the parent writes to files: the write view and the
//	    words of live are not in its memory (M8). So what it does by mistake faults,
//	    and the parent does not notice.
//	Q2  Whatever touches one of those, or waits for what the parent's goroutines would
//	    do, asks Forked first, at its beginning: readers in Tx.view, writers in turn.Take,
//	    all else in member.Enter; the background at each tick. What was in progress in the
//	    parent at the fork cannot go on in it, and asks at its end, where it would let go
//	    of the parent's slots: Tx.EndView, Tx.commit, Tx.end, turn.endPublish, Fault.
//	Q3  Locks by which others see that the parent lives, or has the space open, are
//	    those of descriptions that a fork does not get (mapping.Pin; L2). The gate is
//	    locked through a descriptor, for a moment, and is unlocked before that is
//	    closed, since closing it would not do if a fork has another one.
//	Q4  What a fork opens is new: the table of open spaces is emptied, and their
//	    windows can be mapped again (mapping.OnFork).

func init() { mapping.OnFork(forgetOpened) }

// forgetOpened makes no space count as open in this process, which is a fork.
func forgetOpened() {
	opened.Mutex = sync.Mutex{}
	opened.spaces = nil
}
