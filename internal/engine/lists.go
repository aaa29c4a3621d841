package engine

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/vector"
)

// A list is a radix vector of the addresses of its elements' blocks, which are
// called items. An element never moves when others change.

// ListOf names a list and the Go type of elements by which it is accessed.
type ListOf struct {
	ID    format.ID
	Value layout.Identity
}

// list returns the object of a list and the type of its elements.
func (tx *Editor) list(of ListOf) (*format.ListObject, *typed, error) {
	if err := tx.usable(of.ID); err != nil {
		return nil, nil, err
	}
	object, err := tx.listObject(of.ID.Index())
	if err != nil {
		return nil, nil, tx.objectError(of.ID, err)
	}
	t, err := tx.typed(format.KindList, of.Value, object.Value)
	return object, t, err
}

// listObject returns the object of a list.
func (tx *Editor) listObject(index uint64) (*format.ListObject, error) {
	p, err := tx.object(index, format.KindList)
	return (*format.ListObject)(p), err
}

// editList returns the object of a list, writable, in a block of this transaction.
func (tx *Editor) editList(index uint64) (*format.ListObject, error) {
	root, p, err := table.Edit(tx.write, format.Link(tx.state.Table), index, format.KindList, format.ByteCount(format.ListObjectSize))
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	return (*format.ListObject)(p), nil
}

// item returns the payload of an element, nil if there is none with the index.
func (tx *Editor) item(object *format.ListObject, i uint64) (unsafe.Pointer, error) {
	if i >= object.Count {
		return nil, nil
	}
	if tx.store.trusting {
		if word := tx.store.finder.Word(format.Link(object.Root), i); word != 0 {
			return tx.store.finder.Pointer(word), nil
		}
	}
	word, err := vector.Get(tx.reader, format.Link(object.Root), i)
	if err != nil {
		return nil, err
	}
	return tx.reader.Payload(format.Addr(word), format.KindItem) // 0 is no place for a block
}

// indexError says that a list has no element with an index.
func indexError(i int, n uint64) error {
	return fmt.Errorf("%w: there is no index %d in a list of length %d", ErrNotFound, i, n)
}

// PeekItem returns the stored element itself, or a copy if it is Coded; nil if there is none with the index. In
// the usual case it is all here: a loop calls it again and again.
func (tx *Editor) PeekItem(of ListOf, i int) (unsafe.Pointer, error) {
	s := tx.store
	if s.trusting && of.ID.Tag() == s.header.Tag && tx.write == nil && !tx.ended.Load() {
		if word := s.finder.Word(format.Link(tx.state.Table), of.ID.Index()); word != 0 {
			p := s.finder.Pointer(word)
			l := (*format.ListObject)(p)
			if isKind(p, format.KindList) && uint64(i) < l.Count && s.typed.find(of.Value, l.Value).lendsItself() {
				if word := s.finder.Word(format.Link(l.Root), uint64(i)); word != 0 {
					return s.finder.Pointer(word), nil
				}
			}
		}
	}
	return tx.peekItem(of, i)
}

// peekItem is PeekItem in a transaction that writes, and for what is looked at for
// the first time, or is not there.
func (tx *Editor) peekItem(of ListOf, i int) (unsafe.Pointer, error) {
	object, t, err := tx.list(of)
	if err != nil {
		return nil, err
	}
	p, err := tx.item(object, uint64(i))
	if err != nil || p == nil {
		return nil, err
	}
	tx.borrow(p)
	if !tx.store.trusting {
		if err = t.item.Type.Check(p, tx.Bounds(p)); err != nil {
			return nil, err
		}
	}
	return tx.lend(t.item.Type, p, p)
}

// ReadItem copies an element to the variable at dst.
func (tx *Editor) ReadItem(of ListOf, i int, dst unsafe.Pointer) error {
	object, t, err := tx.list(of)
	if err != nil {
		return err
	}
	p, err := tx.item(object, uint64(i))
	if err != nil {
		return err
	}
	if p == nil {
		return indexError(i, object.Count)
	}
	return t.item.Type.CopyOut(dst, p, tx.Bounds(p))
}

// WriteItem makes a copy of the variable at src the element with an index.
func (tx *Editor) WriteItem(of ListOf, i int, src unsafe.Pointer) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	object, t, err := tx.list(of)
	if err != nil {
		return err
	}
	if uint64(i) >= object.Count {
		return indexError(i, object.Count)
	}
	if src, err = t.item.Type.Stored(src); err != nil {
		return err
	}
	return tx.setItem(of.ID.Index(), t.item, uint64(i), src)
}

// setItem replaces an element that is there.
func (tx *Editor) setItem(index uint64, cell *entry.Cell, i uint64, src unsafe.Pointer) error {
	a, err := tx.newCell(cell, 0, src)
	if err != nil {
		return err
	}
	object, err := tx.editList(index)
	if err != nil {
		return err
	}
	old, err := tx.item(object, i)
	if err != nil {
		return tx.fail(err)
	}
	root, err := vector.Set(tx.write, format.Link(object.Root), i, uint64(a))
	if err != nil {
		return tx.fail(err)
	}
	object.Root = uint64(root)
	tx.write.Free(blockAt(old))
	if cell.Type.HasHandles() {
		tx.unlinked++
	}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpSetItem, index), Block: uint64(a), Arg: i})
	return nil
}

// Append adds copies of the n values that lie in a row at src.
func (tx *Editor) Append(of ListOf, src unsafe.Pointer, n int) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	_, t, err := tx.list(of)
	if err != nil || n == 0 {
		return err
	}
	row, keep, err := t.item.Type.StoredRow(src, n)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(keep)
	return tx.appendItems(of.ID.Index(), t.item, row, n)
}

// appendItems adds elements, leaf by leaf of the vector. If a value cannot be stored,
// those before it are taken off again: all are added, or none.
func (tx *Editor) appendItems(index uint64, cell *entry.Cell, src unsafe.Pointer, n int) error {
	object, err := tx.listObject(index)
	if err != nil {
		return err
	}
	before, count := object.Count, object.Count
	var words [64]uint64
	for n > 0 {
		run := words[:vector.RunLength(count, min(n, len(words)))]
		for k := range run {
			a, err := tx.newCell(cell, 0, src)
			if err != nil {
				for _, w := range run[:k] {
					tx.write.Free(format.Addr(w))
				}
				if tx.failed == nil && count > before {
					return joinFailure(err, tx.truncate(index, before))
				}
				return err
			}
			run[k] = uint64(a)
			if n--; n > 0 {
				src = unsafe.Add(src, cell.Type.Size())
			}
		}
		if err := tx.place(index, run); err != nil {
			return err
		}
		count += uint64(len(run))
	}
	return nil
}

// joinFailure returns the error of a value, or the one for which the transaction can
// only abort.
func joinFailure(value, failure error) error {
	if failure != nil {
		return failure
	}
	return value
}

// place adds the items to the list.
func (tx *Editor) place(index uint64, items []uint64) error {
	object, err := tx.editList(index)
	if err != nil {
		return err
	}
	root, err := vector.SetRun(tx.write, format.Link(object.Root), object.Count, items)
	if err != nil {
		return tx.fail(err)
	}
	object.Root = uint64(root)
	for _, a := range items {
		tx.write.Log(format.Op{What: format.MakeWhat(format.OpAppend, index), Block: a, Arg: object.Count})
		object.Count++
	}
	return nil
}

// Truncate drops all elements but the first n.
func (tx *Editor) Truncate(of ListOf, n int) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	object, _, err := tx.list(of)
	if err != nil {
		return err
	}
	if n < 0 || uint64(n) > object.Count {
		return indexError(n, object.Count)
	}
	if uint64(n) == object.Count {
		return nil
	}
	return tx.truncate(of.ID.Index(), uint64(n))
}

// truncate drops elements.
func (tx *Editor) truncate(index, n uint64) error {
	tx.write.Remove(true, false)
	defer tx.write.Remove(false, false)
	object, err := tx.editList(index)
	if err != nil {
		return err
	}
	root, err := vector.Truncate(tx.write, format.Link(object.Root), n, object.Count, func(w uint64) error {
		_, err := tx.reader.Payload(format.Addr(w), format.KindItem)
		if err == nil {
			tx.write.Free(format.Addr(w))
		}
		return err
	})
	if err != nil {
		return tx.fail(err)
	}
	if t, err := tx.storedType(object.Value); err == nil && t.HasHandles() {
		tx.unlinked += object.Count - n
	}
	object.Root, object.Count = uint64(root), n
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpTruncate, index), Arg: n})
	return nil
}

// Pop copies the last element to the variable at dst and drops it.
func (tx *Editor) Pop(of ListOf, dst unsafe.Pointer) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	object, _, err := tx.list(of)
	if err != nil {
		return err
	}
	last := int(object.Count) - 1
	if err := tx.ReadItem(of, last, dst); err != nil {
		return err
	}
	return tx.truncate(of.ID.Index(), uint64(last))
}

// Items walks the elements, from the first on or from the last one back, as they
// are when the walk starts: what the transaction writes meanwhile is copied, never
// edited under the walk.
func (tx *Editor) Items(of ListOf, back bool, yield func(i int, value unsafe.Pointer) bool) error {
	object, t, err := tx.list(of)
	if err != nil {
		return err
	}
	if !t.item.Type.Coded() {
		return tx.walkItems(object, t.item, back, yield)
	}
	var failed error
	err = tx.walkItems(object, t.item, back, func(i int, p unsafe.Pointer) bool {
		p, failed = tx.lend(t.item.Type, p, p)
		return failed == nil && yield(i, p)
	})
	return joinFailure(err, failed)
}

// walkItems is Items for a list whose object is at hand.
func (tx *Editor) walkItems(object *format.ListObject, cell *entry.Cell, back bool, yield func(i int, value unsafe.Pointer) bool) error {
	root, count := format.Link(object.Root), object.Count
	if tx.write != nil {
		tx.write.BorrowAll()
		tx.write.Freeze()
		defer tx.write.Thaw()
	}
	walk := vector.All
	if back {
		walk = vector.Backward
	}
	var failed error
	err := walk(tx.reader, root, count, func(i, word uint64) bool {
		p, err := tx.reader.Payload(format.Addr(word), format.KindItem)
		if err == nil && !tx.store.trusting {
			err = cell.Type.Check(p, tx.Bounds(p))
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
func (tx *Editor) ListLen(of ListOf) (int, error) {
	object, _, err := tx.list(of)
	if err != nil {
		return 0, err
	}
	return int(object.Count), nil
}

// NewList creates an empty list without a name.
func (tx *Editor) NewList(of layout.Identity) (format.ID, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	defer tx.endChange()
	t, err := tx.typedNew(of)
	if err != nil {
		return 0, err
	}
	index, err := tx.newList(t.index)
	return format.MakeID(tx.store.header.Tag, index), err
}

// newList creates an empty list with the descriptor, under the next index, which it
// returns.
func (tx *Editor) newList(typeIndex uint64) (uint64, error) {
	index, p, err := tx.newObject(format.KindList, format.ByteCount(format.ListObjectSize))
	if err != nil {
		return 0, err
	}
	*(*format.ListObject)(p) = format.ListObject{Value: typeIndex}
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpNewList, index), Arg: typeIndex})
	return index, nil
}

// OpenList returns the ID of the list with a name, creating it if a writing
// transaction asks for one that is not there.
func (tx *Editor) OpenList(name string, of layout.Identity) (format.ID, error) {
	return tx.openNamed(name, func(id format.ID) error {
		_, _, err := tx.list(ListOf{id, of})
		return err
	}, func() (format.ID, error) { return tx.NewList(of) })
}
