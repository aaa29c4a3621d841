package live

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// Join claims a process entry and makes the process a member. The caller holds
// the gate of the space.
func (v *Live) Join() error {
	for i := range v.words.Processes {
		ok, err := oslock.TryLock(v.locks, format.LockProcess+int64(i), false)
		if err != nil {
			return fmt.Errorf("locking a process entry: %w", err)
		}
		if !ok {
			continue
		}
		e := &v.words.Processes[i]
		if old := format.Incarnation(e.Incarnation.Load()); old != 0 {
			v.cleanUpAfter(old)
		}
		v.claim(e, i)
		return nil
	}
	return ErrTooManyProcesses
}

// claim fills the entry whose byte this process has locked. The incarnation is
// stored last: it is what makes the entry count (L2).
func (v *Live) claim(e *format.LiveProcess, i int) {
	count := v.words.NextIncarnation.Add(1)
	v.incarnation = format.Incarnation(count<<format.IncarnationBits | uint64(i)) // L1
	v.entry = e
	e.Active.Store(0)
	e.Heartbeat.Store(0)
	e.Reserved.Store(0)
	e.WriteSince.Store(0)
	e.Commits.Store(0)
	e.PID.Store(uint64(os.Getpid()))
	e.Namespace.Store(ownNamespace())
	e.Started.Store(uint64(time.Now().UnixNano()))
	e.Command = [32]byte{}
	if len(os.Args) > 0 {
		copy(e.Command[:len(e.Command)-1], filepath.Base(os.Args[0]))
	}
	raise(&v.words.ProcessesUsed, uint64(i)+1)
	e.Incarnation.Store(uint64(v.incarnation))
	invariant.Point("entry.claimed")
	v.pulse.wake = make(chan struct{}, 1)
	v.pulse.quit = make(chan struct{})
	v.pulse.done.Add(1)
	go v.runPulse()
}

// Leave ends the membership. clean says that everything reserved was handed
// over; otherwise the entry stays for the next one to clean up after.
func (v *Live) Leave(clean bool) {
	if v.entry != nil {
		close(v.pulse.quit)
		v.pulse.done.Wait()
		v.freeSlots()
		if clean {
			v.entry.Incarnation.Store(0)
		}
	}
	v.closeFiles()
}

// Alive reports whether the process of the incarnation still is a member (L2).
func (v *Live) Alive(i format.Incarnation) bool {
	if i == v.incarnation {
		return true
	}
	if i == 0 || format.Incarnation(v.words.Processes[i.Entry()].Incarnation.Load()) != i {
		return false
	}
	held, err := oslock.HeldByOther(v.tester, format.LockProcess+int64(i.Entry()))
	return err != nil || held // in doubt it lives: nothing is taken from it
}

// Reap cleans up after members that died, and returns how many there were. It
// takes the dead one's byte while it works, as a claimant would.
func (v *Live) Reap() int {
	n := 0
	used := min(v.words.ProcessesUsed.Load(), format.NumProcesses)
	for i := range used {
		e := &v.words.Processes[i]
		old := format.Incarnation(e.Incarnation.Load())
		if old == 0 || old == v.incarnation || v.Alive(old) {
			continue
		}
		off := format.LockProcess + int64(i)
		if ok, err := oslock.TryLock(v.locks, off, false); err != nil || !ok {
			continue
		}
		if now := format.Incarnation(e.Incarnation.Load()); now != 0 {
			v.cleanUpAfter(now)
			e.Incarnation.Store(0)
			n++
		}
		_ = oslock.Unlock(v.locks, off) // kept: a new member cannot use the entry, no more
	}
	return n
}

// cleanUpAfter clears every word that names a dead incarnation. The caller has
// its byte locked. Doing it twice, or stopping in between, is harmless: each
// word is cleared by a compare-and-swap from a value that never comes back
// (L1). The state in a slot stays: without an owner it protects nothing.
func (v *Live) cleanUpAfter(dead format.Incarnation) {
	d := uint64(dead)
	for i := range min(v.words.SlotsUsed.Load(), format.NumSlots) {
		v.words.Slots[i].Owner.CompareAndSwap(d, 0)
	}
	v.words.Starving.CompareAndSwap(d, 0)
	v.words.Sweeper.CompareAndSwap(d, 0)
	v.words.Collector.CompareAndSwap(d, 0)
	v.words.Leader.CompareAndSwap(d, 0)
	for i := range v.words.Segments {
		v.words.Segments[i].Owner.CompareAndSwap(d, 0)
	}
	if v.words.Owner.CompareAndSwap(d, 0) {
		v.wakeLockWaiters(1)
	}
	v.cleanUpLocks(dead)
	e := &v.words.Processes[dead.Entry()]
	v.doubtOver(e)
	v.words.Leaked.Add(e.Reserved.Swap(0))
	if e.Commits.Load() != 0 || e.Heartbeat.Load() != 0 || e.Active.Load() != 0 { // else it only read
		v.words.SweepWish.Store(1)
	}
	e.Active.Store(0)
	invariant.Point("entry.reaped")
}

// Process is a member of the space, as people want to see it.
type Process struct {
	Incarnation format.Incarnation
	PID         int  // as this process knows it; if Foreign, the number in its own PID namespace
	Foreign     bool // it is in a PID namespace that cannot be seen from here
	Command     string
	Started     time.Time
	Reserved    format.ByteCount
	Commits     uint64
	Writing     bool
	Self        bool
}

// Processes lists the living members.
func (v *Live) Processes() []Process {
	var list []Process
	owner := v.words.Owner.Load()
	for i := range min(v.words.ProcessesUsed.Load(), format.NumProcesses) {
		e := &v.words.Processes[i]
		inc := format.Incarnation(e.Incarnation.Load())
		if inc == 0 || !v.Alive(inc) {
			continue
		}
		p := v.describe(inc)
		p.Writing = owner == uint64(inc)
		list = append(list, p)
	}
	return list
}

// describe reads the entry of an incarnation. What it says may be of a
// successor if the entry changes hands meanwhile; it is for people only.
func (v *Live) describe(inc format.Incarnation) Process {
	e := &v.words.Processes[inc.Entry()]
	command := e.Command
	n := 0
	for n < len(command) && command[n] != 0 {
		n++
	}
	pid, seen := seenAs(int(e.PID.Load()), e.Namespace.Load())
	return Process{
		Incarnation: inc, PID: pid, Foreign: !seen, Command: string(command[:n]),
		Started:  time.Unix(0, int64(e.Started.Load())),
		Reserved: format.ByteCount(e.Reserved.Load()), Commits: e.Commits.Load(),
		Self: inc == v.incarnation,
	}
}

// OtherActive reports whether another living member uses its lists of free space.
func (v *Live) OtherActive() bool {
	for i := range min(v.words.ProcessesUsed.Load(), format.NumProcesses) {
		e := &v.words.Processes[i]
		inc := format.Incarnation(e.Incarnation.Load())
		if inc != 0 && inc != v.incarnation && e.Active.Load() != 0 && v.Alive(inc) {
			return true
		}
	}
	return false
}
