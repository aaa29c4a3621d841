// Package changes gives out every committed version of a space, in order, as the changes that
// make it of the version before: for copies on other machines, for backups that go on, for an
// audit. What it gives out is in the journal already; it only sees to it that the journal is
// kept for as long as somebody needs it.
//
// Terms: a frame is one version with its changes, checksummed, in bytes that mean the same
// anywhere (format.ChangeHead). A subscription has a name, says from which version on frames
// are needed, and how many bytes may be kept for that. An aside is a file with the frame of one
// version that does not list its changes.
//
// Invariants:
//
//	CH1  While a subscription is not lost, no process claims a segment of the journal anew, or
//	     cuts it off, that may hold a version after that of the subscription, nor removes the
//	     aside of such a version. Who claims reads the subscriptions before (live.KeptFloor),
//	     and one that is made meanwhile begins at a version that is not older than what
//	     that reading has seen: its records are still to be written.
//	     Who publishes a version that needs an aside asks for subscriptions before, and one is
//	     made in the turn; or, where another process has taken that over, it begins anew in
//	     another turn if a version after it was published without an aside. Only in a replica, where nobody outruns who stood still (RP3), can such a one publish a
//	     version without an aside after that: its reader is told.
//	CH2  What is kept is bounded: before the journal gets another segment, and before a version
//	     with an aside is published, the subscriptions are lost for which more than their limit
//	     would be kept, of the journal and of asides together.
//	     A lost one keeps nothing, and its owner is told so: he begins again with a snapshot.
//	     A stuck subscriber so never makes a space grow beyond that, and stops nobody.
//	CH3  Frames are of durable versions. So a version that somebody has got a frame of is part
//	     of the space's history, also after a loss of power.
//	CH4  The aside of a version is on disk, under a name that the version's state says, before
//	     the version is published, and until neither a subscription nor a recovery needs it: a
//	     recovery, while a usable anchor is older. Its record in the journal names it. So record
//	     and aside are as good as a record with its changes: a recovery replays them as a replica
//	     would, in a transaction of their own, so that a checkpoint is of the right version. A
//	     writer that is outrun leaves an aside that no state names.
//	CH5  The file of a subscription is on disk before live says the same, and Subscribe and
//	     Confirm return after that; and the version that it names is durable. So when live is
//	     made anew from files, by whoever comes first, the subscriptions need no more than is
//	     there, and nothing that they need is given away. Only if processes confirm at once, and
//	     one of them is slow, may the file be behind until that one has seen it. Drop removes
//	     the file first; who dies then leaves a subscription without one, which the next
//	     Subscribe ends, before it makes another one.
//
//	CH6  While there is a subscription, an anchor names a version only when the records of all
//	     versions up to it are in the journal, on disk. Who writes the anchor holds the version
//	     first, and then waits for that: what is committed meanwhile is not of this anchor. A
//	     recovery that begins at the anchor writes none of those records, and could not: what
//	     they would be copied from may be overwritten. So after a loss of power every version
//	     that the space has, and a subscription needs, has its record.
//	     The exceptions are the versions that no record can tell, where anchors take the place of
//	     records (J1): an aside could not be written, the disk or the journal is full, what a
//	     version changed cannot be read, or the file of the journal was lost, or a sync of it has
//	     failed. Then the chain of records may have a gap, which a reader finds (J4): it is told,
//	     and gets nothing wrong.
//
// Why not the other ways round. A record that is written only when both anchors have the version
// (no recovery ever meets it then) is lost with the power between the two, and so are those of
// all versions that came after it up to the anchors. A record that comes first, and that no
// recovery replays, leaves records of versions that were given up, which lead on from the
// version recovered as well as the new ones do. And a recovery that compares versions itself has
// only those of the two anchors, and not those between.
//
// Start reading at Keeper.Since, then Keeper.Subscribe and Keeper.Aside.
package changes

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/turn"
)

// Keeper is the part of one process in giving out the changes of a space.
type Keeper struct {
	*turn.Turn
	durable *durable.Writer
	Compare Compare
	aside   struct{ version, bytes atomic.Uint64 } // the last one that this process has written, and what a recovery may need with it
	files   sync.Mutex                             // of one who writes or removes the file of a subscription
	tidied  format.Version                         // up to which versions were needless at the last look of the background
}

// Init sets it up for a member that is about to open the space. Compare is still to be set.
func (k *Keeper) Init(t *turn.Turn, d *durable.Writer) {
	k.Turn, k.durable = t, d
	d.Beside = k.asideBytes
}

// A Frame is one version with its changes.
type Frame struct {
	format.ChangeHead
	Bytes []byte // of the whole frame
}

// Ops returns the changes.
func (f *Frame) Ops() []byte { return f.Bytes[format.ChangeHeadSize:] }

// Parse verifies a frame, which is all of b.
func Parse(b []byte) (Frame, error) {
	h, _, rest, ok := format.DecodeChange(b)
	if !ok || len(rest) != 0 {
		return Frame{}, errCut
	}
	return Frame{h, b}, nil
}

const (
	batchBytes  = 1 << 20 // of frames that are read at once
	waitAtMost  = 25 * time.Millisecond
	batchFrames = 4096
)

// errBatch says that a batch is full.
var errBatch = errors.New("the batch is full")

// NotKept is the error of one who needs changes that are not kept.
func NotKept(version format.Version) error {
	return fmt.Errorf("%w: what follows version %d; begin again with a backup, and subscribe before you make it", failure.ErrNotKept, version)
}

// Since yields the frames of all versions after one, in order, and waits for more until the
// context ends or the space is closed. Frames are durable (CH3), and belong to the caller.
// The last round has the error that ended it: failure.ErrNotKept if what comes next is not
// kept any more.
func (k *Keeper) Since(ctx context.Context, version format.Version) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		var tail *journal.Tail
		for {
			var batch []Frame
			err := k.Within(func() (err error) {
				if tail == nil {
					if tail, err = k.tailFrom(version); err != nil {
						return err
					}
				}
				batch, err = k.next(tail)
				return err
			})
			for _, f := range batch {
				if !yield(f, nil) {
					return
				}
			}
			if err == nil && len(batch) == 0 {
				err = k.wait(ctx)
			}
			if err != nil {
				yield(Frame{}, err)
				return
			}
		}
	}
}

// tailFrom returns what reads the journal from a version on.
func (k *Keeper) tailFrom(version format.Version) (*journal.Tail, error) {
	file := k.durable.Journal()
	if file == nil {
		return nil, fmt.Errorf("%w: the journal cannot be read by this user; its changes can only be had by who may", failure.ErrReadOnly)
	}
	newest, err := k.NewestVersion()
	if err != nil {
		return nil, err
	}
	if version == 0 || version > newest {
		return nil, fmt.Errorf("%w: the newest version of the space is %d, and changes since version %d are asked for; is it another space, or one that was restored?", failure.ErrNotKept, newest, version)
	}
	return journal.NewTail(file, k.Live, k.Head.SpaceID, version, 0), nil
}

// next returns what of the frames that follow is at hand; none: the last one was that of the
// newest durable version.
func (k *Keeper) next(t *journal.Tail) (batch []Frame, err error) {
	limit := format.Version(k.Live.Words().Durable.Load())
	bytes := 0
	err = t.Next(limit, func(h format.RecordHead, before uint64, ops []byte) error {
		if bytes > batchBytes || len(batch) == batchFrames {
			return errBatch
		}
		f, err := k.frame(h, before, ops)
		if err == nil {
			batch = append(batch, f)
			bytes += len(f.Bytes)
		}
		return err
	})
	k.Live.Assure() // what was read of live is right (L16)
	switch at, _ := t.At(); {
	case errors.Is(err, errBatch):
		err = nil
	case errors.Is(err, journal.ErrGap):
		err = NotKept(at)
	}
	return batch, err
}

// frame makes the frame of a record.
func (k *Keeper) frame(h format.RecordHead, before uint64, ops []byte) (Frame, error) {
	if op, _, _, ok := format.NextOp(ops); ok && format.OpKindOf(op.What) == format.OpAside {
		return k.readAside(format.Version(h.Version), op.Arg, h.Chain)
	}
	c := format.ChangeHead{Tag: k.Head.Tag, Kind: format.ChangeListed, Version: h.Version, Before: before, Chain: h.Chain, UnixNano: h.UnixNano}
	b := make([]byte, 0, format.ChangeHeadSize+len(ops))
	b = append(format.AppendChangeHead(b, c), ops...)
	format.SealChange(b)
	return Parse(b)
}

// wait returns when a newer version may be durable.
func (k *Keeper) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return k.Within(func() error {
		k.Live.AwaitDurable(waitAtMost)
		return nil
	})
}
