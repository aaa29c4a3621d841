package engine

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
)

// recover replays the journal onto the anchored version from which live was
// rebuilt. The caller has the gate, and nobody else has the space open. It can be
// cut short anywhere: until Recovering is 0 the next opener rebuilds live and
// begins anew, from the same anchor and the same records.
func (sp *Space) recover() error {
	w := sp.Live.Words()
	sp.healing = w.Failed.Load() != 0 // heal comes after this, and nothing is acknowledged before
	defer func() { sp.healing = false }()
	floor := sp.Live.JournalFloor()
	log, err := journal.Load(sp.journal.file, sp.Head.SpaceID, floor)
	if err != nil {
		return err
	}
	base := *member.StateAt(sp.Live.Current())
	if err := sp.trustAnchor(format.Version(base.Version)); err != nil {
		return err
	}
	records, err := log.Follow(format.Version(base.Version), base.Chain)
	if err != nil {
		return err
	}
	last := base.Version
	if err := sp.Files.Reached(sp.anchorDoubts, records.Last); err != nil {
		return err
	}
	if !records.Empty() {
		if sp.ReadOnly {
			return fmt.Errorf("%w: the space was not closed before the power was lost: it has to be recovered first, by a program that opens it for writing, or by everheap recover %s", ErrReadOnly, sp.Files.Path())
		}
		last = uint64(records.Last)
		sp.prefault()
		sp.distrustFree()
		if err := sp.replay(records); err != nil {
			return err
		}
		invariant.Point("recover.replayed")
		// It may be that only live was lost, and the records were never synced.
		sp.Live.BeginSync(live.JournalFile)
		err := sp.journal.file.Datasync()
		if err != nil {
			err = sp.fail(err)
		}
		sp.Live.EndSync(live.JournalFile)
		if err != nil {
			return err
		}
	}
	for i, newest := range log.Segments(format.Version(last)) {
		w.Segments[i].Last.Store(uint64(newest))
		sp.Live.AddSegment(i)
	}
	if err := sp.lengthen(); err != nil && !errors.Is(err, mapping.ErrNoSpace) { // the last segment may have been cut
		return err
	}
	w.Written.Store(last)
	w.Durable.Store(last)
	w.Recovering.Store(0)
	return nil
}

// distrustFree forgets the free space that a clean anchor lists. There are
// versions after it, so another anchor came before them, which is damaged now;
// the lists, and the blocks that they lie in, may have been used since (E5).
func (sp *Space) distrustFree() {
	w := sp.Live.Words()
	for i := range format.NumStacks {
		live.SetStack(w, i, 0)
	}
	w.Clean.Store(0)
	w.SweepWish.Store(1)
}

// trustAnchor decides whether the version from which a recovery starts can be what
// its anchor says. One damaged anchor is what there are two for. If two slots are
// damaged, they may have held the two newest ones, and since then blocks of older
// versions may have been used again: then all of the version is looked at.
func (sp *Space) trustAnchor(version format.Version) error {
	if sp.anchorDoubts.Damaged < 2 {
		return nil
	}
	r := sp.Heap.Reader(true)
	err := check.Complete(&r, sp.Live.Current(), sp.Heap.NewMarks(sp.Live.Carved()))
	if err != nil {
		return &format.DamageError{File: HeapName, Offset: format.AnchorOffset,
			What: fmt.Sprintf("%d anchors are damaged, and version %d, of the newest that is left, is not whole any more (%v); %s", sp.anchorDoubts.Damaged, version, err, sp.Files.WayOut())}
	}
	return nil
}
