package dump

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/vector"
)

// list tells of a list: that it is there, and then its elements, in order.
func (d *Dump) list(a format.Addr) error {
	payload, _ := d.payload(a)
	if len(payload) != format.ListObjectSize {
		return errors.New("a list object of the wrong size")
	}
	object := *(*format.ListObject)(unsafe.Pointer(unsafe.SliceData(payload)))
	t := d.types[object.Value]
	if t == nil {
		if d.pass == passContents {
			d.Missing += object.Count
		}
		return d.onlyOnce(fmt.Errorf("a list whose type, object %d, is not known", object.Value))
	}
	if d.pass != passContents {
		d.Objects++
		return d.tell(format.OpNewList, format.OpHead{Arg: object.Value}, nil)
	}
	return d.items(a, &object, entry.NewItem(t, nil))
}

// items tells the elements of a list. One that cannot be read is told as the zero
// value, so that the others keep their indexes; those beyond the last that can are
// missing.
func (d *Dump) items(a format.Addr, object *format.ListObject, cell *entry.Cell) error {
	d.budget = BlockBudget(object.Count)
	var next, found uint64
	err := vector.Walk(d.Reader, format.Link(object.Root), d.visit, func(i, w uint64) error {
		a := format.Addr(w)
		if i < next || i >= object.Count {
			return d.damage(a, fmt.Errorf("an element with the index %d in a list of length %d", i, object.Count))
		}
		ok, err := d.visit(a, format.KindItem)
		if !ok {
			return err
		}
		payload, h := d.payload(a)
		if err := d.cell(cell, payload); err != nil {
			return d.damage(a, fmt.Errorf("an element of a list: %w", err))
		}
		for ; next < i; next++ {
			if err := d.tell(format.OpAppend, format.OpHead{Arg: next}, nil); err != nil {
				return err
			}
		}
		h.Arg = next
		next++
		found++
		d.Entries++
		return d.tell(format.OpAppend, h, payload)
	})
	if err = d.damage(a, err); err != nil || found == object.Count {
		return err
	}
	d.Missing += object.Count - found
	return fmt.Errorf("the list says %d elements, %d can be read", object.Count, found)
}

// cell verifies the value in a payload and shows it to Meet.
func (d *Dump) cell(cell *entry.Cell, payload []byte) error {
	if len(payload) < cell.FixedSize() {
		return fmt.Errorf("a value of %d bytes is shorter than its type", len(payload))
	}
	p := unsafe.Pointer(unsafe.SliceData(payload))
	bounds := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	if err := cell.Type.Check(cell.ValueOf(p), bounds); err != nil {
		return err
	}
	if d.Meet != nil {
		d.Meet(d.object, cell.Type, cell.ValueOf(p), bounds)
	}
	return nil
}

// value tells of a value that references lead to: that there is one, and then what it
// is.
func (d *Dump) value(a format.Addr) error {
	payload, h := d.payload(a)
	if len(payload) < format.ValueObjectSize {
		return errors.New("a value object of the wrong size")
	}
	index, ok := format.ValueType(*(*uint64)(unsafe.Pointer(unsafe.SliceData(payload))))
	t := d.types[index]
	if !ok || t == nil {
		if d.pass == passContents {
			d.Missing++
		}
		return d.onlyOnce(fmt.Errorf("a value whose type, object %d, is not known", index))
	}
	if d.pass != passContents {
		d.Objects++
		return d.tell(format.OpNewValue, format.OpHead{Arg: index}, nil)
	}
	if err := d.cell(entry.NewValue(t, nil), payload); err != nil {
		d.Missing++
		return err
	}
	d.Entries++
	return d.tell(format.OpSetValue, h, payload)
}
