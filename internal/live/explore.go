//go:build explore

package live

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// Access to a membership for package explore.

// Die releases the locks of this process, as the kernel does when it is killed. The words
// stay mapped until Bury, for goroutines that still run.
func (v *Live) Die() {
	if v.pulse.quit != nil && !v.quitting() {
		close(v.pulse.quit)
		v.pulse.done.Wait()
	}
	words := v.shared
	v.shared = nil
	v.closeFiles()
	v.shared = words
}

// quitting reports whether the heart was told to stop.
func (v *Live) quitting() bool {
	select {
	case <-v.pulse.quit:
		return true
	default:
		return false
	}
}

// Bury unmaps the words of a process that has died.
func (v *Live) Bury() {
	if v.shared != nil {
		v.shared.Close()
	}
}

// WordsAt returns the address and the size of the mapped words.
func (v *Live) WordsAt() (at, size uintptr) {
	return uintptr(unsafe.Pointer(v.words)), unsafe.Sizeof(*v.words)
}

// MapAgain maps the words a second time, as another process would. words is this process's
// mapping, and again the new one.
func (v *Live) MapAgain() (words, again *mapping.Shared, err error) {
	again, err = mapping.MapShared(mapping.FileOf(v.tester), format.LiveSize)
	return v.shared, again, err
}

// stateOf returns the payload of the block at an address.
func stateOf(a uint64) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)
}
