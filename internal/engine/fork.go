package engine

import (
	"sync"

	"github.com/everheap/everheap/internal/mapping"
)

// A program that hosts this library may fork. The fork inherits everything in Go memory: the lists
// of free space, the number of the process's entry, its slots, the versions that it holds and the
// operations in progress. All of this belongs to the parent, and if both went by it they would
// write into the same blocks.
//
//	Q1  A fork has no memory where the parent writes to files: the write view and the words of
//	    live are not mapped in it (M8). So a mistaken access in the fork faults, and the parent
//	    does not notice.
//	Q2  An operation that touches that memory, or waits for a goroutine of the parent, calls
//	    Forked at its beginning: readers in Tx.view, writers in turn.Take, all others in
//	    member.Enter, and the background at each tick. An operation that was in progress at the
//	    fork cannot continue in the fork. It calls Forked at its end, before it would release
//	    slots of the parent: Tx.EndView, Tx.commit, Tx.end, turn.endPublish, Fault.
//	Q3  The locks by which other processes see that the parent lives, or has the space open,
//	    belong to file descriptions that a fork does not get (mapping.Pin; L2). The gate is locked
//	    through a descriptor, for a moment. The holder unlocks it before it closes the descriptor:
//	    closing alone would not unlock it if a fork has a copy of the descriptor.
//	Q4  A space that a fork opens is new: the fork empties the table of open spaces, and can map
//	    their windows again (mapping.OnFork).

func init() { mapping.OnFork(forgetOpened) }

// forgetOpened empties the table of open spaces in a fork.
func forgetOpened() {
	opened.Mutex = sync.Mutex{}
	opened.spaces = nil
}
