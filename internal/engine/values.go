package engine

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// A value that references lead to is one block, and the object table leads to it: a
// change writes a new block and copies the way up through the table. The first word
// of the block says that it is a value, and of which type; so to follow a reference
// takes the look into the table, and one comparison in the cache line where the value
// begins.

// RefOf names a value and the Go type by which it is accessed.
type RefOf struct {
	ID    format.ID
	Value layout.Identity
}

// value returns the payload of the object that a reference leads to, and its type.
func (tx *Editor) value(of RefOf) (unsafe.Pointer, *typed, error) {
	s := tx.store
	if s.trusting && of.ID.Tag() == s.header.Tag && tx.Err() == nil {
		if word := s.finder.Word(format.Link(tx.state.Table), of.ID.Index()); word != 0 {
			p := s.finder.Pointer(word)
			if index, ok := format.ValueType(*(*uint64)(p)); ok {
				if t := s.typed.find(of.Value, index); t != nil {
					return p, t, nil
				}
			}
		}
	}
	return tx.valueOf(of)
}

// valueOf is value for what is looked at for the first time, or is not there.
func (tx *Editor) valueOf(of RefOf) (unsafe.Pointer, *typed, error) {
	if err := tx.usable(of.ID); err != nil {
		return nil, nil, err
	}
	p, err := tx.object(of.ID.Index(), format.KindValue)
	if err != nil {
		return nil, nil, tx.objectError(of.ID, err)
	}
	index, _ := format.ValueType(*(*uint64)(p))
	t, err := tx.typed(format.KindValue, of.Value, index)
	return p, t, err
}

// PeekValue returns the stored value itself, or a copy if it is Coded; an error is a panic with an Abort. The
// type is T if of is a *T, so that a caller needs few instructions. In the
// usual case it is all here: what a program does for each reference that it follows.
// One subtraction tells that the tag of the ID is that of the space, and leaves the
// index: with another tag it is greater than any. One comparison tells that the object
// is a value, and of a type that is T.
func (tx *Editor) PeekValue(id format.ID, of any) unsafe.Pointer {
	typ := layout.IdentityOfPointer(of)
	if refs := tx.refSearch(); refs != nil {
		index := uint64(id) - refs.first
		word := refs.table.Word(index)
		if word == 0 {
			word = refs.table.Other(index)
		}
		if word != 0 {
			p := refs.table.Pointer(word)
			first := *(*uint64)(p)
			typed := &tx.store.typed
			if typed.near(first).Load().is(typ, first) || typed.far(typ, first).Load().is(typ, first) {
				return unsafe.Add(p, format.ValueObjectSize)
			}
		}
	}
	return tx.peekValue(RefOf{id, typ})
}

// peekValue is PeekValue in a transaction that writes, and for what is looked at for
// the first time, or is not there.
func (tx *Editor) peekValue(of RefOf) unsafe.Pointer {
	p, t, err := tx.value(of)
	if err != nil {
		panic(Abort{"peek", err})
	}
	tx.prepareRefs()
	v := t.value.ValueOf(p)
	tx.borrow(p)
	if !tx.store.trusting {
		if err := t.value.Type.Check(v, tx.Bounds(p)); err != nil {
			panic(Abort{"peek", err})
		}
	}
	if v, err = tx.lend(t.value.Type, v, p); err != nil {
		panic(Abort{"peek", err})
	}
	return v
}

// ReadValue copies the value to the variable at dst.
func (tx *Editor) ReadValue(of RefOf, dst unsafe.Pointer) error {
	p, t, err := tx.value(of)
	if err != nil {
		return err
	}
	return t.value.Type.CopyOut(dst, t.value.ValueOf(p), tx.Bounds(p))
}

// WriteValue makes a copy of the variable at src the value.
func (tx *Editor) WriteValue(of RefOf, src unsafe.Pointer) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	p, t, err := tx.value(of)
	if err != nil {
		return err
	}
	if src, err = t.value.Type.Stored(src); err != nil {
		return err
	}
	return tx.setValue(of.ID.Index(), p, t.value, *(*uint64)(p), src)
}

// setValue replaces a value, whose payload is old. word is the first one of the new one.
func (tx *Editor) setValue(index uint64, old unsafe.Pointer, cell *entry.Cell, word uint64, src unsafe.Pointer) error {
	a, err := tx.newCell(cell, word, src)
	if err != nil {
		return err
	}
	root, err := table.Replace(tx.write, format.Link(tx.state.Table), index, blockAt(old), a)
	if err != nil {
		return tx.fail(err)
	}
	tx.state.Table = uint64(root)
	if cell.Type.HasHandles() {
		tx.unlinked++
	}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpSetValue, index), Block: uint64(a)})
	return nil
}

// newCell writes a block with a value. An error that is due to the value leaves the
// transaction usable.
func (tx *Editor) newCell(cell *entry.Cell, word uint64, src unsafe.Pointer) (format.Addr, error) {
	a, err := cell.New(tx.write, word, src)
	if err != nil && !isValueError(err) {
		err = tx.fail(err)
	}
	return a, err
}

// NewValue makes a value without a name.
func (tx *Editor) NewValue(of layout.Identity, src unsafe.Pointer) (format.ID, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	defer tx.endChange()
	t, err := tx.typedNew(of)
	if err != nil {
		return 0, err
	}
	if src, err = t.value.Type.Stored(src); err != nil {
		return 0, err
	}
	index, err := tx.newValue(t.value, t.index, src)
	return format.MakeID(tx.store.header.Tag, index), err
}

// newValue makes a value of a stored type, under the next index, which it returns.
func (tx *Editor) newValue(cell *entry.Cell, typeIndex uint64, src unsafe.Pointer) (uint64, error) {
	a, err := tx.newCell(cell, format.MakeValueType(typeIndex), src)
	if err != nil {
		return 0, err
	}
	index, err := tx.enter(a)
	if err != nil {
		return 0, err
	}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpNewValue, index), Block: uint64(a), Arg: typeIndex})
	return index, nil
}

// OpenValue returns the ID of the value with a name, making it, as a copy of the
// variable at initial, if a writing transaction asks for one that is not there.
func (tx *Editor) OpenValue(name string, of layout.Identity, initial unsafe.Pointer) (format.ID, error) {
	return tx.openNamed(name, func(id format.ID) error {
		_, _, err := tx.value(RefOf{id, of})
		return err
	}, func() (format.ID, error) { return tx.NewValue(of, initial) })
}
