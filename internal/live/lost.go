package live

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/everheap/everheap/internal/format"
)

// The live file is an ordinary file: a user may truncate it or overwrite it while processes
// share it. Then the shared words are gone. Each process must find that out by itself, since
// the processes have nothing left by which one could tell another.
//
//	L14  The members share the words as long as Seal has the value that this process found
//	     when it opened the file. Seal is the last word of the file. Truncating the file at
//	     any length removes it: bytes beyond the end fault, and read as zeros when the file
//	     is extended again. Copying another file over it truncates it first. Salt is the same
//	     number, in the cache line of Current, for readers of only that line. If the file is
//	     overwritten without truncation, this process notices by its own entry and slots,
//	     when it looks (Look).
//	L15  A goroutine that faults on the words, or finds them without the seal, declares them
//	     lost for its process (Lose): private memory, which never has the seal, replaces the
//	     words. So no goroutine of the process faults there from then on. Operations in
//	     progress continue to their end with words that no other process shares, and notice
//	     the loss when they look at the seal. A loss is final.
//	L16  No process acts on words of a lost live file. A process may be about to take
//	     something that others may have, or to promise something, because of words that it
//	     has read: to reclaim, to claim, to carve, to sweep, to take a lock, to publish, to
//	     say that a version is durable. It then looks at the seal after reading the words
//	     (Assure). If the seal is there, the words were true, and acting on them stays right
//	     whatever happens to the file next: a loss takes nothing from any process. So from
//	     the loss on no process reclaims a block, takes a lock, or takes over a segment or an
//	     anchor slot. Readers keep reading. The holder of a lock is the last process that got
//	     it. Everything that a recovery needs stays in the heap and the journal, until all
//	     processes have closed the space and the next one rebuilds the file. Order between
//	     processes that does not rest on words needs no seal: the locks of the kernel are on
//	     bytes beyond the end of any file.
//
// A waiter for a change of words looks at the seal in each round: the words of a lost file
// no longer change.
//
// A publication needs the seal only before the swap: Current is one word, and a swap from
// the base is a publication in whatever memory it succeeds.
//
// A goroutine touches words only while a memory fault is a panic in it (debug.
// SetPanicOnFault). Assure panics as well: LostBy tells the recovering function what a panic
// means. (E6)

// What remains:
//
//   - If bytes are overwritten or punched out without truncation, or if an older copy of the
//     same file replaces the contents, a process notices only at its next Look, at most a
//     tenth of a second later. Until then it may act on wrong words. Nothing verifies that
//     no version follows a newer one.
//   - A mark of failed syncs is lost with the file.
//   - A fault ends the process if the goroutine shares a transaction without
//     debug.SetPanicOnFault, or if the process gets no memory to replace the words.

// ErrLost is the panic of a goroutine that finds that the words are no longer those of the
// live file.
var ErrLost = errors.New("the live file was truncated or overwritten")

// loss says whether this process has noticed that the words are lost.
type loss struct {
	sync.Mutex
	lost, closed bool
}

// Assure panics with ErrLost unless the members still share the words (L16).
func (v *Live) Assure() {
	if v.words.Seal.Load() != v.seal {
		v.missing()
	}
}

// signed looks at the seal (Salt) for a caller that has read Current.
func (v *Live) signed() bool { return v.words.Salt.Load() == v.seal }

// missing declares the words lost, and panics: the seal is missing.
func (v *Live) missing() {
	v.Lose()
	panic(ErrLost)
}

// Lose declares the words lost (L15). It sets Failed in the memory that replaces them, so
// that no operation begins to write.
func (v *Live) Lose() {
	v.loss.Lock()
	defer v.loss.Unlock()
	if v.loss.lost || v.loss.closed || v.shared == nil {
		return
	}
	v.loss.lost = true
	if v.shared.Detach() == nil { // otherwise the words keep faulting
		v.words.Failed.Store(1)
	}
}

// LostBy reports whether a recovered panic means that the words are lost, and then declares
// them lost for the process.
func (v *Live) LostBy(r any) bool {
	if r == any(ErrLost) {
		return true
	}
	e, ok := r.(runtime.Error)
	if !ok || v.shared == nil {
		return false
	}
	if fault, ok := e.(interface{ Addr() uintptr }); !ok || !v.shared.Contains(fault.Addr()) {
		return false
	}
	v.Lose()
	return true
}

// Guard runs fn, which may touch words, and reports whether the words were not lost.
func (v *Live) Guard(fn func()) (whole bool) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if whole {
			return
		}
		if r := recover(); r != nil && !v.LostBy(r) {
			panic(r)
		}
	}()
	fn()
	return true
}

// Whole looks at the seal, for a caller that may come after Leave, when the words are
// unmapped: then it returns the last result from before.
func (v *Live) Whole() bool {
	if !v.sealed() {
		v.Lose()
		return false
	}
	return true
}

// sealed is Whole without declaring a loss. The mutex keeps the words mapped.
func (v *Live) sealed() (whole bool) {
	v.loss.Lock()
	defer v.loss.Unlock()
	if v.loss.lost || v.loss.closed || v.shared == nil {
		return !v.loss.lost
	}
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			if e, ok := r.(interface{ Addr() uintptr }); !ok || !v.shared.Contains(e.Addr()) {
				panic(r)
			}
			whole = false
		}
	}()
	return v.words.Seal.Load() == v.seal
}

// Look reports whether the members still share the words, as far as this process can tell:
// the file is as long as before, it has seal and identity, and this process still owns its
// entry and slots. An idle process calls it from time to time.
func (v *Live) Look() (whole bool) {
	if v.shared == nil { // the words are in no file
		return true
	}
	if status, err := v.tester.Stat(); err == nil && status.Size() < format.LiveSize {
		v.Lose()
		return false
	}
	return v.Guard(func() {
		v.Assure()
		if !v.signed() || v.words.Identity != v.identity || !v.holdsOwn() {
			v.missing()
		}
	})
}

// holdsOwn reports whether this process still owns its entry and slots: no other process
// takes them while it lives.
func (v *Live) holdsOwn() bool {
	if v.entry == nil {
		return true
	}
	if v.entry.Incarnation.Load() != uint64(v.incarnation) {
		return false
	}
	v.slots.table.Lock()
	defer v.slots.table.Unlock()
	for i := range v.slots.table.n {
		if v.slots.local[i].words.Owner.Load() != uint64(v.incarnation) {
			return false
		}
	}
	return true
}
