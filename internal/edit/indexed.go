package edit

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// Keeper changes the entries of maps that have indexes, and the indexes with them (IX1). Package
// indexing implements it. Maps without indexes do not call it.
type Keeper interface {
	// Set stores an entry, within a change that has begun.
	Set(ed *Editor, m *Map, key, value unsafe.Pointer) error
	// Remove removes an entry, within a change that has begun, and reports whether it was there.
	Remove(ed *Editor, m *Map, key unsafe.Pointer) (bool, error)

	// For maps whose entries expire:

	// Gone reports whether an entry has expired for the transaction.
	Gone(ed *Editor, m *Map, e unsafe.Pointer) (bool, error)
	// Judge returns a function that is Gone for many entries, valid until the transaction changes
	// the map.
	Judge(ed *Editor, m *Map) (func(e unsafe.Pointer) (bool, error), error)
	// CountGone returns how many entries have expired for the transaction.
	CountGone(ed *Editor, m *Map) (uint64, error)
	// GoneRanks returns the rank in a sorted map of each entry that has expired, in ascending
	// order.
	GoneRanks(ed *Editor, m *Map, object *format.MapObject) ([]uint64, error)
	// Renew restarts the time to live of an entry, within a change that has begun.
	Renew(ed *Editor, m *Map, e unsafe.Pointer) error
	// Seen wraps the step of a comparison of a map in two versions: of the differences that step
	// finds in the blocks it passes on those that are visible at the instants, and adds the entries
	// that have expired in between.
	Seen(was, now *Editor, old, m *Map, at Instants, step Step) Step
	// NextInstant returns the first instant later than after at which an entry expires; 0 if none
	// does.
	NextInstant(ed *Editor, m *Map, after int64) (int64, error)
}

// Step is one step of a comparison.
type Step = func(yield func(object.Pair)) (more bool, err error)

// Keep sets the keeper of the indexes.
func (s *Store) Keep(k Keeper) { s.keeper = k }

// Keeper returns the keeper of the indexes.
func (s *Store) Keeper() Keeper { return s.keeper }

// Indexed reports whether the map has indexes (IX2).
func (m *Map) Indexed() bool { return m.key&format.Indexed != 0 }

// MarkIndexed records in the object of a map whether it has indexes, and whether its entries
// expire.
func (ed *Editor) MarkIndexed(of uint64, kind format.Kind, indexed, expires bool) error {
	object, err := ed.EditMap(of, kind)
	if err != nil {
		return err
	}
	if object.Key &^= format.KeyMarks; indexed || expires {
		object.Key |= format.Indexed
	}
	if expires {
		object.Key |= format.Expiring
	}
	return nil
}

// Only package indexing uses the rest of this file.

// Registry returns the index of the registry of indexes; 0 if there is none.
func (ed *Editor) Registry() (uint64, error) {
	index, _, err := ed.lookup(ed.State.Catalog, registryName)
	return index, err
}

const registryName = index.RegistryName

// PutRegistry makes a map the registry of indexes.
func (ed *Editor) PutRegistry(m *Map) error {
	return ed.putWord(ed.State.Catalog, registryName, m.index)
}

// NewSorted creates an empty sorted map with the types of a shape.
func (ed *Editor) NewSorted(sh *entry.Shape) (*Map, error) {
	key, err := ed.TypeIndex(sh.Key)
	if err != nil {
		return nil, err
	}
	value, err := ed.TypeIndex(sh.Value)
	if err != nil {
		return nil, err
	}
	index, err := ed.newMap(format.KindSorted, key, value)
	return SortedAt(index, sh), err
}

// SortedAt returns the sorted map that is the object with the index. It has no indexes itself; sh
// is the shape of its entries.
func SortedAt(index uint64, sh *entry.Shape) *Map {
	return &Map{index: index, kind: format.KindSorted, shape: sh}
}

// MapByID returns a map by its stored types.
func (ed *Editor) MapByID(id format.ID) (*Map, *format.MapObject, error) { return ed.untypedMap(id) }

// Object returns the map's object.
func (m *Map) Object(ed *Editor) (*format.MapObject, error) { return ed.entriesObject(m.index, m.kind) }

// ID returns the identity of the map.
func (m *Map) ID(ed *Editor) format.ID { return format.MakeID(ed.store.header.Tag, m.index) }

// Index returns the index of the map in the object table.
func (m *Map) Index() uint64 { return m.index }

// Kind returns the kind of the map's object.
func (m *Map) Kind() format.Kind { return m.kind }

// Types returns the words of the map's object that name the stored types of its keys and values.
func (m *Map) Types() (key, value uint64) { return m.key, m.value }

// Shape returns the layout of the entries.
func (m *Map) Shape() *entry.Shape { return m.shape }

// Each walks the entries as they are when the walk starts.
func (m *Map) Each(ed *Editor, object *format.MapObject, yield func(entry unsafe.Pointer) bool) error {
	return m.all(ed, object, yield)
}

// Between is Each for a part of a sorted map.
func (m *Map) Between(ed *Editor, object *format.MapObject, from, to Bound, back bool, yield func(entry unsafe.Pointer) bool) error {
	return m.walk(ed, object, from, to, back, yield)
}

// Find returns the entry with a key; nil if there is none.
func (m *Map) Find(ed *Editor, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
	return m.find(ed, object, key)
}

// SetAlone stores an entry without the indexes, and returns it.
func (m *Map) SetAlone(ed *Editor, key, value unsafe.Pointer) (unsafe.Pointer, error) {
	if err := m.set(ed, key, value); err != nil {
		return nil, err
	}
	object, err := m.Object(ed)
	if err != nil {
		return nil, err
	}
	return m.find(ed, object, key)
}

// PutAlone stores an entry without the indexes.
func (m *Map) PutAlone(ed *Editor, key, value unsafe.Pointer) error { return m.set(ed, key, value) }

// RemoveAlone removes an entry without the indexes, and reports whether it was there.
func (m *Map) RemoveAlone(ed *Editor, key unsafe.Pointer) (bool, error) { return m.takeOut(ed, key) }

// HandOut copies the key of an entry to the variable at dst, and returns the value as Peek does.
func (m *Map) HandOut(ed *Editor, e, dst unsafe.Pointer) (unsafe.Pointer, error) {
	ed.borrow(e)
	return ed.handOut(m, e, dst, false)
}

// IsGone reports whether the version lacks an object.
func (ed *Editor) IsGone(of uint64) bool {
	_, _, err := table.Any(ed.Reader, format.Link(ed.State.Table), of)
	return errors.Is(err, table.ErrNoObject)
}

// KindOf returns the kind of an object; KindNone if there is none.
func (ed *Editor) KindOf(id format.ID) format.Kind {
	kind, _, err := table.Any(ed.Reader, format.Link(ed.State.Table), id.Index())
	if err != nil {
		return format.KindNone
	}
	return kind
}

// Lasts reports whether the block with the payload is final and survives an abort of this
// transaction: then what was found in it may be remembered for other transactions.
func (ed *Editor) Lasts(payload unsafe.Pointer) bool {
	return ed.of == nil && (ed.Write == nil || !ed.Write.Editable(blockAt(payload)))
}

// Written returns the address and the birth of the block with the payload.
func (ed *Editor) Written(payload unsafe.Pointer) (format.Addr, format.Version) {
	a := blockAt(payload)
	return a, ed.Reader.Birth(a)
}
