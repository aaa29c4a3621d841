package engine

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// handleKinds are the kinds of objects that handles refer to, and what they are
// called.
var handleKinds = []struct {
	handle layout.HandleKind
	kind   format.Kind
	name   string
}{
	{layout.Map, format.KindMap, "map"},
	{layout.Sorted, format.KindSorted, "sorted"},
	{layout.List, format.KindList, "list"},
	{layout.Ref, format.KindValue, "ref"},
}

// kindName returns what objects of a kind are called.
func kindName(k format.Kind) string {
	for _, h := range handleKinds {
		if h.kind == k {
			return h.name
		}
	}
	return k.String()
}

// called is kindName for messages.
func called(k format.Kind) string {
	if k == format.KindSorted {
		return "sorted map"
	}
	return kindName(k)
}

// isKind reports whether the block with the payload is of the kind.
func isKind(payload unsafe.Pointer, kind format.Kind) bool {
	return (*format.BlockHeader)(unsafe.Add(payload, -format.HeaderSize)).Kind() == kind
}

// objectKind returns the kind of the objects that handles of a kind lead to.
func objectKind(handle layout.HandleKind) format.Kind {
	for _, h := range handleKinds {
		if h.handle == handle {
			return h.kind
		}
	}
	return format.KindNone
}

// contents returns the indexes of the descriptors of an object's keys and values, 0
// where it has none, and how many values it has. p is its payload.
func contents(kind format.Kind, p unsafe.Pointer) (key, value, count uint64) {
	switch kind {
	case format.KindMap, format.KindSorted:
		m := (*format.MapObject)(p)
		return m.Key, m.Value, m.Count
	case format.KindList:
		l := (*format.ListObject)(p)
		return 0, l.Value, l.Count
	case format.KindValue:
		value, _ = format.ValueType((*format.ValueObject)(p).Type)
		return 0, value, 1
	}
	return 0, 0, 0
}
