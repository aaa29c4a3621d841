package engine

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// Supported returns nil if this system can have spaces, and otherwise the reason why it cannot.
func Supported() error { return mapping.Supported() }

// Open opens, or creates, the space in directory dir. If this process has the space open already,
// Open shares it: the program must call Close once for every Open.
func Open(dir string, o Options) (*Space, error) {
	return OpenContext(context.Background(), dir, o)
}

// OpenContext is Open; when ctx ends, it stops waiting for others and returns ErrBusy.
func OpenContext(ctx context.Context, dir string, o Options) (*Space, error) {
	if err := mapping.Supported(); err != nil {
		return nil, openError(dir, err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	mapping.Generation() // before the mutex: in a fork it may be one that the parent held (Q4)
	for {
		id, err := findHeap(dir, o)
		if err != nil {
			return nil, openError(dir, err)
		}
		sp, mine, err := share(ctx, id, o)
		if err != nil {
			return nil, openError(dir, err)
		}
		if sp != nil {
			return sp, nil
		}
		if mine == nil {
			continue // the other opening or closing has ended
		}
		sp, err = mine.open(ctx, dir, id, o)
		if errors.Is(err, spacefile.ErrOtherHeap) {
			continue
		}
		if err != nil {
			return nil, openError(dir, err)
		}
		return sp, nil
	}
}

// openError wraps an error of Open.
func openError(dir string, err error) error {
	return &failure.OpError{Op: "open", Space: filepath.Base(dir), Err: failure.Kind(dir, err)}
}

// findHeap returns the identity of the heap file in a directory. If there is none, and the options
// allow it, findHeap creates the space.
func findHeap(dir string, o Options) (mapping.FileID, error) {
	if o.ReadOnly || o.MustExist {
		return spacefile.Find(dir, nil)
	}
	return spacefile.Find(dir, o.creation().Create)
}

// open opens an existing space.
//
// It joins without the gate if the space is alive (K4).
func open(ctx context.Context, path string, id mapping.FileID, o Options) (*Space, error) {
	dir, err := spacefile.OpenDir(path, id, o.system())
	if err != nil {
		return nil, err
	}
	sp := &Space{options: o, faults: mapping.MajorFaults()}
	sp.Start(dir, o.ReadOnly)
	sp.durable.Init(&sp.Member, durable.Options{FlushInterval: o.FlushInterval, NoJournal: o.NoJournal})
	sp.turn.Init(&sp.Member, &sp.durable)
	sp.Checkpoints.Init(&sp.turn, &sp.durable)
	sp.Changes.Init(&sp.turn, &sp.durable)
	sp.upkeep.Init(&sp.turn, &sp.durable, &sp.Checkpoints)
	sp.writes.tx.Prepare(&sp.writes.making, true)
	sp.watchers.Init(&sp.Member, &sp.store)
	sp.clock.Init(&sp.Member, o.Clock)
	sp.Remover.Init(&sp.Member, &sp.durable, &sp.store, &sp.clock)
	sp.collections.Init(&sp.Member, &sp.durable, &sp.store, collect.Options{None: o.NoCollect, Batch: o.CollectBatch, Step: o.CollectStep})
	if err := sp.Guarded(func() error { return sp.open(ctx) }); err != nil {
		err = sp.UnlessLost(err) // while live is mapped
		sp.release()
		return nil, err
	}
	sp.Note(sp.Guarded(sp.Changes.Mend))
	if !o.Manual {
		sp.Done.Add(1)
		go sp.runBackground()
		if !sp.ReadOnly {
			sp.Done.Add(2)
			go sp.durable.RunJournal()
			go sp.runAhead()
		}
	}
	return sp, nil
}

// open does the steps of opening that must end before anything else can run.
func (sp *Space) open(ctx context.Context) (err error) {
	if sp.Guest, err = sp.Files.OpenLocks(sp.ReadOnly); err != nil {
		return err
	}
	if err := sp.openHeap(); errors.Is(err, failure.ErrReplaced) {
		return spacefile.ErrOtherHeap // a rewriting came between two steps: it does not wait for a process that has not joined
	} else if err != nil {
		return err
	}
	gate, err := sp.openMember(ctx)
	if gate != nil {
		defer spacefile.CloseLocks(gate)
	}
	if err != nil {
		return err
	}
	if err := sp.suits(sp.options); err != nil {
		return err
	}
	if err := sp.Live.Join(); err != nil {
		return err
	}
	sp.Live.SeeGuests(sp.Files.Locks, sp.Head.Base, sp.Head.Window)
	sp.Heap = heap.New(sp.Region, sp.Live)
	sp.Reader = sp.Heap.Reader(sp.options.Verify)
	sp.store.Attach(sp.checkHandle, sp.takeIndex)
	sp.store.Open(sp.Head, &sp.Reader, sp.Heap.Reader(false), sp.options.HashBits)
	indexing.Attach(&sp.store)
	sp.store.SetClock(&sp.clock)
	sp.attach()
	if err := sp.checkCurrent(); err != nil {
		return err
	}
	if sp.Live.Words().Recovering.Load() != 0 {
		if err := sp.Changes.Restore(); err != nil {
			return err
		}
	}
	if err := sp.durable.OpenJournal(); err != nil {
		return err
	}
	if sp.Live.Words().Recovering.Load() != 0 {
		if err := sp.durable.Recover(sp.Changes.InParts(sp.replay)); err != nil {
			return err
		}
	}
	if sp.options.NoJournal {
		sp.Live.RaiseWritten(math.MaxInt64)
	}
	if err := sp.durable.Heal(); err != nil {
		return err
	}
	sp.Live.Assure() // everything above was read from words that other processes share
	if sp.Guest {    // forks keep these locks as well, and then they protect too much
		return nil
	}
	return sp.Files.PinPresence()
}

// attach sets the functions that lower layers call.
func (sp *Space) attach() {
	sp.Heap.SetLowSpace(sp.upkeep.OnLowSpace, sp.upkeep.SweepWithin)
	sp.Full = sp.upkeep.FullError
	sp.turn.Change = sp.changeBare
	sp.turn.Aside, sp.Changes.Compare = sp.Changes.Aside, sp.compare
	sp.collections.Change = sp.changeBy
	sp.Remover.Change = sp.changeBy
}

// openHeap opens and maps the heap file.
func (sp *Space) openHeap() error {
	mode := os.O_RDWR
	if sp.ReadOnly {
		mode = os.O_RDONLY
	}
	if err := sp.Files.OpenHeap(mode); err != nil {
		return err
	}
	sp.Head = sp.Files.Header
	err := sp.Files.CheckSize()
	if err == nil {
		sp.Region, err = mapping.Map(sp.Files.Heap, sp.Head.Base, sp.Head.Window, sp.ReadOnly)
	}
	if err != nil {
		sp.Files.Heap.Close()
		sp.Files.Heap = nil
	}
	return err
}

// checkCurrent verifies the newest state before any operation reads it. It holds the state, since
// other processes may commit meanwhile.
func (sp *Space) checkCurrent() error {
	hold := sp.Live.HoldCurrent()
	defer sp.Live.Release(&hold)
	r := sp.Heap.Reader(true)
	return r.Verify(hold.State, format.KindState)
}

// release closes everything that a failed open has opened.
func (sp *Space) release() {
	if sp.Live != nil {
		sp.Live.Leave(false)
	}
	sp.durable.Close()
	if sp.Region != nil {
		sp.Region.Close()
	}
	if sp.Files.Locks != nil {
		sp.closeGate()
	}
	sp.Files.Close()
}
