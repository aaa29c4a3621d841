package live

import (
	"fmt"
	"iter"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
)

// The permits of semaphores. Each permit is a separate word and not part of a count: so its
// holder can die at any instruction, and other processes know which permits it had. A permit
// names the entry to which it belongs, in one generation, so no process has to give it back.
// It is free for other semaphores when that entry is in another generation, or has no lock.

// permitMark returns the mark of a permit of an entry.
func permitMark(i int, generation uint64) uint64 { return generation<<format.LockIndexBits | uint64(i) }

// count returns how many holders the lock can have at once.
func (p *lockPlace) count() int { return max(len(p.permits), 1) }

// owner returns the word that names the holder of a permit.
func (p *lockPlace) owner(permit int) *atomic.Uint64 {
	if p.permits == nil {
		return &p.entry.Owner
	}
	return &p.permits[permit].Owner
}

// since returns the word that says since when the holder has a permit.
func (p *lockPlace) since(permit int) *atomic.Uint64 {
	if p.permits == nil {
		return &p.entry.Since
	}
	return &p.permits[permit].Since
}

// permitsOf collects the permits of a semaphore.
func (v *Live) permitsOf(i int, generation uint64) []*format.LiveUnit {
	e, mark := &v.words.Locks[i], permitMark(i, generation)
	n, first := int(e.Units.Load()), int(e.First.Load())
	if n > format.NumUnits {
		return nil
	}
	list := make([]*format.LiveUnit, 0, n)
	for k := 0; k < format.NumUnits && len(list) < n; k++ {
		if u := &v.words.Units[(first+k)%format.NumUnits]; u.Lock.Load() == mark {
			list = append(list, u)
		}
	}
	return list
}

// allocatePermits gives a claimed entry the permits of its semaphore. If there are not
// enough free ones, it takes those of semaphores that no process holds or waits for.
func (v *Live) allocatePermits(i int, generation uint64, l *NamedLock) ([]*format.LiveUnit, error) {
	var list []*format.LiveUnit
	for first := true; ; first = false {
		for j := range v.words.Units {
			u := &v.words.Units[j]
			if len(list) == l.permits {
				return list, nil
			}
			if mark := u.Lock.Load(); !v.stale(mark) || !u.Lock.CompareAndSwap(mark, permitMark(i, generation)) {
				continue
			}
			if len(list) == 0 {
				v.words.Locks[i].First.Store(uint32(j))
			}
			v.forgetDead(&u.Owner)
			list = append(list, u)
		}
		if len(list) == l.permits {
			return list, nil
		}
		if !first {
			return nil, fmt.Errorf("%w: all semaphores of a space together can have %d permits", ErrTooManyLocks, format.NumUnits)
		}
		for j := range v.locksUsed() {
			if v.words.Locks[j].Units.Load() != 0 && v.claimEntry(j, nil) {
				v.dropEntry(j)
			}
		}
	}
}

// stale reports whether a permit with that mark belongs to no semaphore. Stale permits stay stale.
func (v *Live) stale(mark uint64) bool {
	state := v.words.Locks[mark%format.NumLocks].State.Load()
	return lockGeneration(state) != mark>>format.LockIndexBits || lockPhase(state) == format.LockFree
}

// heldAt reports whether a process holds or waits for the lock of an entry. If dead is not
// nil, dead holders do not count, and heldAt appends their words to it; otherwise it does
// not ask whether holders live.
func (v *Live) heldAt(i int, generation uint64, dead *[]uint64) bool {
	p := &lockPlace{index: i, entry: &v.words.Locks[i], generation: generation}
	for process := range p.waiting(0) {
		inc := format.Incarnation(v.words.Processes[process].Incarnation.Load())
		if dead == nil || v.Alive(inc) {
			return true
		}
	}
	if p.entry.Units.Load() != 0 {
		p.permits = v.permitsOf(i, generation)
		if len(p.permits) == 0 {
			return false
		}
	}
	for u := range p.count() {
		owner := p.owner(u)
		switch w := owner.Load(); {
		case w == 0:
		case w&format.LockOffered != 0:
			if !p.lapsed(w, u) || !owner.CompareAndSwap(w, 0) {
				return true
			}
		case dead != nil && !v.Alive(format.Incarnation(w)):
			*dead = append(*dead, w)
		default:
			return true
		}
	}
	return false
}

// waiting yields the entries of processes that have waited for the lock for a while, going
// around once from the entry from.
func (p *lockPlace) waiting(from int) iter.Seq[int] {
	return func(yield func(int) bool) {
		const words = format.NumProcesses / 64
		for k := range words + 1 { // the first word comes twice: its bits below from come last
			w := (from/64 + k) % words
			b := p.entry.Waiting[w].Load()
			if low := uint64(1)<<(from%64) - 1; k == 0 {
				b &^= low
			} else if k == words {
				b &= low
			}
			for ; b != 0; b &= b - 1 {
				if !yield(w*64 + bits.TrailingZeros64(b)) {
					return
				}
			}
		}
	}
}

// waitedFor reports whether the process with the entry has waited for a while.
func (p *lockPlace) waitedFor(i int) bool { return p.entry.Waiting[i/64].Load()&(1<<(i%64)) != 0 }

// offerLapse is how long an offer is valid; tests of the hand-over order set a longer time.
var offerLapse = 4 * tick

// lapsed reports whether an offer of a permit has lapsed: its addressee no longer waits, or
// has not accepted the offer in time, because it stands still or is dead.
func (p *lockPlace) lapsed(word uint64, permit int) bool {
	if !p.waitedFor(format.Incarnation(word).Entry()) {
		return true
	}
	age := time.Now().UnixNano() - int64(p.since(permit).Load())
	return age < 0 || age > int64(offerLapse)
}
