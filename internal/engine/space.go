// Package engine runs the transactions of a space: begin, commit, view, open,
// recover, anchor, sweep. Each is a sequence of named steps; the parts are those
// of the packages below. What a transaction does to objects is that of package edit.
//
// Invariants of this package (those of blocks, I1 to I9, are in package heap;
// those of coordination, L1 to L16, in package live):
//
//	E1  A transaction starts from a state that its slot holds, and publishes by
//	    one compare-and-swap from that very state. Whatever happened in between,
//	    it publishes on top of what it saw or not at all.
//	E2  Before the swap everything that the new version needs is in the file's
//	    pages, sealed; after it nothing has to be done for the version to stand.
//	    So a process can die between any two instructions.
//	E3  After taking over from a process that is alive, the new holder publishes
//	    a version of its own before it does anything else; from then on the
//	    sleeper's swap can only fail.
//	E4  An anchor is written in this order: hold the version; claim a slot;
//	    protect the version by the claim; note the end of the reserved space;
//	    sync the heap; write the slot; sync; confirm. So an anchor on disk names
//	    only what is on disk, and what it names is protected from before it can be
//	    on disk until two newer ones are confirmed.
//	E5  Clean is set before an anchor that lists the free space is written, and
//	    cleared only after a newer anchor that does not is on disk. Nothing is
//	    allocated while it is set. So after power loss no list of free space is
//	    believed that was used since.
//	E6  A goroutine touches the memory of the heap file, or the words of live, only
//	    while a memory fault is a panic in it, and no such panic leaves a lock, a slot
//	    or a list of free space in the middle of something: see guard.go and, for
//	    live, X2.
//	E7  After a failed write or sync nothing is acknowledged as durable, by
//	    whatever process, before what may be lost was written anew: see syncJournal,
//	    makeGood and heal.
//	E8  Whoever touches the memory or the files of a space has something meanwhile
//	    that Close waits for: the queue, a slot, an entry in the count of views, or,
//	    a goroutine of the background, one in done; and who lets go of one of them
//	    and goes on has taken another one before. Close says that the space is
//	    closed and waits for all of them after that, for the queue first, since who
//	    has it may enter; and whoever takes one later finds the space closed, and
//	    touches nothing. (beginDrain, drained, enter, takeTurn, live.HoldUnless)
//
// Start reading at Space, then Space.Begin and Tx.Commit.
package engine

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// HeapName is the name of the heap file in the directory of a space.
const HeapName = spacefile.HeapName

// Space is an open space. All handles on it in one process are one Space, which
// counts them.
type Space struct {
	dir      *spacefile.Dir
	options  Options
	header   *format.Header // of dir
	readOnly bool
	process  uint64 // mapping.Generation of the process that opened it
	guest    bool   // it reads, and may not write any file: see live.OpenGuest

	region *mapping.Region // it owns the heap file
	live   *live.Live
	heap   *heap.Heap
	reader heap.Reader

	queue  queue
	txn    heap.Txn // of the transaction that has the queue
	writes writer   // reused for transactions without a handle
	writer *Tx      // that has the queue, or had it last
	closed atomic.Bool
	views  atomic.Int64          // operations in progress that hold no slot
	lost   atomic.Pointer[error] // why nothing begins any more, if live is lost (X1); nil: it is not
	gone   chan struct{}         // closed then
	store  edit.Store            // what transactions know of types and versions

	resuming atomic.Pointer[[]*Resumption] // nil: none

	locks    lockTable // named ones
	watching watching

	collecting collecting

	journal journaling
	anchor  struct {
		sync.Mutex
		last     time.Time
		duration time.Duration
	}
	anchorDoubts spacefile.Doubts // of the recovery, if there was one

	healing bool // this process writes anew what a failed sync may have lost
	doubt   struct {
		heap, journal *live.Doubt // whether what was there before is on disk; nil: it is known
	}
	remedies remedies
	sweeping sync.Mutex // by one goroutine at a time
	relieved time.Time  // when a full transaction swept last; of whoever has the queue

	stopped atomic.Pointer[error] // why nothing can be written any more, if that is not the disk's fault

	failure atomic.Pointer[error] // of the background's last try
	faults  int64                 // pages that the process had waited for before the space was opened
	quit    chan struct{}
	done    sync.WaitGroup
}

// name is what errors call the space.
func (sp *Space) name() string { return filepath.Base(sp.dir.Opened()) }

// Dir returns the path of the directory of the space, as it is now.
func (sp *Space) Dir() string { return sp.dir.Path() }

// Tag returns the tag of the IDs of this space.
func (sp *Space) Tag() uint16 { return sp.header.Tag }

// Window returns the base address and the size of the window.
func (sp *Space) Window() (base, size uint64) { return sp.header.Base, sp.header.Window }

// Closed reports whether the last handle was closed.
func (sp *Space) Closed() bool { return sp.closed.Load() }

// Header returns what was fixed when the space was created.
func (sp *Space) Header() format.Header { return *sp.header }

// StoredWindow reads the window of the space in a directory without opening it.
func StoredWindow(dir string) (base, size uint64, err error) {
	f, err := mapping.OpenFile(filepath.Join(dir, HeapName), os.O_RDONLY, 0)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	h, err := spacefile.ReadHeader(f)
	if err != nil {
		return 0, 0, openError(dir, err)
	}
	return h.Base, h.Window, nil
}

// HeapFile returns the path of the heap file, and the offset of an address in it.
func (sp *Space) HeapFile(a format.Addr) (string, int64) {
	off := int64(0)
	if uint64(a) >= sp.header.Base {
		off = int64(uint64(a) - sp.header.Base)
	}
	return sp.dir.Join(HeapName), off
}
