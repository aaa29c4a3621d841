package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// valueKind is the kind of single values, to which references refer.
type valueKind struct{ Plain }

var aboutValue = About{Kind: format.KindValue, Handle: layout.Ref, Name: "ref", Called: "ref", Types: 1, Whole: true,
	New: format.OpNewValue, Ops: []format.OpKind{format.OpNewValue, format.OpSetValue}}

// About implements Kind.
func (valueKind) About() *About { return &aboutValue }

// Fits implements Kind.
func (valueKind) Fits(size format.ByteCount) bool {
	return size >= format.ByteCount(format.ValueObjectSize)
}

// Contents implements Kind.
func (valueKind) Contents(p unsafe.Pointer) (key, value, count uint64) {
	value, _ = format.ValueType((*format.ValueObject)(p).Type)
	return 0, value, 1
}

// Layout implements Kind.
func (valueKind) Layout(_, value *layout.Type, m Maker) Layout {
	return Layout{Cell: entry.NewValue(value, m.CheckHandle)}
}

// Handles implements Kind.
func (valueKind) Handles(l Layout, holder unsafe.Pointer, b layout.Bounds, meet Meet) error {
	return cellHandles(l, holder, b, meet)
}

// Compare implements Kind.
func (valueKind) Compare(was, now Version, l Layout) (*Comparison, error) {
	return &Comparison{Value: l.Cell.Type, ValueOf: l.Cell.ValueOf, Step: func(yield func(Pair)) (bool, error) {
		yield(Pair{Was: was.Payload, Now: now.Payload})
		return false, nil
	}}, nil
}

// Check implements Kind.
func (valueKind) Check(c Checker, o At, p unsafe.Pointer) error {
	index, ok := format.ValueType((*format.ValueObject)(p).Type)
	if !ok {
		c.Find(o.Addr, "a value that does not name its type")
		return nil
	}
	c.Count(1)
	return checkValue(c, o.Addr, o.Kind, uintptr(format.ValueObjectSize), typeOf(c, o, index))
}

// Nodes implements Kind.
func (valueKind) Nodes() []Node {
	return []Node{{Kind: format.KindValue, Hold: func(s Walker, b *Block, of Owner) (Held, error) {
		if len(b.Payload) < format.ValueObjectSize {
			return Held{}, s.Damage(b.Addr, "a value object of the wrong size")
		}
		index, ok := format.ValueType(b.Word(0))
		if !ok {
			return Held{}, s.Damage(b.Addr, "a value that does not name its type")
		}
		t, err := s.Type(b, index, of)
		return Held{Type: t, At: uintptr(format.ValueObjectSize)}, err
	}}}
}

// Dump implements Kind: it emits first that the value exists, and in a later pass its contents.
func (valueKind) Dump(t Emitter, a format.Addr) error {
	payload, h := t.Payload(a)
	if len(payload) < format.ValueObjectSize {
		return errors.New("a value object of the wrong size")
	}
	index, ok := format.ValueType(*(*uint64)(unsafe.Pointer(unsafe.SliceData(payload))))
	typ := t.Type(index)
	if !ok || typ == nil {
		if t.Pass() == PassContents {
			t.Counts().Missing++
		}
		return t.Once(fmt.Errorf("a value whose type, object %d, is not known", index))
	}
	if t.Pass() != PassContents {
		t.Counts().Objects++
		return t.Emit(format.OpNewValue, format.OpHead{Arg: index}, nil)
	}
	if err := showCell(t, entry.NewValue(typ, nil), payload); err != nil {
		t.Counts().Missing++
		return err
	}
	t.Counts().Entries++
	return t.Emit(format.OpSetValue, h, payload)
}

// Make implements Kind.
func (k valueKind) Make(s Types, h format.OpHead, _ []byte) (Told, error) {
	t := s.Type(h.Arg)
	if t == nil {
		return Told{}, errors.New("a value whose type is lost")
	}
	return Told{Kind: k, Layout: k.Layout(nil, t, Maker{}), Type: h.Arg}, nil
}

// CheckChange implements Kind.
func (valueKind) CheckChange(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
	p, bounds, err := relocateCell(t, h, payload, copied)
	if err == nil && p != nil {
		err = CheckValue(*(*uint64)(p), t.Type)
	}
	return p, bounds, err
}
