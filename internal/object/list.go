package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/vector"
)

// listKind is the kind of lists: a radix vector has their elements.
type listKind struct{}

var aboutList = About{Kind: format.KindList, Handle: layout.List, Name: "list", Called: "list", Types: 1,
	New: format.OpNewList, Ops: []format.OpKind{format.OpNewList, format.OpAppend, format.OpSetItem, format.OpTruncate}}

// About implements Kind.
func (listKind) About() *About { return &aboutList }

// Fits implements Kind.
func (listKind) Fits(size format.ByteCount) bool {
	return size == format.ByteCount(format.ListObjectSize)
}

// Contents implements Kind.
func (listKind) Contents(p unsafe.Pointer) (key, value, count uint64) {
	l := (*format.ListObject)(p)
	return 0, l.Value, l.Count
}

// Blocks implements Kind.
func (listKind) Blocks(r *heap.Reader, p unsafe.Pointer, visit Visit) error {
	return vector.Walk(r, format.Link((*format.ListObject)(p).Root), visit, func(_, word uint64) error {
		_, err := visit(format.Addr(word), format.KindItem)
		return err
	})
}

// Layout implements Kind.
func (listKind) Layout(_, value *layout.Type, m Maker) Layout {
	return Layout{Cell: entry.NewItem(value, m.CheckHandle)}
}

// Holders implements Kind.
func (listKind) Holders(r *heap.Reader, _ uint64, p unsafe.Pointer, _ Layout, each func(holder unsafe.Pointer) error) error {
	object := (*format.ListObject)(p)
	var failed error
	err := vector.All(r, format.Link(object.Root), object.Count, func(_, word uint64) bool {
		holder, err := r.Payload(format.Addr(word), format.KindItem)
		if err == nil {
			err = each(holder)
		}
		failed = err
		return failed == nil
	})
	return join(err, failed)
}

// join returns the error of a callback, or else the error of the walk.
func join(err, failed error) error {
	if failed != nil {
		return failed
	}
	return err
}

// Handles implements Kind.
func (listKind) Handles(l Layout, holder unsafe.Pointer, b layout.Bounds, meet Meet) error {
	return cellHandles(l, holder, b, meet)
}

// Compare implements Kind. Words beyond the length of a list are not elements.
func (listKind) Compare(was, now Version, l Layout) (*Comparison, error) {
	old, is := format.ListObject{}, *(*format.ListObject)(now.Payload)
	if was.Payload != nil {
		old = *(*format.ListObject)(was.Payload)
	}
	d, err := vector.NewDiffer(was.Reader, format.Link(old.Root), now.Reader, format.Link(is.Root), max(old.Count, is.Count))
	if err != nil {
		return nil, err
	}
	key, err := layout.For[int]()
	c := &Comparison{Key: key, Value: l.Cell.Type, ValueOf: l.Cell.ValueOf}
	c.Step = func(yield func(Pair)) (more bool, err error) {
		var failed error
		more, err = d.Step(func(i, oldWord, newWord uint64) {
			d := Pair{Index: i}
			if failed == nil && i < old.Count {
				d.Was, failed = was.Reader.Payload(format.Addr(oldWord), format.KindItem)
			}
			if failed == nil && i < is.Count {
				d.Now, failed = now.Reader.Payload(format.Addr(newWord), format.KindItem)
			}
			if failed == nil && (d.Was != nil || d.Now != nil) {
				yield(d)
			}
		})
		return more, join(err, failed)
	}
	return c, err
}

// Check implements Kind: a list must have as many elements as it counts, without a gap, and each
// must be a value of its type. In a list of a checkpoint it verifies only the elements that the
// newest version lacks.
func (listKind) Check(c Checker, o At, p unsafe.Pointer) error {
	l := *(*format.ListObject)(p)
	typ := typeOf(c, o, l.Value)
	next := uint64(0)
	err := vector.Walk(c.Reader(), format.Link(l.Root), c.Visit, func(i, word uint64) error {
		a := format.Addr(word)
		if i != next && !c.Older() {
			c.Find(o.Addr, "the elements %d to %d of a list are missing", next, i-1)
		}
		next = i + 1
		descend, err := c.Visit(a, format.KindItem)
		if err != nil {
			return err
		}
		if !descend {
			if !c.Older() { // otherwise the newest version may have it as well
				c.Find(a, "an element is linked twice")
			}
			return nil
		}
		c.Count(1)
		return checkValue(c, a, format.KindItem, 0, typ)
	})
	if err != nil {
		return err
	}
	if next != l.Count && !c.Older() && c.Sound() {
		c.Find(o.Addr, "the list counts %d elements, there are %d", l.Count, next)
	}
	if levels := format.Link(l.Root).VectorLevels(); levels != vector.Levels(l.Count) {
		c.Find(o.Addr, "a list of %d elements has %d levels (V2)", l.Count, levels)
	}
	return nil
}

// Nodes implements Kind.
func (listKind) Nodes() []Node {
	return []Node{
		{Kind: format.KindList, Refer: func(s Walker, b *Block, of Owner, fn Refer) (err error) {
			if len(b.Payload) != format.ListObjectSize {
				return s.Damage(b.Addr, "a list object of the wrong size")
			}
			if of.Item, err = s.Type(b, b.Word(int(unsafe.Offsetof(format.ListObject{}.Value))), of); err != nil {
				return err
			}
			return ReferVector(s, b, int(unsafe.Offsetof(format.ListObject{}.Root)), of, fn)
		}},
		vectorNode,
		{Kind: format.KindItem, Hold: func(_ Walker, _ *Block, of Owner) (Held, error) { return Held{Type: of.Item}, nil }},
	}
}

// Dump implements Kind: it emits first that the list exists, and in a later pass its elements in
// order.
func (listKind) Dump(t Emitter, a format.Addr) error {
	payload, _ := t.Payload(a)
	if len(payload) != format.ListObjectSize {
		return errors.New("a list object of the wrong size")
	}
	object := *(*format.ListObject)(unsafe.Pointer(unsafe.SliceData(payload)))
	typ := t.Type(object.Value)
	if typ == nil {
		if t.Pass() == PassContents {
			t.Counts().Missing += object.Count
		}
		return t.Once(fmt.Errorf("a list whose type, object %d, is not known", object.Value))
	}
	if t.Pass() != PassContents {
		t.Counts().Objects++
		return t.Emit(format.OpNewList, format.OpHead{Arg: object.Value}, nil)
	}
	return dumpItems(t, a, &object, entry.NewItem(typ, nil))
}

// dumpItems emits the elements of a list. An unreadable element is emitted as the zero value, so
// that the others keep their indexes; unreadable elements after the last readable one count as
// missing.
func dumpItems(t Emitter, a format.Addr, object *format.ListObject, cell *entry.Cell) error {
	t.Things(object.Count)
	var next, found uint64
	err := vector.Walk(t.Reader(), format.Link(object.Root), t.Visit, func(i, w uint64) error {
		a := format.Addr(w)
		if i < next || i >= object.Count {
			return t.Damage(a, fmt.Errorf("an element with the index %d in a list of length %d", i, object.Count))
		}
		ok, err := t.Visit(a, format.KindItem)
		if !ok {
			return err
		}
		payload, h := t.Payload(a)
		if err := showCell(t, cell, payload); err != nil {
			return t.Damage(a, fmt.Errorf("an element of a list: %w", err))
		}
		for ; next < i; next++ {
			if err := t.Emit(format.OpAppend, format.OpHead{Arg: next}, nil); err != nil {
				return err
			}
		}
		h.Arg = next
		next++
		found++
		t.Counts().Entries++
		return t.Emit(format.OpAppend, h, payload)
	})
	if err = t.Damage(a, err); err != nil || found == object.Count {
		return err
	}
	t.Counts().Missing += object.Count - found
	return fmt.Errorf("the list counts %d elements, %d can be read", object.Count, found)
}

// Make implements Kind.
func (k listKind) Make(s Types, h format.OpHead, _ []byte) (Told, error) {
	t := s.Type(h.Arg)
	if t == nil {
		return Told{}, errors.New("a list whose type is lost")
	}
	return Told{Kind: k, Layout: k.Layout(nil, t, Maker{})}, nil
}

// CheckChange implements Kind.
func (k listKind) CheckChange(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
	op := format.OpKindOf(h.What)
	if op == format.OpNewList {
		return nil, layout.Bounds{}, nil
	}
	err := CheckIndex(h, t.Count)
	if err != nil || op == format.OpTruncate {
		return nil, layout.Bounds{}, err
	}
	return relocateCell(t, h, payload, copied)
}

// relocateCell relocates the value of a change, if it carries one.
func relocateCell(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
	if len(payload) == 0 && h.Addr == 0 {
		return nil, layout.Bounds{}, nil
	}
	p, bounds := copied(payload)
	return p, bounds, RelocateCell(t.Cell, h, p, bounds)
}

// Note implements Kind.
func (listKind) Note(t *Told, h format.OpHead) {
	switch format.OpKindOf(h.What) {
	case format.OpAppend:
		t.Count = h.Arg + 1
	case format.OpTruncate:
		t.Count = h.Arg
	}
}
