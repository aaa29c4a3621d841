package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/vector"
)

// Tell implements Kind: that there is a list, and then its elements, in order.
func (listKind) Tell(t Teller, a format.Addr) error {
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
		return t.Tell(format.OpNewList, format.OpHead{Arg: object.Value}, nil)
	}
	return tellItems(t, a, &object, entry.NewItem(typ, nil))
}

// tellItems tells the elements of a list. One that cannot be read is told as the zero
// value, so that the others keep their indexes; those beyond the last that can are
// missing.
func tellItems(t Teller, a format.Addr, object *format.ListObject, cell *entry.Cell) error {
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
		if err := tellCell(t, cell, payload); err != nil {
			return t.Damage(a, fmt.Errorf("an element of a list: %w", err))
		}
		for ; next < i; next++ {
			if err := t.Tell(format.OpAppend, format.OpHead{Arg: next}, nil); err != nil {
				return err
			}
		}
		h.Arg = next
		next++
		found++
		t.Counts().Entries++
		return t.Tell(format.OpAppend, h, payload)
	})
	if err = t.Damage(a, err); err != nil || found == object.Count {
		return err
	}
	t.Counts().Missing += object.Count - found
	return fmt.Errorf("the list says %d elements, %d can be read", object.Count, found)
}

// Make implements Kind.
func (k listKind) Make(s Types, h format.OpHead, _ []byte) (Told, error) {
	t := s.Type(h.Arg)
	if t == nil {
		return Told{}, errors.New("a list whose type is lost")
	}
	return Told{Kind: k, Layout: k.Layout(nil, t, Maker{})}, nil
}

// Judge implements Kind.
func (k listKind) Judge(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
	op := format.OpKindOf(h.What)
	if op == format.OpNewList {
		return nil, layout.Bounds{}, nil
	}
	err := CheckIndex(h, t.Count)
	if err != nil || op == format.OpTruncate {
		return nil, layout.Bounds{}, err
	}
	return judgeCell(t, h, payload, copied)
}

// judgeCell relocates the value of a change, if it carries one.
func judgeCell(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
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
