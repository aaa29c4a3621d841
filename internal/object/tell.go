package object

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// A Summary is what changes of one kind do to one object.
type Summary struct {
	Object uint64 // index; 0: the space itself
	Op     format.OpKind
	Count  int    // changes
	Name   string // that begins or ceases to lead to the object, or of a checkpoint
}

// What says in a word what the changes do.
func (s *Summary) What() string {
	switch s.Op {
	case format.OpSet:
		if s.Name != "" {
			return "named"
		}
		return "set"
	case format.OpDelete:
		if s.Name != "" {
			return "unnamed"
		}
		return "removed"
	case format.OpSetValue, format.OpSetItem:
		return "set"
	case format.OpAppend:
		return "appended"
	case format.OpTruncate:
		return "truncated"
	case format.OpDrop:
		return "dropped"
	case format.OpMark:
		return "indexes declared or dropped"
	case format.OpCheckpoint:
		return "checkpoint"
	case format.OpDropCheckpoint:
		return "checkpoint dropped"
	}
	return "created"
}

// Summarize sums up the changes of a version: those of one kind and object that follow each other.
// A change of the names counts as one of the object that is named.
func Summarize(ops []byte) (list []Summary, err error) {
	key, value := OwnTypes()
	own := entry.NewShape(key, value, 0)
	for len(ops) > 0 {
		h, payload, rest, ok := format.NextOp(ops)
		if !ok {
			return list, fmt.Errorf("a change that does not fit")
		}
		s := Summary{Object: format.ObjectOf(h.What), Op: format.OpKindOf(h.What), Count: 1}
		switch {
		case s.Op == format.OpCheckpoint, s.Op == format.OpDropCheckpoint:
			s.Name = string(payload)
		case s.Object == format.CatalogIndex && (s.Op == format.OpSet || s.Op == format.OpDelete):
			if s.Name, s.Object, err = nameOf(own, h, payload); err != nil {
				return list, err
			}
		}
		last := len(list) - 1
		if last >= 0 && s.Name == "" && list[last].Name == "" && list[last].Object == s.Object && list[last].Op == s.Op {
			list[last].Count++
		} else {
			list = append(list, s)
		}
		ops = rest
	}
	return list, nil
}

// nameOf returns the name and the object of an entry of the names.
func nameOf(own *entry.Shape, h format.OpHead, payload []byte) (name string, object uint64, err error) {
	buf := make([]uint64, len(payload)/8+1)
	p := unsafe.Pointer(unsafe.SliceData(buf))
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	b := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	if err := RelocateEntry(own, h, p, b); err != nil {
		return "", 0, err
	}
	if err := own.Key.CopyOut(unsafe.Pointer(&name), own.KeyOf(p), b); err != nil {
		return "", 0, err
	}
	return name, *(*uint64)(own.ValueOf(p)), nil
}
