package live

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/everheap/everheap/internal/format"
)

// The live file is an ordinary file: somebody may cut it, or overwrite it in its place,
// while processes share it. Then what they share is gone, and each process has to find out
// by itself, since nothing is left through which one could tell another.
//
//	L14  The members share the words as long as Seal is what this process found when it
//	     opened the file. Seal is the last word of the file. Cutting the file, anywhere,
//	     removes it: what lies behind the end faults, and reads as zeros when the file
//	     is made longer again; and copying something over the file cuts it first. Salt
//	     is the same number, in the line of Current, for readers of only that line.
//	     Overwriting the file without cutting it shows in what this process has of its
//	     own there, when it looks (Look).
//	L15  A goroutine that faults on the words, or finds them without the seal, says so for
//	     its process (Lose): private memory, which never has the seal, replaces the words.
//	     So no goroutine of the process faults there any more. Whatever is in progress
//	     continues to its end with words that nobody shares, and whoever looks at the
//	     seal finds out. It is final.
//	L16  Nobody acts on words of a lost live file. A process that is about to take what
//	     others may have, or to promise something, because of words it has read (to
//	     reclaim, to claim, to carve, to sweep, to take a lock, to publish, to say that
//	     something is durable), looks at the seal after reading them (Assure). If the
//	     seal is there, the words were true, and acting on them stays right whatever
//	     happens to the file next: the loss takes nothing from anybody. So from the loss
//	     on no process reclaims a block, takes a lock, or takes over a segment or an
//	     anchor slot. Readers read on; the holder of a lock was the last one to get it;
//	     and what a recovery needs stays in the heap and the journal, until all have
//	     closed the space and the next one rebuilds the file. Order between processes
//	     that does not rest on words needs no seal: the locks of the kernel are on
//	     bytes that no file has.
//
// A waiter for a change of words looks at the seal in each round: nothing happens any more
// in the words of a lost file.
//
// A publication needs the seal only before the swap: Current is one word, and a swap from
// the base is a publication wherever it succeeds.
//
// A goroutine touches words only while a memory fault is a panic in it (debug.
// SetPanicOnFault). A panic of Assure is of the same kind: LostBy tells the recovering
// function what it is. (E6)

// What is left:
//
//   - Bytes that are overwritten, or punched out, without cutting the file, and an older
//     copy of the same file, show only at the next look at what this process has of its
//     own there (Look), at most a tenth of a second later: until then a process may act on
//     wrong words. Nothing checks that no version follows a newer one.
//   - A mark of failed syncs is lost with the file.
//   - A goroutine that shares a transaction without debug.SetPanicOnFault can die of the
//     fault. So can a process that gets no memory to take the place of the words.

// ErrLost is the panic of a goroutine that finds that the words are no longer those of the
// live file.
var ErrLost = errors.New("the live file was cut or written over")

// loss says whether the words are lost, as far as this process has noticed.
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

// signed looks at the seal for a caller that has read Current.
func (v *Live) signed() bool { return v.words.Salt.Load() == v.seal }

// missing says that the seal is not there.
func (v *Live) missing() {
	v.Lose()
	panic(ErrLost)
}

// Lose says that the words are lost (L15). Failed is set in what takes their place, so
// that nobody begins to write.
func (v *Live) Lose() {
	v.loss.Lock()
	defer v.loss.Unlock()
	if v.loss.lost || v.loss.closed || v.shared == nil {
		return
	}
	v.loss.lost = true
	if v.shared.Detach() == nil { // else it goes on to fault
		v.words.Failed.Store(1)
	}
}

// LostBy reports whether a recovered panic says that the words are lost, and says so for
// the process.
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

// Guard runs fn, which may touch words, and reports whether they were there.
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

// Whole looks at the seal for a caller that may come after Leave, when the words are
// unmapped: then it returns what was found before.
func (v *Live) Whole() bool {
	if !v.sealed() {
		v.Lose()
		return false
	}
	return true
}

// sealed is Whole, and says it to nobody. The mutex keeps the words mapped.
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
	if v.shared == nil { // they are in no file
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

// holdsOwn reports whether the entry and the slots of this process are its own: while it
// lives nobody takes them.
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
