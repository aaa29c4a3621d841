package live

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Errors of named locks.
var (
	// ErrTooManyLocks: every entry belongs to a lock that a process holds, waits for, or
	// held when it died.
	ErrTooManyLocks = errors.New("too many named locks are in use")
	// ErrNameTooLong: a name has more than format.MaxLockName bytes.
	ErrNameTooLong = errors.New("the name of the lock is too long")
)

// UnitsError says that other processes use a semaphore with another number of permits.
type UnitsError struct {
	Want, Have int
}

// Error implements error.
func (e *UnitsError) Error() string {
	return fmt.Sprintf("%d permits were requested, but other processes use the semaphore with %d; all must agree", e.Want, e.Have)
}

// NamedLock is a mutex or a semaphore with a name. The name is looked up in the table of the
// live file. The lock keeps its entry there as long as a process holds or waits for it, and
// usually longer.
type NamedLock struct {
	name    string
	permits int // permits of the semaphore; 0: it is a mutex
	hash    uint32
	words   [format.MaxLockName / 8]uint64 // the name
	place   atomic.Pointer[lockPlace]      // where the lock was found last; nil: it was never looked up
	rotate  atomic.Uint32                  // which permit to look at first
}

// lockPlace is where a lock is, as long as its entry is in that generation.
type lockPlace struct {
	index      int
	entry      *format.LiveLock
	generation uint64
	permits    []*format.LiveUnit // nil: a mutex
}

// NewNamedLock returns the mutex with a name or, if permits is not 0, the semaphore with
// that name and that many permits. Mutexes and semaphores do not share names.
func NewNamedLock(name string, permits int) (*NamedLock, error) {
	if len(name) > format.MaxLockName {
		return nil, fmt.Errorf("%w: %d bytes, of %d at the most", ErrNameTooLong, len(name), format.MaxLockName)
	}
	l := &NamedLock{name: name, permits: permits, hash: format.Checksum([]byte(name))}
	for i := range len(name) {
		l.words[i/8] |= uint64(name[i]) << (i % 8 * 8)
	}
	return l, nil
}

// String names the lock for people.
func (l *NamedLock) String() string {
	if l.permits == 0 {
		return fmt.Sprintf("the mutex %q", l.name)
	}
	return fmt.Sprintf("the semaphore %q", l.name)
}

// State words of entries.
func lockState(generation, phase uint64) uint64 { return generation<<format.LockPhaseBits | phase }
func lockPhase(state uint64) uint64             { return state & (1<<format.LockPhaseBits - 1) }
func lockGeneration(state uint64) uint64        { return state >> format.LockPhaseBits }

// hasName reports whether an entry in that state belongs to a lock.
func hasName(state uint64) bool {
	return lockPhase(state) == format.LockNamed || lockPhase(state) == format.LockLeaving
}

// confirm reports whether the place still belongs to its lock. If a claimant wants the entry
// for another lock, confirm makes the entry named again, and the claimant gives up (L7).
func (p *lockPlace) confirm() bool {
	for {
		switch state := p.entry.State.Load(); state {
		case lockState(p.generation, format.LockNamed):
			return true
		case lockState(p.generation, format.LockLeaving):
			if p.entry.State.CompareAndSwap(state, lockState(p.generation, format.LockNamed)) {
				return true
			}
		default:
			return false
		}
	}
}

// lookUp returns the place of a lock, and gives the lock an entry if it has none.
//
// A name must not get two entries, or two processes could hold the lock at once. No lock
// guards the table, so a process that stands still stops nobody. Instead the word Namings
// orders the namings, each with a number:
//
//   - A process claims an entry: it becomes its claimant, and brings it into the
//     phase claimed, in a new generation.
//   - It loads Namings, settles the naming in that word, and searches all entries for the
//     name. If an entry has the name, it drops its claim.
//   - It stamps the entry with the number of the next naming, and swaps Namings from the
//     value that it loaded to that number and its entry: this is when the lock gets its
//     entry (L6). If the swap fails, another lock was named since, perhaps the same one: it
//     searches again.
//   - It settles: the entry becomes named. If it died, the next process that reads
//     Namings settles, before it searches.
//
// The claimant has read the number before its stamp from Namings while it already had the
// claim. So Namings has never had the stamp's number with this entry before, and will have
// it only if the claimant's swap succeeds. Therefore an entry is settled only if it was
// named.
func (v *Live) lookUp(l *NamedLock) (*lockPlace, error) {
	mine := -1 // the entry that this process has claimed
	defer func() {
		if mine >= 0 {
			v.dropEntry(mine)
		}
	}()
	for tries := 0; ; tries++ {
		namings := v.confirmNewest()
		i, generation := v.search(l)
		switch {
		case i >= 0:
			p, err := v.arrive(l, i, generation)
			if permits := (*UnitsError)(nil); errors.As(err, &permits) {
				if mine >= 0 {
					v.dropEntry(mine)
				}
				mine, err = v.refit(l, i, generation, permits, tries)
			}
			if p != nil || err != nil {
				return p, err
			}
		case mine < 0:
			var err error
			if mine, err = v.pickEntry(); err == nil {
				err = v.fill(mine, l, nil)
			}
			if err != nil {
				return nil, err
			}
			invariant.Point("name.filled")
			// Go around again: the stamp must come from a value of Namings that is read from now on.
		case v.giveName(mine, namings):
			mine = -1
		}
	}
}

// giveName names the claimed entry, unless there was another naming since.
func (v *Live) giveName(i int, namings uint64) bool {
	e, number := &v.words.Locks[i], namings>>format.LockIndexBits+1
	e.Stamp.Store(number)
	if !v.words.Namings.CompareAndSwap(namings, number<<format.LockIndexBits|uint64(i)) {
		return false
	}
	invariant.Point("name.given")
	v.confirmNewest()
	e.Claimant.CompareAndSwap(uint64(v.incarnation), 0)
	return true
}

// refit claims the entry of a semaphore that had another number of permits, if no living
// process holds or waits for it, and prepares the entry; it returns -1 if the caller must
// try again. The new permits keep the words of dead holders. But if this process dies before
// the entry has its name again, or another process gives the name to another entry
// meanwhile, these words are lost.
func (v *Live) refit(l *NamedLock, i int, generation uint64, permits *UnitsError, tries int) (mine int, err error) {
	var dead []uint64
	if v.claimEntry(i, &dead) {
		return i, v.fill(i, l, dead)
	}
	p := lockPlace{entry: &v.words.Locks[i], generation: generation}
	if (tries > mismatchTries || v.heldAt(i, generation, new([]uint64))) && p.named() {
		return -1, permits
	}
	return -1, nil
}

// mismatchTries is how often lookUp tries to claim an entry that seems free and has another
// number of permits.
const mismatchTries = 100

// confirmNewest moves the entry that was named last into the phase named, unless that was
// done, and returns Namings. The order matters: it reads the state first and the stamp
// second. If the entry belongs to a later claim than the one that was named, its stamp was
// cleared before the state that confirmNewest sees, so it reads another number.
func (v *Live) confirmNewest() uint64 {
	namings := v.words.Namings.Load()
	e, number := &v.words.Locks[namings%format.NumLocks], namings>>format.LockIndexBits
	state := e.State.Load()
	if number != 0 && lockPhase(state) == format.LockClaimed && e.Stamp.Load() == number {
		e.State.CompareAndSwap(state, lockState(lockGeneration(state), format.LockNamed))
	}
	return namings
}

// search looks for the entry of a lock; -1 if there is none. It finds an entry that exists
// all the time; by Namings the caller knows that no entry came meanwhile.
func (v *Live) search(l *NamedLock) (i int, generation uint64) {
	for i := range v.locksUsed() {
		e := &v.words.Locks[i]
		if e.Hash.Load() != l.hash {
			continue
		}
		state := e.State.Load()
		if !hasName(state) || !v.isOf(e, l) {
			continue
		}
		if p := (lockPlace{entry: e, generation: lockGeneration(state)}); p.named() {
			return i, p.generation
		}
	}
	return -1, 0
}

// isOf reports whether the entry has the name of the lock. Another process may be writing
// the name.
func (v *Live) isOf(e *format.LiveLock, l *NamedLock) bool {
	if int(e.Length.Load()) != len(l.name) || (e.Units.Load() == 0) != (l.permits == 0) {
		return false
	}
	for i := range l.words {
		if e.Name[i].Load() != l.words[i] {
			return false
		}
	}
	return true
}

// locksUsed returns how many entries were ever used.
func (v *Live) locksUsed() int { return int(min(v.words.LocksUsed.Load(), format.NumLocks)) }

// arrive returns the place of a lock whose entry was found; nil if the entry belongs to
// another lock by now.
func (v *Live) arrive(l *NamedLock, i int, generation uint64) (*lockPlace, error) {
	p := &lockPlace{index: i, entry: &v.words.Locks[i], generation: generation}
	have := int(p.entry.Units.Load())
	if have != 0 {
		p.permits = v.permitsOf(i, generation)
	}
	switch {
	case !p.named():
		return nil, nil
	case have != l.permits:
		return nil, &UnitsError{Want: l.permits, Have: have}
	case len(p.permits) != have:
		return nil, &format.DamageError{File: FileName, What: fmt.Sprintf("%v has %d permits of %d; delete the file when no process has the space open", l, len(p.permits), have)}
	}
	l.place.Store(p)
	return p, nil
}

// named reports whether the entry still belongs to a lock, in the generation of the place.
func (p *lockPlace) named() bool {
	state := p.entry.State.Load()
	return hasName(state) && lockGeneration(state) == p.generation
}

// pickEntry claims an entry: one without a lock, or otherwise the entry of the least
// recently taken lock that no process holds or waits for. It returns -1 and an error if
// there is none.
func (v *Live) pickEntry() (int, error) {
	for i := range v.locksUsed() {
		if !hasName(v.words.Locks[i].State.Load()) && v.claimEntry(i, nil) {
			return i, nil
		}
	}
	for i := v.locksUsed(); i < format.NumLocks; i = v.locksUsed() {
		raise(&v.words.LocksUsed, uint64(i)+1) // first: searches and cleaning up look no further
		if v.claimEntry(i, nil) {
			return i, nil
		}
	}
	type candidate struct {
		i     int
		since uint64
	}
	var list []candidate
	for i := range v.words.Locks {
		e := &v.words.Locks[i]
		if state := e.State.Load(); hasName(state) && !v.heldAt(i, lockGeneration(state), nil) {
			list = append(list, candidate{i, e.Since.Load()})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return int(min(max(int64(a.since-b.since), -1), 1)) })
	for _, c := range list {
		if v.claimEntry(c.i, nil) {
			return c.i, nil
		}
	}
	return -1, fmt.Errorf("%w: processes can hold, wait for, or have died with %d names; unlock those that are not needed", ErrTooManyLocks, format.NumLocks)
}

// claimEntry makes this process the claimant of an entry and moves it into the phase
// claimed, if the entry has no lock, or a lock that no process holds or waits for. If dead
// is not nil, dead holders do not count, and claimEntry appends their words to it.
//
// It first moves the entry of a lock into the phase leaving. From then on a process that
// takes the lock finds the entry leaving, and makes it named again. Then claimEntry looks at
// the words, and sees a process that took the lock before. So if the entry is still leaving
// after that look, no process holds the lock, and none will by this entry (L7).
func (v *Live) claimEntry(i int, dead *[]uint64) bool {
	e, me := &v.words.Locks[i], uint64(v.incarnation)
	claimant := e.Claimant.Load()
	if claimant != 0 && v.Alive(format.Incarnation(claimant)) || !e.Claimant.CompareAndSwap(claimant, me) {
		return false // the live claimant may be another goroutine of this process
	}
	invariant.Point("name.claimed")
	v.confirmNewest() // after the claim: if a dead claimant has named the entry, that counts
	state := e.State.Load()
	generation := lockGeneration(state)
	if lockPhase(state) == format.LockNamed {
		leaving := lockState(generation, format.LockLeaving)
		if v.heldAt(i, generation, dead) || !e.State.CompareAndSwap(state, leaving) {
			e.Claimant.CompareAndSwap(me, 0)
			return false
		}
		state = leaving
	}
	if lockPhase(state) == format.LockLeaving {
		invariant.Point("name.leaving")
		if dead != nil {
			*dead = nil
		}
		if v.heldAt(i, generation, dead) {
			e.State.CompareAndSwap(state, lockState(generation, format.LockNamed))
			e.Claimant.CompareAndSwap(me, 0)
			return false
		}
	}
	e.Stamp.Store(0) // before the state: see confirmNewest
	if !e.State.CompareAndSwap(state, lockState(generation+1, format.LockClaimed)) {
		e.Claimant.CompareAndSwap(me, 0)
		return false
	}
	return true
}

// dropEntry ends a claim: the entry has no lock.
func (v *Live) dropEntry(i int) {
	e := &v.words.Locks[i]
	if state := e.State.Load(); lockPhase(state) == format.LockClaimed {
		e.State.CompareAndSwap(state, lockState(lockGeneration(state), format.LockFree))
	}
	e.Claimant.CompareAndSwap(uint64(v.incarnation), 0)
}

// fill prepares a claimed entry for a lock. dead has the words of dead holders from when the
// semaphore had another number of permits: the next holders are told.
func (v *Live) fill(i int, l *NamedLock, dead []uint64) error {
	e := &v.words.Locks[i]
	e.Hash.Store(l.hash)
	e.Length.Store(uint32(len(l.name)))
	e.Units.Store(uint32(l.permits))
	e.Since.Store(uint64(v.Now()))
	for w := range l.words {
		e.Name[w].Store(l.words[w])
	}
	v.forgetDead(&e.Owner)
	if l.permits == 0 {
		return nil
	}
	permits, err := v.allocatePermits(i, lockGeneration(e.State.Load()), l)
	if err != nil {
		return err
	}
	for j, w := range dead[:min(len(dead), len(permits))] {
		permits[j].Owner.CompareAndSwap(0, w)
	}
	return nil
}

// forgetDead clears the word of a process that took a lock, found that the entry belongs to
// another lock by now, and died before it cleared the word.
func (v *Live) forgetDead(owner *atomic.Uint64) {
	if w := owner.Load(); w != 0 && !v.Alive(format.Incarnation(w&^format.LockOffered)) {
		owner.CompareAndSwap(w, 0)
	}
}
