package everheap

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/layout"
)

// Errors about what was asked for.
var (
	// ErrNotFound: the map lacks the key, the list lacks the index, the object no longer
	// exists, or the collection or space is missing and may not be created here.
	ErrNotFound = failure.ErrNotFound
	// ErrExists: the name is in use.
	ErrExists = failure.ErrExists
	// ErrNilHandle: the handle is the zero value; it refers to nothing.
	ErrNilHandle = failure.ErrNilHandle
	// ErrDangling: the handle belongs to another space; or a value to be stored holds a
	// handle of another space, or of an object that does not exist.
	ErrDangling = failure.ErrDangling
	// ErrDuplicate: another entry has the value in a unique index; errors.As finds the
	// *DuplicateError, which names both. Nothing was changed.
	ErrDuplicate = failure.ErrDuplicate
	// ErrTooLarge: one value is larger than a block can be.
	ErrTooLarge = failure.ErrTooLarge
	// ErrNaN: a key is or contains a floating-point NaN, which equals nothing.
	ErrNaN = layout.ErrNaN
	// ErrChanged: another goroutine changed the value while it was copied.
	ErrChanged = layout.ErrChanged
)

// Errors about types; errors.As finds the *TypeError with the details.
var (
	// ErrTypeChanged: the object is stored with another type than the program's, or is
	// of another kind. The TypeError shows the difference, field by field.
	ErrTypeChanged = failure.ErrTypeChanged
	// ErrUnstorable: the type cannot be stored, or its values cannot be read in place. The
	// TypeError names the field and says what to use instead.
	ErrUnstorable = failure.ErrUnstorable
	// ErrUnregistered: a value in an interface has a concrete type that this program has not
	// registered (see Register), or one that does not implement the interface.
	ErrUnregistered = failure.ErrUnregistered
)

// Errors about the state of the space or the transaction.
var (
	// ErrClosed: the space is closed, or the transaction has ended.
	ErrClosed = failure.ErrClosed
	// ErrForked: this process is a fork without exec of the process that opened the
	// space. The parent's handles work in the parent only; a fork opens the space again.
	// A fork made inside a transaction is not in it.
	ErrForked = failure.ErrForked
	// ErrShared: several goroutines used the Tx of an Update at once; it belongs to the
	// goroutine that runs its function. Nothing was changed. The check catches two
	// changes that meet, and a read that begins in the middle of a change.
	ErrShared = edit.ErrShared
	// ErrReadOnly: the space was opened with WithReadOnly, or the transaction is a View.
	ErrReadOnly = failure.ErrReadOnly
	// ErrBusy: the context ended while the call waited for another process or goroutine;
	// the error names the process.
	ErrBusy = failure.ErrBusy
	// ErrSuspended: this process stood still in the middle of the transaction, and
	// another process took over. Nothing was changed; try again. A process stands still that
	// is stopped; and one that gets no processor for a second or more while others do, or
	// waits so long for the disk.
	ErrSuspended = failure.ErrSuspended
	// ErrSuperseded: somebody else changed the state of a Resume since this run read it,
	// by Restore or by setting it. The run's changes since its last checkpoint are
	// undone; Resume, called again, continues from the state as it is.
	ErrSuperseded = failure.ErrSuperseded
	// ErrSelf: the call would wait for its own goroutine. That is in an Update of the
	// space (use the Tx instead of the Space), holds the Mutex, is in a Resume, or is in
	// the middle of something that cannot be interrupted there.
	ErrSelf = failure.ErrSelf
)

// Errors of changes and replicas.
var (
	// ErrNotKept: the changes since that version are not kept any more. Begin again with a
	// Backup, after you have subscribed.
	ErrNotKept = failure.ErrNotKept
	// ErrNotReplicated: fewer copies than an Update wanted (WithReplicas) said in time that they
	// have it. It is committed, and durable here.
	ErrNotReplicated = failure.ErrNotReplicated
	// ErrOutOfOrder: the frame is not that of the version right after the replica's.
	ErrOutOfOrder = failure.ErrOutOfOrder
	// ErrDiverged: the frame is of another history than the replica's version.
	ErrDiverged = failure.ErrDiverged
)

// Errors of named locks, besides ErrBusy, ErrSelf and ErrClosed.
var (
	// ErrOwnerDied: the caller holds the lock now. The previous holder died, or ended
	// without releasing it, so what the lock protects may be inconsistent: repair it,
	// then release the lock as usual.
	ErrOwnerDied = failure.ErrOwnerDied
	// ErrNotHeld: this handle on the space does not hold the Mutex, or holds no permit of
	// the Semaphore.
	ErrNotHeld = failure.ErrNotHeld
	// ErrUnitsDiffer: others use the Semaphore with another number of permits; or no
	// semaphore can have that many.
	ErrUnitsDiffer = failure.ErrUnitsDiffer
	// ErrTooManyLocks: too many names of locks, or permits of semaphores, are in use at
	// once. everheap locks shows which process holds what.
	ErrTooManyLocks = failure.ErrTooManyLocks
)

// Errors of the machine.
var (
	// ErrNoSpace: the disk is full, or the space has reached its maximum size. The
	// transaction has failed; everything else continues.
	ErrNoSpace = failure.ErrNoSpace
	// ErrMaxSize: the space has another maximum size than WithMaxSize says; or Resize
	// cannot give it the requested one. The error says the size, and what to do.
	ErrMaxSize = failure.ErrMaxSize
	// ErrCorrupt: bytes of the space are damaged; errors.As finds the *CorruptError.
	ErrCorrupt = failure.ErrCorrupt
	// ErrFault: the program wrote through a borrowed pointer, or a page could not be read.
	ErrFault = failure.ErrFault
	// ErrIO: a write or sync to disk failed. Reads continue; writes fail in all processes
	// until every process has closed the space and one opens it again. A commit that was
	// not acknowledged as durable may be visible, and is lost if the power fails before
	// that. From Open: a file could not be read.
	ErrIO = failure.ErrIO
	// ErrReplaced: a file of the space was removed, moved out of its directory, or
	// replaced, while the space is open; the error names it. No later opener would find
	// what is written now, so writes fail as with ErrIO, which it is as well; reads and
	// backups continue. If the whole directory was moved, the space continues to work.
	ErrReplaced = failure.ErrReplaced
	// ErrLiveLost: the live file, through which the processes coordinate, was truncated or
	// overwritten while the space is open. It is ErrReplaced as well. Nobody knows any more
	// which process reads or writes what, so every call in this process returns this error,
	// reads included, and waiting calls end with it; other processes find out at their next
	// call, or within a moment. What was durable is safe. Of other commits the last flush
	// interval may be lost, as after a power loss. Close the space in all processes (Close
	// returns this error too, and frees what it can), then open it again: Open recovers it.
	ErrLiveLost = failure.ErrLiveLost
	// ErrUnsupported: the operating system, the processor or the file system lacks what
	// spaces need; the error says what, and what to do.
	ErrUnsupported = failure.ErrUnsupported
	// ErrAddressInUse: this process uses the addresses of the space's window already,
	// perhaps for a space of which this one is a copy: Rebase gives the copy others.
	ErrAddressInUse = failure.ErrAddressInUse
)

// TypeError says how a stored type and the program's differ (ErrTypeChanged), or
// why a type cannot be stored (ErrUnstorable) or be in an interface (ErrUnregistered).
type TypeError = failure.TypeError

// DuplicateError says which two entries would have one value in a unique index.
type DuplicateError = failure.DuplicateError

// JSONError says why a JSON text is not a key or a value of a collection.
type JSONError = failure.JSONError

// BinaryError says why bytes are not the binary form of a key or a value of a collection.
type BinaryError = failure.BinaryError

// CorruptError says which bytes are damaged: file, offset, what.
type CorruptError = failure.CorruptError

// FaultError says at which address a memory access failed.
type FaultError = failure.FaultError
