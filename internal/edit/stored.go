package edit

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// Stored is an object that one transaction accesses by its stored types alone, for programs that
// have no Go types for it. Keys and values are pointers to values of the stored types.
type Stored struct {
	Kind  string
	Key   *layout.Type // int for a list, nil for a single value
	Value *layout.Type
	Count uint64
	StoredAccess

	ed         *Editor
	kind       format.Kind
	valueIndex uint64 // of the descriptor of the values
	layout     object.Layout
	ofMap      storedMap // StoredAccess of a map
}

// StoredAccess has the operations on an object of any kind; those that a kind does not have return
// an error.
type StoredAccess interface {
	// Get returns the value of a key, nil if there is none.
	Get(key unsafe.Pointer) (StoredPart, error)
	// Set stores a value.
	Set(key, value unsafe.Pointer) error
	// Delete removes a key and reports whether it was there.
	Delete(key unsafe.Pointer) (bool, error)
	// All walks the keys and values, as they are when the walk starts.
	All(yield func(key, value StoredPart) bool) error
	// Range is All for the keys between two bounds, in order or from the last one back.
	Range(from, to Bound, back bool, yield func(key, value StoredPart) bool) error
	// Append adds a value at the end of a list.
	Append(value unsafe.Pointer) error
	// Rank returns how many keys are less than a key.
	Rank(key unsafe.Pointer) (uint64, error)
	// Nth returns the entry with i keys before it; its pointers are nil if there is none.
	Nth(i uint64) (key, value StoredPart, err error)
}

// StoredPart is a key or a value, and the limits of its block.
type StoredPart struct {
	Pointer unsafe.Pointer
	Bounds  layout.Bounds
}

// everywhere are the bounds for values in Go memory.
var everywhere = layout.Bounds{Lo: 0, Hi: ^uintptr(0)}

// Stored returns an object by its stored types.
func (ed *Editor) Stored(id format.ID) (*Stored, error) {
	if err := ed.usable(id); err != nil {
		return nil, err
	}
	index := id.Index()
	kind, p, err := table.Any(ed.Reader, format.Link(ed.State.Table), index)
	if err != nil {
		return nil, ed.ObjectError(id, err)
	}
	s := &Stored{Kind: object.Name(kind), ed: ed, kind: kind}
	_, s.valueIndex, s.Count = object.Contents(kind, p)
	if s.valueIndex == 0 {
		return nil, fmt.Errorf("%w: the object %016x is one of the space itself", failure.ErrNotFound, uint64(id))
	}
	access := storedOf[kind]
	if access == nil {
		return nil, fmt.Errorf("a %s cannot be accessed without its Go types", s.Kind)
	}
	if err := access(ed, id, s); err != nil {
		return nil, err
	}
	return s, nil
}

// LayoutOf returns the layout of the entries or elements of an object, or of a single value; if the
// object is a descriptor, it returns the type.
func (ed *Editor) LayoutOf(id format.ID) (object.Layout, *layout.Type) {
	if s, err := ed.Stored(id); err == nil {
		return s.layout, nil
	}
	t, _ := ed.StoredType(id.Index()) // nil if it is no descriptor
	return object.Layout{}, t
}

// Borrow says that the program now has pointers into the block of a part.
func (s *Stored) Borrow(p StoredPart) { s.ed.BorrowPart(p) }

// storedMap is a map, sorted or not.
type storedMap struct {
	ed *Editor
	m  *Map
}

func (s *storedMap) Get(key unsafe.Pointer) (StoredPart, error) {
	object, err := s.ed.entriesObject(s.m.index, s.m.kind)
	if err != nil {
		return StoredPart{}, err
	}
	e, err := s.m.present(s.ed, object, key)
	if err != nil || e == nil {
		return StoredPart{}, err
	}
	return StoredPart{s.m.shape.ValueOf(e), s.ed.Bounds(e)}, nil
}

func (s *storedMap) Set(key, value unsafe.Pointer) error { return s.m.Set(s.ed, key, value) }

func (s *storedMap) Delete(key unsafe.Pointer) (bool, error) { return s.m.Delete(s.ed, key) }

func (s *storedMap) All(yield func(key, value StoredPart) bool) error {
	object, err := s.ed.entriesObject(s.m.index, s.m.kind)
	if err != nil {
		return err
	}
	return s.m.allPresent(s.ed, object, func(e unsafe.Pointer) bool {
		bounds := s.ed.Bounds(e)
		return yield(StoredPart{s.m.shape.KeyOf(e), bounds}, StoredPart{s.m.shape.ValueOf(e), bounds})
	})
}

func (s *storedMap) Range(from, to Bound, back bool, yield func(key, value StoredPart) bool) error {
	if !s.m.sorted() {
		return errors.New("a map has no order: only a sorted map and a list have ranges")
	}
	for _, b := range [2]Bound{from, to} {
		if b.Key == nil {
			continue
		}
		if err := s.m.shape.CheckOrder(b.Key); err != nil {
			return err
		}
	}
	object, err := s.ed.entriesObject(s.m.index, s.m.kind)
	if err != nil {
		return err
	}
	return s.m.walkPresent(s.ed, object, from, to, back, func(e unsafe.Pointer) bool {
		bounds := s.ed.Bounds(e)
		return yield(StoredPart{s.m.shape.KeyOf(e), bounds}, StoredPart{s.m.shape.ValueOf(e), bounds})
	})
}

func (s *storedMap) Append(unsafe.Pointer) error { return errNoEnd }

// errNoEnd is the error of Append to an object that is no list.
var errNoEnd = errors.New("only a list has an end to append to; set a key instead")

func (s *storedMap) Rank(key unsafe.Pointer) (uint64, error) {
	if !s.m.sorted() {
		return 0, errNoOrder
	}
	if err := s.m.shape.CheckOrder(key); err != nil {
		return 0, err
	}
	object, err := s.ed.entriesObject(s.m.index, s.m.kind)
	if err != nil {
		return 0, err
	}
	return s.m.rank(s.ed, object, key)
}

func (s *storedMap) Nth(i uint64) (key, value StoredPart, err error) {
	if !s.m.sorted() {
		return key, value, errNoOrder
	}
	object, err := s.ed.entriesObject(s.m.index, s.m.kind)
	if err != nil {
		return key, value, err
	}
	e, err := s.m.nth(s.ed, object, i, false)
	if err != nil || e == nil {
		return key, value, err
	}
	s.ed.borrow(e)
	bounds := s.ed.Bounds(e)
	return StoredPart{s.m.shape.KeyOf(e), bounds}, StoredPart{s.m.shape.ValueOf(e), bounds}, nil
}

// errNoOrder is the error for a rank in a map that is not sorted.
var errNoOrder = errors.New("a map has no order: only a sorted map and a list have ranks")

// storedList is a list. Its keys are indexes; setting the index after the last one appends.
type storedList struct {
	ed    *Editor
	index uint64
	cell  *entry.Cell
}

func (s *storedList) Get(key unsafe.Pointer) (StoredPart, error) {
	object, err := s.ed.listObject(s.index)
	if err != nil {
		return StoredPart{}, err
	}
	p, err := s.ed.item(object, uint64(*(*int)(key)))
	if err != nil || p == nil {
		return StoredPart{}, err
	}
	return StoredPart{p, s.ed.Bounds(p)}, nil
}

func (s *storedList) Set(key, value unsafe.Pointer) error {
	if err := s.ed.writable(); err != nil {
		return err
	}
	defer s.ed.EndChange()
	object, err := s.ed.listObject(s.index)
	if err != nil {
		return err
	}
	switch i := *(*int)(key); {
	case uint64(i) < object.Count:
		return s.ed.setItem(s.index, s.cell, uint64(i), value)
	case uint64(i) > object.Count:
		return indexError(i, object.Count)
	}
	return s.ed.appendItems(s.index, s.cell, value, 1)
}

func (s *storedList) Delete(key unsafe.Pointer) (bool, error) {
	if err := s.ed.writable(); err != nil {
		return false, err
	}
	defer s.ed.EndChange()
	object, err := s.ed.listObject(s.index)
	i := *(*int)(key)
	if err != nil || uint64(i) >= object.Count {
		return false, err
	}
	if uint64(i) != object.Count-1 {
		return false, fmt.Errorf("only the last element of a list can be deleted, at index %d", object.Count-1)
	}
	return true, s.ed.truncate(s.index, uint64(i))
}

func (s *storedList) All(yield func(key, value StoredPart) bool) error {
	object, err := s.ed.listObject(s.index)
	if err != nil {
		return err
	}
	key := new(int)
	return s.ed.walkItems(object, s.cell, false, func(i int, p unsafe.Pointer) bool {
		*key = i
		return yield(StoredPart{unsafe.Pointer(key), everywhere}, StoredPart{p, s.ed.Bounds(p)})
	})
}

// Range counts the elements between two bounds first: the list may change during the walk, the walk
// does not.
func (s *storedList) Range(from, to Bound, back bool, yield func(key, value StoredPart) bool) error {
	object, err := s.ed.listObject(s.index)
	if err != nil {
		return err
	}
	was := *object
	lo, hi := 0, int(was.Count)
	if from.Key != nil {
		if lo = *(*int)(from.Key); from.After && lo < hi {
			lo++
		}
		lo = max(lo, 0)
	}
	if to.Key != nil {
		end := *(*int)(to.Key)
		if to.After && end < hi {
			end++
		}
		hi = min(hi, end)
	}
	defer s.ed.freeze()()
	key := new(int)
	for i := range max(hi-lo, 0) {
		if *key = lo + i; back {
			*key = hi - 1 - i
		}
		p, err := s.ed.item(&was, uint64(*key))
		if err != nil {
			return err
		}
		if !yield(StoredPart{unsafe.Pointer(key), everywhere}, StoredPart{p, s.ed.Bounds(p)}) {
			return nil
		}
	}
	return nil
}

func (s *storedList) Append(value unsafe.Pointer) error {
	if err := s.ed.writable(); err != nil {
		return err
	}
	defer s.ed.EndChange()
	return s.ed.appendItems(s.index, s.cell, value, 1)
}

// Rank of an index is the index itself, within the list.
func (s *storedList) Rank(key unsafe.Pointer) (uint64, error) {
	object, err := s.ed.listObject(s.index)
	if err != nil {
		return 0, err
	}
	return uint64(min(max(*(*int)(key), 0), int(object.Count))), nil
}

func (s *storedList) Nth(i uint64) (key, value StoredPart, err error) {
	n := int(i)
	value, err = s.Get(unsafe.Pointer(&n))
	if err != nil || value.Pointer == nil {
		return key, value, err
	}
	return StoredPart{unsafe.Pointer(&n), everywhere}, value, nil
}

// storedValue is a single value. It has no keys.
type storedValue struct {
	ed    *Editor
	index uint64
	word  uint64
	cell  *entry.Cell
}

func (s *storedValue) Get(unsafe.Pointer) (StoredPart, error) {
	p, err := s.ed.object(s.index, format.KindValue)
	if err != nil {
		return StoredPart{}, err
	}
	return StoredPart{s.cell.ValueOf(p), s.ed.Bounds(p)}, nil
}

func (s *storedValue) Set(_, value unsafe.Pointer) error {
	if err := s.ed.writable(); err != nil {
		return err
	}
	defer s.ed.EndChange()
	p, err := s.ed.object(s.index, format.KindValue)
	if err != nil {
		return err
	}
	return s.ed.setValue(s.index, p, s.cell, s.word, value)
}

func (s *storedValue) Delete(unsafe.Pointer) (bool, error) {
	return false, errors.New("a single value cannot be deleted; set it instead")
}

func (s *storedValue) Range(Bound, Bound, bool, func(key, value StoredPart) bool) error {
	return errors.New("a single value has no keys, hence no ranges")
}

func (s *storedValue) Append(unsafe.Pointer) error { return errNoEnd }

func (s *storedValue) Rank(unsafe.Pointer) (uint64, error) { return 0, errNoKeys }

func (s *storedValue) Nth(uint64) (key, value StoredPart, err error) { return key, value, errNoKeys }

// errNoKeys is the error for a rank of a single value.
var errNoKeys = errors.New("a single value has no keys, hence no ranks")

func (s *storedValue) All(yield func(key, value StoredPart) bool) error {
	p, err := s.ed.object(s.index, format.KindValue)
	if err == nil {
		s.ed.borrow(p)
		yield(StoredPart{}, StoredPart{s.cell.ValueOf(p), s.ed.Bounds(p)})
	}
	return err
}
