package edit

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/vector"
)

// A list is a radix vector of the addresses of items, the blocks of its elements. An element never
// moves when others change.

// ListOf names a list and the Go type of elements by which it is accessed.
type ListOf struct {
	ID    format.ID
	Value layout.Identity
}

// list returns the object of a list and the type of its elements.
func (ed *Editor) list(of ListOf) (*format.ListObject, *typed, error) {
	if err := ed.usable(of.ID); err != nil {
		return nil, nil, err
	}
	object, err := ed.listObject(of.ID.Index())
	if err != nil {
		return nil, nil, ed.ObjectError(of.ID, err)
	}
	t, err := ed.typed(format.KindList, of.Value, object.Value)
	return object, t, err
}

// listObject returns the object of a list.
func (ed *Editor) listObject(index uint64) (*format.ListObject, error) {
	p, err := ed.object(index, format.KindList)
	return (*format.ListObject)(p), err
}

// EditList returns the object of a list, writable, in a block of this transaction.
func (ed *Editor) EditList(index uint64) (*format.ListObject, error) {
	root, p, err := table.Edit(ed.Write, format.Link(ed.State.Table), index, format.KindList, format.ByteCount(format.ListObjectSize))
	if err != nil {
		return nil, ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	return (*format.ListObject)(p), nil
}

// item returns the payload of the element with an index, nil if the list is not that long.
func (ed *Editor) item(object *format.ListObject, i uint64) (unsafe.Pointer, error) {
	if i >= object.Count {
		return nil, nil
	}
	if ed.store.trusting {
		if word := ed.store.finder.Word(format.Link(object.Root), i); word != 0 {
			return ed.store.finder.Pointer(word), nil
		}
	}
	word, err := vector.Get(ed.Reader, format.Link(object.Root), i)
	if err != nil {
		return nil, err
	}
	return ed.Reader.Payload(format.Addr(word), format.KindItem) // 0 is no place for a block
}

// indexError is the error for an index that a list does not have.
func indexError(i int, n uint64) error {
	return fmt.Errorf("%w: there is no index %d in a list of length %d", failure.ErrNotFound, i, n)
}

// PeekItem returns the stored element itself, or a copy if it is Coded; nil if the list has no such
// index. The usual case needs no other function, since loops call PeekItem again and again.
func (ed *Editor) PeekItem(of ListOf, i int) (unsafe.Pointer, error) {
	s := ed.store
	if s.trusting && of.ID.Tag() == s.header.Tag && ed.Write == nil && !ed.ended.Load() {
		if word := s.finder.Word(format.Link(ed.State.Table), of.ID.Index()); word != 0 {
			p := s.finder.Pointer(word)
			l := (*format.ListObject)(p)
			if isKind(p, format.KindList) && uint64(i) < l.Count && s.typed.find(of.Value, l.Value).lendsItself() {
				if word := s.finder.Word(format.Link(l.Root), uint64(i)); word != 0 {
					return s.finder.Pointer(word), nil
				}
			}
		}
	}
	return ed.peekItem(of, i)
}

// peekItem is PeekItem for a writing transaction, for the first look at a list, and for an index
// that the list does not have.
func (ed *Editor) peekItem(of ListOf, i int) (unsafe.Pointer, error) {
	object, t, err := ed.list(of)
	if err == nil {
		err = t.item.Type.CopyOnly()
	}
	if err != nil {
		return nil, err
	}
	p, err := ed.item(object, uint64(i))
	if err != nil || p == nil {
		return nil, err
	}
	ed.borrow(p)
	if !ed.store.trusting {
		if err = t.item.Type.Check(p, ed.Bounds(p)); err != nil {
			return nil, err
		}
	}
	return ed.lend(t.item.Type, p, p)
}

// ReadItem copies an element to the variable at dst.
func (ed *Editor) ReadItem(of ListOf, i int, dst unsafe.Pointer) error {
	object, t, err := ed.list(of)
	if err != nil {
		return err
	}
	p, err := ed.item(object, uint64(i))
	if err != nil {
		return err
	}
	if p == nil {
		return indexError(i, object.Count)
	}
	bounds := ed.Bounds(p)
	return ed.Blame(bounds, t.item.Type.CopyOut(dst, p, bounds))
}

// WriteItem replaces the element with an index by a copy of the variable at src.
func (ed *Editor) WriteItem(of ListOf, i int, src unsafe.Pointer) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	object, t, err := ed.list(of)
	if err != nil {
		return err
	}
	if uint64(i) >= object.Count {
		return indexError(i, object.Count)
	}
	if src, err = t.item.Type.Stored(src); err != nil {
		return err
	}
	return ed.setItem(of.ID.Index(), t.item, uint64(i), src)
}

// setItem replaces an element that exists.
func (ed *Editor) setItem(index uint64, cell *entry.Cell, i uint64, src unsafe.Pointer) error {
	a, err := ed.newCell(cell, 0, src)
	if err != nil {
		return err
	}
	object, err := ed.EditList(index)
	if err != nil {
		return err
	}
	old, err := ed.item(object, i)
	if err != nil {
		return ed.Fail(err)
	}
	root, err := vector.Set(ed.Write, format.Link(object.Root), i, uint64(a))
	if err != nil {
		return ed.Fail(err)
	}
	object.Root = uint64(root)
	ed.Write.Free(blockAt(old))
	if cell.Type.HasHandles() {
		ed.unlinked++
	}
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpSetItem, index), Block: uint64(a), Arg: i})
	return nil
}

// Append adds copies of the n values that lie in a row at src.
func (ed *Editor) Append(of ListOf, src unsafe.Pointer, n int) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	_, t, err := ed.list(of)
	if err != nil || n == 0 {
		return err
	}
	row, keep, err := t.item.Type.StoredRow(src, n)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(keep)
	return ed.appendItems(of.ID.Index(), t.item, row, n)
}

// appendItems adds elements, leaf by leaf of the vector. If one of the values cannot be stored, it
// removes those before it again: it adds all or none.
func (ed *Editor) appendItems(index uint64, cell *entry.Cell, src unsafe.Pointer, n int) error {
	object, err := ed.listObject(index)
	if err != nil {
		return err
	}
	before, count := object.Count, object.Count
	var words [64]uint64
	for n > 0 {
		run := words[:vector.RunLength(count, min(n, len(words)))]
		for k := range run {
			a, err := ed.newCell(cell, 0, src)
			if err != nil {
				for _, w := range run[:k] {
					ed.Write.Free(format.Addr(w))
				}
				if ed.failed == nil && count > before {
					return joinFailure(err, ed.truncate(index, before))
				}
				return err
			}
			run[k] = uint64(a)
			if n--; n > 0 {
				src = unsafe.Add(src, cell.Type.Size())
			}
		}
		if err := ed.place(index, run); err != nil {
			return err
		}
		count += uint64(len(run))
	}
	return nil
}

// joinFailure returns failure, for which the transaction can only abort, or else the error of the
// value.
func joinFailure(value, failure error) error {
	if failure != nil {
		return failure
	}
	return value
}

// place adds the items to the end of the list.
func (ed *Editor) place(index uint64, items []uint64) error {
	object, err := ed.EditList(index)
	if err != nil {
		return err
	}
	root, err := vector.SetRun(ed.Write, format.Link(object.Root), object.Count, items)
	if err != nil {
		return ed.Fail(err)
	}
	object.Root = uint64(root)
	for _, a := range items {
		ed.Write.Log(format.Op{What: format.MakeWhat(format.OpAppend, index), Block: a, Arg: object.Count})
		object.Count++
	}
	return nil
}

// Truncate drops all elements but the first n.
func (ed *Editor) Truncate(of ListOf, n int) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	object, _, err := ed.list(of)
	if err != nil {
		return err
	}
	if n < 0 || uint64(n) > object.Count {
		return indexError(n, object.Count)
	}
	if uint64(n) == object.Count {
		return nil
	}
	return ed.truncate(of.ID.Index(), uint64(n))
}

// truncate drops all elements but the first n.
func (ed *Editor) truncate(index, n uint64) error {
	ed.Write.Remove(true, false)
	defer ed.Write.Remove(false, false)
	object, err := ed.EditList(index)
	if err != nil {
		return err
	}
	root, err := vector.Truncate(ed.Write, format.Link(object.Root), n, object.Count, func(w uint64) error {
		_, err := ed.Reader.Payload(format.Addr(w), format.KindItem)
		if err == nil {
			ed.Write.Free(format.Addr(w))
		}
		return err
	})
	if err != nil {
		return ed.Fail(err)
	}
	if t, err := ed.StoredType(object.Value); err == nil && t.HasHandles() {
		ed.unlinked += object.Count - n
	}
	object.Root, object.Count = uint64(root), n
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpTruncate, index), Arg: n})
	return nil
}

// Pop copies the last element to the variable at dst and drops it.
func (ed *Editor) Pop(of ListOf, dst unsafe.Pointer) error {
	if err := ed.writable(); err != nil {
		return err
	}
	defer ed.EndChange()
	object, _, err := ed.list(of)
	if err != nil {
		return err
	}
	last := int(object.Count) - 1
	if err := ed.ReadItem(of, last, dst); err != nil {
		return err
	}
	return ed.truncate(of.ID.Index(), uint64(last))
}

// Items walks the elements as they are when the walk starts, from the first one on or from the last
// one back: while it walks, the transaction copies blocks instead of editing them.
func (ed *Editor) Items(of ListOf, back bool, yield func(i int, value unsafe.Pointer) bool) error {
	object, t, err := ed.list(of)
	if err != nil {
		return err
	}
	if err := t.item.Type.CopyOnly(); err != nil {
		return err
	}
	if !t.item.Type.Coded() {
		return ed.walkItems(object, t.item, back, yield)
	}
	return ed.copyItems(object, t.item, back, yield)
}

// ItemCopies is Items, but yields copies that belong to the program.
func (ed *Editor) ItemCopies(of ListOf, yield func(i int, value unsafe.Pointer) bool) error {
	object, t, err := ed.list(of)
	if err != nil {
		return err
	}
	return ed.copyItems(object, t.item, false, yield)
}

// copyItems is walkItems for copies of the elements.
func (ed *Editor) copyItems(object *format.ListObject, cell *entry.Cell, back bool, yield func(i int, value unsafe.Pointer) bool) error {
	var failed error
	err := ed.walkItems(object, cell, back, func(i int, p unsafe.Pointer) bool {
		bounds := ed.Bounds(p)
		p, failed = cell.Type.CopyNew(p, bounds)
		failed = ed.Blame(bounds, failed)
		return failed == nil && yield(i, p)
	})
	return joinFailure(err, failed)
}

// walkItems is Items for a list whose object is at hand.
func (ed *Editor) walkItems(object *format.ListObject, cell *entry.Cell, back bool, yield func(i int, value unsafe.Pointer) bool) error {
	root, count := format.Link(object.Root), object.Count
	defer ed.freeze()()
	walk := vector.All
	if back {
		walk = vector.Backward
	}
	var failed error
	err := walk(ed.Reader, root, count, func(i, word uint64) bool {
		p, err := ed.Reader.Payload(format.Addr(word), format.KindItem)
		if err == nil && !ed.store.trusting {
			err = cell.Type.Check(p, ed.Bounds(p))
		}
		if err != nil {
			failed = err
			return false
		}
		return yield(int(i), p)
	})
	return joinFailure(err, failed)
}

// ListLen returns the number of elements.
func (ed *Editor) ListLen(of ListOf) (int, error) {
	object, _, err := ed.list(of)
	if err != nil {
		return 0, err
	}
	return int(object.Count), nil
}

// NewList creates an empty list without a name.
func (ed *Editor) NewList(of layout.Identity) (format.ID, error) {
	if err := ed.writable(); err != nil {
		return 0, err
	}
	defer ed.EndChange()
	t, err := ed.typedNew(of)
	if err != nil {
		return 0, err
	}
	index, err := ed.newList(t.index)
	return format.MakeID(ed.store.header.Tag, index), err
}

// newList creates an empty list with the descriptor, under the next index, which it
// returns.
func (ed *Editor) newList(typeIndex uint64) (uint64, error) {
	index, p, err := ed.newObject(format.KindList, format.ByteCount(format.ListObjectSize))
	if err != nil {
		return 0, err
	}
	*(*format.ListObject)(p) = format.ListObject{Value: typeIndex}
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpNewList, index), Arg: typeIndex})
	return index, nil
}

// OpenList returns the ID of the list with a name, creating it if a writing
// transaction asks for one that is not there.
func (ed *Editor) OpenList(name string, of layout.Identity) (format.ID, error) {
	return ed.OpenNamed(name, func(id format.ID) error {
		_, _, err := ed.list(ListOf{id, of})
		return err
	}, func() (format.ID, error) { return ed.NewList(of) })
}
