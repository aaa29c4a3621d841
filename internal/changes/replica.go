package changes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/subscription"
)

// A replica is a space that takes the changes of its leader alone: frames, one after the other.
// It has the leader's object IDs, versions and chains. A file in its directory says so, and a
// word of live, so that every process knows.
//
//	RP1  While the word is set, no transaction publishes a version but one that applies the
//	     frame which follows the newest version: by number and by the chain. So each frame is
//	     applied once, in order, however often and by however many it is offered; and a
//	     replica never has a version that its leader did not have.
//	RP2  The frame is the whole of its transaction. After a kill or a loss of power the replica
//	     is at a version that it had reached, and goes on from there.
//	RP3  A process that takes the turn over from one that stands still publishes no version of
//	     its own to outrun that one (E3): it would have to be one of the leader's. Whoever of the
//	     two publishes the frame first makes the swap of the other fail, who then finds that it
//	     was applied. Sweeps do not rest on the outrunning, but on I7: none begins while another
//	     living process is in the middle of a transaction.
//	RP4  The file is there before the word is set, and before a restored space has its name; and
//	     it is removed, durably, before the word is cleared. So no process ever finds the space
//	     writable that is a replica still, or was not promoted for sure. Where somebody has died
//	     in between, the next one who opens the space sees to it that both say it is a replica.
//	RP5  Promote clears the word under the writer lock, and publishes an empty version then. Its
//	     chain is of this space's own live file, so from there on the history is another one
//	     than its former leader's: neither accepts the frames of the other, whatever they have
//	     in common by number.

// IsReplica reports whether the space is a replica.
func (k *Keeper) IsReplica() bool { return k.Live.Words().Replica.Load() != 0 }

// LeadError is the error of one who wants to write to a replica: an ErrReadOnly.
func (k *Keeper) LeadError() error {
	if lead := k.lead(); lead != "" {
		return leadError("this space is a replica, and is read only here; write to its leader: " + lead)
	}
	return leadError("this space is a replica, and takes the changes of its leader alone")
}

// leadError is an ErrReadOnly that says why itself: the space was not opened so.
type leadError string

// Error implements error.
func (e leadError) Error() string { return string(e) }

// Is reports whether the target is ErrReadOnly.
func (e leadError) Is(target error) bool { return target == failure.ErrReadOnly }

// Lead returns who leads, as text for people; is says whether the space is a replica.
func (k *Keeper) Lead() (lead string, is bool, err error) {
	err = k.Within(func() error {
		if is = k.IsReplica(); is {
			lead = k.lead()
		}
		k.Live.Assure()
		return nil
	})
	return lead, is, err
}

// lead reads who leads; "" if that is not known.
func (k *Keeper) lead() string {
	f, err := k.Files.OpenFile(format.ReplicaName, os.O_RDONLY, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, format.ReplicaSize)
	n, _ := f.ReadAt(b, 0)
	r, ok := format.DecodeReplica(b[:n])
	if !ok {
		return ""
	}
	return strings.TrimRight(string(r.Lead[:]), "\x00")
}

// EncodeReplica returns the file that makes a space a replica.
func EncodeReplica(lead string) ([]byte, error) {
	var r format.Replica
	if len(lead) > len(r.Lead) || strings.ContainsFunc(lead, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("%w: %q says who leads: at most %d bytes, without control characters", failure.ErrTooLarge, lead, len(r.Lead))
	}
	copy(r.Lead[:], lead)
	return r.Encode(), nil
}

// Hear notes which version was the newest of a replica's leader at a time by its clock.
func (k *Keeper) Hear(newest format.Version, at time.Time) error {
	if k.ReadOnly {
		return failure.ErrReadOnly
	}
	return k.Within(func() error {
		applied, err := k.NewestVersion()
		if err == nil && k.IsReplica() {
			subscription.Hear(k.Live, newest, at, applied)
		}
		return err
	})
}

// Heard returns what is known of a replica's leader; nil: the space is none, or is closed.
func (k *Keeper) Heard() (l *subscription.Leader) {
	_ = k.Within(func() error {
		if k.IsReplica() {
			l = subscription.LeaderOf(k.Live)
		}
		return nil
	})
	return l
}

// SetLead makes the space a replica, or says anew who leads one. The caller has entered, and, if
// it is none so far, the turn (RP4).
func (k *Keeper) SetLead(lead string) error {
	b, err := EncodeReplica(lead)
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s-%d%s", format.ReplicaName, k.Live.Incarnation(), newSuffix)
	if err := k.write(temporary, format.ReplicaName, b); err != nil {
		if !k.IsReplica() { // else what is there may say so to the next one who makes live anew
			err = errors.Join(err, k.removed(format.ReplicaName))
		}
		return err
	}
	invariant.Point("replica.written")
	if k.Live.Words().Replica.Swap(1) == 0 {
		subscription.Forget(k.Live)
	}
	if !k.filed() { // another process has taken the turn over, and promoted it meanwhile
		return k.write(temporary, format.ReplicaName, b)
	}
	return nil
}

// filed reports whether the file says that the space is a replica. Where that cannot be known, it
// is one.
func (k *Keeper) filed() bool {
	_, err := k.Files.Stat(format.ReplicaName)
	return !errors.Is(err, os.ErrNotExist)
}

// Mend ends what one has begun who died in SetLead or EndReplica (RP4): either way the space is a
// replica, since nothing of its own was published.
func (k *Keeper) Mend() error {
	if k.ReadOnly || k.filed() == k.IsReplica() {
		return nil
	}
	if err := k.Take(context.Background()); err != nil {
		return err
	}
	defer k.Give()
	switch filed := k.filed(); {
	case filed && !k.IsReplica():
		k.Live.Words().Replica.Store(1)
		subscription.Forget(k.Live)
	case !filed && k.IsReplica():
		return k.SetLead("")
	}
	return nil
}

// EndReplica makes the space one that is written to. The caller has the turn, and publishes a
// version next (RP5).
func (k *Keeper) EndReplica() error {
	lead := k.lead()
	if err := k.removed(format.ReplicaName); err != nil {
		return err
	}
	if err := k.Files.SyncNames(); err != nil {
		if k.IsReplica() { // it goes on to be one, and whoever makes live anew is to know
			err = errors.Join(err, k.SetLead(lead))
		}
		return err
	}
	invariant.Point("replica.removed")
	subscription.Forget(k.Live)
	k.Live.Words().Replica.Store(0)
	invariant.Point("replica.ended")
	return nil
}

// restoreReplica sets the word of a live file that was made anew, if the space is a replica.
func (k *Keeper) restoreReplica() {
	if k.filed() {
		k.Live.Words().Replica.Store(1)
	}
}

// Follows returns an error unless the frame is that of the version after one of a space with the
// tag (RP1).
func (f *Frame) Follows(tag uint16, version, chain uint64) error {
	switch {
	case f.Tag != tag:
		return fmt.Errorf("%w: the frame is of a space with the tag %d, and this one has %d", failure.ErrDiverged, f.Tag, tag)
	case f.Version == version && f.Chain != chain:
		return fmt.Errorf("%w: both have a version %d, and they are not the same", failure.ErrDiverged, version)
	case f.Version <= version:
		return fmt.Errorf("%w: the replica is at version %d, and has version %d already", failure.ErrOutOfOrder, version, f.Version)
	case f.Version != version+1:
		return fmt.Errorf("%w: the replica is at version %d, and the frame is of version %d", failure.ErrOutOfOrder, version, f.Version)
	case f.Before != chain:
		return fmt.Errorf("%w: the frame of version %d follows another version %d than that of the replica", failure.ErrDiverged, f.Version, version)
	}
	return nil
}
