package everheap

import (
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/layout"
)

// Errors about what was asked for.
var (
	// ErrNotFound: the key is not in the map, the index not in the list, the object
	// does not exist any more, or the collection or the space is not there and nothing
	// may be created.
	ErrNotFound = engine.ErrNotFound
	// ErrExists: there is one of that name already.
	ErrExists = engine.ErrExists
	// ErrNilHandle: the handle is the zero value; it refers to nothing.
	ErrNilHandle = engine.ErrNilHandle
	// ErrDangling: the handle is of another space; or a value to be stored holds a
	// handle of another space, or of an object that does not exist.
	ErrDangling = engine.ErrDangling
	// ErrTooLarge: one value is larger than a block can be.
	ErrTooLarge = engine.ErrTooLarge
	// ErrNaN: a key is or holds a floating-point NaN, which equals nothing.
	ErrNaN = layout.ErrNaN
	// ErrChanged: the value was changed by another goroutine while it was copied.
	ErrChanged = layout.ErrChanged
)

// Errors about types; errors.As finds the *TypeError with the details.
var (
	// ErrTypeChanged: the object is stored with another type than the program's, or
	// is of another kind. The TypeError says how they differ, field by field.
	ErrTypeChanged = engine.ErrTypeChanged
	// ErrUnstorable: the type cannot be stored. The TypeError names the field and
	// says what to use instead.
	ErrUnstorable = engine.ErrUnstorable
)

// Errors about the state of the space or the transaction.
var (
	// ErrClosed: the space is closed, or the transaction has ended.
	ErrClosed = engine.ErrClosed
	// ErrForked: the space was opened by the process that this one is a fork of, by fork
	// without exec. The parent's handles work in the parent alone; a fork opens the
	// space again. A fork that was made inside a transaction is not in it.
	ErrForked = engine.ErrForked
	// ErrShared: several goroutines have used the Tx of an Update at once; it belongs to
	// the one that runs its function. Nothing was changed. It is found out wherever two
	// changes meet, and where a read begins in the middle of a change.
	ErrShared = engine.ErrShared
	// ErrReadOnly: the space was opened with WithReadOnly, or the transaction is a View.
	ErrReadOnly = engine.ErrReadOnly
	// ErrBusy: the context ended while another process or goroutine was writing;
	// the error names the process.
	ErrBusy = engine.ErrBusy
	// ErrSuspended: this process stood still in the middle of the transaction, and
	// another one took over. Nothing was changed; try again.
	ErrSuspended = engine.ErrSuspended
	// ErrSuperseded: the state of a Resume was changed by somebody else since this run
	// read it: by Restore, or by whoever else set it. What the run has changed since its
	// last checkpoint is undone; Resume, called again, goes on from the state as it is.
	ErrSuperseded = engine.ErrSuperseded
	// ErrSelf: the goroutine is in an Update of the space already, and would wait
	// for itself: use the Tx instead of the Space. Or it has locked the Mutex already,
	// or is in a Resume already, or in the middle of what cannot be interrupted there.
	ErrSelf = engine.ErrSelf
)

// Errors of named locks, besides ErrBusy, ErrSelf and ErrClosed.
var (
	// ErrOwnerDied: the lock is held now. The previous holder died, or ended without
	// releasing it, so what the lock protects may be inconsistent: repair it, then
	// release the lock as usual.
	ErrOwnerDied = engine.ErrOwnerDied
	// ErrNotHeld: the Mutex that is unlocked is not locked, or the Semaphore has no
	// unit to release, by this handle on the space.
	ErrNotHeld = engine.ErrNotHeld
	// ErrUnitsDiffer: others use the Semaphore with another number of units; or
	// there can be no semaphore with that many.
	ErrUnitsDiffer = engine.ErrUnitsDiffer
	// ErrTooManyLocks: no more names can be held or waited for at once; or no more
	// units of semaphores. everheap locks shows who holds what.
	ErrTooManyLocks = engine.ErrTooManyLocks
)

// Errors of the machine.
var (
	// ErrNoSpace: the disk is full, or the space has reached its maximum size. The
	// transaction has failed; all else goes on.
	ErrNoSpace = engine.ErrNoSpace
	// ErrMaxSize: the space has another maximum size than WithMaxSize says; or Resize
	// cannot give it the one that is wanted. The error says the size, and what to do.
	ErrMaxSize = engine.ErrMaxSize
	// ErrCorrupt: bytes of the space are damaged; errors.As finds the *CorruptError.
	ErrCorrupt = engine.ErrCorrupt
	// ErrFault: a write through a borrowed pointer, or a page that could not be read.
	ErrFault = engine.ErrFault
	// ErrIO: a write or sync to disk failed. Reads go on; writes are refused, in all
	// processes, until the space was closed by all and is opened again. What was
	// committed and not yet acknowledged as durable may be visible, and is lost if
	// the power fails before that. Of Open: a file could not be read.
	ErrIO = engine.ErrIO
	// ErrReplaced: a file of the space was removed, moved out of its directory, or
	// replaced by another one, while the space is open; the error names it. What is
	// written now would be found by nobody: so writes are refused as with ErrIO, which
	// it is as well, and reads and backups go on. If the whole directory was moved,
	// the space works on.
	ErrReplaced = engine.ErrReplaced
	// ErrLiveLost: the live file, in which the processes that have the space open agree, was
	// truncated or written over in its place while the space is open. It is ErrReplaced as
	// well. Nobody knows any more who reads what and who writes where: so this process does
	// nothing with the space from now on, reads included, and says this for every call; what
	// waits in it ends with it; others find out when they next do something, or within a
	// moment. What was durable is safe. Of what else was committed the last flush interval
	// may be lost, as after a loss of power. Close the space, in all processes; Close returns
	// this as well, and frees what it can. Then open it again, which recovers it.
	ErrLiveLost = engine.ErrLiveLost
	// ErrUnsupported: the operating system, the processor or the file system lacks
	// what spaces need; the error says what, and what to do.
	ErrUnsupported = engine.ErrUnsupported
	// ErrAddressInUse: the addresses of the space's window are taken in this process,
	// perhaps by a space of which this one is a copy: Rebase gives it others.
	ErrAddressInUse = engine.ErrAddressInUse
)

// TypeError says how a stored type and the program's differ (ErrTypeChanged), or
// why a type cannot be stored (ErrUnstorable).
type TypeError = engine.TypeError

// CorruptError says which bytes are damaged: file, offset, what.
type CorruptError = engine.CorruptError

// FaultError says at which address a memory access failed.
type FaultError = engine.FaultError
