// Package member has the state of one process in an open space: the files, the memory to
// which they are mapped, the words of live, and the queue of the writers. It decides which
// code may touch them, and turns a memory fault into an error.
//
// An operation that touches the memory or the files of a space first enters (Member.Enter),
// or holds the queue or a slot, so that Close waits for it (E8). It also runs in a guard
// (Member.Guarded), so that a memory fault becomes an error (E6). The packages above rely on
// both: named locks, the journal and the anchors, sweeps, and the transactions of the
// engine. Each of them has a pointer to the one Member, and keeps its own state beside it.
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

// Member is the state of this process in a space. The opener of the space fills the exported
// fields one after the other; then they do not change.
type Member struct {
	Files    *spacefile.Dir
	Head     *format.Header // the header of the heap file, which never changes
	ReadOnly bool
	Guest    bool // this process has no permission to write the files: see live.OpenGuest

	Region *mapping.Region // owns the heap file
	Live   *live.Live      // nil: not yet
	Heap   *heap.Heap      // nil: not yet
	Reader heap.Reader     // verifies each block, unless all were verified before

	Queue queue.Queue    // its holder may take the turn, and use the lists of free space
	Shut  atomic.Bool    // no operation may begin
	Gone  chan struct{}  // closed when live is lost (X1)
	Quit  chan struct{}  // closed when the background goroutines are to end
	Done  sync.WaitGroup // for the background goroutines

	Own OwnHolds

	// Full returns the error for an operation that found no space left, and says what would
	// help. nil: Kind leaves such an error as it is.
	Full func(error) error

	process uint64                // mapping.Generation of the process that opened the space
	views   atomic.Int64          // operations in progress that have entered
	lost    atomic.Pointer[error] // the error of X1; nil: live is not lost
	failure atomic.Pointer[error] // the last error of background work
}

// Start initializes the member of this process, which is about to open the space in files.
func (m *Member) Start(files *spacefile.Dir, readOnly bool) {
	m.Files, m.ReadOnly, m.process = files, readOnly, mapping.Generation()
	m.Quit, m.Gone = make(chan struct{}), make(chan struct{})
	m.Queue.Over = m.Gone
}

// name returns the name of the space in errors.
func (m *Member) name() string { return filepath.Base(m.Files.Opened()) }

// Dir returns the present path of the directory of the space.
func (m *Member) Dir() string { return m.Files.Path() }

// Tag returns the tag of the IDs of this space.
func (m *Member) Tag() uint16 { return m.Head.Tag }

// Window returns the base address and the size of the window.
func (m *Member) Window() (base, size uint64) { return m.Head.Base, m.Head.Window }

// Closed reports whether the last handle was closed.
func (m *Member) Closed() bool { return m.Shut.Load() }

// Header returns the header of the heap file, which never changes.
func (m *Member) Header() format.Header { return *m.Head }

// HeapFile returns the path of the heap file, and the offset of an address in it.
func (m *Member) HeapFile(a format.Addr) (string, int64) {
	off := int64(0)
	if uint64(a) >= m.Head.Base {
		off = int64(uint64(a) - m.Head.Base)
	}
	return m.Files.Join(spacefile.HeapName), off
}

// Enter begins an operation that holds neither a slot nor the turn, so that Close waits for
// it; Exit must follow.
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

// Exit ends an operation that Enter or Stay began.
func (m *Member) Exit() { m.views.Add(-1) }

// Stay is Enter for an operation that keeps Close waiting already, by the turn or a slot,
// and is about to release that (E8).
func (m *Member) Stay() { m.views.Add(1) }

// Views reports whether an operation that has entered is in progress.
func (m *Member) Views() bool { return m.views.Load() != 0 }

// StateAt returns the state in the state block of a published version, which the caller holds.
func StateAt(a format.Addr) *format.State {
	return (*format.State)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize))
}

// Quitting reports whether the background goroutines are to end.
func (m *Member) Quitting() bool {
	select {
	case <-m.Quit:
		return true
	default:
		return false
	}
}

// Note remembers the error of background work, for Stats.
func (m *Member) Note(err error) {
	if err != nil && !errors.Is(err, failure.ErrClosed) { // closing is not a failure
		m.failure.Store(&err)
	}
}

// Failure returns the error that was noted last; nil: none.
func (m *Member) Failure() error {
	if err := m.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Located adds the file, the offset and the object to an error about damage, unless it has an offset already.
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
