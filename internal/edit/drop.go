package edit

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/vector"
)

// A collection drops objects, and so does package apply when it applies what a collection has
// logged.

// EachBlock is object.EachBlock. The reader r verifies checksums.
func (s *Store) EachBlock(r *heap.Reader, kind format.Kind, p unsafe.Pointer, visit func(a format.Addr) error) error {
	return object.EachBlock(r, &s.verified, kind, p, visit)
}

// droppable returns the block, the kind and the payload of an object that may be dropped.
func (ed *Editor) droppable(r *heap.Reader, index uint64) (format.Addr, format.Kind, unsafe.Pointer, error) {
	kind, p, err := table.Any(r, format.Link(ed.State.Table), index)
	if err == nil && (object.First(kind) || index == ed.State.Catalog || index == ed.State.Types) {
		err = errors.New("it belongs to the space itself")
	}
	return blockAt(p), kind, p, err
}

// Drop removes an object from the object table and frees its blocks, including those of its entries
// or elements. It returns how many bytes they have. list is scratch space for their addresses.
// After an error nothing has changed, unless the transaction can only abort.
//
// Drop lists all blocks before it frees the first: a freed block of this transaction may be
// allocated again at once.
func (ed *Editor) Drop(index uint64, list []format.Addr) (size format.ByteCount, err error) {
	r := ed.Reader.Verifying()
	_, kind, p, err := ed.droppable(&r, index)
	if err != nil {
		return 0, err
	}
	return ed.drop(&r, index, kind, p, list)
}

// DropAny is Drop for every kind, including the type descriptors that no object uses any more.
func (ed *Editor) DropAny(index uint64, list []format.Addr) (size format.ByteCount, err error) {
	r := ed.Reader.Verifying()
	kind, p, err := table.Any(&r, format.Link(ed.State.Table), index)
	if err == nil && (index == ed.State.Catalog || index == ed.State.Types) {
		err = errors.New("it belongs to the space itself")
	}
	if err != nil {
		return 0, err
	}
	return ed.drop(&r, index, kind, p, list)
}

// drop is Drop of an object that may be dropped.
func (ed *Editor) drop(r *heap.Reader, index uint64, kind format.Kind, p unsafe.Pointer, list []format.Addr) (size format.ByteCount, err error) {
	a := blockAt(p)
	list = append(list[:0], a)
	if err := ed.store.EachBlock(r, kind, p, func(a format.Addr) error { list = append(list, a); return nil }); err != nil {
		return 0, err
	}
	if err := ed.unlist(index); err != nil {
		return 0, err
	}
	for _, a := range list {
		size += r.BlockBytes(a)
	}
	for _, a := range list {
		ed.Write.Free(a)
	}
	return size, nil
}

// DropLarge is Drop for an object of the base with very many blocks. It takes no longer than for a
// small one: it frees the object's own block, and leaves the others, which have rest bytes, to a
// sweep.
func (ed *Editor) DropLarge(index uint64, rest format.ByteCount) (size format.ByteCount, err error) {
	r := ed.Reader.Verifying()
	a, _, _, err := ed.droppable(&r, index)
	if err != nil {
		return 0, err
	}
	if err := ed.unlist(index); err != nil {
		return 0, err
	}
	size = r.BlockBytes(a) + rest
	ed.Write.Free(a)
	ed.Write.LeaveBytesToSweep(rest)
	return size, nil
}

// unlist removes an object from the object table.
func (ed *Editor) unlist(index uint64) error {
	ed.Write.Remove(true, false)
	defer ed.Write.Remove(false, false)
	root, err := vector.Clear(ed.Write, format.Link(ed.State.Table), index)
	if err != nil {
		return ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	ed.State.Objects--
	return nil
}
