// Package apply applies logical changes in a writing transaction: those of the journal, after a
// power loss, and those of a backup or a change frame.
//
// Start reading at Applier.Apply.
package apply

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// Applier applies logical changes in a writing transaction. It trusts no change: one that cannot be
// applied is an error, and after that the transaction can only abort. Two things it takes as they
// are: handles are not checked (edit.Editor.CheckHandle), and the changes decide the indexes of new
// objects (takeIndex).
type Applier struct {
	ed       *edit.Editor
	maps     map[uint64]*edit.Map
	last     *edit.Map // the map used last
	buf      []uint64  // room for the copy of a payload: Go memory without pointers, aligned
	Lenient  bool      // a key to be deleted need not exist
	Own      bool      // payloads belong to the applier, in aligned Go memory: they need no copy
	Anyhow   bool      // objects may come in any order of their indexes
	Compared bool      // the changes were found by a comparison: they may change marks and types too. It requires Anyhow

	cells map[uint64]cells // by index of the descriptor
}

// New returns an Applier that applies changes in the transaction, which from then on makes no
// others.
func New(ed *edit.Editor) *Applier {
	ed.BeginApply()
	return &Applier{ed: ed, maps: map[uint64]*edit.Map{}, cells: map[uint64]cells{}}
}

// act applies a change of an object of one kind.
type act func(a *Applier, op format.OpKind, index uint64, h format.OpHead, payload []byte) error

// actOf has, by kind, the acts that need all of edit.Editor. All other kinds are object.Applied.
var actOf = map[format.Kind]act{
	format.KindMap:    (*Applier).mapping,
	format.KindSorted: (*Applier).mapping,
	format.KindList:   (*Applier).list,
	format.KindValue:  (*Applier).value,
	format.KindType:   (*Applier).newType,
}

// Apply applies one change.
func (a *Applier) Apply(h format.OpHead, payload []byte) error {
	index := format.ObjectOf(h.What)
	err := a.change(format.OpKindOf(h.What), index, h, payload)
	runtime.KeepAlive(a.buf)
	runtime.KeepAlive(payload)
	if err != nil {
		return a.ed.Fail(fmt.Errorf("object %d: %w", index, err))
	}
	return nil
}

// change applies one change of an object of any kind.
func (a *Applier) change(op format.OpKind, index uint64, h format.OpHead, payload []byte) error {
	switch {
	case op == format.OpDrop:
		return a.drop(index, h.Arg)
	case op == format.OpMark && a.Compared:
		return a.mark(index, h.Arg)
	}
	k := object.OfOp(op)
	if k == nil {
		return fmt.Errorf("%d is an unknown kind of change", op)
	}
	if do := actOf[k.About().Kind]; do != nil {
		return do(a, op, index, h, payload)
	}
	if k, ok := k.(object.Applied); ok {
		return k.Apply(kindEditor{a}, op, index, h, payload)
	}
	return fmt.Errorf("a %s has no changes that can be applied", k.About().Called)
}

// kindEditor implements object.Editor with an Applier.
type kindEditor struct{ *Applier }

func (e kindEditor) Create(kind format.Kind, index uint64, size format.ByteCount) (p unsafe.Pointer, err error) {
	err = e.create(index, func() error {
		p, err = e.ed.NewObject(kind, size)
		return err
	})
	return p, err
}

func (e kindEditor) Edit(kind format.Kind, index uint64, size format.ByteCount) (unsafe.Pointer, error) {
	return e.ed.EditObject(index, kind, size)
}

// mapping makes a map, sorted or not, or changes one.
func (a *Applier) mapping(op format.OpKind, index uint64, h format.OpHead, payload []byte) error {
	if op == format.OpSet || op == format.OpDelete {
		return a.entry(op, index, h, payload)
	}
	return a.newMap(object.OfOp(op).About().Kind, index, h)
}

// entry stores or deletes the key of an entry.
func (a *Applier) entry(kind format.OpKind, index uint64, h format.OpHead, payload []byte) error {
	m, err := a.mapOf(index)
	if err != nil {
		return err
	}
	entry, bounds := a.copy(payload)
	if err := object.RelocateEntry(m.Shape(), h, entry, bounds); err != nil {
		return err
	}
	key := m.Shape().KeyOf(entry)
	if kind == format.OpDelete {
		removed, err := m.Delete(a.ed, key)
		if err == nil && !removed && !a.Lenient {
			err = fmt.Errorf("the key to be deleted does not exist")
		}
		return err
	}
	return m.Set(a.ed, key, m.Shape().ValueOf(entry))
}

// copy returns a payload where Relocate may change it: the payload itself, or a copy in the buffer.
func (a *Applier) copy(payload []byte) (unsafe.Pointer, layout.Bounds) {
	p := unsafe.Pointer(unsafe.SliceData(payload))
	if !a.Own || uintptr(p)%8 != 0 || len(payload) == 0 {
		p = a.room(len(payload))
		copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	}
	return p, layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
}

// room returns the buffer, with room for n bytes and at least one word.
func (a *Applier) room(n int) unsafe.Pointer {
	if n = max((n+7)/8, 1); n > len(a.buf) {
		a.buf = make([]uint64, max(n, 64))
	}
	return unsafe.Pointer(unsafe.SliceData(a.buf))
}

// mapOf returns a map by its stored types.
func (a *Applier) mapOf(index uint64) (*edit.Map, error) {
	if a.last != nil && a.last.Index() == index {
		return a.last, nil
	}
	m := a.maps[index]
	if m == nil {
		var err error
		if index == a.ed.State.Catalog || index == a.ed.State.Types {
			m = a.ed.OwnMap(index)
		} else if m, _, err = a.ed.MapByID(format.MakeID(a.ed.Tag(), index)); err != nil {
			return nil, err
		}
		a.maps[index] = m
	}
	a.last = m
	return m, nil
}

// create runs a function that makes a new object, which gets the given index. The index must be
// free. A journal has objects in the order of their indexes. A backup has types before all other
// objects; there an index is free if no object has it yet.
func (a *Applier) create(index uint64, fn func() error) error {
	next := a.ed.State.NextIndex
	used := index < next
	if used && a.Anyhow && index >= format.FirstIndex {
		_, _, err := table.Any(a.ed.Reader, format.Link(a.ed.State.Table), index)
		used = !errors.Is(err, table.ErrNoObject)
	}
	if used || index >= format.AddrMask {
		return fmt.Errorf("the index is in use, or impossible")
	}
	a.ed.State.NextIndex = index
	err := fn()
	a.ed.State.NextIndex = max(a.ed.State.NextIndex, next)
	return err
}

// newMap creates an empty map of the kind.
func (a *Applier) newMap(kind format.Kind, index uint64, h format.OpHead) error {
	key, err := a.ed.StoredType(h.Addr &^ format.KeyMarks)
	if err != nil {
		return err
	}
	if err := entry.CheckKeys(key, kind); err != nil {
		return err
	}
	if _, err := a.ed.StoredType(h.Arg); err != nil {
		return err
	}
	return a.create(index, func() error { return a.ed.MakeMap(kind, h.Addr, h.Arg) })
}

// newType stores a descriptor.
func (a *Applier) newType(_ format.OpKind, index uint64, _ format.OpHead, payload []byte) error {
	const head = int(unsafe.Sizeof(format.TypeObject{}))
	if _, err := object.TypeIn(payload); err != nil {
		return err
	}
	return a.create(index, func() error { return a.ed.MakeType(payload[head:]) })
}

// drop drops the objects whose bits are set in the mask; the lowest bit is the object with the
// index first.
func (a *Applier) drop(first, mask uint64) error {
	if mask == 0 {
		return errors.New("a drop names no object")
	}
	a.ed.Write.Log(format.Op{What: format.MakeWhat(format.OpDrop, first), Arg: mask}) // as a collection logs it
	for ; mask != 0; mask &= mask - 1 {
		index := first + uint64(bits.TrailingZeros64(mask))
		delete(a.maps, index)
		a.last = nil
		drop := a.ed.Drop
		if a.Compared {
			drop = a.ed.DropAny
		}
		if _, err := drop(index, nil); err != nil {
			return fmt.Errorf("dropping object %d: %w", index, err)
		}
	}
	return nil
}

// mark changes the marks of the keys of a map.
func (a *Applier) mark(index, marks uint64) error {
	m, err := a.mapOf(index)
	if err != nil {
		return err
	}
	if marks&^format.KeyMarks != 0 || marks == format.Expiring || m.Shape() == nil {
		return fmt.Errorf("a map cannot have the marks %#x", marks)
	}
	delete(a.maps, index)
	a.last = nil
	return a.ed.MarkIndexed(index, m.Kind(), marks&format.Indexed != 0, marks&format.Expiring != 0)
}
