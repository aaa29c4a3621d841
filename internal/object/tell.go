package object

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// A Summary sums up the changes of one kind to one object.
type Summary struct {
	Object uint64 // index of the object; 0: the space itself
	Op     format.OpKind
	Count  int    // number of changes
	Name   string // the name that the object gets or loses, or that of a checkpoint
}

// What names what the changes do, in a word or two.
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

// Summarize sums up the changes of a version: one Summary for each run of changes of one kind to
// one object. A change of the catalog counts as a change of the named object.
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

// nameOf returns the name, and the index of the object, in an entry of the catalog.
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
