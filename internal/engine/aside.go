package engine

import (
	"github.com/everheap/everheap/internal/delta"
	"github.com/everheap/everheap/internal/format"
)

// compare emits the changes of a version that is about to be published without a list of its
// changes.
func (sp *Space) compare(base, state *format.State, put func(h format.OpHead, payload []byte) error) error {
	if err := sp.Checkpoints.Emit(base, state, put); err != nil {
		return err
	}
	r := sp.Heap.Reader(false)
	d := delta.Delta{Was: delta.Version{Reader: &r, State: base}, Now: delta.Version{Reader: &r, State: state},
		Own: sp.store.Catalog, Shape: sp.store.Shape, Put: put}
	return d.Run()
}
