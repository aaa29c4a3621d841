package everheap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/everheap/everheap/internal/changes"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/naming"
	"github.com/everheap/everheap/internal/object"
)

// Frame is one committed version of a space, as the changes that make it of the version before. Its bytes have a
// checksum, depend on no address, and can be stored and sent anywhere: see FORMAT.md. Replica.Apply applies it.
type Frame struct{ frame changes.Frame }

// ParseFrame verifies the bytes of a frame, which must be all of b, and keeps b. The error is ErrCorrupt if they are
// not what Frame.Bytes has returned.
func ParseFrame(b []byte) (Frame, error) {
	f, err := changes.Parse(b)
	return Frame{f}, err
}

// Version returns the version that the frame makes.
func (f Frame) Version() Version { return Version(f.frame.Version) }

// Time returns when the version was committed, to a tenth of a second.
func (f Frame) Time() time.Time { return time.Unix(0, int64(f.frame.UnixNano)) }

// Bytes returns the bytes of the frame, which the caller must not change.
func (f Frame) Bytes() []byte { return f.frame.Bytes }

// FrameChange is what a frame does to one object.
type FrameChange struct {
	Object ID     // 0: the space itself
	What   string // such as "set", "removed", "created", "appended", "named", "checkpoint"
	Count  int    // entries, elements or values
	Name   string // that refers to the object from then on, or no longer; or name of the checkpoint
}

// Changes sums up what the frame does, in its order. A FrameReader tells keys and values.
func (f Frame) Changes() ([]FrameChange, error) {
	list, err := object.Summarize(f.frame.Ops())
	out := make([]FrameChange, len(list))
	for i := range list {
		out[i] = f.change(&list[i])
	}
	if err != nil {
		err = &CorruptError{File: "the change frame", What: err.Error()}
	}
	return out, err
}

// change tells what a frame does to an object.
func (f Frame) change(s *object.Summary) FrameChange {
	c := FrameChange{What: s.What(), Count: s.Count, Name: s.Name}
	if s.Object != 0 {
		c.Object = ID(format.MakeID(f.frame.Tag, s.Object))
	}
	return c
}

// EntryChange is one change of a frame, as people read it.
type EntryChange struct {
	FrameChange
	Collection string // name of the object; "" if unknown
	Key, Value []byte // as JSON; nil: absent or unknown. The key of an element is its index; that of a truncation is how many are left
	Size       int    // bytes of the change in the frame
	Known      bool   // the types of the object are known; else Key and Value cannot be told
}

// FrameReader tells what frames change, one change after the other, with keys and values. Frames say the types only of
// collections that they make; of others it learns them from the space that the frames are of, or from a backup. It is
// used by one goroutine.
type FrameReader struct {
	space  *Space
	teller *object.Teller
	at     Frame
}

// NewFrameReader returns a FrameReader for the frames of a space; nil: the space is not at hand.
func NewFrameReader(space *Space) *FrameReader {
	r := &FrameReader{space: space, teller: object.NewTeller()}
	if space != nil {
		r.teller.Find = func() bool { return space.View(r.learn) == nil }
	}
	return r
}

// LearnBackup learns the types from a backup of the version before the first frame. Errors: those of b, ErrCorrupt.
func (r *FrameReader) LearnBackup(b io.Reader) error {
	err := r.teller.Backup(b)
	if failure.Damaged(err) {
		err = &CorruptError{File: "the backup", What: err.Error()}
	}
	return err
}

// learn reads the types of objects that later frames need and do not create: they are the same in the current
// version.
func (r *FrameReader) learn(tx *Tx) error {
	made, needed, err := r.space.engine.Changes.Needed(format.Version(r.at.Version()), format.Version(tx.Version()))
	if err != nil {
		return err
	}
	for i := range needed { // missing objects, too, so that they are not looked for again
		if l, t := tx.engine.LayoutOf(format.MakeID(r.at.frame.Tag, i)); made[i] {
			r.teller.Learn(i, object.Layout{}, nil)
		} else {
			r.teller.Learn(i, l, t)
		}
	}
	list, err := tx.Collections()
	for _, c := range list {
		r.teller.Name(format.ID(c.ID).Index(), c.Name)
	}
	return err
}

// Changes yields the changes of a frame. A FrameReader gets all frames that follow each other, in their order. The last
// round has the error ErrCorrupt if the frame is none that a space has made.
func (r *FrameReader) Changes(f Frame) iter.Seq2[EntryChange, error] {
	return func(yield func(EntryChange, error) bool) {
		r.at = f
		err := r.teller.Tell(f.frame.Ops(), func(c *object.Change) bool {
			return yield(EntryChange{f.change(&c.Summary), c.Collection, c.Key, c.Value, c.Bytes, c.Known}, nil)
		})
		if err != nil {
			yield(EntryChange{}, &CorruptError{File: "the change frame", What: err.Error()})
		}
	}
}

// Position is a version of one history. Spaces that have a common past, such as a replica that was promoted and its
// former leader, have different histories from some version on: then Chain differs, which is a number that follows from
// the whole past of a version.
type Position struct {
	Version Version
	Chain   uint64
}

// Position returns the position of the version that the frame makes.
func (f Frame) Position() Position { return Position{f.Version(), f.frame.Chain} }

// Before returns the position that the frame can be applied to.
func (f Frame) Before() Position { return Position{f.Version() - 1, f.frame.Before} }

// Position returns the position of the version that a View sees, or that an Update starts from.
func (tx *Tx) Position() Position { return Position{tx.Version(), tx.engine.State.Chain} }

// BackupPosition reads the beginning of a backup and returns the position that it is of, and when that was committed:
// frames that follow can be applied to its replica. The error is ErrCorrupt if it is no backup, or one that was
// salvaged, or made before there were replicas.
func BackupPosition(r io.Reader) (p Position, committed time.Time, err error) {
	h, chain, err := changes.BackupHead(r)
	return Position{Version(h.Version), chain}, time.Unix(0, int64(h.UnixNano)), err
}

// ReadFrame reads the next frame of a stream of frames, one after the other. Errors: io.EOF at the end; ErrCorrupt if
// what comes is no whole frame; those of r.
func ReadFrame(r io.Reader) (Frame, error) {
	f, err := changes.Read(r)
	return Frame{f}, err
}

// ChangesSince yields the frame of every version after the given one, in order and without a gap, and waits for more.
// Changes of types, indexes, collections, checkpoints and restores are frames as any other. A frame comes when its
// version is durable: within the flush interval, or at once if somebody waits for that (Durable, Sync).
//
// Frames are kept for subscriptions: without one that begins early enough, ChangesSince yields what happens to be there
// still. The loop ends with an error in its last round: ErrNotKept if the next frame is not kept, or version is none of
// this space; ErrBusy when ctx ends; ErrClosed. It reads the journal, and costs writers nothing.
func (s *Space) ChangesSince(ctx context.Context, version Version) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		if s.closed.Load() {
			yield(Frame{}, s.wrap("changes", ErrClosed))
			return
		}
		for f, err := range s.engine.Changes.Since(ctx, format.Version(version)) {
			if err == nil && s.closed.Load() {
				err = ErrClosed
			}
			if !yield(Frame{f}, s.wrap("changes", err)) || err != nil {
				return
			}
		}
	}
}

// Subscription keeps the frames that its owner still needs, across restarts and power losses.
type Subscription struct {
	space *Space
	name  string
}

// Subscribe makes a subscription, or returns the one of that name. A new one begins after the newest version: subscribe
// first, then make a Backup to begin with; BackupPosition says which version that is of.
//
// keep is how many bytes of frames a new one may keep, 4 MiB to 384 MiB; 0 means 128 MiB. A subscription that falls
// further behind is lost: it keeps nothing, and its methods and loops return ErrNotKept until Restart or Drop. For one
// that is lost already Subscribe returns it together with ErrNotKept; with any other error there is none. Names have up
// to 32 letters, digits, dots, hyphens and underscores; a space has at most 16 subscriptions. Errors: ErrNotKept,
// ErrTooLarge, ErrReadOnly, ErrIO.
func (s *Space) Subscribe(name string, keep int64) (*Subscription, error) {
	err := s.ifOpen("subscribe", func() error { return s.engine.Changes.Subscribe(name, format.ByteCount(max(keep, 0))) })
	if err != nil && !errors.Is(err, ErrNotKept) {
		return nil, err
	}
	return &Subscription{s, name}, err
}

// Name returns the name of the subscription.
func (u *Subscription) Name() string { return u.name }

// Version returns the version up to which the subscription needs nothing any more. Errors: ErrNotKept if it is lost,
// ErrNotFound if it was dropped.
func (u *Subscription) Version() (Version, error) {
	v, err := u.space.engine.Changes.Position(u.name)
	return Version(v), u.space.wrap("subscription", err)
}

// Changes is ChangesSince the Version of the subscription.
func (u *Subscription) Changes(ctx context.Context) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		v, err := u.Version()
		if err != nil {
			yield(Frame{}, err)
			return
		}
		u.space.ChangesSince(ctx, v)(yield)
	}
}

// Confirm says that frames up to a version are not needed any more: what has become of them is safe. That is on disk
// when Confirm returns; to confirm every frame alone would cost two syncs each.
func (u *Subscription) Confirm(version Version) error {
	return u.space.wrap("confirm", u.space.engine.Changes.Confirm(u.name, format.Version(version)))
}

// Restart lets the subscription begin anew after the newest version, as one that was just made: for one that is lost,
// or whose owner begins again with a Backup, which is made after it. That is on disk when Restart returns. The error is
// ErrNotFound if it was dropped.
func (u *Subscription) Restart() error {
	return u.space.wrap("restart subscription", u.space.engine.Changes.Restart(u.name))
}

// Drop ends the subscription, for all who use its name.
func (u *Subscription) Drop() error { return u.space.DropSubscription(u.name) }

// DropSubscription ends the subscription of a name, also one that is lost. The error is ErrNotFound if there is none.
func (s *Space) DropSubscription(name string) error {
	return s.wrap("drop subscription", s.engine.Changes.Drop(name))
}

// SubscriptionInfo is what Subscriptions says of one.
type SubscriptionInfo struct {
	Name    string
	Version Version // up to which it needs no changes any more; meaningless if it is lost
	Lost    bool    // it has fallen too far behind, and keeps nothing
	Keep    int64   // bytes that may be kept for it
	Kept    int64   // bytes that are, counted in whole segments of the journal of 2 MiB
}

// Subscriptions lists the subscriptions of the space.
func (s *Space) Subscriptions() ([]SubscriptionInfo, error) {
	list, err := s.engine.Changes.List()
	infos := make([]SubscriptionInfo, 0, len(list))
	for _, i := range list {
		infos = append(infos, SubscriptionInfo{i.Name, Version(i.Version), i.Lost, int64(i.Limit), int64(i.Kept)})
	}
	return infos, s.wrap("subscriptions", err)
}

// WithReplicas makes an Update durable, and lets it return when n copies on other machines have said that they have it
// durably, too (Acknowledge). It waits for them until ctx ends: then the error is ErrNotReplicated, and the transaction
// is committed and durable here. It cannot be part of a Resume.
func WithReplicas(n int) UpdateOption { return replicas(n) }

type replicas int

func (n replicas) applyUpdate(s *updateSettings) { s.copies = int(n) }

// replicate is Update with copies.
func (s *Space) replicate(ctx context.Context, fn func(tx *Tx) error, n int) (err error) {
	if s.engine.Resumption() != nil {
		return fmt.Errorf("%w: an Update inside a Resume commits with that; it cannot wait for copies", ErrSelf)
	}
	var version format.Version
	err = func() error {
		if err := s.engine.Enter(); err != nil {
			return err
		}
		defer s.engine.Exit()
		e, err := s.engine.Begin(ctx)
		if err != nil {
			return err
		}
		commit := func() (err error) { version, err = e.CommitVersion(); return err }
		return run(&Tx{engine: e, space: s}, fn, commit, e.Abort)
	}()
	if err != nil {
		return err
	}
	return s.engine.Changes.AwaitCopies(ctx, version, n)
}

// Acknowledge says that a copy of the space on another machine has a version durably: Updates WithReplicas wait for
// that. Whoever carries the frames there calls it. Copies are forgotten when the last process closes the space, so they
// say it again. A space has at most 16.
func (s *Space) Acknowledge(name string, version Version) error {
	return s.wrap("acknowledge", s.engine.Changes.Acknowledge(name, format.Version(version)))
}

// Replica is a space that takes the changes of its leader alone, frame by frame. It has the leader's versions and
// object IDs. Any number of processes may have it open, read it in place and watch it; whoever writes gets ErrReadOnly,
// which says who leads.
type Replica struct{ space *Space }

// RestoreReplica is RestoreBackup, but the new space is a replica of the one that the backup was made of, at the
// version of the backup. lead says to people who leads.
func RestoreReplica(name string, r io.Reader, lead string, opts ...Option) error {
	s := settingsOf(opts)
	s.engine.Replica = &lead
	return naming.Restore(s.named(name), r, s.engine)
}

// AsReplica makes the space a replica, or says anew who leads one: lead is text for people, of up to 128 bytes. That is
// a matter of the space, for all processes, and lasts until Promote.
func (s *Space) AsReplica(lead string) (*Replica, error) {
	if err := s.ifOpen("replica", func() error { return s.engine.BecomeReplica(lead) }); err != nil {
		return nil, err
	}
	return &Replica{s}, nil
}

// Leader returns what AsReplica or RestoreReplica said about who leads. is reports whether the space is a replica.
func (s *Space) Leader() (lead string, is bool, err error) {
	lead, is, err = s.engine.Changes.Lead()
	return lead, is, s.wrap("replica", err)
}

// Space returns the space that the replica is.
func (r *Replica) Space() *Space { return r.space }

// Apply applies the frame of the version right after the newest one of the replica: exactly once, whoever offers it how
// often. The version is as durable as that of any commit (Sync). Errors: ErrOutOfOrder, if a frame is missing before
// it, or it was applied already (then its Version is not above that of the replica); ErrDiverged, if it follows another
// version than the replica's of that number; ErrCorrupt, ErrNoSpace, ErrIO, ErrClosed. After an error nothing has
// changed.
func (r *Replica) Apply(ctx context.Context, f Frame) error {
	return r.space.ifOpen("apply", func() error {
		if f.frame.Bytes == nil {
			return &CorruptError{File: "the change frame", What: "it is the zero Frame"}
		}
		return r.space.engine.ApplyFrame(ctx, &f.frame)
	})
}

// Hear says which version was the leader's newest at a time by its clock, for Stats in all processes of this machine.
// Whoever brings the frames calls it with what the leader has said last: about once a second, and again when that is
// applied.
func (r *Replica) Hear(newest Version, at time.Time) error {
	return r.space.ifOpen("replica", func() error { return r.space.engine.Changes.Hear(format.Version(newest), at) })
}

// Version returns the newest version of the replica.
func (r *Replica) Version() (Version, error) {
	v, err := r.space.session.NewestVersion()
	return Version(v), r.space.wrap("replica", err)
}

// Promote makes the replica a space that is written to, for all processes, and begins a history of its own with an
// empty version: the frames of the former leader are ErrDiverged from there on, and so are its own for replicas that
// have gone on with that one. It is durable when Promote returns.
//
// Promote cannot know whether the former leader still writes. Who calls it must: see the documentation of package
// replica.
func (r *Replica) Promote(ctx context.Context) error {
	return r.space.wrap("promote", r.space.engine.Promote(ctx))
}
