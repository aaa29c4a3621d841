// Package member is what one process has of a space that it has open: the files, the memory
// that they are mapped to, the words of live, and the queue of those who write. It says
// who may touch them, and what becomes of one who does and meets a fault.
//
// Who touches the memory or the files of a space enters (Member.Enter), or has the queue or a
// slot, so that Close waits (E8), and is in a guard (Member.Guarded), so that a fault is an
// error (E6). What is above this package rests on that: named locks, the journal and the
// anchors, sweeps, and the transactions of the engine. Each of them has a pointer to the
// one Member, and all of its own beside it.
//
// Start reading at Member and Member.Guarded.
package member

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/queue"
	"github.com/everheap/everheap/internal/spacefile"
)

// Member is the part of this process in a space. Who opens the space fills the exported
// fields, one after the other; they stay as they are from then on.
type Member struct {
	Files    *spacefile.Dir
	Head     *format.Header // of Files: what was fixed when the space was created
	ReadOnly bool
	Guest    bool // it reads, and may not write any file: see live.OpenGuest

	Region *mapping.Region // it owns the heap file
	Live   *live.Live      // nil: not yet
	Heap   *heap.Heap      // nil: not yet
	Reader heap.Reader     // of what was verified before, or verifies

	Queue queue.Queue    // whoever has it may take the turn, and use the lists of free space
	Shut  atomic.Bool    // nothing begins any more
	Gone  chan struct{}  // closed when live is lost (X1)
	Quit  chan struct{}  // closed when the background is to end
	Done  sync.WaitGroup // of the background

	Own OwnHolds

	// Full returns the error of one who finds no space left: what would help. nil: nothing is
	// known of that.
	Full func(error) error

	process uint64                // mapping.Generation of the process that opened it
	views   atomic.Int64          // operations in progress that hold no slot
	lost    atomic.Pointer[error] // why nothing begins any more, if live is lost (X1); nil: it is not
	failure atomic.Pointer[error] // of the background's last try
}

// Start makes it the member of this process, which is about to open the space of a directory.
func (m *Member) Start(files *spacefile.Dir, readOnly bool) {
	m.Files, m.ReadOnly, m.process = files, readOnly, mapping.Generation()
	m.Quit, m.Gone = make(chan struct{}), make(chan struct{})
	m.Queue.Over = m.Gone
}

// name is what errors call the space.
func (m *Member) name() string { return filepath.Base(m.Files.Opened()) }

// Dir returns the path of the directory of the space, as it is now.
func (m *Member) Dir() string { return m.Files.Path() }

// Tag returns the tag of the IDs of this space.
func (m *Member) Tag() uint16 { return m.Head.Tag }

// Window returns the base address and the size of the window.
func (m *Member) Window() (base, size uint64) { return m.Head.Base, m.Head.Window }

// Closed reports whether the last handle was closed.
func (m *Member) Closed() bool { return m.Shut.Load() }

// Header returns what was fixed when the space was created.
func (m *Member) Header() format.Header { return *m.Head }

// HeapFile returns the path of the heap file, and the offset of an address in it.
func (m *Member) HeapFile(a format.Addr) (string, int64) {
	off := int64(0)
	if uint64(a) >= m.Head.Base {
		off = int64(uint64(a) - m.Head.Base)
	}
	return m.Files.Join(spacefile.HeapName), off
}

// Enter says that an operation begins which holds no slot and no turn, so that Close waits
// for it; Exit must follow.
func (m *Member) Enter() error {
	if m.Forked() {
		return failure.ErrForked
	}
	m.views.Add(1)
	if m.Shut.Load() {
		m.views.Add(-1)
		return m.WhyClosed()
	}
	return nil
}

// Exit ends what Enter, or Stay, began.
func (m *Member) Exit() { m.views.Add(-1) }

// Stay is Enter for one who holds Close off already, by the turn or a slot, and is about to
// let go of that (E8).
func (m *Member) Stay() { m.views.Add(1) }

// Views reports whether an operation is in progress that has entered.
func (m *Member) Views() bool { return m.views.Load() != 0 }

// StateAt returns the state in a block that is held and was published.
func StateAt(a format.Addr) *format.State {
	return (*format.State)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize))
}

// Quitting reports whether the background work is to end.
func (m *Member) Quitting() bool {
	select {
	case <-m.Quit:
		return true
	default:
		return false
	}
}

// Note remembers the outcome of work that nobody waits for, for Stats.
func (m *Member) Note(err error) {
	if err != nil && !errors.Is(err, failure.ErrClosed) { // which is none of the background's
		m.failure.Store(&err)
	}
}

// Failure returns what was noted last; nil: nothing.
func (m *Member) Failure() error {
	if err := m.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Located says of damage where it is, if it does not say so itself.
func (m *Member) Located(object uint64, a format.Addr, err error) error {
	if d := (*format.DamageError)(nil); errors.As(err, &d) && d.Offset != 0 {
		return err
	}
	_, off := m.HeapFile(a)
	what := err.Error()
	if object != 0 {
		what = fmt.Sprintf("object %d: %s", object, what)
	}
	return &format.DamageError{File: spacefile.HeapName, Offset: off, What: what}
}
