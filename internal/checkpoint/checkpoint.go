// Package checkpoint keeps versions that have a name, and goes back to them.
//
// A version that is listed in the pins of a later one stays readable
// as long as that later one, or any that lists it as well, is protected
// (live.Protected). So a checkpoint costs one block, whatever the size of the
// space, and goes wherever the state goes: into anchors, through a recovery.
//
// A transaction that changes the list is not told by the journal, which knows
// contents and not versions: it forces anchors instead (heap.Txn.Unlist). Where there are
// subscriptions, an aside tells it, to recoveries as well (package changes).
//
// Invariants:
//
//	C1  The version that a checkpoint pins is the base of the transaction that
//	    adds it: held meanwhile by the writer's slot, and by the list from the
//	    commit on.
//	C2  A restored version N reaches blocks that were freed after the pinned
//	    version X, and that wait in the lists of some process for X to be let go.
//	    Before they could be reused under N, or freed a second time and so be
//	    listed twice, X stays pinned under no name, until a sweep has ended that
//	    began after N was published: it makes every process forget what it has
//	    listed (I7), and finds what is really free.
//	C3  What only the former versions reach after a restore, or a dropped
//	    checkpoint alone, is in nobody's lists for sure: a sweep finds it. It is
//	    asked for once no usable anchor protects it any more.
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

// Checkpoint is one that has a name.
type Checkpoint struct {
	Name      string
	Version   format.Version
	Created   time.Time        // of the checkpoint
	Committed time.Time        // of the version
	Bytes     format.ByteCount // that neither the newest version nor another checkpoint can reach
}

// Keeper keeps the checkpoints of a space, as one process does.
type Keeper struct {
	*turn.Turn
	durable *durable.Writer
}

// Init sets it up for a member that is about to open the space.
func (k *Keeper) Init(t *turn.Turn, d *durable.Writer) { k.Turn, k.durable = t, d }

// Add pins the newest version under a name. With durable it returns when that survives a loss
// of power.
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
		err = k.Guarded(k.durable.Assured) // F1: of a checkpoint more is expected than of a commit
	}
	return err
}

// Drop lets go of a checkpoint. When it returns, that is on disk, and
// what only the checkpoint could reach is about to be swept.
func (k *Keeper) Drop(name string) error {
	return k.changePins(context.Background(), func(w turn.Writing, list []format.Pin) ([]format.Pin, error) {
		i := Find(list, name)
		if i < 0 {
			return nil, None(list, name)
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// Restore publishes a version with the contents of a checkpoint. Checkpoints stay.
// When it returns, that is on disk.
func (k *Keeper) Restore(ctx context.Context, name string) error {
	return k.changePins(ctx, func(w turn.Writing, list []format.Pin) ([]format.Pin, error) {
		i := Find(list, name)
		if i < 0 {
			return nil, None(list, name)
		}
		return k.restore(w, list, list[i])
	})
}

// restore makes the contents of a pinned version those of the transaction's, and
// returns the list with that version pinned once more (C2).
//
// Indexes of objects go on from where they are: an ID is never used twice.
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

// ownBytes returns the bytes of the blocks of a version that are not part of its
// contents: the list of its changes, and that of its checkpoints. All states have
// the same size.
func (k *Keeper) ownBytes(s *format.State) (n uint64) {
	if format.OpKindOf(s.OpWhat) == format.OpList {
		n += uint64(k.Heap.BlockBytes(format.Addr(s.OpBlock)))
	}
	if s.Pins != 0 {
		n += uint64(k.Heap.BlockBytes(format.Addr(s.Pins)))
	}
	return n
}

// List lists the checkpoints by age, the oldest first. To know what each
// one pins it walks whatever of the checkpoints the newest version does not have.
func (k *Keeper) List() (list []Checkpoint, err error) {
	err = k.Look(func(state format.Addr) error {
		list, err = k.list(state)
		return err
	})
	return list, err
}

// list is List in a version that is held.
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

// owners tells which blocks only one of several versions can reach. A block
// belongs to the first version that reached it, until another one does; then it is
// shared, and so is all below it.
type owners struct {
	heap   *heap.Heap
	below  uint64
	sets   []*heap.Marks      // by version: reached first by it
	bytes  []format.ByteCount // of those that are not shared
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
