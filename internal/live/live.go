// Package live is the coordination between the processes that have a space
// open: the word current, the writer lock, reader slots, process entries, named
// locks, the claims of anchor slots and the stacks of free space, all in the mapped file
// "live". Nothing in it survives a power loss, and nothing needs to.
//
// Terms: an incarnation names one process's membership of the space. A word
// that names an owner holds its incarnation, and a process clears it only by a
// compare-and-swap from that incarnation, so that a late process finds another value
// and does nothing.
//
// Invariants:
//
//	L1  An incarnation is never used twice in one live file.
//	L2  The owner of an incarnation holds an exclusive lock on the byte of its entry from
//	    before the incarnation is visible until it has left or died, and never locks it
//	    again; the kernel drops the lock at death. So if the byte is not locked, or the entry
//	    has another incarnation, the incarnation is dead, for good. Only a mapping that forks
//	    do not inherit keeps the description that has the lock (mapping.Pin): so a fork
//	    cannot keep a dead process alive. In the few instructions between the opening of that
//	    description and the closing of its descriptor a fork can get a copy. Therefore an
//	    owner whose byte is locked is dead, too, if the system says that its process is gone,
//	    in the same PID namespace.
//	L3  Safety does not rest on the writer lock. A version is published only by a
//	    compare-and-swap of Current from the base that the writer holds a slot on; the base
//	    cannot be reclaimed, so its address cannot be reused, and the swap succeeds only if
//	    no other version was published since.
//	L4  A reader validates its slot: it stores the state, and then finds Current unchanged.
//	    Its version is then not older than the Current of any scanner that missed the slot:
//	    the scanner loaded Current before it scanned, and the reader loaded Current after it
//	    stored.
//	L5  An anchor writer keeps a reader slot on its version until the claim that names the
//	    version is visible, and Protected looks at reader slots first and at anchor slots
//	    second; so it sees one of the two.
//	L6  A named lock has at most one entry. A process names an entry by a swap of Namings,
//	    from the value that it read before it searched all entries for the name. Only the
//	    claimant of an entry can fill it.
//	L7  A process holds a named lock if, after its incarnation was in the lock's
//	    word, it found the entry named in the generation in which it had looked the
//	    name up. An entry leaves a generation only by the step from leaving to
//	    claimed, and its claimant found all words free between the step to leaving and
//	    that one; a process that takes the lock in that time makes the entry named
//	    again, and the step fails. So no lock that is held loses its entry.
//	L8  No process holds an offered lock: the addressee's swap turns the offer into a hold,
//	    and until then any process may take the lock. So an addressee that dies or stands
//	    still before it accepts leaves nothing behind, and stops no other process.
//	L9  Only the next holder takes the word of a dead holder, and it is told of the death. If
//	    it dies before it is told, its own word stays for the next one. (The word may be lost
//	    when a semaphore gets another number of permits, see refit.)
//	L10 A process that waits for a commit loads CommitFutex, sets Watchers, and then loads
//	    Current; a process that commits swaps Current, reads Watchers, clears it, and then
//	    changes CommitFutex and wakes. So either the waiter sees the new version; or the
//	    committer sees that a process waits; or another committer cleared Watchers for an
//	    older version, and changes CommitFutex afterwards, which ends the sleep of a waiter
//	    that had loaded it before. A committer that dies before it wakes leaves the waiters
//	    to the end of their sleep, which is bounded.
//	L11 A process announces a death before it acts on it: it raises Dead in the entry, which
//	    needs no lock, since the dead stay dead. Only then may a process take the right to
//	    give the entry to another owner (LockReap), and only with that right may it lock the
//	    owner's byte. So a dead process never looks alive again, wherever a process that
//	    cleans up after it stands still. And no process has to wait for that one: any process
//	    clears the words that name the incarnation. Only three things need the right: the
//	    entry itself, which no process needs as long as there are others; bits of waiting,
//	    which do not count without a living incarnation; and sums.
//
//	L12 From its joining on a process has a slot that only Protected uses. So a scan can hold
//	    the state that it reads, however many versions readers hold. Without it, the state
//	    could be reused while the scan reads its list of checkpoints, and the scan could miss
//	    a checkpoint.
//
// lost.go says what happens when the file of the words is truncated or overwritten (L14 to
// L16).
//
// Start reading at Live, LockWriter and Protected; for named locks at Live.Take
// and Live.lookUp.
package live

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/procfs"
)

// FileName names the live file in the directory of its space.
const FileName = "live"

// Errors of opening the live file.
var (
	// ErrUntrusted: the live file is missing or belongs to another boot or to other
	// files: it must be rebuilt from the anchors.
	ErrUntrusted = errors.New("the live file is not of this boot")
	// ErrTooManyProcesses: living processes have all process entries.
	ErrTooManyProcesses = fmt.Errorf("%d processes have the space open, and more cannot: close it in one of them", format.NumProcesses)
)

// Live is the membership of this process in one space.
type Live struct {
	words  *format.Live
	seal   uint64 // the seal of the words (L14)
	shared *mapping.Shared
	locks  *os.File // for locks that this process holds for a moment
	tester *os.File // sees the locks of other processes and of this one
	keeper *os.File // takes the lock of the entry; nil: the pin holds it
	pin    *mapping.Pin

	record      invariant.Record // of events and owners, in builds with the tag
	process     uint64           // mapping.Generation of this process
	incarnation format.Incarnation
	namespace   uint32 // PID namespace of this process; 0: unknown
	entry       *format.LiveProcess
	slots       localSlots
	clock       atomic.Int64 // nanoseconds since 1970, as of the last Tick
	pulse       pulse
	reaped      int // the entry that ReapSome has asked about last

	guest    *guest       // nil: a member that may write
	versions versionLocks // where guests lock versions

	identity [format.PageSize]byte // the identity page when the file was opened
	loss     loss
}

// Identity returns the identity that the live file of a heap must have. heap is the open
// heap file, live the open live file.
func identity(space [16]byte, heap os.FileInfo, live mapping.Status) (*format.LiveIdentity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("reading the boot id: %w", err)
	}
	id := &format.LiveIdentity{SpaceID: space}
	copy(id.Boot[:], strings.TrimSpace(string(boot)))
	h, err := mapping.StatusIn(heap)
	if err != nil {
		return nil, err
	}
	id.HeapDev, id.HeapInode = h.Device, h.Inode
	id.LiveDev, id.LiveInode = live.Device, live.Inode
	return id, nil
}

// Files puts a live file into a directory: mapping.Dir, or a replacement in tests.
type Files struct {
	Open   func(dir *mapping.Dir, name string, flag int, perm os.FileMode) (mapping.File, error)
	Rename func(dir *mapping.Dir, from, to string) error
}

// Create writes a new live file in dir, filled by init, and replaces an old one. The caller
// holds the gate and the presence lock exclusively, so that no process uses the old file.
func Create(dir *mapping.Dir, space [16]byte, heap os.FileInfo, perm os.FileMode, files Files, init func(*format.Live)) (err error) {
	const temporary = FileName + ".new"
	if err := dir.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := files.Open(dir, temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			dir.Remove(temporary)
		}
	}()
	if err := f.Allocate(0, format.LiveSize); err != nil {
		return fmt.Errorf("allocating %s: %w", dir.Join(temporary), err)
	}
	if err := f.Truncate(format.LiveSize); err != nil {
		return err
	}
	status, err := dir.Stat(temporary)
	if err != nil {
		return err
	}
	id, err := identity(space, heap, status)
	if err != nil {
		return err
	}
	shared, err := mapping.MapShared(f, format.LiveSize)
	if err != nil {
		return err
	}
	err = fill((*format.Live)(shared.Pointer(0)), id, init)
	if err := errors.Join(err, shared.Close()); err != nil {
		return err
	}
	return files.Rename(dir, temporary, FileName)
}

// fill fills the words of a new live file.
func fill(words *format.Live, id *format.LiveIdentity, init func(*format.Live)) error {
	init(words)
	for words.Salt.Load() == 0 {
		var random [8]byte
		if _, err := rand.Read(random[:]); err != nil {
			return err
		}
		words.Salt.Store(binary.LittleEndian.Uint64(random[:]))
	}
	words.Seal.Store(words.Salt.Load())
	copy(words.Identity[:], id.Encode())
	return nil
}

// Open maps the live file of dir and verifies that it is of this boot and of
// this heap; ErrUntrusted if not. The membership begins with Join.
func Open(dir *mapping.Dir, space [16]byte, heap os.FileInfo) (*Live, error) {
	locks, err := dir.Open(FileName, os.O_RDWR|noFollow, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrUntrusted
	} else if err != nil {
		return nil, err
	}
	v := &Live{locks: locks, process: mapping.Generation()}
	if err := v.open(dir, space, heap); err != nil {
		v.closeFiles()
		return nil, err
	}
	return v, nil
}

// open finishes Open.
func (v *Live) open(dir *mapping.Dir, space [16]byte, heap os.FileInfo) error {
	err := v.verifyIdentity(space, heap)
	if err != nil {
		return err
	}
	for _, f := range []**os.File{&v.tester, &v.keeper} {
		if *f, err = dir.Again(v.locks, FileName, os.O_RDWR|noFollow); err != nil {
			return err
		}
	}
	v.namespace = procfs.Namespace("self")
	if v.shared, err = mapping.MapShared(mapping.FileOf(v.tester), format.LiveSize); err != nil {
		return v.unlessCut(err)
	}
	if err := v.attach(); err != nil {
		return err
	}
	if invariant.Enabled {
		return v.openRecord(dir, space, heap)
	}
	return nil
}

// openRecord opens the record of the space's events, for which it reads a word.
func (v *Live) openRecord(dir *mapping.Dir, space [16]byte, heap os.FileInfo) error {
	whole := v.Guard(func() {
		v.record = invariant.OpenRecord(invariant.Subject{Dir: dir.Opened(), Heap: heap, Space: space, Salt: v.seal,
			Joined: v.words.NextIncarnation.Load})
	})
	if !whole { // the file was truncated since attach has looked
		return errNoSeal
	}
	return nil
}

// attach begins to use the words that were mapped.
func (v *Live) attach() error {
	v.Tick()
	sealed := false
	v.Guard(func() {
		v.words = (*format.Live)(v.shared.Pointer(0))
		v.identity = v.words.Identity
		v.seal = v.words.Salt.Load()
		sealed = v.seal != 0 && v.words.Seal.Load() == v.seal
	})
	if !sealed {
		return errNoSeal
	}
	return nil
}

// unlessCut returns err, or errNoSeal if the file was truncated meanwhile.
func (v *Live) unlessCut(err error) error {
	for _, f := range []*os.File{v.locks, v.tester} {
		if f == nil {
			continue
		}
		if s, statErr := f.Stat(); statErr == nil && s.Size() < format.LiveSize {
			return errNoSeal
		}
	}
	return err
}

// errNoSeal says that a live file was truncated and extended again (L14).
var errNoSeal = fmt.Errorf("%w: %w", ErrUntrusted, &format.DamageError{File: FileName, Offset: format.LiveSize - 8, What: "the seal is missing: the file was truncated or overwritten"})

// verifyIdentity returns ErrUntrusted unless the file is of this boot and of the heap.
func (v *Live) verifyIdentity(space [16]byte, heap os.FileInfo) error {
	status, err := mapping.StatusOf(v.locks)
	if err != nil {
		return err
	}
	if status.Size != format.LiveSize {
		return ErrUntrusted
	}
	id, err := identity(space, heap, status)
	if err != nil {
		return err
	}
	page := make([]byte, format.PageSize)
	if _, err := v.locks.ReadAt(page, 0); err != nil {
		return v.unlessCut(err)
	}
	if err := id.Matches(page); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return nil
}

// closeFiles closes the files that Open has opened.
func (v *Live) closeFiles() {
	if invariant.Enabled {
		v.record.Close()
		v.record = invariant.Record{}
	}
	v.unmap()
	if v.pin != nil {
		v.pin.Close()
	}
	for _, f := range []*os.File{v.keeper, v.tester, v.locks} {
		if f != nil {
			f.Close()
		}
	}
}

// unmap unmaps the words.
func (v *Live) unmap() {
	v.loss.Lock()
	defer v.loss.Unlock()
	v.loss.closed = true
	if v.shared != nil {
		v.shared.Close()
	}
}

// Words returns the mapped words. They stay mapped until Leave.
func (v *Live) Words() *format.Live { return v.words }

// Record returns the record of this membership's events, in builds with the tag invariants.
func (v *Live) Record() invariant.Record { return v.record }

// Incarnation returns the name of this membership.
func (v *Live) Incarnation() format.Incarnation { return v.incarnation }

// Entry returns the process entry of this membership.
func (v *Live) Entry() *format.LiveProcess { return v.entry }

// LeaveLists says that the process no longer uses its lists of free space. A process that
// sees this also sees all earlier changes of the lists (I7).
func (v *Live) LeaveLists() { clear64(&v.entry.Active) }

// CountCommit counts a commit of this process, by which other processes see that it moves.
// The caller has the process's queue.
func (v *Live) CountCommit() { set64(&v.entry.Commits, v.entry.Commits.Load()+1) }

// Tick sets the coarse clock, from which reader slots get their times.
func (v *Live) Tick() { v.clock.Store(time.Now().UnixNano()) }

// Now returns the coarse clock: nanoseconds since 1970 at the last Tick.
func (v *Live) Now() int64 { return v.clock.Load() }

// Current returns the address of the newest state block.
func (v *Live) Current() format.Addr {
	a := v.words.Current.Load()
	if !v.signed() {
		v.missing()
	}
	return format.Addr(a)
}

// Carved returns the high-water mark: the offset below which processes have reserved the
// space of the heap file. Its callers use everything below the mark.
func (v *Live) Carved() uint64 {
	n := v.words.Carved.Load()
	v.Assure()
	return n
}

// Publish makes next the newest state if base still is the newest (L3). The caller must call
// Announce then. Announce is separate because it panics if the words are lost, when the
// version is already published.
func (v *Live) Publish(base, next format.Addr) bool {
	v.Assure() // the words that the transaction relied on were true (L16)
	if !v.words.Current.CompareAndSwap(uint64(base), uint64(next)) {
		v.Assure() // if the words are true, another version came first
		return false
	}
	return true
}

// pulse lets the heart of this process beat while it writes.
//
// A writer first counts its beginning and then looks whether the heart is on. The heart
// first turns itself off and then looks at the counts. Each has an operation between the two
// steps that orders them, so one of the two sees the other.
type pulse struct {
	on      atomic.Bool
	leading atomic.Bool   // this process writes the journal
	holding atomic.Int32  // it has the writer lock, and does what takes long: see Holding
	seen    atomic.Uint64 // how often it began to write, turns excepted
	turns   atomic.Uint64 // transactions begun; only the goroutine that may take the writer lock changes it
	active  bool          // at the last beat, this process used its lists
	wake    chan struct{}
	quit    chan struct{}
	done    sync.WaitGroup
}

const heartbeat = 25 * time.Millisecond

// Writing says that the process writes. Its heart beats from now on, until the process has
// not written for a while.
func (v *Live) Writing() {
	v.pulse.seen.Add(1)
	v.wakeHeart()
}

// wakeHeart makes the heart beat if it is asleep.
func (v *Live) wakeHeart() {
	if !v.pulse.on.Load() {
		select {
		case v.pulse.wake <- struct{}{}:
		default:
		}
	}
}

// Holding says that the process has the writer lock, does not use its lists, and works for a
// possibly long time. Its heart beats until the caller calls end. Otherwise the heart would
// fall asleep after a while, and other processes would think that this one stands still.
func (v *Live) Holding() (end func()) {
	v.pulse.holding.Add(1)
	v.Writing()
	return func() { v.pulse.holding.Add(-1) }
}

// runPulse beats while there are transactions, and sleeps otherwise.
func (v *Live) runPulse() {
	defer v.pulse.done.Done()
	ticker := time.NewTicker(heartbeat)
	ticker.Stop()
	defer ticker.Stop()
	var last uint64
	idle := 0
	for {
		select {
		case <-v.pulse.quit:
			return
		case <-v.pulse.wake:
			if mapping.Forked(v.process) || !v.beat() {
				return
			}
			v.pulse.on.Store(true)
			idle = 0
			ticker.Reset(heartbeat)
		case <-ticker.C:
			if mapping.Forked(v.process) || !v.beat() { // this is a fork, whose runtime runs expired timers; or the words are lost
				return
			}
			seen := v.pulse.begun()
			if seen != last || v.pulse.active || v.pulse.leading.Load() || v.pulse.holding.Load() != 0 {
				last, idle = seen, 0
			} else if idle++; idle > 40 {
				v.pulse.on.Store(false)
				if v.pulse.begun() != last { // a writer found the heart on a moment ago
					v.pulse.on.Store(true)
					idle = 0
					continue
				}
				ticker.Stop()
			}
		}
	}
}

// begun returns a number that changes whenever this process begins to write.
func (p *pulse) begun() uint64 { return p.seen.Load() + p.turns.Load() }

// beat beats once, and reports whether the words are not lost.
func (v *Live) beat() bool {
	return v.Guard(func() {
		v.entry.Heartbeat.Add(1)
		v.pulse.active = v.entry.Active.Load() != 0
	})
}

// futexWord returns the address of a futex in the mapped file: an atomic word consists only
// of its four bytes.
func futexWord(w *atomic.Uint32) *uint32 { return (*uint32)(unsafe.Pointer(w)) }

var _ [4]byte = [unsafe.Sizeof(atomic.Uint32{})]byte{}
