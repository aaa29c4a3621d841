package engine

import (
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
			if err := sp.Checkpoints.Emit(base, state, put); err != nil {
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
