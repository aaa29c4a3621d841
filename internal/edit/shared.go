package edit

import (
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

// using says which goroutine changes a writing transaction at the moment.
type using struct {
	by    uintptr     // goroutine; 0: none. It is read and taken atomically
	depth int32       // of its changes inside a change
	found atomic.Bool // another one has come upon it
}

// BeginChange begins a change; EndChange must follow if it returns nil.
func (ed *Editor) BeginChange() error {
	if ed.alone { // it has no handle that could be shared
		return nil
	}
	me := goroutine.ID()
	if !atomic.CompareAndSwapUintptr(&ed.using.by, 0, me) {
		if atomic.LoadUintptr(&ed.using.by) != me {
			ed.using.found.Store(true)
			return ErrShared
		}
		ed.using.depth++
	}
	return nil
}

// EndChange ends a change.
func (ed *Editor) EndChange() {
	switch {
	case ed.alone:
	case ed.using.depth > 0:
		ed.using.depth--
	default:
		release(&ed.using.by)
	}
}

// shared returns an error if another goroutine changes the transaction right now, or if
// two have used it at once before.
func (ed *Editor) shared() error {
	if by := atomic.LoadUintptr(&ed.using.by); by != 0 && by != goroutine.ID() {
		ed.using.found.Store(true)
	}
	if ed.using.found.Load() {
		return ErrShared
	}
	return nil
}

// Seize ends the use of the transaction by others, which has ended: who is in the middle
// of a change is waited for, since what it writes would be somebody else's soon; and
// none begins another one. It returns ErrShared if two have used it at once.
func (ed *Editor) Seize() error {
	if ed.alone {
		return nil
	}
	for me := goroutine.ID(); !atomic.CompareAndSwapUintptr(&ed.using.by, 0, me) && atomic.LoadUintptr(&ed.using.by) != me; {
		ed.using.found.Store(true)
		runtime.Gosched()
	}
	if ed.using.found.Load() {
		return ErrShared
	}
	return nil
}
