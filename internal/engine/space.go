// Package engine runs the transactions of a space: begin, commit, view; and it puts the space
// together: open, close, what is done in the background. Each is a sequence of named
// steps; the parts are those of the packages below. What one process has of the space, and
// who may touch it, is package member; what makes a version last is package durable; what a
// transaction does to objects is that of package edit.
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
//	    or a list of free space in the middle of something: see package member and, for
//	    live, X2.
//	E7  After a failed write or sync nothing is acknowledged as durable, by
//	    whatever process, before what may be lost was written anew: see package
//	    durable, sync.go.
//	E8  Whoever touches the memory or the files of a space has something meanwhile
//	    that Close waits for: the queue, a slot, an entry in the count of views, or,
//	    a goroutine of the background, one in done; and who lets go of one of them
//	    and goes on has taken another one before. Close says that the space is
//	    closed and waits for all of them after that, for the queue first, since who
//	    has it may enter; and whoever takes one later finds the space closed, and
//	    touches nothing. (beginDrain, drained, member.Enter, turn.Take, live.HoldUnless)
//
// Start reading at Space, then Space.Begin and Tx.Commit.
package engine

import (
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/everheap/everheap/internal/changes"
	"github.com/everheap/everheap/internal/checkpoint"
	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/expiry"
	"github.com/everheap/everheap/internal/locks"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/turn"
	"github.com/everheap/everheap/internal/upkeep"
	"github.com/everheap/everheap/internal/watch"
)

// HeapName is the name of the heap file in the directory of a space.
const HeapName = spacefile.HeapName

// Space is an open space. All handles on it in one process are one Space, which
// counts them.
type Space struct {
	member.Member
	options Options

	turn        turn.Turn
	Checkpoints checkpoint.Keeper
	Changes     changes.Keeper
	writes      writer     // reused for transactions without a handle
	writer      *Tx        // that has the queue, or had it last
	span        *span      // of the writer, if it has a handle and somebody is told of it
	store       edit.Store // what transactions know of types and versions

	traces   atomic.Pointer[[]*Trace]      // who is told of transactions that write; nil: nobody
	spans    atomic.Uint64                 // transactions that were told of
	resuming atomic.Pointer[[]*Resumption] // nil: none

	locks    locks.Table // named ones
	watchers watch.Watchers

	collections collect.Collections

	clock   expiry.Clock // by which entries expire
	Remover expiry.Remover

	durable durable.Writer
	upkeep  upkeep.Upkeep

	faults int64 // pages that the process had waited for before the space was opened
}

// NewSession returns a new handle on the space, for its locks and watches.
func (sp *Space) NewSession() *watch.Session { return watch.NewSession(&sp.locks, &sp.watchers) }

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
