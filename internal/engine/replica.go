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

// mayWrite returns an error if the space is a replica and the transaction about to begin is not one
// that may write to a replica (RP1).
func (sp *Space) mayWrite(ctx context.Context) error {
	if !sp.Changes.IsReplica() || ctx.Value(applying{}) != nil {
		return nil
	}
	sp.Live.Assure() // L16
	return sp.Changes.LeadError()
}

// ApplyFrame applies the frame of the version that follows the newest one (RP1, RP2). The errors
// are ErrOutOfOrder if the frame comes too early or a second time, which does not mean that it is
// damaged; ErrDiverged if it belongs to another history; and ErrCorrupt. Like any other version,
// the new one is durable only once a sync or an anchor has made it so.
func (sp *Space) ApplyFrame(ctx context.Context, f *changes.Frame) error {
	for {
		err := sp.applyOnce(ctx, f)
		if !errors.Is(err, failure.ErrSuspended) { // another process was faster, perhaps with the same frame
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
		return sp.Guarded(func() error {
			sp.Live.Assure() // L16
			return errors.New("the space is not a replica: it was promoted, or never was one")
		})
	}
	if err := f.Follows(sp.Head.Tag, uint64(tx.Version()), tx.State.Chain); err != nil {
		return err
	}
	if err := sp.Guarded(func() error { return tx.applyFrame(apply.New(&tx.Editor), f) }); err != nil {
		return tx.blameFrame(f, err)
	}
	_, err = tx.commit(&format.RecordHead{Version: f.Version, Chain: f.Chain, UnixNano: f.UnixNano}, true)
	return err
}

// applyFrame makes the changes of a frame.
func (tx *Tx) applyFrame(a *apply.Applier, f *changes.Frame) error {
	if f.Kind == format.ChangeCompared {
		tx.Write.Unlist() // a recovery gets such changes from an aside alone
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

// blameFrame returns the error for a frame that cannot be applied, unless the machine has failed.
func (tx *Tx) blameFrame(f *changes.Frame, err error) error {
	if machineFailed(err) {
		return err
	}
	return &failure.CorruptError{File: fmt.Sprintf("the change frame of version %d", f.Version), What: fmt.Sprintf("it cannot be applied: %v", err)}
}

// BecomeReplica makes the space a replica of the leader lead, or changes its leader.
func (sp *Space) BecomeReplica(lead string) error {
	return sp.asReplica(func() error { return sp.Changes.SetLead(lead) })
}

// asReplica runs fn while this process has the turn.
func (sp *Space) asReplica(fn func() error) error {
	return sp.Within(func() error {
		if err := sp.turn.Take(context.Background()); err != nil {
			return err
		}
		defer sp.turn.Give()
		return fn()
	})
}

// Promote durably ends a replica: programs can write to the space from then on (RP5).
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
		if err := tx.Touch(); err != nil { // first, since it fails if there is no space: then the space stays a replica
			return err
		}
		return sp.Changes.EndReplica()
	})
	if err != nil {
		return err
	}
	return tx.CommitDurable()
}
