package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// What makes a change valid, for its two users: the applier, which applies it, and a
// salvage, which passes on what the applier will accept.

// RelocateEntry relocates the entry of a change to where a copy of its payload is: the
// key, and the value unless the change deletes.
func RelocateEntry(sh *entry.Shape, h format.OpHead, payload unsafe.Pointer, b layout.Bounds) error {
	if n := b.Hi - b.Lo; n < uintptr(sh.FixedSize()) {
		return fmt.Errorf("an entry of %d bytes is too short", n)
	}
	err := sh.Key.Relocate(sh.KeyOf(payload), b, uintptr(h.Addr))
	if err != nil || format.OpKindOf(h.What) == format.OpDelete {
		return err
	}
	return sh.Value.Relocate(sh.ValueOf(payload), b, uintptr(h.Addr))
}

// RelocateCell relocates the value of a change to where a copy of its payload is.
func RelocateCell(cell *entry.Cell, h format.OpHead, payload unsafe.Pointer, b layout.Bounds) error {
	if n := b.Hi - b.Lo; n < uintptr(cell.FixedSize()) {
		return fmt.Errorf("a value of %d bytes is too short", n)
	}
	return cell.Type.Relocate(cell.ValueOf(payload), b, uintptr(h.Addr))
}

// CheckValue returns an error if the first word of a value object does not name the type
// that the change says.
func CheckValue(word, typeIndex uint64) error {
	if word != format.MakeValueType(typeIndex) {
		return errors.New("a value that is of another type than the change says")
	}
	return nil
}

// CheckIndex returns an error if a change of a list of so many elements cannot be.
func CheckIndex(h format.OpHead, count uint64) error {
	switch kind := format.OpKindOf(h.What); {
	case kind == format.OpTruncate && h.Arg > count:
		return fmt.Errorf("a list of %d elements cannot be truncated to %d", count, h.Arg)
	case kind == format.OpAppend && h.Arg != count, kind == format.OpSetItem && h.Arg >= count:
		return fmt.Errorf("a list of %d elements cannot get one with the index %d", count, h.Arg)
	}
	return nil
}
