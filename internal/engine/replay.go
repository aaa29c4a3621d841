package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/apply"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// replay applies records in one transaction. If there is no space above what the anchor uses,
// replay makes some by a sweep and tries again.
func (sp *Space) replay(records *journal.History) error {
	err := sp.tryReplay(records)
	if errors.Is(err, mapping.ErrNoSpace) || errors.Is(sp.Explain("recover", err), failure.ErrNoSpace) {
		if _, _, sweepErr := sp.upkeep.SweepOnce(); sweepErr != nil {
			return errors.Join(err, sweepErr)
		}
		err = sp.tryReplay(records)
	}
	return err
}

// tryReplay is one try of replay.
func (sp *Space) tryReplay(records *journal.History) error {
	tx, err := sp.beginNow(context.WithValue(context.Background(), applying{}, true))
	if err != nil {
		return err
	}
	defer tx.Abort()
	tx.Write.Begin(sp.Heap, tx.hold.State, records.Last, sp.Reader)
	tx.Write.Replaying()
	last := new(format.RecordHead)
	applier := apply.New(&tx.Editor)
	err = records.All(func(r format.RecordHead, ops []byte) error {
		for rest := ops; len(rest) > 0; {
			h, payload, next, ok := format.NextOp(rest)
			switch {
			case !ok:
				err = &format.DamageError{File: journal.FileName, What: "a change does not fit its record"}
			case format.OpKindOf(h.What) == format.OpAside:
				f, readErr := sp.Changes.Recovered(r, h.Arg)
				if err = readErr; err == nil {
					err = tx.applyFrame(applier, &f)
				}
			default:
				err = applier.Apply(h, payload)
			}
			if err != nil {
				return fmt.Errorf("the journal's record of version %d: %w", r.Version, err)
			}
			rest = next
		}
		*last = r
		return nil
	})
	if err != nil {
		return err
	}
	_, err = tx.commit(last, false)
	return err
}
