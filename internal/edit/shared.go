package edit

import (
	"runtime"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
)

// A writing transaction belongs to one goroutine. If two goroutines used it at once, they would
// leave its trees half changed, and the commit would publish that. So the transaction detects it,
// as a Go map does: each change enters its goroutine into a word while it runs, and a goroutine
// that finds another one there makes the transaction fail for both. A goroutine inside a change may
// make further changes: this happens where a change calls the program, to encode a value.
//
// A change takes the word with a compare-and-swap, so of two concurrent changes one always sees the
// other. A read looks at the word when it begins.

// using says which goroutine is changing a writing transaction.
type using struct {
	by    uintptr     // goroutine, 0 if none; accessed atomically
	depth int32       // how many of its changes are inside another change
	found atomic.Bool // another goroutine came while one was inside
}

// BeginChange begins a change; EndChange must follow if it returns nil.
func (ed *Editor) BeginChange() error {
	if ed.alone { // without a handle, no other goroutine can share it
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

// shared returns an error if another goroutine is changing the transaction right now, or if two
// have used it at once before.
func (ed *Editor) shared() error {
	if by := atomic.LoadUintptr(&ed.using.by); by != 0 && by != goroutine.ID() {
		ed.using.found.Store(true)
	}
	if ed.using.found.Load() {
		return ErrShared
	}
	return nil
}

// Seize keeps other goroutines from using the transaction, which has ended. If one is in the middle
// of a change, Seize waits for it, since the blocks that the change writes will soon belong to
// another transaction; and no goroutine can begin another change. Seize returns ErrShared if two
// goroutines have used the transaction at once.
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
