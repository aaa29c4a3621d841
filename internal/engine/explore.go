//go:build explore

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
)

// Package explore uses this file: it opens one directory as several spaces in one process, and each
// of them is a process of its own to the others. They share the mapping of the heap, and nothing
// else.

// shared is the region that all of them map.
var shared struct {
	sync.Mutex
	region *mapping.Region
}

// mapShared stands for mapping.Map in the instrumented sources.
func mapShared(f mapping.File, base, size uint64, readOnly bool) (*mapping.Region, error) {
	shared.Mutex.Lock()
	defer shared.Mutex.Unlock()
	if shared.region == nil || shared.region.Base() != base {
		return mapping.Map(f, base, size, readOnly)
	}
	return shared.region, nil
}

// closeShared stands for Region.Close: the mapping stays, and the file of the process is
// closed.
func closeShared(sp *Space) {
	if sp.Region != shared.region {
		sp.Region.Close()
	} else if sp.Files.Heap != nil {
		sp.Files.Heap.Close()
	}
}

// ShareRegion maps the heap for all spaces that are opened from now on.
func ShareRegion(f mapping.File, base, size uint64) (*mapping.Region, error) {
	r, err := mapping.Map(f, base, size, false)
	if err == nil {
		shared.region = r
	}
	return r, err
}

// UnshareRegion ends what ShareRegion began.
func UnshareRegion() error {
	r := shared.region
	shared.region = nil
	return r.Close()
}

// begun is called with the space that OpenApart is about to open.
var begun func(sp *Space)

// opening stands for Space.open.
func opening(sp *Space, ctx context.Context) error {
	if begun != nil {
		begun(sp)
	}
	return sp.open(ctx)
}

// OpenApart opens a space as another process would. It calls fn before it does anything.
func OpenApart(dir string, o Options, fn func(sp *Space)) (*Space, error) {
	id, err := findHeap(dir, o)
	if err != nil {
		return nil, err
	}
	begun = fn
	return open(context.Background(), dir, id, o)
}

// CloseApart closes a space that OpenApart has opened.
func (sp *Space) CloseApart() error { return sp.close() }

// gates holds the gates that spaces have locked in order to end.
var gates sync.Map

// Die does what a kill does to a process: it releases its locks, and nothing else.
func (sp *Space) Die() {
	if sp.Live != nil {
		sp.Live.Die()
	}
	if gate, ok := gates.LoadAndDelete(sp); ok {
		gate.(*os.File).Close()
	}
	sp.closeFiles()
}

// closeFiles closes the files of the process, except the live file.
func (sp *Space) closeFiles() {
	if sp.Region != nil {
		closeShared(sp)
	}
	if sp.Files.Locks != nil {
		sp.closeGate()
	}
	sp.durable.Close()
	if sp.Files != nil {
		sp.Files.Close()
	}
}

// Bury gives back the memory of a process that has died.
func (sp *Space) Bury() {
	if sp.Live != nil {
		sp.Live.Bury()
	}
}

// Depart hands over all that the process has, and leaves without an anchor.
func (sp *Space) Depart() error {
	err := sp.UsingLists(func() error {
		sp.Heap.Enter()
		sp.Heap.GiveBack(true)
		return nil
	})
	sp.Live.Leave(true)
	sp.closeFiles()
	return err
}

// BeFork re-attaches the functions that lower layers call: the space is a copy of another one.
func (sp *Space) BeFork() {
	sp.store.Attach(sp.checkHandle, sp.takeIndex)
	sp.attach()
}

// GoOnAs makes the calling goroutine, in a fork, stand for the goroutine that has forked, which may
// have the turn.
func (sp *Space) GoOnAs(forker uintptr) { sp.Queue.GoOnAs(forker) }

// CloseFork closes the one handle that a fork has inherited.
func (sp *Space) CloseFork() error {
	opened.Lock()
	if opened.spaces == nil {
		opened.spaces = map[mapping.FileID]*membership{}
	}
	id := sp.Files.HeapID
	opened.spaces[id] = &membership{space: sp, refs: 1, phase: phaseOpen, changed: make(chan struct{})}
	opened.Unlock()
	defer func() {
		opened.Lock()
		defer opened.Unlock()
		delete(opened.spaces, id)
	}()
	return sp.Close()
}

// Parts returns the lower layers.
func (sp *Space) Parts() (*live.Live, *heap.Heap) { return sp.Live, sp.Heap }

// Write is Change, but returns the version.
func (sp *Space) Write(fn func(tx *Tx) error) (format.Version, error) {
	return sp.change(context.Background(), fn)
}

// Tidy does what the background does with the lists from time to time.
func (sp *Space) Tidy() error {
	b := &background{sp: sp, n: idleTicks}
	return sp.Guarded(b.tidy) // as the tick calls it
}

// OnTick does one tick of the background, and reports whether there are more.
func (sp *Space) OnTick() bool {
	b := &background{sp: sp, n: idleTicks - 1}
	return b.onTick()
}

// OnJournalTick does one tick of the background's work on the journal, and reports whether there
// are more.
func (sp *Space) OnJournalTick() bool { return sp.durable.OnTick() }

// CutJournal gives back the parts of the journal that are not needed.
func (sp *Space) CutJournal() error { return sp.Within(sp.durable.CompactJournal) }

// ReleaseJournal gives up the segment that the process writes.
func (sp *Space) ReleaseJournal() { sp.durable.Release() }

// Journaled returns an error if a version that counts as journaled is neither in the journal nor in
// both usable anchors (J1 of package journal), or if a recovery would read versions in the journal
// that were never committed (J4). No process may do anything meanwhile.
func (sp *Space) Journaled() error {
	if sp.options.NoJournal {
		return nil
	}
	written := sp.Live.Words().Written.Load()
	newest, err := sp.NewestVersion()
	if err != nil {
		return err
	}
	for i, a := range sp.Live.UsableAnchors() {
		chain := member.StateAt(a.State).Chain
		if older := i == len(sp.Live.UsableAnchors())-1; older && uint64(a.Version) < written { // the older one needs more records than the newer
			if f := sp.audit().Records(a.Version, chain, written); f != nil {
				return fmt.Errorf("from the anchored version %d on: %s", a.Version, f.What)
			}
		}
		told, err := sp.durable.Told(a.Version, chain)
		if err != nil || told > max(newest, a.Version) {
			return errors.Join(err, fmt.Errorf("from the anchored version %d on it tells of version %d, and %d is the newest", a.Version, told, newest))
		}
	}
	return nil
}

// Resting is the memory of a process that looks, once a second, whether it can make the files
// smaller.
type Resting struct{ background }

// Rest returns an empty one.
func (sp *Space) Rest() *Resting { return &Resting{background{sp: sp}} }

// Look takes one such look. It returns how many segments of the journal were in use at the last
// looks, if the space is not at rest (J8), and 0 if it is.
func (r *Resting) Look() (used int, err error) {
	err = r.sp.Guarded(func() error {
		if err := r.journal.Look(&r.sp.durable); err != nil {
			return err
		}
		return r.shrink.Look(&r.sp.upkeep, &r.journal)
	})
	return r.journal.Used(), err
}

// JournalLength returns how long the file of the journal is.
func (sp *Space) JournalLength() (int64, error) { return sp.durable.JournalLength() }

// Doubt returns the damage that background work found last; nil if none.
func (sp *Space) Doubt() error {
	err := sp.Failure()
	if d := (*format.DamageError)(nil); !errors.As(err, &d) {
		return nil
	}
	return err
}

// Reachable visits every block that the newest version, the usable anchors and the held versions
// can reach. No process may do anything meanwhile.
func (sp *Space) Reachable(visit func(a format.Addr, size format.ByteCount)) error {
	hold := sp.Live.HoldCurrent()
	defer sp.Live.Release(&hold)
	r := sp.Heap.Reader(true)
	return check.Newer(&r, hold.State, 0, visit)
}

// NewestOnDisk walks the version that a recovery would start from if everything written were on
// disk.
func (sp *Space) NewestOnDisk() error {
	anchors, doubts, err := sp.Files.Anchors()
	if err != nil {
		return err
	}
	if doubts.Damaged > 0 {
		return fmt.Errorf("%d anchors on disk are damaged, or their states", doubts.Damaged)
	}
	status, err := mapping.StatusOfFile(sp.Files.Heap)
	if err != nil {
		return err
	}
	if spacefile.ReachBeyond(anchors, uint64(status.Size)) { // U1
		return fmt.Errorf("an anchor says that more is reserved than the %d bytes that the heap file has", status.Size)
	}
	r := sp.Heap.Reader(true)
	a := spacefile.NewestAnchor(anchors)
	if err := check.Complete(&r, format.Addr(a.State), sp.Heap.NewMarks(sp.Live.Carved())); err != nil {
		return fmt.Errorf("version %d, which an anchor on disk names: %w", a.Version, err)
	}
	return nil
}

// PassOn does what the background does about the writer lock.
func (sp *Space) PassOn() { sp.turn.PassOn() }

// Unlist makes the transaction keep no list of its changes.
func (tx *Tx) Unlist() { tx.Write.Unlist() }

// BigValue stores and drops a block of the given size.
func BigValue(tx *Tx, size format.ByteCount) error {
	a, err := tx.Write.Alloc(format.KindEntry, size)
	if err == nil {
		clear(unsafe.Slice((*byte)(tx.Write.Payload(a)), size))
		tx.Write.Unlist()
		tx.Write.Free(a)
	}
	return err
}
