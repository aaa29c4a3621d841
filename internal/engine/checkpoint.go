package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/member"
)

// Checkpoints: a version that is listed in the pins of a later one stays readable
// as long as that later one, or any that lists it as well, is protected
// (live.Protected). So a checkpoint costs one block, whatever the size of the
// space, and goes wherever the state goes: into anchors, through a recovery.
//
// A transaction that changes the list is not told by the journal, which knows
// contents and not versions: it forces anchors instead (heap.Txn.Unlist).
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

// Checkpoint is one that has a name.
type Checkpoint struct {
	Name      string
	Version   format.Version
	Created   time.Time        // of the checkpoint
	Committed time.Time        // of the version
	Bytes     format.ByteCount // that neither the newest version nor another checkpoint can reach
}

// Checkpoint pins the newest version under a name; see Change for durable.
func (sp *Space) Checkpoint(name string, durable bool) error {
	if err := validPinName(name); err != nil {
		return err
	}
	if err := sp.Enter(); err != nil {
		return err
	}
	defer sp.Exit()
	err := sp.changeAlone(durable, func(tx *Tx) error {
		list, err := tx.pins()
		switch {
		case err != nil:
			return err
		case findPin(list, name) >= 0:
			return fmt.Errorf("%w: a checkpoint %q; drop it first, or take another name", ErrExists, name)
		case len(list) >= format.MaxPins:
			return fmt.Errorf("%w: a space has at most %d checkpoints; drop some", ErrTooLarge, format.MaxPins)
		}
		p := format.Pin{Version: uint64(tx.Version()), State: uint64(tx.hold.State), Created: uint64(time.Now().UnixNano())}
		copy(p.Name[:], name)
		return tx.setPins(append(list, p))
	})
	if err == nil {
		err = sp.Guarded(sp.durable.Assured) // F1: of a checkpoint more is expected than of a commit
	}
	return err
}

// DropCheckpoint lets go of a checkpoint. When it returns, that is on disk, and
// what only the checkpoint could reach is about to be swept.
func (sp *Space) DropCheckpoint(name string) error {
	return sp.changePins(context.Background(), func(tx *Tx, list []format.Pin) ([]format.Pin, error) {
		i := findPin(list, name)
		if i < 0 {
			return nil, noPin(list, name)
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// Restore publishes a version with the contents of a checkpoint. Checkpoints stay.
// When it returns, that is on disk.
func (sp *Space) Restore(ctx context.Context, name string) error {
	return sp.changePins(ctx, func(tx *Tx, list []format.Pin) ([]format.Pin, error) {
		i := findPin(list, name)
		if i < 0 {
			return nil, noPin(list, name)
		}
		return tx.restore(list, list[i])
	})
}

// restore makes the contents of a pinned version those of the transaction's, and
// returns the list with that version pinned once more (C2).
//
// Indexes of objects go on from where they are: an ID is never used twice.
func (tx *Tx) restore(list []format.Pin, pin format.Pin) ([]format.Pin, error) {
	old, err := tx.pinned(pin)
	if err != nil {
		return nil, err
	}
	s := tx.State
	bytes := old.BlockBytes - tx.ownBytes(old) + tx.ownBytes(s)
	s.Table, s.Objects, s.Catalog, s.Types, s.BlockBytes = old.Table, old.Objects, old.Catalog, old.Types, bytes
	s.NextIndex = max(s.NextIndex, old.NextIndex)
	pin.Restore, pin.Name = s.Version+1, [format.MaxPinName]byte{}
	list = slices.DeleteFunc(list, func(p format.Pin) bool { return p.Restore != 0 && p.Version == pin.Version })
	return append(list, pin), nil
}

// ownBytes returns the bytes of the blocks of a version that are not part of its
// contents: the list of its changes, and that of its checkpoints. All states have
// the same size.
func (tx *Tx) ownBytes(s *format.State) (n uint64) {
	if format.OpKindOf(s.OpWhat) == format.OpList {
		n += uint64(tx.Reader.BlockBytes(format.Addr(s.OpBlock)))
	}
	if s.Pins != 0 {
		n += uint64(tx.Reader.BlockBytes(format.Addr(s.Pins)))
	}
	return n
}

// ViewAt is View of a checkpoint. The slot holds the version that lists it, which
// protects the checkpoint as long as itself, whatever becomes of the list.
func (sp *Space) ViewAt(name string) (*Tx, error) {
	tx, err := sp.View()
	if err != nil {
		return nil, err
	}
	err = sp.Guarded(func() error {
		list, err := tx.pins()
		if err != nil {
			return err
		}
		i := findPin(list, name)
		if i < 0 {
			return noPin(list, name)
		}
		tx.State, err = tx.pinned(list[i])
		return err
	})
	if err != nil {
		tx.DropView()
		return nil, err
	}
	return tx, nil
}

// Checkpoints lists the checkpoints by age, the oldest first. To know what each
// one pins it walks whatever of the checkpoints the newest version does not have.
func (sp *Space) Checkpoints() (list []Checkpoint, err error) {
	err = sp.look(func(tx *Tx) error {
		list, err = tx.checkpoints()
		return err
	})
	return list, err
}

// checkpoints is Checkpoints in a transaction.
func (tx *Tx) checkpoints() ([]Checkpoint, error) {
	sp := tx.sp
	pins, err := tx.pins()
	if err != nil || len(pins) == 0 {
		return nil, err
	}
	own := owners{heap: sp.Heap, below: sp.Live.Carved()}
	own.shared = sp.Heap.NewMarks(own.below)
	r := sp.Heap.Reader(false)
	var list []Checkpoint
	if err := own.walk(&r, tx.hold.State); err != nil {
		return nil, err
	}
	for _, p := range pins {
		if _, err := tx.pinned(p); err != nil {
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
