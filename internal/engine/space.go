// Package engine runs the transactions of a space (begin, commit, view), and it assembles the space
// (open, close, background work). Each of these is a sequence of named steps, made of parts from
// the packages below: package member has what one process has of the space and who may touch it,
// package durable makes versions last, and package edit reads and changes objects in a transaction.
//
// Invariants of this package (those of blocks, I1 to I9, are in package heap;
// those of coordination, L1 to L16, in package live):
//
//	E1  A transaction starts from a state that its slot holds, and publishes by one
//	    compare-and-swap from that very state. So whatever happened in between, it publishes on
//	    top of the state that it saw, or not at all.
//	E2  Before the swap everything that the new version needs is sealed, in the pages of the file;
//	    after the swap the version stands without any further step. So a process can die between
//	    any two instructions.
//	E3  A process that takes over from one that is alive publishes a version of its own before it
//	    does anything else; from then on the swap of the sleeping process can only fail.
//	E4  A process writes an anchor in this order: hold the version; claim a slot; protect the
//	    version by the claim; note the end of the reserved space; sync the heap; write the slot;
//	    sync; confirm. So an anchor on disk names only what is on disk. What it names is protected
//	    from before the anchor can be on disk until two newer anchors are confirmed.
//	E5  A process sets Clean before it writes an anchor that lists the free space, and clears it
//	    only after a newer anchor without such a list is on disk. No process allocates while Clean
//	    is set. So after power loss no process trusts a list of free space that was used since.
//	E6  A goroutine touches the memory of the heap file, or the words of live, only while a memory
//	    fault in it becomes a panic, and no such panic leaves a lock, a slot or a list of free
//	    space half changed: see package member and, for live, X2.
//	E7  After a failed write or sync no process acknowledges anything as durable before everything
//	    that may be lost was written anew: see package durable, sync.go.
//	E8  While a goroutine touches the memory or the files of a space, it has something that Close
//	    waits for: the queue, a slot, an entry in the count of views, or, for a goroutine of the
//	    background, an entry in done; and a goroutine that releases one of them and continues has
//	    taken another one before. Close first marks the space as closed, and then waits for all of
//	    them: for the queue first, since a goroutine that has it may enter. A goroutine that takes
//	    one of them later finds the space closed, and touches nothing. (beginDrain, drained,
//	    member.Enter, turn.Take, live.HoldUnless)
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
	writer      *Tx        // the transaction that has the queue, or had it last
	span        *span      // of the writer, if it has a handle and is traced
	store       edit.Store // caches of types and versions

	traces   atomic.Pointer[[]*Trace]      // functions that trace writing transactions; nil: none
	spans    atomic.Uint64                 // how many transactions were traced
	resuming atomic.Pointer[[]*Resumption] // nil: none

	locks    locks.Table // named locks
	watchers watch.Watchers

	collections collect.Collections

	clock   expiry.Clock // by which entries expire
	Remover expiry.Remover

	durable durable.Writer
	upkeep  upkeep.Upkeep

	faults int64 // page faults of the process before the space was opened
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
