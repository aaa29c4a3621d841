package live

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/procfs"
)

// A guest is a reader that cannot write the files of the space, on read-only media or for
// lack of permission. It has no slot and no process entry, since it could not write them. It
// holds a version by a shared lock, which needs only a readable file. The lock is on a byte
// of the heap file that stands for the version, far beyond all data: LockVersions plus the
// offset of its state divided by 16.
//
//	K8  A scan for the protected versions looks for such locks, after it has looked at
//	     everything else. So a guest uses the lock as a member uses a slot: it takes the
//	     lock, looks at Current again, and tries once more if that has moved. A scanner that
//	     missed the lock had loaded Current before. So the version that the guest has
//	     validated is not older than that scan's Current (L4).
//	K9  A guest reads Current from the live file of the members. It is a member as well: it
//	     holds the presence byte shared (K4).
//	K10  If there is no trustworthy live file, the guest has private words, filled from the
//	     newest anchor on disk, and sees that version as long as it exists. It locks that
//	     version, and then looks whether its anchor is still one of the two newest on disk.
//	     Until two newer anchors are confirmed, and so are on disk, every scan protects the
//	     version anyway. A scan that does not protect it has seen them confirmed before it
//	     looked for locks: so if that scan missed the lock, the guest finds the newer
//	     anchors. The guest does not hold presence: members may join, and need not wait for
//	     it.
type guest struct {
	sync.Mutex
	heap *os.File // the open file by which the guest has its locks
	base uint64
	held map[format.Addr]int
	own  bool // the words are private: K10
}

// versionLocks says where a scan looks for the guests' locks on versions.
type versionLocks struct {
	heap         *os.File
	base, window uint64
}

// SeeGuests says which heap file guests lock; without this call a scan looks for no guests.
func (v *Live) SeeGuests(heap *os.File, base, window uint64) {
	v.versions = versionLocks{heap, base, window}
}

// OpenGuest is Open for a guest. heap is the heap file opened for its locks, which the
// caller closes after Leave.
func OpenGuest(dir *mapping.Dir, space [16]byte, heap *os.File, base uint64) (*Live, error) {
	info, err := heap.Stat()
	if err != nil {
		return nil, err
	}
	locks, err := dir.Open(FileName, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	v := &Live{locks: locks, guest: newGuest(heap, base)}
	v.slots.table.gone = true // a guest has no slots
	if err := v.openGuest(space, info); err != nil {
		v.closeFiles()
		return nil, err
	}
	return v, nil
}

// openGuest finishes OpenGuest.
func (v *Live) openGuest(space [16]byte, heap os.FileInfo) error {
	if err := v.verifyIdentity(space, heap); err != nil {
		return err
	}
	v.tester, v.locks = v.locks, nil // a guest has no locks on the live file
	v.namespace = procfs.Namespace("self")
	var err error
	if v.shared, err = mapping.MapReadable(mapping.FileOf(v.tester), format.LiveSize); err != nil {
		return v.unlessCut(err)
	}
	return v.attach()
}

// Frozen returns the membership of a guest without a live file (K10). init fills its words.
// It holds the version of Current until Leave; the caller does the rest of K10.
func Frozen(heap *os.File, base uint64, init func(*format.Live)) (*Live, error) {
	v := &Live{words: new(format.Live), guest: newGuest(heap, base)}
	v.slots.table.gone, v.guest.own = true, true
	init(v.words)
	v.seal = v.words.Salt.Load()
	v.words.Seal.Store(v.seal)
	if err := v.guest.lock(v.Current()); err != nil {
		return nil, err
	}
	v.Tick()
	return v, nil
}

// newGuest returns a guest that holds no version.
func newGuest(heap *os.File, base uint64) *guest {
	return &guest{heap: heap, base: base, held: map[format.Addr]int{}}
}

// Recovered sets the version up to which a guest with private words knows the journal.
func (v *Live) Recovered(version uint64) {
	v.words.Written.Store(version)
	v.words.Durable.Store(version)
	v.words.Recovering.Store(0)
}

// versionByte returns the byte that stands for a version.
func versionByte(base uint64, state format.Addr) int64 {
	return format.LockVersions + int64((uint64(state)-base)>>4)
}

// lock takes the lock of a version. No process takes it exclusively, so it is never refused.
func (g *guest) lock(state format.Addr) error {
	_, err := oslock.TryLock(g.heap, versionByte(g.base, state), true)
	return err
}

// hold holds the newest version (K8); ok is false if closed is set.
func (g *guest) hold(v *Live, closed *atomic.Bool) (Hold, bool) {
	g.Lock()
	defer g.Unlock()
	for {
		if closed != nil && closed.Load() {
			return Hold{}, false
		}
		state := v.Current()
		if n := g.held[state]; n > 0 { // the version is held, so its block was not reused: it is the same version
			g.held[state] = n + 1
			return Hold{State: state, index: ofGuest, refs: 1}, true
		}
		if g.lock(state) == nil && v.Current() == state {
			g.held[state] = 1
			return Hold{State: state, index: ofGuest, refs: 1}, true
		}
		g.unlock(v, state)
	}
}

// unlock releases the lock of a version, unless the guest holds that version until Leave.
func (g *guest) unlock(v *Live, state format.Addr) {
	if !g.own {
		_ = oslock.Unlock(g.heap, versionByte(g.base, state)) // if it fails, the lock protects too much, which is harmless
	}
}

// release ends a hold on a version.
func (g *guest) release(v *Live, state format.Addr) {
	g.Lock()
	defer g.Unlock()
	if g.held[state]--; g.held[state] == 0 {
		delete(g.held, state)
		g.unlock(v, state)
	}
}

// idle reports whether the guest holds no version.
func (g *guest) idle() bool {
	g.Lock()
	defer g.Unlock()
	return len(g.held) == 0
}

// guests calls add with the state of each version that a guest holds or seems to hold: a
// lock on any other byte there protects a version that does not exist, which is harmless. It
// reports false if the system cannot report the locks.
func (v *Live) guests(add func(state format.Addr)) bool {
	l := v.versions
	if l.heap == nil {
		return true
	}
	type stretch struct{ from, to int64 }
	for todo := []stretch{{format.LockVersions, format.LockVersions + int64(l.window>>4)}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		from, to, held, err := oslock.Held(l.heap, s.from, s.to)
		if err != nil {
			return false
		}
		if !held {
			continue
		}
		// A guest's lock is on one byte; a lock on several bytes is not a guest's.
		if from >= s.from {
			add(format.Addr(l.base + uint64(from-format.LockVersions)<<4))
		}
		if from > s.from {
			todo = append(todo, stretch{s.from, from})
		}
		if to < s.to {
			todo = append(todo, stretch{to, s.to})
		}
	}
	return true
}
