package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// recover replays the journal onto the anchored version from which live was
// rebuilt. The caller has the gate, and nobody else has the space open. It can be
// cut short anywhere: until Recovering is 0 the next opener rebuilds live and
// begins anew, from the same anchor and the same records.
func (sp *Space) recover() error {
	w := sp.live.Words()
	sp.healing = w.Failed.Load() != 0 // heal comes after this, and nothing is acknowledged before
	defer func() { sp.healing = false }()
	floor := sp.live.JournalFloor()
	log, err := journal.Load(sp.journal.file, sp.header.SpaceID, floor)
	if err != nil {
		return err
	}
	base := *stateAt(sp.live.Current())
	if err := sp.trustAnchor(format.Version(base.Version)); err != nil {
		return err
	}
	records, err := log.Follow(format.Version(base.Version), base.Chain)
	if err != nil {
		return err
	}
	last := base.Version
	if err := sp.dir.Reached(sp.anchorDoubts, records.Last); err != nil {
		return err
	}
	if !records.Empty() {
		if sp.readOnly {
			return fmt.Errorf("%w: the space was not closed before the power was lost: it has to be recovered first, by a program that opens it for writing, or by everheap recover %s", ErrReadOnly, sp.dir.Path())
		}
		last = uint64(records.Last)
		sp.prefault()
		sp.distrustFree()
		if err := sp.replay(records); err != nil {
			return err
		}
		invariant.Point("recover.replayed")
		// It may be that only live was lost, and the records were never synced.
		sp.live.BeginSync(live.JournalFile)
		err := sp.journal.file.Datasync()
		if err != nil {
			err = sp.fail(err)
		}
		sp.live.EndSync(live.JournalFile)
		if err != nil {
			return err
		}
	}
	for i, newest := range log.Segments(format.Version(last)) {
		w.Segments[i].Last.Store(uint64(newest))
		sp.live.AddSegment(i)
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
	w := sp.live.Words()
	for i := range format.NumStacks {
		live.SetStack(w, i, 0)
	}
	w.Clean.Store(0)
	w.SweepWish.Store(1)
}

// prefaultBytes is how much of a heap a replay maps at once.
const prefaultBytes = 1 << 30

// prefault maps the heap of a space that is not huge: a replay looks for keys all
// over it.
func (sp *Space) prefault() {
	if carved := sp.live.Carved(); carved <= prefaultBytes {
		sp.region.Prefault(0, int64(carved))
	}
}

// replay applies records in one transaction. If there is no room above what the
// anchor uses, it makes room by a sweep, and tries again.
func (sp *Space) replay(records *journal.History) error {
	err := sp.tryReplay(records)
	if errors.Is(err, mapping.ErrNoSpace) || errors.Is(sp.translate("recover", err), ErrNoSpace) {
		if _, _, sweepErr := sp.sweep(); sweepErr != nil {
			return errors.Join(err, sweepErr)
		}
		err = sp.tryReplay(records)
	}
	return err
}

// tryReplay is replay, once.
func (sp *Space) tryReplay(records *journal.History) error {
	tx, err := sp.Begin(context.Background())
	if err != nil {
		return err
	}
	defer tx.Abort()
	tx.write.Begin(sp.heap, tx.hold.State, records.Last, sp.reader)
	tx.write.Replaying()
	tx.replayed = new(format.RecordHead)
	apply := newApplier(tx)
	err = records.All(func(r format.RecordHead, ops []byte) error {
		for rest := ops; len(rest) > 0; {
			h, payload, next, ok := format.NextOp(rest)
			if !ok {
				err = &format.DamageError{File: journal.FileName, What: "a change that does not fit its record"}
			} else {
				err = apply.apply(h, payload)
			}
			if err != nil {
				return fmt.Errorf("the journal's record of version %d: %w", r.Version, err)
			}
			rest = next
		}
		*tx.replayed = r
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}
