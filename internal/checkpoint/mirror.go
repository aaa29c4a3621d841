package checkpoint

import (
	"fmt"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/turn"
)

// What a replica does about checkpoints is what its leader did: each is of the version that has
// the same number there. So it is told which are new in a version, and which are gone. What is
// pinned for a restore alone (C2) is the leader's own affair: a replica changes contents.

// Emit emits which checkpoints are new in a version that is about to be published, and which are gone.
func (k *Keeper) Emit(base, state *format.State, put func(h format.OpHead, payload []byte) error) error {
	if base.Pins == state.Pins {
		return nil
	}
	was, err := k.pins(base, true)
	if err != nil {
		return err
	}
	now, err := k.pins(state, false) // it is not sealed
	if err != nil {
		return err
	}
	in := func(list []format.Pin, p format.Pin) bool {
		return slices.ContainsFunc(list, func(q format.Pin) bool { return q.Restore == 0 && q.Name == p.Name && q.Version == p.Version })
	}
	for _, p := range was {
		if p.Restore == 0 && !in(now, p) {
			if err := put(format.OpHead{What: format.MakeWhat(format.OpDropCheckpoint, 0)}, []byte(p.NameOf())); err != nil {
				return err
			}
		}
	}
	for _, p := range now {
		if p.Restore == 0 && !in(was, p) {
			if err := put(format.OpHead{What: format.MakeWhat(format.OpCheckpoint, 0), Arg: p.Created}, []byte(p.NameOf())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Mirror does in a replica what the leader's version did: the base of the transaction becomes a
// checkpoint of the name, made at that time, or the checkpoint of the name is gone.
func (k *Keeper) Mirror(w turn.Writing, name string, created uint64, add bool) error {
	list, err := k.Pins(w.State)
	if err != nil {
		return err
	}
	i := Find(list, name)
	if !add {
		if i < 0 { // it is older than the replica
			return nil
		}
		w.Txn.Remove(true, true)
		k.Live.Words().SweepWish.Store(1) // C3
		return setPins(w, slices.Delete(list, i, i+1))
	}
	if err := validPinName(name); err != nil {
		return err
	}
	if i >= 0 || len(list) >= format.MaxPins {
		return fmt.Errorf("a checkpoint %q too much", name)
	}
	p := format.Pin{Version: w.State.Version, State: uint64(w.Base), Created: created}
	copy(p.Name[:], name)
	return setPins(w, append(list, p))
}
