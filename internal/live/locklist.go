package live

import (
	"encoding/binary"
	"time"

	"github.com/everheap/everheap/internal/format"
)

// LockState is a named lock in use, for display.
type LockState struct {
	Name    string
	Units   int // of the semaphore; 0: a mutex
	Holders []LockHolder
	Waiters int // how many processes have waited for a while
}

// LockHolder is a process that holds a mutex, or permits of a semaphore.
type LockHolder struct {
	Process
	Since time.Time // since when it holds its first permit, to a tenth of a second
	Units int
	Dead  bool // it died, and the next holder will be told
}

// Locks lists the named locks that a process holds, waits for, or held when it died.
func (v *Live) Locks() []LockState {
	var list []LockState
	for i := range v.locksUsed() {
		e := &v.words.Locks[i]
		state := e.State.Load()
		if !hasName(state) {
			continue
		}
		p := &lockPlace{index: i, entry: e, generation: lockGeneration(state)}
		l := LockState{Name: lockName(e), Units: int(e.Units.Load())}
		if l.Units != 0 {
			if p.permits = v.permitsOf(i, p.generation); len(p.permits) == 0 {
				continue
			}
		}
		l.Holders = v.holders(p)
		for process := range p.waiting(0) {
			if v.Alive(format.Incarnation(v.words.Processes[process].Incarnation.Load())) {
				l.Waiters++
			}
		}
		if p.named() && len(l.Holders)+l.Waiters > 0 {
			list = append(list, l)
		}
	}
	return list
}

// lockName reads the name in an entry.
func lockName(e *format.LiveLock) string {
	var b [format.MaxLockName]byte
	for i := range e.Name {
		binary.LittleEndian.PutUint64(b[i*8:], e.Name[i].Load())
	}
	return string(b[:min(e.Length.Load(), format.MaxLockName)])
}

// holders lists the holders of a lock's permits.
func (v *Live) holders(p *lockPlace) []LockHolder {
	var list []LockHolder
	index := map[uint64]int{}
	for permit := range p.count() {
		w := p.owner(permit).Load()
		if w == 0 || w&format.LockOffered != 0 {
			continue
		}
		since := time.Unix(0, int64(p.since(permit).Load()))
		if k, found := index[w]; found {
			h := &list[k]
			h.Units++
			if since.Before(h.Since) {
				h.Since = since
			}
			continue
		}
		index[w] = len(list)
		inc := format.Incarnation(w)
		h := LockHolder{Since: since, Units: 1, Dead: !v.Alive(inc)}
		if h.Process = v.describe(inc); uint64(h.Incarnation) != v.words.Processes[inc.Entry()].Incarnation.Load() {
			h.Process = Process{Incarnation: inc} // another process has the entry by now
		}
		list = append(list, h)
	}
	return list
}

// stopWaiting clears the waiting bits of a process entry in all named locks. It does not
// clear locks that the dead owner held: the next holder must be told.
func (v *Live) stopWaiting(i int) {
	for k := range v.locksUsed() {
		word := &v.words.Locks[k].Waiting[i/64]
		if word.Load()&(1<<(i%64)) != 0 {
			word.And(^uint64(1 << (i % 64)))
		}
	}
}
