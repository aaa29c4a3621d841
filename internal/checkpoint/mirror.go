package checkpoint

import (
	"fmt"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/turn"
)

// A replica mirrors the checkpoints of its leader: a checkpoint pins the version that has the same
// number on the replica. So frames say which checkpoints are new in a version, and which were
// dropped. Versions that are pinned only for a restore (C2) stay with the leader: a replica gets a
// restore as changes of contents.

// Emit emits which checkpoints are new in a version that is about to be published, and which were
// dropped.
func (k *Keeper) Emit(base, state *format.State, put func(h format.OpHead, payload []byte) error) error {
	if base.Pins == state.Pins {
		return nil
	}
	was, err := k.pins(base, true)
	if err != nil {
		return err
	}
	now, err := k.pins(state, false) // the version is not sealed yet
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

// Mirror repeats on a replica what the leader's version did: the base of the transaction becomes a
// checkpoint with the name and the time, or the checkpoint with the name is dropped.
func (k *Keeper) Mirror(w turn.Writing, name string, created uint64, add bool) error {
	list, err := k.Pins(w.State)
	if err != nil {
		return err
	}
	i := Find(list, name)
	if !add {
		if i < 0 { // the checkpoint is older than the replica
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
		return fmt.Errorf("the replica already has a checkpoint %q, or too many checkpoints", name)
	}
	p := format.Pin{Version: w.State.Version, State: uint64(w.Base), Created: created}
	copy(p.Name[:], name)
	return setPins(w, append(list, p))
}
