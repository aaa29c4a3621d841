package apply

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// cells are the layouts of the blocks with values of one stored type.
type cells struct{ value, item *entry.Cell }

// cellsOf returns the layouts for a stored type.
func (a *Applier) cellsOf(typeIndex uint64) (cells, error) {
	c, ok := a.cells[typeIndex]
	if ok {
		return c, nil
	}
	t, err := a.ed.StoredType(typeIndex)
	if err == nil {
		c = cells{entry.NewValue(t, nil), entry.NewItem(t, nil)}
		a.cells[typeIndex] = c
	}
	return c, err
}

// cell returns the value in a payload, or the zero value if the change has no payload.
func (a *Applier) cell(cell *entry.Cell, h format.OpHead, payload []byte) (word uint64, value unsafe.Pointer, err error) {
	if h.Addr == 0 && len(payload) == 0 {
		p := a.room(cell.FixedSize())
		clear(a.buf[:(cell.FixedSize()+7)/8])
		return 0, cell.ValueOf(p), nil
	}
	p, bounds := a.copy(payload)
	if err := object.RelocateCell(cell, h, p, bounds); err != nil {
		return 0, nil, err
	}
	return *(*uint64)(p), cell.ValueOf(p), nil
}

// value makes a value, or sets one.
func (a *Applier) value(kind format.OpKind, index uint64, h format.OpHead, payload []byte) error {
	typeIndex := h.Arg
	if kind == format.OpSetValue {
		if len(payload) < format.ValueObjectSize {
			return fmt.Errorf("a value of %d bytes is too short", len(payload))
		}
		p, _ := a.copy(payload[:format.ValueObjectSize])
		typeIndex, _ = format.ValueType(*(*uint64)(p))
	}
	c, err := a.cellsOf(typeIndex)
	if err != nil {
		return err
	}
	word, value, err := a.cell(c.value, h, payload)
	if err != nil {
		return err
	}
	if len(payload) > 0 {
		if err := object.CheckValue(word, typeIndex); err != nil {
			return err
		}
	}
	if kind == format.OpSetValue {
		old, err := a.ed.Object(index, format.KindValue)
		if err != nil {
			return err
		}
		return a.ed.PutValue(index, old, c.value, word, value)
	}
	return a.create(index, func() error { return a.ed.MakeValue(c.value, typeIndex, value) })
}

// list makes a list, or changes one.
func (a *Applier) list(kind format.OpKind, index uint64, h format.OpHead, payload []byte) error {
	if kind == format.OpNewList {
		return a.newList(index, h.Arg)
	}
	list, err := a.ed.ListObject(index)
	if err != nil {
		return err
	}
	if err := object.CheckIndex(h, list.Count); err != nil {
		return err
	}
	if kind == format.OpTruncate {
		return a.ed.CutList(index, h.Arg)
	}
	c, err := a.cellsOf(list.Value)
	if err != nil {
		return err
	}
	_, value, err := a.cell(c.item, h, payload)
	if err != nil {
		return err
	}
	if kind == format.OpSetItem {
		return a.ed.PutItem(index, c.item, h.Arg, value)
	}
	return a.ed.AddItem(index, c.item, value)
}

// newList creates an empty list.
func (a *Applier) newList(index, typeIndex uint64) error {
	if _, err := a.ed.StoredType(typeIndex); err != nil {
		return err
	}
	return a.create(index, func() error { return a.ed.MakeList(typeIndex) })
}
