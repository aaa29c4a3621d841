package edit

import (
	"sync/atomic"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// typed is a stored type that was compared with a Go type: the program can access lists and
// references that have the descriptor by that Go type.
type typed struct {
	of    layout.Identity
	index uint64 // of the stored descriptor
	first uint64 // the first word of values that have it; a word of no value, if values are lent as copies
	value *entry.Cell
	item  *entry.Cell
}

// typedCache remembers comparisons: by Go type and descriptor, for access; and by Go type alone,
// for new objects. It remembers only published descriptors; no index is ever used for another
// descriptor.
//
// A pair has two places for access: a near one, which the descriptor alone decides, and a far one.
// So two pairs with the same near place that a program uses in turns do not displace each other.
type typedCache struct {
	nearby  [256]atomic.Pointer[typed]
	distant [256]atomic.Pointer[typed]
	create  [64]atomic.Pointer[typed]
}

// near returns the near place of a pair. index may also be the first word of a value, which has the
// same lower bits.
func (c *typedCache) near(index uint64) *atomic.Pointer[typed] { return &c.nearby[byte(index)] }

// far returns the far place of a pair. The types of a program lie in a row in memory, and their
// descriptors have consecutive indexes: the multiplication keeps such pairs from sharing a place.
func (c *typedCache) far(of layout.Identity, index uint64) *atomic.Pointer[typed] {
	return &c.distant[(uint64(of.Word())*0x9e3779b97f4a7c15>>40^index)%uint64(len(c.distant))]
}

// find returns the comparison of a pair; nil if it is not remembered.
func (c *typedCache) find(of layout.Identity, index uint64) *typed {
	if t := c.near(index).Load(); t.fits(of, index) {
		return t
	}
	if t := c.far(of, index).Load(); t.fits(of, index) {
		return t
	}
	return nil
}

// remember puts a pair into its near place, or into the far one if the near one is taken.
func (c *typedCache) remember(t *typed) {
	if place := c.near(t.index); !place.CompareAndSwap(nil, t) {
		c.far(t.of, t.index).Store(t)
	}
}

// fits reports whether t is the comparison of the Go type with the descriptor.
func (t *typed) fits(of layout.Identity, index uint64) bool {
	return t != nil && t.of == of && t.index == index
}

// lendsItself reports whether t is not nil and the program may look at its values in place.
func (t *typed) lendsItself() bool { return t != nil && t.first != ^uint64(0) }

// is reports whether t is the comparison of the Go type with the descriptor of the value that
// begins with the word first. If so, the block that begins with first is a value.
func (t *typed) is(of layout.Identity, first uint64) bool {
	return t != nil && t.of == of && t.first == first
}

// typed compares a stored type with a Go type; kind is the kind of object that has it, for the
// error.
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

// typedNew returns the descriptor of a Go type for new objects, storing it if the space has none
// yet.
func (ed *Editor) typedNew(of layout.Identity) (*typed, error) {
	place := &ed.store.typed.create[uint64(of.Word())>>5%uint64(len(ed.store.typed.create))]
	if t := place.Load(); t != nil && t.of == of {
		if _, err := table.Object(ed.Reader, format.Link(ed.State.Table), t.index, format.KindType); err == nil {
			return t, nil // otherwise another version had it, and this one does not
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
