package engine

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/vector"
)

// What drops objects: a collection, and the applier, for what a collection has logged.

// eachBlock is object.EachBlock. r verifies.
func (s *Store) eachBlock(r *heap.Reader, kind format.Kind, p unsafe.Pointer, visit func(a format.Addr) error) error {
	return object.EachBlock(r, &s.verified, kind, p, visit)
}

// droppable returns the block of an object that may be dropped, and what it is.
func (tx *Editor) droppable(r *heap.Reader, index uint64) (format.Addr, format.Kind, unsafe.Pointer, error) {
	kind, p, err := table.Any(r, format.Link(tx.state.Table), index)
	if err == nil && (object.First(kind) || index == tx.state.Catalog || index == tx.state.Types) {
		err = errors.New("it is one of the space itself")
	}
	return blockAt(p), kind, p, err
}

// dropObject takes an object out of the object table and frees its blocks, those of
// its entries or elements included. It returns their bytes. list is room for their
// addresses. After an error nothing has changed, unless the transaction can only abort.
//
// All blocks are listed before the first one is freed: one of this transaction may be
// used again at once.
func (tx *Editor) dropObject(index uint64, list []format.Addr) (size format.ByteCount, err error) {
	r := tx.reader.Verifying()
	a, kind, p, err := tx.droppable(&r, index)
	if err != nil {
		return 0, err
	}
	list = append(list[:0], a)
	if err := tx.store.eachBlock(&r, kind, p, func(a format.Addr) error { list = append(list, a); return nil }); err != nil {
		return 0, err
	}
	if err := tx.takeOut(index); err != nil {
		return 0, err
	}
	for _, a := range list {
		size += r.BlockBytes(a)
	}
	for _, a := range list {
		tx.write.Free(a)
	}
	return size, nil
}

// dropLarge is dropObject for an object of the base with very many blocks, which takes
// no longer than for a small one: all but the object's own block, so many bytes, are
// left to a sweep.
func (tx *Editor) dropLarge(index uint64, rest format.ByteCount) (size format.ByteCount, err error) {
	r := tx.reader.Verifying()
	a, _, _, err := tx.droppable(&r, index)
	if err != nil {
		return 0, err
	}
	if err := tx.takeOut(index); err != nil {
		return 0, err
	}
	size = r.BlockBytes(a) + rest
	tx.write.Free(a)
	tx.write.LeaveBytesToSweep(rest)
	return size, nil
}

// takeOut takes an object out of the object table.
func (tx *Editor) takeOut(index uint64) error {
	tx.write.Remove(true, false)
	defer tx.write.Remove(false, false)
	root, err := vector.Clear(tx.write, format.Link(tx.state.Table), index)
	if err != nil {
		return tx.fail(err)
	}
	tx.state.Table = uint64(root)
	tx.state.Objects--
	return nil
}
