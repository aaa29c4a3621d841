package live

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/procfs"
)

// Join claims a process entry and makes the process a member. The caller holds the presence
// byte of the space, so that nobody replaces the live file.
func (v *Live) Join() error {
	if v.guest != nil {
		return nil // a guest has no entry
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		ok, err := v.join()
		if ok || err != nil {
			return err
		}
		// A process that cleans up after dead members may hold a byte for a moment.
		if len(v.Processes()) == format.NumProcesses || time.Since(began) > joinPatience {
			return ErrTooManyProcesses
		}
	}
}

// joinPatience bounds how long Join waits for processes that clean up after dead members.
const joinPatience = 2 * time.Second

// join claims a free entry, if there is one.
func (v *Live) join() (bool, error) {
	for i := range v.words.Processes {
		joined, err := v.joinAs(i)
		if err != nil {
			return false, fmt.Errorf("locking a process entry: %w", err)
		}
		if joined {
			if v.slots.scan.slot = v.claimAny(); v.slots.scan.slot == nil { // L12
				return false, fmt.Errorf("%w: all reader slots are taken", ErrTooManyProcesses)
			}
			v.Assure() // no other process has that entry, that incarnation and that slot (L16)
			return true, nil
		}
	}
	return false, nil
}

// joinAs claims the entry with the index, if it has no owner or a dead one. The order is
// that of L2 and L11: it takes the right to give the entry away, looks whether the owner
// lives, and only then locks the owner's byte.
func (v *Live) joinAs(i int) (joined bool, err error) {
	e, owners, reapers := &v.words.Processes[i], format.LockProcess+int64(i), format.LockReap+int64(i)
	if held, err := oslock.HeldByOther(v.tester, owners); err != nil || held { // a fast way past living owners
		return false, err
	}
	if ok, err := oslock.TryLock(v.locks, reapers, false); err != nil || !ok {
		return false, err
	}
	defer func() { _ = oslock.Unlock(v.locks, reapers) }() // if it fails, no process can use the entry after this one, which is harmless
	old := format.Incarnation(e.Incarnation.Load())
	if old != 0 && v.Alive(old) {
		return false, nil
	}
	if ok, err := oslock.TryLock(v.keeper, owners, false); err != nil || !ok {
		return false, err
	}
	if v.pin, err = mapping.PinFile(v.keeper); err != nil {
		return false, err
	}
	v.keeper.Close()
	v.keeper = nil
	if old != 0 {
		var d theDead
		d.note(i, old)
		v.letGoOf(&d)
		v.retire(old)
	}
	v.claim(e, i)
	return true, nil
}

// claim fills the entry whose byte this process has locked. It stores the incarnation last:
// from then on the entry counts (L2).
func (v *Live) claim(e *format.LiveProcess, i int) {
	if invariant.Enabled {
		v.record.Join()
	}
	count := v.words.NextIncarnation.Add(1)
	v.incarnation = format.Incarnation(count<<format.IncarnationBits | uint64(i)) // L1
	e.Active.Store(0)
	e.Heartbeat.Store(0)
	e.Reserved.Store(0)
	e.WriteSince.Store(0)
	e.Commits.Store(0)
	e.PID.Store(uint64(os.Getpid()))
	e.Namespace.Store(v.namespace)
	e.Started.Store(uint64(time.Now().UnixNano()))
	e.Command = [32]byte{}
	if len(os.Args) > 0 {
		copy(e.Command[:len(e.Command)-1], filepath.Base(os.Args[0]))
	}
	raise(&v.words.ProcessesUsed, uint64(i)+1)
	e.Incarnation.Store(uint64(v.incarnation))
	if invariant.Enabled {
		v.record.Own(uint64(v.incarnation), func(i uint64) bool { return v.Alive(format.Incarnation(i)) })
	}
	invariant.Point("entry.claimed")
	v.pulse.wake = make(chan struct{}, 1)
	v.pulse.quit = make(chan struct{})
	v.pulse.done.Add(1)
	v.entry = e // last: from now on Leave must end the pulse, and no access of a word may fail in between (L15)
	go v.runPulse()
}

// Leave ends the membership. clean says that the process handed over everything it had
// reserved; otherwise the entry stays for the next process to clean up. If the words are
// lost it releases only what is not in them.
func (v *Live) Leave(clean bool) {
	if v.entry != nil {
		close(v.pulse.quit)
		v.pulse.done.Wait()
		v.Guard(func() {
			v.freeSlots()
			if invariant.Enabled {
				v.record.Note(invariant.Left, 0, uint64(v.incarnation), 0)
			}
			if clean {
				v.entry.Incarnation.Store(0)
			}
		})
	}
	v.closeFiles()
}

// Alive reports whether the process of the incarnation is still a member (L2). A process
// that finds it dead first says so in the entry: so no process that is about to use the
// entry can make the dead one look alive again (L11).
func (v *Live) Alive(i format.Incarnation) bool {
	if i == 0 {
		return false
	}
	if i == v.incarnation {
		return true
	}
	e := &v.words.Processes[i.Entry()]
	if format.Incarnation(e.Incarnation.Load()) != i || e.Dead.Load() >= uint64(i) {
		return false
	}
	held, err := oslock.HeldByOther(v.tester, format.LockProcess+int64(i.Entry()))
	if err != nil || held && !v.gone(i) {
		return true // in doubt it counts as alive: then no process takes anything from it
	}
	if v.guest == nil {
		raise(&e.Dead, uint64(i))
		if invariant.Enabled {
			v.record.Note(invariant.Dead, 0, uint64(i), 0)
		}
	}
	invariant.Point("entry.dead")
	return false
}

// gone reports whether the system says that the process of an incarnation is gone, although
// its byte is locked: a fork made at the very moment of the claim may have the description
// with the lock. gone reads the incarnation last, so the number and the namespace belonged
// to it.
func (v *Live) gone(i format.Incarnation) bool {
	e := &v.words.Processes[i.Entry()]
	pid, namespace := e.PID.Load(), e.Namespace.Load()
	if namespace == 0 || namespace != v.namespace || format.Incarnation(e.Incarnation.Load()) != i {
		return false
	}
	return oslock.ProcessGone(int(pid))
}

// Reap cleans up after dead members, and returns how many entries it made free for new ones.
// It asks the kernel about each entry.
func (v *Live) Reap() int {
	if v.guest != nil {
		return 0
	}
	var d theDead
	for i := range v.entriesUsed() {
		v.look(i, &d)
	}
	return v.bury(&d)
}

const (
	neighboursAsked = 2  // how many living members after its own entry ReapSome asks about
	entriesAsked    = 16 // how many other entries one ReapSome asks about
)

// ReapSome is Reap for regular calls, which all members make: if each member asked about all
// others, many members would do nothing else. It asks about the entries after its own in the
// table, up to the second living member, and about the next piece of the table. So the
// living members before a dead one find it at once. If these stand still, any other member
// finds it when its piece comes. ReapSome returns how many entries it asked about. One
// goroutine of a process at a time calls it.
func (v *Live) ReapSome() (asked int) {
	if v.guest != nil {
		return 0
	}
	var d theDead
	used := v.entriesUsed()
	for k, living := 1, 0; k < used && living < neighboursAsked; k++ {
		asked++
		if v.look((v.incarnation.Entry()+k)%used, &d) {
			living++
		}
	}
	for range min(entriesAsked, used-asked) {
		v.reaped = (v.reaped + 1) % used
		asked++
		v.look(v.reaped, &d)
	}
	v.bury(&d)
	return asked
}

// entriesUsed returns how many entries were ever used.
func (v *Live) entriesUsed() int {
	return int(min(v.words.ProcessesUsed.Load(), format.NumProcesses))
}

// theDead has the members that a process has found dead.
type theDead struct {
	entries []int
	of      [format.NumProcesses]uint64 // by entry: the dead incarnation; 0: not dead
}

// note adds the owner of an entry.
func (d *theDead) note(i int, old format.Incarnation) {
	d.of[i] = uint64(old)
	d.entries = append(d.entries, i)
}

// has reports whether a word names a dead incarnation.
func (d *theDead) has(word uint64) bool {
	return word != 0 && d.of[format.Incarnation(word).Entry()] == word
}

// look finds out whether the owner of an entry lives. It announces the death of a dead one,
// and notes it in d.
func (v *Live) look(i int, d *theDead) (lives bool) {
	old := format.Incarnation(v.words.Processes[i].Incarnation.Load())
	if old == 0 || old == v.incarnation {
		return false
	}
	if v.Alive(old) {
		return true
	}
	if d.of[i] == 0 {
		d.note(i, old)
	}
	return false
}

// bury cleans up after dead members, and returns how many entries it made free for new ones.
func (v *Live) bury(d *theDead) (n int) {
	if len(d.entries) == 0 {
		return 0
	}
	v.letGoOf(d)
	for _, i := range d.entries {
		v.Assure() // L16: with lost words all entries may seem dead, and for each retire looks at all locks
		e, old, off := &v.words.Processes[i], format.Incarnation(d.of[i]), format.LockReap+int64(i)
		if ok, err := oslock.TryLock(v.locks, off, false); err != nil || !ok {
			continue
		}
		if format.Incarnation(e.Incarnation.Load()) == old {
			v.retire(old)
			e.Incarnation.Store(0)
			n++
		}
		_ = oslock.Unlock(v.locks, off) // if it fails, no new member can use the entry, which is harmless
	}
	return n
}

// letGoOf clears every word that names a dead incarnation. Any process may do it at any
// time, even while another one does, or stands still in the middle of it: a compare-and-swap
// clears each word from a value that never comes back (L1). The state in a slot stays:
// without an owner it protects nothing.
func (v *Live) letGoOf(d *theDead) {
	forget := func(word *atomic.Uint64) bool {
		owner := word.Load()
		return d.has(owner) && word.CompareAndSwap(owner, 0)
	}
	for i := range min(v.words.SlotsUsed.Load(), format.NumSlots) {
		forget(&v.words.Slots[i].Owner)
	}
	for _, word := range []*atomic.Uint64{&v.words.Starving, &v.words.Sweeper, &v.words.Collector, &v.words.Mover, &v.words.Leader} {
		forget(word)
	}
	for i := range v.words.Segments {
		forget(&v.words.Segments[i].Owner)
	}
	for i := range v.locksUsed() {
		forget(&v.words.Locks[i].Claimant)
	}
	if forget(&v.words.Owner) {
		v.wakeLockWaiters(1)
	}
}

// retire clears the entry of a dead incarnation, and the bits and words that name the entry
// and not the incarnation, before the next owner comes. The caller has the right to give the
// entry away. If it stops in the middle, the next process does it again, which is harmless.
// No process has to wait for it (L11).
func (v *Live) retire(dead format.Incarnation) {
	invariant.Point("entry.retired")
	v.stopWaiting(dead.Entry())
	e := &v.words.Processes[dead.Entry()]
	v.doubtOver(e)
	v.words.Leaked.Add(e.Reserved.Swap(0))
	if e.Commits.Load() != 0 || e.Heartbeat.Load() != 0 || e.Active.Load() != 0 { // otherwise it has only read
		v.words.SweepWish.Store(1)
	}
	e.Active.Store(0)
	invariant.Point("entry.reaped")
}

// Process is a member of the space, for display.
type Process struct {
	Incarnation format.Incarnation
	PID         int  // its number in this process's PID namespace; if Foreign, in its own
	Foreign     bool // it is in a PID namespace that this process cannot see
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
	for i := range v.entriesUsed() {
		inc := format.Incarnation(v.words.Processes[i].Incarnation.Load())
		if inc == 0 || !v.Alive(inc) {
			continue
		}
		p := v.describe(inc)
		p.Writing = owner == uint64(inc)
		list = append(list, p)
	}
	return list
}

// describe reads the entry of an incarnation. If the entry gets a new owner meanwhile, the
// result may be about that one: so it is only for display.
func (v *Live) describe(inc format.Incarnation) Process {
	e := &v.words.Processes[inc.Entry()]
	command := e.Command
	n := 0
	for n < len(command) && command[n] != 0 {
		n++
	}
	pid, seen := procfs.SeenAs(v.namespace, int(e.PID.Load()), e.Namespace.Load())
	return Process{
		Incarnation: inc, PID: pid, Foreign: !seen, Command: string(command[:n]),
		Started:  time.Unix(0, int64(e.Started.Load())),
		Reserved: format.ByteCount(e.Reserved.Load()), Commits: e.Commits.Load(),
		Self: inc == v.incarnation,
	}
}

// Accompanied reports whether there is another living member; if active is set, whether
// there is one that uses its lists of free space.
func (v *Live) Accompanied(active bool) bool {
	for i := range v.entriesUsed() {
		e := &v.words.Processes[i]
		inc := format.Incarnation(e.Incarnation.Load())
		if inc != v.incarnation && (!active || e.Active.Load() != 0) && v.Alive(inc) {
			return true
		}
	}
	return false
}

// saidToBeStopped reports whether the system says that the process of an incarnation is
// stopped or traced. False proves nothing.
func (v *Live) saidToBeStopped(i format.Incarnation) bool {
	e := &v.words.Processes[i.Entry()]
	pid, namespace := e.PID.Load(), e.Namespace.Load()
	if namespace == 0 || namespace != v.namespace || format.Incarnation(e.Incarnation.Load()) != i {
		return false
	}
	stopped, _ := procfs.Stopped(pid)
	return stopped
}
