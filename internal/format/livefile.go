package format

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// LiveMagic starts the live file.
const LiveMagic = "EVERLIVE"

// LiveIdentity is the first page of the live file: the boot and the files that it belongs
// to. Nobody trusts a file with anything else there.
type LiveIdentity struct {
	Magic     [8]byte  `doc:"EVERLIVE"`
	Format    uint32   `doc:"version of the format"`
	Reserved  uint32   `doc:"zero"`
	SpaceID   [16]byte `doc:"the space"`
	Boot      [36]byte `doc:"boot id of the kernel, as text"`
	Pad       [4]byte  `doc:"zero"`
	HeapDev   uint64   `doc:"device of the heap file"`
	HeapInode uint64   `doc:"inode of the heap file"`
	LiveDev   uint64   `doc:"device of the live file"`
	LiveInode uint64   `doc:"inode of the live file"`
	Sum       uint32   `doc:"CRC32C of the fields before"`
}

// Encode returns the first page of the live file.
func (id *LiveIdentity) Encode() []byte {
	copy(id.Magic[:], LiveMagic)
	id.Format = FormatVersion
	return encodeSummed(id, &id.Sum)
}

// Matches reports whether page is the encoding of id.
func (id *LiveIdentity) Matches(page []byte) error {
	got := new(LiveIdentity)
	if !decodeSummed(page, got, &got.Sum) {
		return &DamageError{"live", 0, "the checksum of the identity does not match"}
	}
	want := *id
	want.Encode()
	want.Sum = got.Sum
	if *got != want {
		return &DamageError{"live", 0, fmt.Sprintf("made for boot %s, heap inode %d, live inode %d", got.Boot, got.HeapInode, got.LiveInode)}
	}
	if binary.LittleEndian.Uint32(page[8:]) != FormatVersion {
		return &DamageError{"live", 0, "another format version"}
	}
	return nil
}

// Sizes of the tables in the live file.
const (
	NumProcesses = 512
	NumSlots     = 4096
	NumReserve   = 256
	// NumSubscriptions is how many subscriptions a space can have.
	NumSubscriptions = 16
	// NumCopies is how many copies of a space can be waited for.
	NumCopies = 16
	// MaxSubscriptionName is how many bytes the name of a subscription, or of a copy, may have.
	MaxSubscriptionName = 32
	// IncarnationBits is the number of low bits of an incarnation that are
	// the index of its process entry.
	IncarnationBits = 9
)

// Live is the live file as it is mapped. Each group of words that different
// processors write has cache lines of its own.
type Live struct {
	Identity [PageSize]byte `doc:"LiveIdentity"`

	Current atomic.Uint64 `doc:"address of the newest state block"`
	Salt    atomic.Uint64 `doc:"random number of this live file, not 0, in the chain of every version that is committed under it; who has read Current looks at it"`
	_       [112]byte

	Owner     atomic.Uint64 `doc:"incarnation that holds the writer lock; 0: free"`
	Starving  atomic.Uint64 `doc:"incarnation that the lock is to be handed to; 0: none"`
	Contended atomic.Uint32 `doc:"1: somebody sleeps for the writer lock"`
	LockFutex atomic.Uint32 `doc:"futex that the sleepers wait on"`
	NextIndex atomic.Uint64 `doc:"no object that is made from now on gets an index below: those may have been given to objects of transactions that came to nothing"`
	Unlinked  atomic.Uint64 `doc:"values with handles that were replaced or removed so far"`
	_         [88]byte

	End    atomic.Uint64 `doc:"offset below which the heap file is allocated"`
	Carved atomic.Uint64 `doc:"offset below which space is reserved"`
	Limit  atomic.Uint64 `doc:"offset up to which the heap may grow: the maximum size of the space"`

	Passed  atomic.Uint64 `doc:"time that was needed to tell somebody that an entry has expired, nanoseconds since 1970 UTC; bit 63: it may go back if nobody is told so meanwhile; 0: none"`
	Remover atomic.Uint64 `doc:"incarnation that removes expired entries; 0: none"`
	Settler atomic.Uint64 `doc:"incarnation that may let Passed go back; only its death lets another one take it; 0: none"`
	_       [80]byte

	Epoch      atomic.Uint64 `doc:"number of sweeps begun"`
	SweepFloor atomic.Uint64 `doc:"offset below which the sweep of this epoch decides what is free"`
	Sweeper    atomic.Uint64 `doc:"incarnation that sweeps; 0: none"`
	SweepWish  atomic.Uint64 `doc:"1: a sweep is due; 2: space is wanted, and a sweep may find some"`
	Leaked     atomic.Uint64 `doc:"bytes that dead processes had reserved since the last sweep"`
	Swept      atomic.Uint64 `doc:"epoch of the last sweep that ended"`
	Collector  atomic.Uint64 `doc:"incarnation that collects objects; 0: none"`
	CollectDue atomic.Uint64 `doc:"a collection is due when NextIndex and Unlinked together have come so far"`
	Mover      atomic.Uint64 `doc:"incarnation in whose transaction blocks get other places; 0: none"`
	ShrunkAt   atomic.Uint64 `doc:"version after the file was made to take less last, or that was tried in vain"`
	ShrunkLive atomic.Uint64 `doc:"bytes that the version could reach then"`
	ShrunkDisk atomic.Uint64 `doc:"bytes that the heap file took on disk then; 0: something was let go of since"`
	ShrunkHeld atomic.Uint64 `doc:"oldest version that a reader held then, if that may be why it is not less; 0: none"`
	ShrunkLong atomic.Uint64 `doc:"bytes of the heap file, the extents of blocks alone, when its last user made it shorter; 0: not yet, or something was let go of since"`
	CellsTaken atomic.Uint64 `doc:"how often somebody was about to take an extent out of the reserve"`
	_          [8]byte

	Failed          atomic.Uint64 `doc:"1: a write or a sync failed; no writing until all that is in use was written anew"`
	Clean           atomic.Uint64 `doc:"1: the newest anchor lists the free space"`
	AnchorSequence  atomic.Uint64 `doc:"sequence number of the last anchor begun"`
	NextIncarnation atomic.Uint64 `doc:"counter of incarnations"`
	SlotsUsed       atomic.Uint64 `doc:"reader slots from this index on were never used"`
	ProcessesUsed   atomic.Uint64 `doc:"process entries from this index on were never used"`
	CommitFutex     atomic.Uint32 `doc:"futex of those who wait for a commit; changes when they are woken"`
	Watchers        atomic.Uint32 `doc:"1: somebody waits for the next commit; who makes it clears this"`
	HeapDoubt       atomic.Uint64 `doc:"syncs of the heap whose outcome nobody lived to tell, since that was made good last"`
	JournalDoubt    atomic.Uint64 `doc:"the same of the journal"`
	BatchDoubt      atomic.Uint64 `doc:"1: there was a sync of the heap whose outcome nobody lived to tell; no anchor lists the free space any more"`
	Replica         atomic.Uint64 `doc:"1: the space is a replica: it takes the changes of its leader alone"`
	_               [40]byte

	Recovering   atomic.Uint64 `doc:"1: the journal is still to be replayed"`
	Written      atomic.Uint64 `doc:"newest version that is in the journal file, or in both usable anchors; what it and older ones logged may be reused"`
	Durable      atomic.Uint64 `doc:"newest version that survives power loss"`
	Leader       atomic.Uint64 `doc:"incarnation that writes the journal; 0: none"`
	SegmentCount atomic.Uint64 `doc:"segments that the journal file has"`
	JournalFutex atomic.Uint32 `doc:"futex that is woken when Durable has grown"`
	Group        atomic.Uint32 `doc:"durable commits that the next sync of the journal is expected to serve"`
	Wishes       atomic.Uint64 `doc:"durable commits so far"`
	Served       atomic.Uint64 `doc:"durable commits before the last sync"`

	JournalDevice atomic.Uint64 `doc:"device of the journal that all processes write"`
	JournalInode  atomic.Uint64 `doc:"inode of that file; 0: not known yet"`
	JournalLosses atomic.Uint64 `doc:"how often the journal was found to be cut"`
	JournalCuts   atomic.Uint64 `doc:"how often the journal was made shorter on purpose"`
	_             [32]byte

	Segments [NumSegments]LiveSegment `doc:"what is known of the segments of the journal"`

	Reserve [NumReserve]atomic.Uint64 `doc:"free extents that transactions which free live on, by number; 0: none"`

	Anchors [NumAnchors]LiveAnchor `doc:"what is known of the anchor slots"`
	Stacks  [NumStacks]LiveStack   `doc:"heads of the stacks of batches"`
	_       [stacksPad]byte

	Processes [NumProcesses]LiveProcess `doc:"process entries"`
	Slots     [NumSlots]LiveSlot        `doc:"reader slots"`

	Namings   atomic.Uint64 `doc:"entry of a lock that got its name last (bits 0-9); how many got one so far (10-63)"`
	LocksUsed atomic.Uint64 `doc:"entries of locks from this index on were never used"`
	_         [112]byte
	Locks     [NumLocks]LiveLock `doc:"entries of named locks"`
	Units     [NumUnits]LiveUnit `doc:"units of semaphores"`

	Subscriptions [NumSubscriptions]LiveSubscription `doc:"subscriptions to all changes"`

	Copies      [NumCopies]LiveCopy `doc:"what copies on other machines have said that they have"`
	CopiesFutex atomic.Uint32       `doc:"futex of those who wait for copies; changes when one has said something"`

	_ [4]byte

	LeaderKnown  atomic.Uint64 `doc:"of a replica: the newest version of its leader, as that has said last; 0: it was not heard of"`
	LeaderHeard  atomic.Uint64 `doc:"when it has said so, by its clock, nanoseconds since 1970 UTC"`
	LeaderCaught atomic.Uint64 `doc:"when it has said last what the replica had, by its clock, nanoseconds since 1970 UTC; 0: never"`

	_    [2040 - 24]byte
	_    [120]byte
	Seal atomic.Uint64 `doc:"Salt once more, in the last bytes of the file: whoever cuts it takes this away"`
}

const stacksPad = (128 - NumStacks*8%128) % 128

// LiveAnchor is what running processes know of one anchor slot.
type LiveAnchor struct {
	Owner     atomic.Uint64 `doc:"incarnation that writes the slot; 0: none"`
	State     atomic.Uint64 `doc:"address of the state block of the version in the slot, or being written"`
	Version   atomic.Uint64 `doc:"that version; 0: the slot holds none"`
	Confirmed atomic.Uint64 `doc:"1: synced"`
	Sequence  atomic.Uint64 `doc:"sequence of the anchor in the slot"`
	_         [24]byte
}

// LiveSegment is what running processes know of one segment of the journal.
type LiveSegment struct {
	Owner atomic.Uint64 `doc:"incarnation that writes the segment; 0: none"`
	Last  atomic.Uint64 `doc:"newest version that the segment may hold"`
}

// LiveSubscription is what running processes know of a subscription to all changes.
type LiveSubscription struct {
	Maker    atomic.Uint64                          `doc:"incarnation that makes a subscription in the slot; 0: none does"`
	Position atomic.Uint64                          `doc:"version after which everything is kept, 2^48-1: nothing is, 0: the slot is free (bits 0-47); number of the subscription in this slot (48-63)"`
	Limit    atomic.Uint64                          `doc:"bytes that may be kept for it"`
	Name     [MaxSubscriptionName / 8]atomic.Uint64 `doc:"its name, zeros after it"`
	_        [8]byte
}

// LiveCopy is what a copy of the space has said.
type LiveCopy struct {
	Maker    atomic.Uint64                          `doc:"incarnation that fills the slot; 0: none does"`
	Position atomic.Uint64                          `doc:"newest version that is durable there, 0: the slot is free (bits 0-47); number of the copy in this slot (48-63)"`
	Name     [MaxSubscriptionName / 8]atomic.Uint64 `doc:"its name, zeros after it"`
	_        [16]byte
}

// LiveStack is the head of a stack of batches: offset/16 in the low 40 bits,
// the low bits of the epoch above them.
type LiveStack struct {
	Head atomic.Uint64 `doc:"offset of the first batch divided by 16 (bits 0-39), epoch (40-63)"`
}

// LiveProcess is the entry of a process. Its owner holds a lock on a byte of
// the live file as long as it lives.
type LiveProcess struct {
	Incarnation atomic.Uint64 `doc:"incarnation of the owner; 0: never used"`
	Active      atomic.Uint64 `doc:"1: the process uses its lists of free space; a sweep must wait"`
	Heartbeat   atomic.Uint64 `doc:"grows while the process writes"`
	PID         atomic.Uint64 `doc:"process id, for people"`
	Started     atomic.Uint64 `doc:"time of opening, nanoseconds since 1970 UTC, for people"`
	Reserved    atomic.Uint64 `doc:"bytes that the process has reserved and not published"`
	WriteSince  atomic.Uint64 `doc:"time at which the running transaction was first seen, nanoseconds since 1970 UTC; 0: none"`
	Commits     atomic.Uint64 `doc:"transactions committed"`
	Command     [32]byte      `doc:"name of the command, for people"`
	LockFutex   atomic.Uint32 `doc:"futex of those in the process who have waited for a named lock for a while"`
	Namespace   atomic.Uint32 `doc:"PID namespace that the process id is of, an inode number; 0: unknown"`
	HeapSync    atomic.Uint64 `doc:"odd: the process is syncing the heap; grows by 1 when that begins and when its outcome is known"`
	JournalSync atomic.Uint64 `doc:"the same of the journal"`
	Dead        atomic.Uint64 `doc:"newest incarnation of this entry that is known to have ended; 0: none"`
}

// LiveSlot is a reader slot: a process's claim on one version.
type LiveSlot struct {
	Owner atomic.Uint64 `doc:"incarnation that uses the slot; 0: free"`
	State atomic.Uint64 `doc:"address of the state block that is held; 0: none"`
	Since atomic.Uint64 `doc:"time of the claim, nanoseconds since 1970 UTC, to a tenth of a second"`
	_     [40]byte
}

// LiveSize is the size of the live file, whole pages.
const LiveSize = (int64(unsafe.Sizeof(Live{})) + PageSize - 1) / PageSize * PageSize

var (
	_ [128]byte = [unsafe.Sizeof(LiveProcess{})]byte{}
	_ [64]byte  = [unsafe.Sizeof(LiveSlot{})]byte{}
	_ [64]byte  = [unsafe.Sizeof(LiveAnchor{})]byte{}
	_ [64]byte  = [unsafe.Sizeof(LiveSubscription{})]byte{}
	_ [64]byte  = [unsafe.Sizeof(LiveCopy{})]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Processes) % 128]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Recovering) % 128]byte{}
	_ [0]byte   = [LiveSize - int64(unsafe.Offsetof(Live{}.Seal)) - 8]byte{} // the last word of the file
	_ [16]byte  = [unsafe.Sizeof(LiveSegment{})]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Anchors) % 64]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Owner) % 128]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.End) % 128]byte{}
)

// NobodyAlive is an incarnation that no process ever has: the owner of a word that belongs
// to a dead process.
const NobodyAlive = 1<<64 - 1

// Entry returns the index of the process entry that the incarnation names.
func (i Incarnation) Entry() int { return int(i & (NumProcesses - 1)) }

// Bytes of the heap and live files that are locked. They lie far beyond any data.
const (
	LockGate     = int64(1) << 62             // heap: exclusive while a space is opened or closed
	LockPresence = LockGate + 1               // heap: shared by every process that has the space open
	LockProcess  = int64(1)<<62 + 2           // live: plus the index of a process entry: its owner's, while that lives
	LockReap     = LockProcess + NumProcesses // live: plus the index: of the process that makes the entry ready for its next owner
	LockVersions = int64(1) << 61             // heap: plus the offset of a state block divided by 16: shared by readers of that version that cannot write
)
