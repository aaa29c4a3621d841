// Package checkpoint keeps versions under names, and restores them.
//
// A state has a list of pins. A version in the list of a later version stays readable as long as
// that later version, or another that lists it, is protected (live.Protected). So a checkpoint
// costs one block, however large the space is, and goes wherever the state goes: into anchors, and
// through a recovery.
//
// The journal cannot record a transaction that changes the list, since it records contents and not
// versions: such a transaction forces anchors instead (heap.Txn.Unlist). If there are
// subscriptions, an aside has the change, for recoveries as well (package changes).
//
// Invariants:
//
//	C1  The version that a checkpoint pins is the base of the transaction that adds it: the
//	    writer's slot holds it meanwhile, and the list pins it from the commit on.
//	C2  From a restore on, the restored version X stays pinned without a name until a sweep has
//	    ended that began after the restoring version N was published. N reaches blocks that were
//	    freed after X, and that wait in the lists of processes until X is released. If they were
//	    reused under N, or freed a second time and so listed twice, N would be damaged. The sweep
//	    makes every process forget its lists (I7), and finds what is really free.
//	C3  Blocks that only the earlier versions reach after a restore, or only a dropped checkpoint,
//	    may be in no list: a sweep has to find them. The Keeper asks for it once no usable anchor
//	    protects them any more.
//
// Start reading at Keeper.Add and Keeper.Restore.
package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/turn"
)

// Checkpoint is a checkpoint with a name.
type Checkpoint struct {
	Name      string
	Version   format.Version
	Created   time.Time        // when the checkpoint was made
	Committed time.Time        // when its version was committed
	Bytes     format.ByteCount // bytes that neither the newest version nor another checkpoint can reach
}

// Keeper is one process's part in the checkpoints of a space.
type Keeper struct {
	*turn.Turn
	durable *durable.Writer
}

// Init prepares k for a member that is about to open the space.
func (k *Keeper) Init(t *turn.Turn, d *durable.Writer) { k.Turn, k.durable = t, d }

// Add pins the newest version under a name. With durable it returns once the checkpoint survives a
// loss of power.
func (k *Keeper) Add(name string, durable bool) error {
	if err := validPinName(name); err != nil {
		return err
	}
	if err := k.Enter(); err != nil {
		return err
	}
	defer k.Exit()
	version, err := k.Change(context.Background(), func(w turn.Writing) error {
		list, err := k.Pins(w.State)
		switch {
		case err != nil:
			return err
		case Find(list, name) >= 0:
			return fmt.Errorf("%w: a checkpoint %q; drop it first, or take another name", failure.ErrExists, name)
		case len(list) >= format.MaxPins:
			return fmt.Errorf("%w: a space has at most %d checkpoints; drop some", failure.ErrTooLarge, format.MaxPins)
		}
		p := format.Pin{Version: w.State.Version, State: uint64(w.Base), Created: uint64(time.Now().UnixNano())}
		copy(p.Name[:], name)
		return setPins(w, append(list, p))
	})
	if err == nil && durable {
		err = k.durable.Await(version)
	}
	if err == nil {
		err = k.Guarded(k.durable.Assured) // F1: a program expects more of a checkpoint than of a commit
	}
	return err
}

// Drop drops a checkpoint. When it returns, that is on disk, and a sweep of the blocks that only
// the checkpoint could reach is due.
func (k *Keeper) Drop(name string) error {
	return k.changePins(context.Background(), func(w turn.Writing, list []format.Pin) ([]format.Pin, error) {
		i := Find(list, name)
		if i < 0 {
			return nil, None(list, name)
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// Restore publishes a version with the contents of a checkpoint. All checkpoints stay. When it
// returns, that version is on disk.
func (k *Keeper) Restore(ctx context.Context, name string) error {
	return k.changePins(ctx, func(w turn.Writing, list []format.Pin) ([]format.Pin, error) {
		i := Find(list, name)
		if i < 0 {
			return nil, None(list, name)
		}
		return k.restore(w, list, list[i])
	})
}

// restore gives the transaction's version the contents of a pinned version, and returns the list
// with that version pinned once more (C2).
//
// The next index of objects stays as it is: an ID is never used twice.
func (k *Keeper) restore(w turn.Writing, list []format.Pin, pin format.Pin) ([]format.Pin, error) {
	old, err := k.State(pin)
	if err != nil {
		return nil, err
	}
	s := w.State
	bytes := old.BlockBytes - k.ownBytes(old) + k.ownBytes(s)
	s.Table, s.Objects, s.Catalog, s.Types, s.BlockBytes = old.Table, old.Objects, old.Catalog, old.Types, bytes
	s.NextIndex = max(s.NextIndex, old.NextIndex)
	pin.Restore, pin.Name = s.Version+1, [format.MaxPinName]byte{}
	list = slices.DeleteFunc(list, func(p format.Pin) bool { return p.Restore != 0 && p.Version == pin.Version })
	return append(list, pin), nil
}

// ownBytes returns how many bytes of a version's blocks do not belong to its contents: the list of
// its changes, and that of its checkpoints. All states have the same size.
func (k *Keeper) ownBytes(s *format.State) (n uint64) {
	if format.OpKindOf(s.OpWhat) == format.OpList {
		n += uint64(k.Heap.BlockBytes(format.Addr(s.OpBlock)))
	}
	if s.Pins != 0 {
		n += uint64(k.Heap.BlockBytes(format.Addr(s.Pins)))
	}
	return n
}

// List lists the checkpoints, the oldest first. To count what each one pins, it walks every block
// of the checkpoints that the newest version does not have.
func (k *Keeper) List() (list []Checkpoint, err error) {
	err = k.Look(func(state format.Addr) error {
		list, err = k.list(state)
		return err
	})
	return list, err
}

// list is List for a held version.
func (k *Keeper) list(state format.Addr) ([]Checkpoint, error) {
	pins, err := k.Pins(member.StateAt(state))
	if err != nil || len(pins) == 0 {
		return nil, err
	}
	own := owners{heap: k.Heap, below: k.Live.Carved()}
	own.shared = k.Heap.NewMarks(own.below)
	r := k.Heap.Reader(false)
	var list []Checkpoint
	if err := own.walk(&r, state); err != nil {
		return nil, err
	}
	for _, p := range pins {
		if _, err := k.State(p); err != nil {
			return nil, err
		}
		if err := own.walk(&r, format.Addr(p.State)); err != nil {
			return nil, err
		}
	}
	for i, p := range pins {
		if p.Restore == 0 {
			list = append(list, Checkpoint{Name: p.NameOf(), Version: format.Version(p.Version), Created: time.Unix(0, int64(p.Created)),
				Committed: time.Unix(0, int64(member.StateAt(format.Addr(p.State)).UnixNano)), Bytes: own.bytes[i+1]})
		}
	}
	return list, nil
}

// owners finds the blocks that only one of several versions can reach. A block belongs to the first
// version that reaches it, until another version does: then the block is shared, and everything
// below it too.
type owners struct {
	heap   *heap.Heap
	below  uint64
	sets   []*heap.Marks      // for each version, the blocks that it reached first
	bytes  []format.ByteCount // for each version, bytes of its blocks that are not shared
	shared *heap.Marks
}

// walk adds a version.
func (o *owners) walk(r *heap.Reader, state format.Addr) error {
	o.sets = append(o.sets, o.heap.NewMarks(o.below))
	o.bytes = append(o.bytes, 0)
	return check.Mark(r, state, o)
}

// Add implements check.Set for the version that was added last.
func (o *owners) Add(a format.Addr) bool {
	last := len(o.sets) - 1
	for i, set := range o.sets[:last] {
		if !set.Has(a) {
			continue
		}
		if !o.shared.Add(a) {
			return false
		}
		o.bytes[i] -= o.heap.BlockBytes(a)
		return true
	}
	if !o.sets[last].Add(a) {
		return false
	}
	o.bytes[last] += o.heap.BlockBytes(a)
	return true
}
