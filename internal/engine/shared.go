package engine

import (
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
)

// A writing transaction belongs to one goroutine. Two that used it at once would leave
// its trees half changed, and that would be committed. So, as a Go map does, it finds out:
// each change says who makes it while it is made, and whoever comes upon another one
// ends the transaction, for all. A goroutine that is inside a change may make others,
// which happens where a change calls the program, to encode a value.
//
// The word is taken by a compare-and-swap, so of two changes one always sees the other.
// A read looks at the word when it begins.

// ErrShared says that two goroutines have used one writing transaction at once.
var ErrShared = errors.New("the transaction was used by several goroutines at once, and nothing of it was committed: a writing Tx belongs to the goroutine of its function; let others hand it what is to be written")

// using says which goroutine changes a writing transaction at the moment.
type using struct {
	by    uintptr     // goroutine; 0: none. It is read and taken atomically
	depth int32       // of its changes inside a change
	found atomic.Bool // another one has come upon it
}

// beginChange begins a change; endChange must follow if it returns nil.
func (tx *Editor) beginChange() error {
	if tx.alone { // it has no handle that could be shared
		return nil
	}
	me := goroutine.ID()
	if !atomic.CompareAndSwapUintptr(&tx.using.by, 0, me) {
		if atomic.LoadUintptr(&tx.using.by) != me {
			tx.using.found.Store(true)
			return ErrShared
		}
		tx.using.depth++
	}
	return nil
}

// endChange ends a change.
func (tx *Editor) endChange() {
	switch {
	case tx.alone:
	case tx.using.depth > 0:
		tx.using.depth--
	default:
		release(&tx.using.by)
	}
}

// shared returns an error if another goroutine changes the transaction right now, or if
// two have used it at once before.
func (tx *Editor) shared() error {
	if by := atomic.LoadUintptr(&tx.using.by); by != 0 && by != goroutine.ID() {
		tx.using.found.Store(true)
	}
	if tx.using.found.Load() {
		return ErrShared
	}
	return nil
}

// seize ends the use of the transaction by others, which has ended: who is in the middle
// of a change is waited for, since what it writes would be somebody else's soon; and
// none begins another one. It returns ErrShared if two have used it at once.
func (tx *Editor) seize() error {
	if tx.alone {
		return nil
	}
	for me := goroutine.ID(); !atomic.CompareAndSwapUintptr(&tx.using.by, 0, me) && atomic.LoadUintptr(&tx.using.by) != me; {
		tx.using.found.Store(true)
		runtime.Gosched()
	}
	if tx.using.found.Load() {
		return ErrShared
	}
	return nil
}
