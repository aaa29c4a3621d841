package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Tell implements Kind: that there is a value, and then what it is.
func (valueKind) Tell(t Teller, a format.Addr) error {
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
		return t.Tell(format.OpNewValue, format.OpHead{Arg: index}, nil)
	}
	if err := tellCell(t, entry.NewValue(typ, nil), payload); err != nil {
		t.Counts().Missing++
		return err
	}
	t.Counts().Entries++
	return t.Tell(format.OpSetValue, h, payload)
}

// Make implements Kind.
func (k valueKind) Make(s Types, h format.OpHead, _ []byte) (Told, error) {
	t := s.Type(h.Arg)
	if t == nil {
		return Told{}, errors.New("a value whose type is lost")
	}
	return Told{Kind: k, Layout: k.Layout(nil, t, Maker{}), Type: h.Arg}, nil
}

// Judge implements Kind.
func (valueKind) Judge(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
	p, bounds, err := judgeCell(t, h, payload, copied)
	if err == nil && p != nil {
		err = CheckValue(*(*uint64)(p), t.Type)
	}
	return p, bounds, err
}
