package edit

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
)

// Only package apply uses this file: it addresses objects by their indexes and stored types.

// BeginApply says that the transaction applies changes from now on, and makes none of its own.
func (ed *Editor) BeginApply() { ed.role = applying }

// OwnMap returns one of the space's own maps.
func (ed *Editor) OwnMap(index uint64) *Map { return ed.ownMap(index) }

// Object returns the payload of an object of the kind.
func (ed *Editor) Object(index uint64, kind format.Kind) (unsafe.Pointer, error) {
	return ed.object(index, kind)
}

// EditObject returns the payload of an object of the kind, writable, in a block of this
// transaction.
func (ed *Editor) EditObject(index uint64, kind format.Kind, size format.ByteCount) (unsafe.Pointer, error) {
	return ed.edit(index, kind, size)
}

// ListObject returns the object of a list.
func (ed *Editor) ListObject(index uint64) (*format.ListObject, error) { return ed.listObject(index) }

// NewObject writes a new object with the payload size.
func (ed *Editor) NewObject(kind format.Kind, size format.ByteCount) (unsafe.Pointer, error) {
	_, p, err := ed.newObject(kind, size)
	return p, err
}

// MakeMap creates an empty map with the stored types.
func (ed *Editor) MakeMap(kind format.Kind, key, value uint64) error {
	_, err := ed.newMap(kind, key, value)
	return err
}

// MakeList creates an empty list with the stored type.
func (ed *Editor) MakeList(typeIndex uint64) error {
	_, err := ed.newList(typeIndex)
	return err
}

// MakeValue creates a single value of the stored type.
func (ed *Editor) MakeValue(cell *entry.Cell, typeIndex uint64, src unsafe.Pointer) error {
	_, err := ed.newValue(cell, typeIndex, src)
	return err
}

// MakeType stores a descriptor.
func (ed *Editor) MakeType(encoded []byte) error {
	_, err := ed.newType(encoded)
	return err
}

// PutValue replaces a single value, of which old is the payload.
func (ed *Editor) PutValue(index uint64, old unsafe.Pointer, cell *entry.Cell, word uint64, src unsafe.Pointer) error {
	return ed.setValue(index, old, cell, word, src)
}

// PutItem replaces an element of a list.
func (ed *Editor) PutItem(index uint64, cell *entry.Cell, i uint64, src unsafe.Pointer) error {
	return ed.setItem(index, cell, i, src)
}

// AddItem appends an element to a list.
func (ed *Editor) AddItem(index uint64, cell *entry.Cell, src unsafe.Pointer) error {
	return ed.appendItems(index, cell, src, 1)
}

// CutList drops all elements of a list after the first n.
func (ed *Editor) CutList(index, n uint64) error { return ed.truncate(index, n) }
