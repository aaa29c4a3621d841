package edit

import (
	"sync/atomic"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// typed is a stored type that was compared with a Go type: lists and references
// with that descriptor can be accessed by it.
type typed struct {
	of    layout.Identity
	index uint64 // of the stored descriptor
	first uint64 // the first word of a value that has it; of none, if it is not lent itself
	value *entry.Cell
	item  *entry.Cell
}

// typedCache remembers what was compared: by Go type and descriptor, for access; and
// by Go type alone, for new objects. Only what is published is remembered; an index
// is never used for another descriptor.
//
// A pair has two places for access, a near one that follows from the descriptor alone,
// and a far one: two pairs that a program uses in turns and that have the same near
// place do not displace each other.
type typedCache struct {
	nearby  [256]atomic.Pointer[typed]
	distant [256]atomic.Pointer[typed]
	create  [64]atomic.Pointer[typed]
}

// near returns the near place of a pair. The first word of a value may stand for the
// index of the descriptor: its lower bits are the same.
func (c *typedCache) near(index uint64) *atomic.Pointer[typed] { return &c.nearby[byte(index)] }

// far returns where else it may be. The types of a program lie in a row, and so do their
// descriptors: the multiplication keeps pairs from having one place for that.
func (c *typedCache) far(of layout.Identity, index uint64) *atomic.Pointer[typed] {
	return &c.distant[(uint64(of.Word())*0x9e3779b97f4a7c15>>40^index)%uint64(len(c.distant))]
}

// find returns what is remembered of a pair; nil if nothing is.
func (c *typedCache) find(of layout.Identity, index uint64) *typed {
	if t := c.near(index).Load(); t.fits(of, index) {
		return t
	}
	if t := c.far(of, index).Load(); t.fits(of, index) {
		return t
	}
	return nil
}

// remember puts a pair into its near place, or, if that is taken, into the far one.
func (c *typedCache) remember(t *typed) {
	if place := c.near(t.index); !place.CompareAndSwap(nil, t) {
		c.far(t.of, t.index).Store(t)
	}
}

// fits reports whether t is of the Go type and the descriptor.
func (t *typed) fits(of layout.Identity, index uint64) bool {
	return t != nil && t.of == of && t.index == index
}

// lendsItself reports whether t is there, and what is stored with it can be looked at in
// place.
func (t *typed) lendsItself() bool { return t != nil && t.first != ^uint64(0) }

// is reports whether t is of the Go type and the descriptor of the value that begins
// with a word; so what begins with it is a value.
func (t *typed) is(of layout.Identity, first uint64) bool {
	return t != nil && t.of == of && t.first == first
}

// typed compares a stored type with a Go type; kind says what has it.
func (ed *Editor) typed(kind format.Kind, of layout.Identity, index uint64) (*typed, error) {
	if t := ed.store.typed.find(of, index); t != nil {
		return t, nil
	}
	for _, t := range ed.fresh.typed {
		if t.fits(of, index) {
			return t, nil
		}
	}
	program, err := layout.Of(of.GoType())
	if err != nil {
		return nil, err
	}
	stored, err := ed.StoredType(index)
	if err != nil {
		return nil, err
	}
	if !layout.Same(stored, program) {
		return nil, TypesDiffer(kind, nil, layout.NewConversion(stored, program, nil), false)
	}
	t := ed.store.newTyped(of, index, program)
	if ed.published(index) {
		ed.store.typed.remember(t)
	} else if ed.Write != nil { // a snapshot is shared, and remembers nothing
		ed.fresh.typed = append(ed.fresh.typed, t)
	}
	return t, nil
}

func (s *Store) newTyped(of layout.Identity, index uint64, program *layout.Type) *typed {
	first := format.MakeValueType(index)
	if program.Coded() {
		first = ^uint64(0)
	}
	return &typed{of: of, index: index, first: first, value: entry.NewValue(program, s.CheckHandle), item: entry.NewItem(program, s.CheckHandle)}
}

// typedNew returns the descriptor of a Go type that new objects are to have, storing
// it if the space has none yet.
func (ed *Editor) typedNew(of layout.Identity) (*typed, error) {
	place := &ed.store.typed.create[uint64(of.Word())>>5%uint64(len(ed.store.typed.create))]
	if t := place.Load(); t != nil && t.of == of {
		if _, err := table.Object(ed.Reader, format.Link(ed.State.Table), t.index, format.KindType); err == nil {
			return t, nil // else it was there in another version
		}
	}
	for _, t := range ed.fresh.typed {
		if t.of == of {
			return t, nil
		}
	}
	program, err := layout.Of(of.GoType())
	if err != nil {
		return nil, err
	}
	index, err := ed.TypeIndex(program)
	if err != nil {
		return nil, err
	}
	t := ed.store.newTyped(of, index, program)
	if ed.published(index) {
		place.Store(t)
	} else {
		ed.fresh.typed = append(ed.fresh.typed, t)
	}
	return t, nil
}
