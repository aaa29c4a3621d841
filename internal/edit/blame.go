package edit

import (
	"errors"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Blame explains err, with which a copy out of the block with the bounds has failed. If a value in
// an interface has a type whose name is not known, the name itself may be damaged: only the
// checksum of the block tells, so Blame verifies the block and returns its damage if there is any.
// Every other error says itself what is wrong, and Blame returns it as it is.
func (ed *Editor) Blame(b layout.Bounds, err error) error {
	if err == nil { // a function of its own: blame allocates the target of errors.As before it looks
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
