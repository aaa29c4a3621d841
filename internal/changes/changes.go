// Package changes gives out every committed version of a space, in order, as the changes that make
// it out of the version before: for copies on other machines, for continuous backups, for an audit.
// The journal has these changes anyway; the package keeps the journal for as long as a subscription
// needs it.
//
// Terms: a frame is one version with its changes, checksummed, in bytes that mean the same on every
// machine (format.ChangeHead). A subscription has a name; it says after which version frames are
// needed, and how many bytes may be kept for it. An aside is a file with the frame of one version
// that does not list its changes.
//
// Invariants:
//
//	CH1  While a subscription is not lost, no process claims or cuts off a segment of the journal
//	     that may hold a version after that of the subscription, nor removes the aside of such a
//	     version. A process reads the subscriptions before it claims a segment (live.KeptFloor). A
//	     subscription that is made after that begins at a version at least as new as every version
//	     that this reading has seen, so its records are still to be written. A writer that
//	     publishes a version with an aside looks for subscriptions first, and a subscription is
//	     made in the turn. If another process has taken that turn over, the subscription begins
//	     again in another turn, in case a version after it was published without an aside. Only in
//	     a replica, where no process outruns a suspended one (RP3), can a suspended process still
//	     publish a version without an aside after that: then the reader gets an error.
//	CH2  The bytes that subscriptions keep are bounded: before the journal gets another segment,
//	     and before a version with an aside is published, each subscription becomes lost for which
//	     the journal and the asides together would keep more than its limit. A lost subscription
//	     keeps nothing, and its owner gets an error and begins again with a snapshot. So a stuck
//	     subscriber never makes a space grow beyond its limit, and never stops a writer.
//	CH3  Only durable versions become frames. So a version whose frame somebody has is part of the
//	     space's history even after a loss of power.
//	CH4  The aside of a version is on disk, under a name that the version's state has, before the
//	     version is published, and it stays until no subscription and no recovery needs it: a
//	     recovery needs it while a usable anchor is older. The version's record in the journal
//	     names the aside, so record and aside together are as good as a record with changes. A
//	     recovery replays them as a replica would, in a transaction of their own, so that a
//	     checkpoint pins the right version. A writer that is outrun leaves an aside that no state
//	     names.
//	CH5  The file of a subscription is on disk before live says the same, and before Subscribe and
//	     Confirm return; and the version in it is durable. So when live is rebuilt from files, by
//	     whichever process comes first, the subscriptions need no more than there is, and nothing
//	     that they need is given away. The file may be behind only while several processes confirm
//	     at once, until the slow one of them has noticed. Drop removes the file first; if it dies
//	     then, it leaves a subscription without a file, which the next Subscribe ends before it
//	     makes another.
//
//	CH6  While there is a subscription, an anchor names a version only after the records of all
//	     versions up to it are in the journal, on disk. The process that writes the anchor holds
//	     the version first, and then waits for that; later commits do not belong to this anchor. A
//	     recovery that begins at the anchor could not write these records: the blocks that they
//	     would be copied from may be overwritten. So after a loss of power there is a record of
//	     every version that the space has and a subscription needs. There are exceptions, versions
//	     without a record, where anchors take the place of records (J1): an aside could not be
//	     written, the disk or the journal is full, the changes of a version cannot be read, the
//	     file of the journal was lost, or a sync of it has failed. Then the chain of records may
//	     have a gap, and a reader finds it (J4): it gets an error and never a wrong frame.
//
// Why not in another way. First, a record might be written only when both anchors have the version,
// so that no recovery ever meets it: then a loss of power between the two loses it, and the records
// of all later versions up to the anchors. Second, the record might come first, and no recovery
// replay it: then records of abandoned versions remain, which continue from the recovered version
// as well as the new records do. Third, a recovery might compare versions itself: but it has only
// those of the two anchors, and not those between.
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

// Keeper is one process's part in giving out the changes of a space.
type Keeper struct {
	*turn.Turn
	durable *durable.Writer
	Compare Compare
	aside   struct{ version, bytes atomic.Uint64 } // the last aside that this process has written, and how many bytes of asides a recovery may need
	files   sync.Mutex                             // held while the file of a subscription is written or removed
	tidied  format.Version                         // asides up to this version were unnecessary at the last Tidy
}

// Init prepares k for a member that is about to open the space. The caller sets Compare next.
func (k *Keeper) Init(t *turn.Turn, d *durable.Writer) {
	k.Turn, k.durable = t, d
	d.Beside = k.asideBytes
}

// A Frame is one version with its changes.
type Frame struct {
	format.ChangeHead
	Bytes []byte // the whole frame
}

// Ops returns the changes.
func (f *Frame) Ops() []byte { return f.Bytes[format.ChangeHeadSize:] }

// Parse verifies the frame that b consists of.
func Parse(b []byte) (Frame, error) {
	h, _, rest, ok := format.DecodeChange(b)
	if !ok || len(rest) != 0 {
		return Frame{}, errCut
	}
	return Frame{h, b}, nil
}

const (
	batchBytes  = 1 << 20 // frames read at once
	waitAtMost  = 25 * time.Millisecond
	batchFrames = 4096
)

// errBatch means that a batch is full.
var errBatch = errors.New("the batch is full")

// NotKept is the error for a reader that needs changes which are not kept.
func NotKept(version format.Version) error {
	return fmt.Errorf("%w: what follows version %d; begin again with a backup, and subscribe before you make it", failure.ErrNotKept, version)
}

// Since yields the frames of all versions after the given one, in order, and waits for more until
// the context ends or the space is closed. The versions are durable (CH3), and the frames belong to
// the caller. The last round has the error that ended it: failure.ErrNotKept if the next version is
// not kept any more.
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

// tailFrom returns a reader of the journal that begins after a version.
func (k *Keeper) tailFrom(version format.Version) (*journal.Tail, error) {
	file := k.durable.Journal()
	if file == nil {
		return nil, fmt.Errorf("%w: this user may not read the journal, which has the changes; let a user that may read it do so", failure.ErrReadOnly)
	}
	newest, err := k.NewestVersion()
	if err != nil {
		return nil, err
	}
	if version == 0 || version > newest {
		return nil, fmt.Errorf("%w: the newest version of the space is %d, and the changes since version %d were requested; is it another space, or one that was restored?", failure.ErrNotKept, newest, version)
	}
	return journal.NewTail(file, k.Live, k.Head.SpaceID, version, 0), nil
}

// next returns the frames that follow, as far as they are in the journal; none if the last one was
// that of the newest durable version.
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
	k.Live.Assure() // the words of live that were read are right (L16)
	switch at, _ := t.At(); {
	case errors.Is(err, errBatch):
		err = nil
	case errors.Is(err, journal.ErrGap):
		err = NotKept(at)
	}
	return batch, err
}

// frame makes the frame of a version from its record.
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
