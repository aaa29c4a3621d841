package edit

import (
	"errors"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Blame returns what is wrong with a block within some bounds if a copy of what is in it has ended
// with an error: of a value in an interface whose type is not known the name may be damaged, which only
// the checksum of the block tells. Others than that say themselves what they are.
func (ed *Editor) Blame(b layout.Bounds, err error) error {
	if err == nil { // apart, since what looks for a kind of error allocates before it looks
		return nil
	}
	return ed.blame(b, err)
}

func (ed *Editor) blame(b layout.Bounds, err error) error {
	if unknown := (*layout.ConcreteError)(nil); !errors.As(err, &unknown) {
		return err
	}
	r := ed.Reader.Verifying()
	a := format.Addr(b.Lo - format.HeaderSize)
	if damage := r.Verify(a, r.Kind(a)); damage != nil {
		return damage
	}
	return err
}
