package salvage

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// replay adds the journal's changes of the versions after the dumped one. It leaves out
// those that cannot be applied to the contents of the backup (Y4).
func (s *salvager) replay(v *candidate) error {
	if v.last == nil {
		return nil
	}
	var failed error
	err := v.history.All(func(r format.RecordHead, ops []byte) error {
		for len(ops) > 0 && r.Version <= v.last.Version {
			h, payload, rest, ok := format.NextOp(ops)
			if !ok {
				return &format.DamageError{File: journal.FileName, What: fmt.Sprintf("a change of version %d goes beyond the end of its record", r.Version)}
			}
			if failed = s.change(h, payload); failed != nil {
				return failed
			}
			ops = rest
		}
		return nil
	})
	if failed == nil && err != nil {
		s.lose(0, 0, err)
	}
	return failed
}

// change adds one change of the journal, unless a restore would refuse it.
func (s *salvager) change(h format.OpHead, payload []byte) error {
	index := format.ObjectOf(h.What)
	if format.OpKindOf(h.What) == format.OpAside {
		s.lose(0, 0, &format.DamageError{File: journal.FileName, What: "the changes of a version are in a separate file (changes-…), which was left out"})
		return nil
	}
	wanted, err := s.fits(h, payload)
	if err != nil {
		s.lose(index, 0, &format.DamageError{File: journal.FileName, What: err.Error()})
	}
	if !wanted {
		return nil
	}
	if op := format.OpKindOf(h.What); object.OfOp(op).About().New == op {
		s.next = index + 1
	}
	return s.put(h, payload)
}

// fits returns an error if package apply would refuse a change (Y4), and reports whether the
// backup gets it.
func (s *salvager) fits(h format.OpHead, payload []byte) (bool, error) {
	index, op := format.ObjectOf(h.What), format.OpKindOf(h.What)
	if op == format.OpDrop { // the dropped objects were unreachable: in a salvage it is better to keep too much
		return false, nil
	}
	t, err := s.objectOf(index, op, h, payload)
	if err != nil {
		return false, err
	}
	holder, bounds, err := t.Kind.CheckChange(t, h, payload, s.scratchCopy)
	if err != nil || holder == nil {
		return err == nil, err
	}
	if t.Shape == s.own {
		return s.name(index, holder, bounds), nil
	}
	return true, t.Kind.Handles(t.Layout, holder, bounds, s.lead(index))
}

// objectOf returns the kind and the types of the object of a change: the object that the
// change creates, or one in the backup.
func (s *salvager) objectOf(index uint64, op format.OpKind, h format.OpHead, payload []byte) (*object.Told, error) {
	k := object.OfOp(op)
	if k == nil {
		return nil, fmt.Errorf("this program does not know changes of kind %d", op)
	}
	if k.About().New == op {
		if index < s.next {
			return nil, fmt.Errorf("a new %s has an index that is in use", k.About().Called)
		}
		t, err := k.Make(known{s}, h, payload)
		return &t, err
	}
	t := s.objects[index]
	if index == format.CatalogIndex || index == format.TypesIndex {
		t = &object.Told{Kind: object.Of(format.KindMap), Layout: object.Layout{Shape: s.own}}
	}
	if t == nil || !object.Has(t.Kind, op) {
		return nil, fmt.Errorf("a change of a lost %s", k.About().Called)
	}
	return t, nil
}

// scratchCopy copies a payload to memory where it can be changed.
func (s *salvager) scratchCopy(payload []byte) (unsafe.Pointer, layout.Bounds) {
	n := max((len(payload)+7)/8, 1)
	s.scratch = slices.Grow(s.scratch[:0], n)[:n]
	p := unsafe.Pointer(unsafe.SliceData(s.scratch))
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	return p, layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
}
