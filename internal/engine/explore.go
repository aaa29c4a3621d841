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

// What package explore needs: several spaces of one directory in one process, each of
// them one that is a process of its own to all others. They share the mapping of the
// heap, and nothing else.

// shared is the region that is mapped for all.
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

// UnshareRegion ends that.
func UnshareRegion() error {
	r := shared.region
	shared.region = nil
	return r.Close()
}

// begun is called with the space that OpenApart begins to open.
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

// CloseApart closes such a space.
func (sp *Space) CloseApart() error { return sp.close() }

// gates are the gates that spaces have locked at their end.
var gates sync.Map

// Die is what a kill does to a process: its locks are gone, and nothing else happens.
func (sp *Space) Die() {
	if sp.Live != nil {
		sp.Live.Die()
	}
	if gate, ok := gates.LoadAndDelete(sp); ok {
		gate.(*os.File).Close()
	}
	sp.closeFiles()
}

// closeFiles closes what the process has open, but for the live file.
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

// Bury gives back the memory of one that has died.
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

// BeFork makes the functions that the space has been given its own: it is a copy of another one.
func (sp *Space) BeFork() {
	sp.store.Attach(sp.checkHandle, sp.takeIndex)
	sp.attach()
}

// GoOnAs makes the calling goroutine, of a fork, the one that has forked: that one may have the
// turn.
func (sp *Space) GoOnAs(forker uintptr) { sp.Queue.GoOnAs(forker) }

// CloseFork closes the only handle that a fork has inherited.
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

// Write is Change, and returns the version.
func (sp *Space) Write(fn func(tx *Tx) error) (format.Version, error) {
	return sp.change(context.Background(), fn)
}

// Tidy is what the background does with the lists now and then.
func (sp *Space) Tidy() error {
	b := &background{sp: sp, n: idleTicks}
	return sp.Guarded(b.tidy) // as it is called by the tick
}

// OnTick is what the background does now and then; it reports whether it goes on.
func (sp *Space) OnTick() bool {
	b := &background{sp: sp, n: idleTicks - 1}
	return b.onTick()
}

// OnJournalTick is what the background does with the journal; it reports whether it goes on.
func (sp *Space) OnJournalTick() bool { return sp.durable.OnTick() }

// CutJournal gives back what is not needed of the journal.
func (sp *Space) CutJournal() error { return sp.Within(sp.durable.CompactJournal) }

// ReleaseJournal gives up the segment that the process writes.
func (sp *Space) ReleaseJournal() { sp.durable.Release() }

// Journaled returns an error if a version that is said to be in the journal is neither there
// nor in both usable anchors (J1 of package journal), or if a recovery would find versions there
// that are none (J4). Nobody is doing anything.
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
		if older := i == len(sp.Live.UsableAnchors())-1; older && uint64(a.Version) < written { // what the older one needs is more than the newer does
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

// Resting is what a process remembers that looks, once a second, whether it can make the files
// take less.
type Resting struct{ background }

// Rest returns what remembers nothing.
func (sp *Space) Rest() *Resting { return &Resting{background{sp: sp}} }

// Look is such a look. It returns how many segments of the journal were in use at the last ones,
// if the space is not at rest (J8); 0: it is.
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

// Doubt returns the damage that was found last by work that nobody waits for; nil: none.
func (sp *Space) Doubt() error {
	err := sp.Failure()
	if d := (*format.DamageError)(nil); !errors.As(err, &d) {
		return nil
	}
	return err
}

// Reachable marks all that the newest version, the usable anchors and the held versions
// can reach. Nobody is doing anything.
func (sp *Space) Reachable(visit func(a format.Addr, size format.ByteCount)) error {
	hold := sp.Live.HoldCurrent()
	defer sp.Live.Release(&hold)
	r := sp.Heap.Reader(true)
	return check.Newer(&r, hold.State, 0, visit)
}

// NewestOnDisk walks the version that a recovery would start from, if all that was written
// was on disk.
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

// PassOn is what the background does about the writer lock.
func (sp *Space) PassOn() { sp.turn.PassOn() }

// Unlist makes the transaction one whose changes no list tells.
func (tx *Tx) Unlist() { tx.Write.Unlist() }

// BigValue stores and drops a block of so many bytes.
func BigValue(tx *Tx, size format.ByteCount) error {
	a, err := tx.Write.Alloc(format.KindEntry, size)
	if err == nil {
		clear(unsafe.Slice((*byte)(tx.Write.Payload(a)), size))
		tx.Write.Unlist()
		tx.Write.Free(a)
	}
	return err
}
