package format

import (
	"sync/atomic"
	"unsafe"
)

// Sizes of the tables of named locks in the live file.
const (
	NumLocks = 1 << LockIndexBits
	// LockIndexBits is the number of bits of the index of an entry of a lock.
	LockIndexBits = 10
	// NumUnits is how many permits all semaphores have together.
	NumUnits = 4096
	// MaxLockName is the number of bytes that the name of a lock can have.
	MaxLockName = 128
)

// LockOffered, in a word that names the holder of a mutex or a permit, says that it is only
// offered to that incarnation. No incarnation has that bit.
const LockOffered = 1 << 63

// Phases of the entry of a lock, in the low bits of its State.
const (
	LockFree    = 0 // of no lock
	LockClaimed = 1 // the claimant is naming it, or died before it had
	LockNamed   = 2 // of the lock with its name
	LockLeaving = 3 // of the lock with its name; the claimant wants it for another one
	// LockPhaseBits is the number of bits of the phase; the generation is above.
	LockPhaseBits = 2
)

// LiveLock is the entry of a named lock: a mutex, or a semaphore, whose permits are
// elsewhere. Taking the lock touches only the first cache line.
type LiveLock struct {
	Owner     atomic.Uint64                    `doc:"incarnation that holds the mutex, with bit 63 if it is only offered; 0: free"`
	Since     atomic.Uint64                    `doc:"time at which it was taken, nanoseconds since 1970 UTC, to a tenth of a second; or at which it was offered"`
	State     atomic.Uint64                    `doc:"phase (bits 0-1): 0 free, 1 claimed, 2 named, 3 leaving; generation (2-63), which grows with each claim"`
	Futex     atomic.Uint32                    `doc:"futex of those who have begun to wait"`
	Contended atomic.Uint32                    `doc:"1: somebody may wait"`
	Claimant  atomic.Uint64                    `doc:"incarnation that may claim the entry for another name; 0: none"`
	Stamp     atomic.Uint64                    `doc:"number of the naming by which the entry gets its name"`
	Hash      atomic.Uint32                    `doc:"CRC32C of the name"`
	Length    atomic.Uint32                    `doc:"bytes of the name"`
	Units     atomic.Uint32                    `doc:"units of the semaphore; 0: it is a mutex"`
	First     atomic.Uint32                    `doc:"index of the first of its units"`
	Waiting   [NumProcesses / 64]atomic.Uint64 `doc:"one bit for each process entry: somebody there has waited for a while"`
	Name      [MaxLockName / 8]atomic.Uint64   `doc:"the name, zeros after it"`
}

// LiveUnit is a permit of a semaphore.
type LiveUnit struct {
	Lock  atomic.Uint64 `doc:"whose unit it is: index of the entry (bits 0-9), generation (10-63); stale if the entry is of another generation"`
	Owner atomic.Uint64 `doc:"incarnation that holds the unit, with bit 63 if it is only offered; 0: free"`
	Since atomic.Uint64 `doc:"time at which it was taken, nanoseconds since 1970 UTC, to a tenth of a second; or at which it was offered"`
	_     [8]byte
}

var (
	_ [256]byte = [unsafe.Sizeof(LiveLock{})]byte{}
	_ [64]byte  = [unsafe.Offsetof(LiveLock{}.Waiting)]byte{}
	_ [32]byte  = [unsafe.Sizeof(LiveUnit{})]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Namings) % 128]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Locks) % 128]byte{}
	_ [0]byte   = [unsafe.Offsetof(Live{}.Units) % 128]byte{}
)
