package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/apply"
	"github.com/everheap/everheap/internal/changes"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/turn"
)

// applying marks the context of a transaction that applies a frame, or ends a replica (RP1).
type applying struct{}

// mayWrite returns an error if the space is a replica, and the transaction about to begin is none
// that may write to one (RP1).
func (sp *Space) mayWrite(ctx context.Context) error {
	if !sp.Changes.IsReplica() || ctx.Value(applying{}) != nil {
		return nil
	}
	return sp.Changes.LeadError()
}

// ApplyFrame applies the frame of the version that follows the newest one (RP1, RP2). Errors:
// ErrOutOfOrder, and then nothing is wrong with the frame, which only comes too early or a second
// time; ErrDiverged, if it is of another history; ErrCorrupt. The version is durable when
// somebody has seen to that, as any other.
func (sp *Space) ApplyFrame(ctx context.Context, f *changes.Frame) error {
	for {
		err := sp.applyOnce(ctx, f)
		if !errors.Is(err, failure.ErrSuspended) { // else another process was faster, perhaps with this very frame
			return err
		}
	}
}

func (sp *Space) applyOnce(ctx context.Context, f *changes.Frame) error {
	tx, err := sp.beginNow(context.WithValue(ctx, applying{}, true))
	if err != nil {
		return err
	}
	defer tx.Abort()
	if !sp.Changes.IsReplica() {
		return errors.New("the space is no replica: it was promoted, or never was one")
	}
	if err := tx.follows(f); err != nil {
		return err
	}
	if err := sp.Guarded(func() error { return tx.applyFrame(f) }); err != nil {
		return tx.blameFrame(f, err)
	}
	_, err = tx.commit(&format.RecordHead{Version: f.Version, Chain: f.Chain, UnixNano: f.UnixNano}, true)
	return err
}

// follows returns an error unless the frame is that of the next version.
func (tx *Tx) follows(f *changes.Frame) error {
	at := uint64(tx.Version())
	switch {
	case f.Tag != tx.sp.Head.Tag:
		return fmt.Errorf("%w: the frame is of a space with the tag %d, and this one has %d", failure.ErrDiverged, f.Tag, tx.sp.Head.Tag)
	case f.Version == at && f.Chain != tx.State.Chain:
		return fmt.Errorf("%w: both have a version %d, and they are not the same", failure.ErrDiverged, at)
	case f.Version <= at:
		return fmt.Errorf("%w: the replica is at version %d, and has version %d already", failure.ErrOutOfOrder, at, f.Version)
	case f.Version != at+1:
		return fmt.Errorf("%w: the replica is at version %d, and the frame is of version %d", failure.ErrOutOfOrder, at, f.Version)
	case f.Before != tx.State.Chain:
		return fmt.Errorf("%w: the frame of version %d follows another version %d than that of the replica", failure.ErrDiverged, f.Version, at)
	}
	return nil
}

// applyFrame makes the changes of a frame.
func (tx *Tx) applyFrame(f *changes.Frame) error {
	a := apply.New(&tx.Editor)
	if f.Kind == format.ChangeCompared {
		tx.Write.Unlist() // recoveries know no such changes
		a.Anyhow, a.Compared = true, true
	}
	for rest := f.Ops(); len(rest) > 0; {
		h, payload, next, ok := format.NextOp(rest)
		if !ok {
			return errors.New("a change that does not fit the frame")
		}
		var err error
		switch op := format.OpKindOf(h.What); {
		case f.Kind == format.ChangeCompared && (op == format.OpCheckpoint || op == format.OpDropCheckpoint):
			w := turn.Writing{Txn: tx.Write, State: tx.State, Base: tx.hold.State}
			err = tx.sp.Checkpoints.Mirror(w, string(payload), h.Arg, op == format.OpCheckpoint)
		default:
			err = a.Apply(h, payload)
		}
		if err != nil {
			return err
		}
		rest = next
	}
	return nil
}

// blameFrame says that a frame cannot be applied, unless it was the machine that failed.
func (tx *Tx) blameFrame(f *changes.Frame, err error) error {
	if machineFailed(err) {
		return err
	}
	return &failure.CorruptError{File: fmt.Sprintf("the change frame of version %d", f.Version), What: fmt.Sprintf("it cannot be applied: %v", err)}
}

// BecomeReplica makes the space a replica, or says anew who leads one.
func (sp *Space) BecomeReplica(lead string) error {
	return sp.asReplica(func() error { return sp.Changes.SetLead(lead) })
}

// asReplica runs fn in the turn.
func (sp *Space) asReplica(fn func() error) error {
	return sp.Within(func() error {
		if err := sp.turn.Take(context.Background()); err != nil {
			return err
		}
		defer sp.turn.Give()
		return fn()
	})
}

// Promote makes a replica a space that is written to (RP5), durably.
func (sp *Space) Promote(ctx context.Context) error {
	for {
		err := sp.promoteOnce(ctx)
		if !errors.Is(err, failure.ErrSuspended) {
			return err
		}
	}
}

func (sp *Space) promoteOnce(ctx context.Context) error {
	tx, err := sp.beginNow(context.WithValue(ctx, applying{}, true))
	if err != nil {
		return err
	}
	defer tx.Abort()
	err = sp.Guarded(func() error {
		if err := sp.Changes.EndReplica(); err != nil {
			return err
		}
		return tx.Touch()
	})
	if err != nil {
		return err
	}
	return tx.CommitDurable()
}
