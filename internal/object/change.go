package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// This file checks whether a change is valid. It has two users: package apply, which applies
// changes, and a salvage, which passes on only changes that package apply will accept.

// RelocateEntry relocates the entry of a change after its payload was copied: the key, and the
// value too unless the change deletes.
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

// RelocateCell relocates the value of a change after its payload was copied.
func RelocateCell(cell *entry.Cell, h format.OpHead, payload unsafe.Pointer, b layout.Bounds) error {
	if n := b.Hi - b.Lo; n < uintptr(cell.FixedSize()) {
		return fmt.Errorf("a value of %d bytes is too short", n)
	}
	return cell.Type.Relocate(cell.ValueOf(payload), b, uintptr(h.Addr))
}

// CheckValue returns an error unless the first word of a single value names the type in the change.
func CheckValue(word, typeIndex uint64) error {
	if word != format.MakeValueType(typeIndex) {
		return errors.New("a value of another type than the change says")
	}
	return nil
}

// CheckIndex returns an error if a change is impossible in a list of so many elements.
func CheckIndex(h format.OpHead, count uint64) error {
	switch kind := format.OpKindOf(h.What); {
	case kind == format.OpTruncate && h.Arg > count:
		return fmt.Errorf("a list of %d elements cannot be truncated to %d", count, h.Arg)
	case kind == format.OpAppend && h.Arg != count, kind == format.OpSetItem && h.Arg >= count:
		return fmt.Errorf("a list of %d elements cannot get an element with index %d", count, h.Arg)
	}
	return nil
}
