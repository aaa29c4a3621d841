package engine

import (
	"slices"

	"github.com/everheap/everheap/internal/delta"
	"github.com/everheap/everheap/internal/format"
)

// putAside puts the changes of a version that is about to be published, and does not list them,
// where subscriptions find them (CH4). What goes wrong costs the subscriptions that version,
// and nobody the commit: who reads on is told.
func (sp *Space) putAside(base, state *format.State, before uint64) uint64 {
	h := format.ChangeHead{Tag: sp.Head.Tag, Kind: format.ChangeCompared, Version: state.Version,
		Before: before, Chain: state.Chain, UnixNano: state.UnixNano}
	name := uint64(0)
	err := sp.Guarded(func() (err error) {
		name, err = sp.Changes.Aside(h, func(put func(h format.OpHead, payload []byte) error) error {
			if err := sp.emitPins(base, state, put); err != nil {
				return err
			}
			r := sp.Heap.Reader(false)
			d := delta.Delta{Was: delta.Version{Reader: &r, State: base}, Now: delta.Version{Reader: &r, State: state},
				Own: sp.store.Catalog, Shape: sp.store.Shape, Put: put}
			return d.Run()
		})
		return err
	})
	if err != nil {
		sp.Note(err)
		return 0
	}
	return name
}

// emitPins emits which checkpoints are new in a version, and which are gone.
func (sp *Space) emitPins(base, state *format.State, put func(h format.OpHead, payload []byte) error) error {
	if base.Pins == state.Pins {
		return nil
	}
	was, err := sp.Checkpoints.Pins(base)
	if err != nil {
		return err
	}
	now, err := sp.Checkpoints.PinsUnsealed(state)
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
