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

// A replica is a space that takes only the changes of its leader: frames, one after the other. It
// has the leader's object IDs, versions and chains. A file in its directory says that it is a
// replica, and so does a word of live, for all processes.
//
//	RP1  While the word is set, the only transactions that publish a version are those that apply
//	     the frame which follows the newest version, by its number and by its chain. So each frame
//	     is applied once, in order, however often and by however many processes it is offered; and
//	     a replica never has a version that its leader did not have.
//	RP2  A transaction applies one whole frame and nothing else. After a kill or a loss of power
//	     the replica is at a version that it had reached, and continues from there.
//	RP3  A process that takes the turn over from a suspended one publishes no version of its own
//	     to outrun it (E3), since it would have to be one of the leader's. Whichever of the two
//	     publishes the frame first makes the swap of the other fail, which then finds that the
//	     frame was applied. Sweeps rely on I7, and not on outrunning: none begins while another
//	     living process is in the middle of a transaction.
//	RP4  The file exists before the word is set, and before a restored space gets its name; and it
//	     is removed, durably, before the word is cleared. So no process ever finds a space
//	     writable that still is a replica, or that may not have been promoted. If a process has
//	     died in between, the next one that opens the space makes file and word agree that it is a
//	     replica.
//	RP5  Promote clears the word under the writer lock, and then publishes an empty version. The
//	     chain of that version comes from this space's own live file, so from there on its history
//	     is another than its former leader's: neither accepts the other's frames, even if their
//	     numbers fit.

// IsReplica reports whether the space is a replica.
func (k *Keeper) IsReplica() bool { return k.Live.Words().Replica.Load() != 0 }

// LeadError is the error for a program that writes to a replica: an ErrReadOnly.
func (k *Keeper) LeadError() error {
	if lead := k.lead(); lead != "" {
		return leadError("this space is a replica, which only its leader changes; write to the leader: " + lead)
	}
	return leadError("this space is a replica, which only its leader changes")
}

// leadError is an ErrReadOnly with its own text: the space was not opened read-only.
type leadError string

// Error implements error.
func (e leadError) Error() string { return string(e) }

// Is reports whether the target is ErrReadOnly.
func (e leadError) Is(target error) bool { return target == failure.ErrReadOnly }

// Lead returns the leader, as text for people; is reports whether the space is a replica.
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

// lead reads the leader from the file; "" if unknown.
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

// EncodeReplica returns the contents of the file that makes a space a replica.
func EncodeReplica(lead string) ([]byte, error) {
	var r format.Replica
	if len(lead) > len(r.Lead) || strings.ContainsFunc(lead, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("%w: the name of the leader, %q, has at most %d bytes and no control characters", failure.ErrTooLarge, lead, len(r.Lead))
	}
	copy(r.Lead[:], lead)
	return r.Encode(), nil
}

// Hear notes that a version was the newest one of the replica's leader at a time by the leader's
// clock.
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

// Heard returns what is known of a replica's leader; nil if the space is not a replica, or is
// closed.
func (k *Keeper) Heard() (l *subscription.Leader) {
	_ = k.Within(func() error {
		if k.IsReplica() {
			l = subscription.LeaderOf(k.Live)
		}
		return nil
	})
	return l
}

// SetLead makes the space a replica, or changes its leader. The caller has entered and, if the
// space is not a replica yet, has the turn (RP4).
func (k *Keeper) SetLead(lead string) error {
	b, err := EncodeReplica(lead)
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s-%d%s", format.ReplicaName, k.Live.Incarnation(), newSuffix)
	if err := k.write(temporary, format.ReplicaName, b); err != nil {
		if !k.IsReplica() { // otherwise a file without the word would make it a replica when live is rebuilt
			err = errors.Join(err, k.removed(format.ReplicaName))
		}
		return err
	}
	invariant.Point("replica.written")
	if k.Live.Words().Replica.Swap(1) == 0 {
		subscription.Forget(k.Live)
	}
	if !k.filed() { // another process has taken the turn over and promoted it
		return k.write(temporary, format.ReplicaName, b)
	}
	return nil
}

// filed reports whether the file says that the space is a replica. If that cannot be read, it
// counts as one.
func (k *Keeper) filed() bool {
	_, err := k.Files.Stat(format.ReplicaName)
	return !errors.Is(err, os.ErrNotExist)
}

// Mend completes a SetLead or EndReplica that died (RP4): in both cases the space becomes a
// replica, since it has published nothing of its own.
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

// EndReplica makes the space writable. The caller has the turn, and publishes a version next (RP5).
func (k *Keeper) EndReplica() error {
	lead := k.lead()
	if err := k.removed(format.ReplicaName); err != nil {
		return err
	}
	if err := k.Files.SyncNames(); err != nil {
		if k.IsReplica() { // it stays a replica, which a process that rebuilds live has to know
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

// restoreReplica sets the word of a rebuilt live file if the space is a replica.
func (k *Keeper) restoreReplica() {
	if k.filed() {
		k.Live.Words().Replica.Store(1)
	}
}

// Follows returns an error unless the frame follows the given version of a space with the tag
// (RP1).
func (f *Frame) Follows(tag uint16, version, chain uint64) error {
	switch {
	case f.Tag != tag:
		return fmt.Errorf("%w: the frame belongs to a space with the tag %d, and this one has %d", failure.ErrDiverged, f.Tag, tag)
	case f.Version == version && f.Chain != chain:
		return fmt.Errorf("%w: both have a version %d, but not the same one", failure.ErrDiverged, version)
	case f.Version <= version:
		return fmt.Errorf("%w: the replica is at version %d, and has version %d already", failure.ErrOutOfOrder, version, f.Version)
	case f.Version != version+1:
		return fmt.Errorf("%w: the replica is at version %d, and the frame is of version %d", failure.ErrOutOfOrder, version, f.Version)
	case f.Before != chain:
		return fmt.Errorf("%w: the frame of version %d follows a version %d that is not the replica's", failure.ErrDiverged, f.Version, version)
	}
	return nil
}
