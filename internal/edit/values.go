package edit

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// A single value is one block, whose address stands in the object table: a change writes a new
// block and copies the path through the table. The first word of the block says that it is a value,
// and names its type. So following a reference takes a search in the table, and one comparison in
// the cache line where the value begins.

// RefOf names a value and the Go type by which it is accessed.
type RefOf struct {
	ID    format.ID
	Value layout.Identity
}

// value returns the payload of the object that a reference names, and its type.
func (ed *Editor) value(of RefOf) (unsafe.Pointer, *typed, error) {
	s := ed.store
	if s.trusting && of.ID.Tag() == s.header.Tag && ed.Err() == nil {
		if word := s.finder.Word(format.Link(ed.State.Table), of.ID.Index()); word != 0 {
			p := s.finder.Pointer(word)
			if index, ok := format.ValueType(*(*uint64)(p)); ok {
				if t := s.typed.find(of.Value, index); t != nil {
					return p, t, nil
				}
			}
		}
	}
	return ed.valueOf(of)
}

// valueOf is value for the first look at an object, and for an object that does not exist.
func (ed *Editor) valueOf(of RefOf) (unsafe.Pointer, *typed, error) {
	if err := ed.usable(of.ID); err != nil {
		return nil, nil, err
	}
	p, err := ed.object(of.ID.Index(), format.KindValue)
	if err != nil {
		return nil, nil, ed.ObjectError(of.ID, err)
	}
	index, _ := format.ValueType(*(*uint64)(p))
	t, err := ed.typed(format.KindValue, of.Value, index)
	return p, t, err
}

// Birth returns the version that wrote the block of a value.
func (ed *Editor) Birth(of RefOf) (format.Version, error) {
	p, _, err := ed.value(of)
	if err != nil {
		return 0, err
	}
	return (*format.BlockHeader)(unsafe.Add(p, -format.HeaderSize)).Birth(), nil
}

// PeekValue returns the stored value itself, or a copy if it is Coded; it panics with an Abort on
// an error. The type is T if of is a *T: a caller needs few instructions to pass it. The usual case
// needs no other function, since programs call PeekValue for each reference that they follow. One
// subtraction checks that the tag of the ID is that of the space, and leaves the index: with
// another tag the difference is greater than any index. One comparison checks that the object is a
// value and that its type is T.
func (ed *Editor) PeekValue(id format.ID, of any) unsafe.Pointer {
	typ := layout.IdentityOfPointer(of)
	if refs := ed.refSearch(); refs != nil {
		index := uint64(id) - refs.first
		word := refs.table.Word(index)
		if word == 0 {
			word = refs.table.Other(index)
		}
		if word != 0 {
			p := refs.table.Pointer(word)
			first := *(*uint64)(p)
			typed := &ed.store.typed
			if typed.near(first).Load().is(typ, first) || typed.far(typ, first).Load().is(typ, first) {
				return unsafe.Add(p, format.ValueObjectSize)
			}
		}
	}
	return ed.peekValue(RefOf{id, typ})
}

// peekValue is PeekValue for a writing transaction, for the first look at a value, and for a value
// that does not exist.
func (ed *Editor) peekValue(of RefOf) unsafe.Pointer {
	p, t, err := ed.value(of)
	if err != nil {
		panic(Abort{"peek", err})
	}
	ed.prepareRefs()
	v := t.value.ValueOf(p)
	ed.borrow(p)
	if !ed.store.trusting {
		if err := t.value.Type.Check(v, ed.Bounds(p)); err != nil {
			panic(Abort{"peek", err})
		}
	}
	if v, err = ed.lend(t.value.Type, v, p); err != nil {
		panic(Abort{"peek", err})
	}
	return v
}

// ReadValue copies the value to the variable at dst.
func (ed *Editor) ReadValue(of RefOf, dst unsafe.Pointer) error {
	p, t, err := ed.value(of)
	if err != nil {
		return err
	}
	bounds := ed.Bounds(p)
	return ed.Blame(bounds, t.value.Type.CopyOut(dst, t.value.ValueOf(p), bounds))
}

// WriteValue replaces the value by a copy of the variable at src.
func (ed *Editor) WriteValue(of RefOf, src unsafe.Pointer) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	p, t, err := ed.value(of)
	if err != nil {
		return err
	}
	if src, err = t.value.Type.Stored(src); err != nil {
		return err
	}
	return ed.setValue(of.ID.Index(), p, t.value, *(*uint64)(p), src)
}

// setValue replaces a value, whose payload is old. word is the first word of the new block.
func (ed *Editor) setValue(index uint64, old unsafe.Pointer, cell *entry.Cell, word uint64, src unsafe.Pointer) error {
	a, err := ed.newCell(cell, word, src)
	if err != nil {
		return err
	}
	root, err := table.Replace(ed.Write, format.Link(ed.State.Table), index, blockAt(old), a)
	if err != nil {
		return ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	if cell.Type.HasHandles() {
		ed.unlinked++
	}
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpSetValue, index), Block: uint64(a)})
	return nil
}

// newCell writes a block with a value. After an error because of the value, the transaction can
// continue.
func (ed *Editor) newCell(cell *entry.Cell, word uint64, src unsafe.Pointer) (format.Addr, error) {
	a, err := cell.New(ed.Write, word, src)
	if err != nil && !isValueError(err) {
		err = ed.Fail(err)
	}
	return a, err
}

// NewValue makes a value without a name.
func (ed *Editor) NewValue(of layout.Identity, src unsafe.Pointer) (format.ID, error) {
	if err := ed.writable(); err != nil {
		return 0, err
	}
	defer ed.EndChange()
	t, err := ed.typedNew(of)
	if err != nil {
		return 0, err
	}
	if src, err = t.value.Type.Stored(src); err != nil {
		return 0, err
	}
	index, err := ed.newValue(t.value, t.index, src)
	return format.MakeID(ed.store.header.Tag, index), err
}

// newValue makes a value of a stored type, under the next index, which it returns.
func (ed *Editor) newValue(cell *entry.Cell, typeIndex uint64, src unsafe.Pointer) (uint64, error) {
	a, err := ed.newCell(cell, format.MakeValueType(typeIndex), src)
	if err != nil {
		return 0, err
	}
	index, err := ed.addObject(a)
	if err != nil {
		return 0, err
	}
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpNewValue, index), Block: uint64(a), Arg: typeIndex})
	return index, nil
}

// OpenValue returns the ID of the value with a name. If no object has the name, a writing
// transaction makes the value, as a copy of the variable at initial.
func (ed *Editor) OpenValue(name string, of layout.Identity, initial unsafe.Pointer) (format.ID, error) {
	return ed.OpenNamed(name, func(id format.ID) error {
		_, _, err := ed.value(RefOf{id, of})
		return err
	}, func() (format.ID, error) { return ed.NewValue(of, initial) })
}
