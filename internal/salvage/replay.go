package salvage

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/layout"
)

// replay tells the changes that the journal has of the versions after the one that
// was told. What cannot be applied to what was got out is left out.
func (s *salvager) replay(v *candidate) error {
	if v.last == nil {
		return nil
	}
	var failed error
	err := v.history.All(func(r format.RecordHead, ops []byte) error {
		for len(ops) > 0 && r.Version <= v.last.Version {
			h, payload, rest, ok := format.NextOp(ops)
			if !ok {
				return &format.DamageError{File: journal.FileName, What: fmt.Sprintf("a change of version %d does not fit its record", r.Version)}
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

// change tells one change of the journal, unless it is unfit.
func (s *salvager) change(h format.OpHead, payload []byte) error {
	index := format.ObjectOf(h.What)
	wanted, err := s.fits(h, payload)
	if err != nil {
		s.lose(index, 0, &format.DamageError{File: journal.FileName, What: err.Error()})
	}
	if !wanted {
		return nil
	}
	switch format.OpKindOf(h.What) {
	case format.OpNewType, format.OpNewMap, format.OpNewSorted, format.OpNewList, format.OpNewValue:
		s.next = index + 1
	}
	return s.put(h, payload)
}

// fits reports whether the applier will take a change, and whether it is wanted.
func (s *salvager) fits(h format.OpHead, payload []byte) (bool, error) {
	index := format.ObjectOf(h.What)
	switch kind := format.OpKindOf(h.What); kind {
	case format.OpNewType:
		if index < s.next {
			return false, errors.New("a new type whose index is in use")
		}
		_, err := dump.TypeIn(payload)
		return err == nil, err
	case format.OpNewMap, format.OpNewSorted:
		key, value := s.types[h.Addr], s.types[h.Arg]
		of := format.KindMap
		if kind == format.OpNewSorted {
			of = format.KindSorted
		}
		if index < s.next || key == nil || value == nil || entry.CheckKeys(key, of) != nil {
			return false, errors.New("a new map whose types are lost")
		}
		return true, nil
	case format.OpSet, format.OpDelete:
		return s.entryFits(index, kind, h, payload)
	case format.OpNewList, format.OpNewValue, format.OpSetValue, format.OpAppend, format.OpSetItem, format.OpTruncate:
		return s.cellFits(index, kind, h, payload)
	case format.OpDrop: // no name led to them: they do no harm, and here more is better than less
		return false, nil
	default:
		return false, fmt.Errorf("changes of kind %d are not known", kind)
	}
}

// entryFits is fits for a change of an entry.
func (s *salvager) entryFits(index uint64, kind format.OpKind, h format.OpHead, payload []byte) (bool, error) {
	sh, sorted := s.objects[index].shape, s.objects[index].sorted
	if index == format.CatalogIndex || index == format.TypesIndex {
		sh = s.own
	}
	if sh == nil {
		return false, errors.New("changes of entries of a map that is lost")
	}
	e, bounds := s.scratchCopy(payload)
	err := dump.RelocateEntry(sh, h, e, bounds)
	if err == nil {
		err = dump.CheckKey(sh, sh.KeyOf(e), sorted)
	}
	if err != nil || kind == format.OpDelete {
		return err == nil, err
	}
	if sh == s.own {
		return s.name(index, e, bounds), nil
	}
	s.meet(index, sh.Key, sh.KeyOf(e), bounds)
	s.meet(index, sh.Value, sh.ValueOf(e), bounds)
	return true, nil
}

// scratchCopy copies a payload to where it can be changed.
func (s *salvager) scratchCopy(payload []byte) (unsafe.Pointer, layout.Bounds) {
	n := max((len(payload)+7)/8, 1)
	s.scratch = slices.Grow(s.scratch[:0], n)[:n]
	p := unsafe.Pointer(unsafe.SliceData(s.scratch))
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	return p, layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
}

// cellFits is fits for a change of a list, or of a value that references lead to.
func (s *salvager) cellFits(index uint64, kind format.OpKind, h format.OpHead, payload []byte) (bool, error) {
	o := s.objects[index]
	switch kind {
	case format.OpNewList, format.OpNewValue:
		t := s.types[h.Arg]
		if index < s.next || t == nil {
			return false, errors.New("a new object whose type is lost")
		}
		o = told{cell: entry.NewItem(t, nil)}
		if kind == format.OpNewValue {
			o = told{cell: entry.NewValue(t, nil), typeIndex: h.Arg}
		}
	case format.OpSetValue:
		if o.cell == nil || o.list != nil {
			return false, errors.New("a change of a value that is lost")
		}
	default:
		if o.list == nil {
			return false, errors.New("a change of a list that is lost")
		}
		if err := dump.CheckIndex(h, *o.list); err != nil {
			return false, err
		}
	}
	if kind == format.OpNewList || kind == format.OpTruncate || len(payload) == 0 && h.Addr == 0 {
		return true, nil
	}
	p, bounds := s.scratchCopy(payload)
	if err := dump.RelocateCell(o.cell, h, p, bounds); err != nil {
		return false, err
	}
	if o.list == nil {
		if err := dump.CheckValue(*(*uint64)(p), o.typeIndex); err != nil {
			return false, err
		}
	}
	s.meet(index, o.cell.Type, o.cell.ValueOf(p), bounds)
	return true, nil
}
