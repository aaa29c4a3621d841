package check

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/vector"
)

// items visits the blocks of a list.
func (w *walker) items(l *format.ListObject) error {
	return vector.Walk(w.r, format.Link(l.Root), w.visit, func(_, word uint64) error {
		_, err := w.visit(format.Addr(word), format.KindItem)
		return err
	})
}

// list verifies a list: that it has the elements that it says, without a gap, and
// that each is a value of its type. Of a list of a checkpoint only what is not in the
// newest version, too.
func (w *walker) list(o objectAt) error {
	p, err := w.r.Payload(o.addr, o.kind)
	if err != nil {
		return err
	}
	l := *(*format.ListObject)(p)
	typ := w.typeOf(o, l.Value)
	next := uint64(0)
	err = vector.Walk(w.r, format.Link(l.Root), w.visit, func(i, word uint64) error {
		a := format.Addr(word)
		if i != next && !w.older {
			w.find(o.addr, "the elements %d to %d of a list are missing", next, i-1)
		}
		next = i + 1
		descend, err := w.visit(a, format.KindItem)
		if err != nil {
			return err
		}
		if !descend {
			if !w.older { // else it is the newest version's as well
				w.find(a, "an element is linked twice")
			}
			return nil
		}
		w.report.Entries++
		return w.content(a, format.KindItem, 0, typ)
	})
	if err != nil {
		return err
	}
	if next != l.Count && !w.older && len(w.report.Findings) == 0 {
		w.find(o.addr, "the list says %d elements, there are %d", l.Count, next)
	}
	if levels := format.Link(l.Root).VectorLevels(); levels != vector.Levels(l.Count) {
		w.find(o.addr, "a list of %d elements has %d levels (V2)", l.Count, levels)
	}
	return nil
}

// value verifies a single value.
func (w *walker) value(o objectAt) error {
	p, err := w.r.Payload(o.addr, o.kind)
	if err != nil {
		return err
	}
	index, ok := format.ValueType((*format.ValueObject)(p).Type)
	if !ok {
		w.find(o.addr, "a value that does not say its type")
		return nil
	}
	w.report.Entries++
	return w.content(o.addr, o.kind, uintptr(format.ValueObjectSize), w.typeOf(o, index))
}

// typeOf returns a stored type; nil if it is not known.
func (w *walker) typeOf(o objectAt, index uint64) *layout.Type {
	t := w.types[index]
	if t == nil {
		w.find(o.addr, "the type of a %s, object %d, is missing", o.kind, index)
	}
	return t
}

// content verifies the value that begins at an offset of a block.
func (w *walker) content(a format.Addr, kind format.Kind, at uintptr, typ *layout.Type) error {
	p, err := w.r.Payload(a, kind)
	if err != nil || typ == nil {
		return err
	}
	if err := typ.Check(unsafe.Add(p, at), entry.Bounds(w.r, p)); err != nil {
		w.find(a, "the value of a %s: %v", kind, err)
	}
	return nil
}
