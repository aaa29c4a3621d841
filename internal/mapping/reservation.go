package mapping

import (
	"fmt"
	"iter"
	"slices"
	"sync"
)

// manyReserved is the number of reserved windows without a region above which PickPlace
// takes one of them rather than a fresh place. Each reserved window is a mapping, and the
// kernel allows a process about 65,000 mappings.
const manyReserved = 256

// state says how a window is used; a state value may also be a set of states.
type state uint8

const (
	fresh  state = 1 << iota // not reserved, and so not in the table
	picked                   // reserved by PickPlace for a later Map
	closed                   // reserved; its region was closed
	mapped                   // its region is open
)

// window is an entry of the table.
type window struct {
	size  uint64
	state state
}

// reservations is the table of the windows that this process has reserved. It keeps M2 and
// M3. Windows are aligned and their sizes are powers of two, so two windows are disjoint or
// one lies in the other. The entries of the table are disjoint.
type reservations struct {
	mu struct {
		sync.Mutex
		at map[uint64]window // by base
	}
}

var windows = newReservations()

func newReservations() *reservations {
	w := new(reservations)
	w.mu.at = make(map[uint64]window)
	OnFork(w.afterFork)
	return w
}

// afterFork turns the table into that of a fork, which has no open region. The read-only
// views of the parent stay mapped and readable in the fork, until the fork maps another
// region there (M8). No other thread of the fork runs yet, so no thread holds the mutex.
func (w *reservations) afterFork() {
	w.mu.Mutex = sync.Mutex{}
	for base, e := range w.mu.at {
		if e.state == mapped {
			w.mu.at[base] = window{e.size, closed}
		}
	}
}

// open reserves the window, unless it is reserved already, and marks it as mapped.
// ErrAddressInUse names the other mapping.
func (w *reservations) open(base, size uint64) error {
	err := w.reserve(base, size, fresh|picked|closed, mapped)
	if err == errExists {
		return fmt.Errorf("%w: the window %s overlaps %s; close that, or give one of the two another window with: everheap rebase",
			ErrAddressInUse, windowName(base, size), mappedIn(base, size))
	}
	if err != nil {
		return fmt.Errorf("reserving the window %s: %w", windowName(base, size), err)
	}
	return nil
}

// close marks the window as reserved without a region.
func (w *reservations) close(base, size uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.at[base] = window{size, closed}
}

// passes returns the sets of states in which PickPlace looks for a place, first to last.
// Picked places come late: another caller may be about to map them.
func (w *reservations) passes() []state {
	w.mu.Lock()
	defer w.mu.Unlock()
	idle := 0
	for _, e := range w.mu.at {
		if e.state != mapped {
			idle++
		}
	}
	if idle >= manyReserved {
		return []state{closed, closed | picked, fresh}
	}
	return []state{fresh, closed, closed | picked}
}

// places returns the places for a window of that size to try for the states in from. For
// fresh these are all places, going around once from one that seed determines. Otherwise
// these are the places at entries with one of the states, those of the same size first.
func (w *reservations) places(size, seed uint64, from state) iter.Seq[uint64] {
	if from == fresh {
		first := firstPlace(size)
		n := (ZoneHigh - first) / size
		start := mix(seed) % n
		return func(yield func(uint64) bool) {
			for i := range n {
				if !yield(first + (start+i)%n*size) {
					return
				}
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var same, other []uint64
	for b, e := range w.mu.at {
		if from&e.state == 0 {
			continue
		}
		if e.size == size {
			same = append(same, b)
		} else if b &^= size - 1; b >= firstPlace(size) && b <= ZoneHigh-size {
			other = append(other, b)
		}
	}
	return slices.Values(append(same, other...))
}

// reserve makes the window one entry of the table, in the state as. The error is errExists
// if another mapping lies there, or a reserved window whose state is not in from.
func (w *reservations) reserve(base, size uint64, from, as state) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	overlapping := w.overlappingLocked(base, size)
	if len(overlapping) == 0 && from&fresh == 0 {
		return errExists
	}
	for _, b := range overlapping {
		if from&w.mu.at[b].state == 0 {
			return errExists
		}
	}
	if len(overlapping) == 1 && w.mu.at[overlapping[0]].size >= size {
		w.splitLocked(overlapping[0], base, size)
	} else if err := w.mergeLocked(overlapping, base, size); err != nil {
		return err
	}
	w.mu.at[base] = window{size, as}
	return nil
}

// overlappingLocked returns the bases of the entries that overlap the window.
func (w *reservations) overlappingLocked(base, size uint64) []uint64 {
	var found []uint64
	for b, e := range w.mu.at {
		if b < base+size && base < b+e.size {
			found = append(found, b)
		}
	}
	return found
}

// splitLocked halves the entry at outer until the window is an entry. It does not change the
// mappings.
func (w *reservations) splitLocked(outer, base, size uint64) {
	e := w.mu.at[outer]
	for e.size > size {
		e.size /= 2
		w.mu.at[outer], w.mu.at[outer+e.size] = e, e
		if base >= outer+e.size {
			outer += e.size
		}
	}
}

// mergeLocked reserves the window in place of the entries inside it, if there are any. It
// unmaps them first: only a mapping of the whole window with MAP_FIXED_NOREPLACE proves that
// no other mapping lies between them (M3). A leaked pointer into them faults at every
// moment.
func (w *reservations) mergeLocked(inside []uint64, base, size uint64) error {
	for _, b := range inside {
		if err := unmap(b, w.mu.at[b].size); err != nil {
			return err
		}
	}
	err := reserveExactly(base, size)
	for _, b := range inside {
		if err == nil || reserveExactly(b, w.mu.at[b].size) != nil {
			delete(w.mu.at, b)
		}
	}
	return err
}

// reserveExactly maps inaccessible pages over the range. If anything is mapped there, the
// error is errExists.
func reserveExactly(base, size uint64) error {
	got, err := reserveNew(base, size)
	if err != nil || got == base {
		return err
	}
	if err := unmap(got, size); err != nil {
		return err
	}
	return oldKernel()
}
