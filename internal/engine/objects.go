package engine

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/table"
)

// object returns the payload of an object of the kind; a *table.KindError, or
// table.ErrNoObject, if there is none. A payload is adjacent to its header, so checking
// the kind costs nothing.
func (tx *Editor) object(index uint64, kind format.Kind) (unsafe.Pointer, error) {
	if s := tx.store; s.trusting {
		if word := s.finder.Word(format.Link(tx.state.Table), index); word != 0 {
			p := s.finder.Pointer(word)
			if isKind(p, kind) {
				return p, nil
			}
		}
	}
	return table.Object(tx.reader, format.Link(tx.state.Table), index, kind)
}

// isKind reports whether the block with the payload is of the kind.
func isKind(payload unsafe.Pointer, kind format.Kind) bool {
	return (*format.BlockHeader)(unsafe.Add(payload, -format.HeaderSize)).Kind() == kind
}

// mapObject returns the object of a map that is not sorted, such as those of the space
// itself.
func (tx *Editor) mapObject(index uint64) (*format.MapObject, error) {
	return tx.entriesObject(index, format.KindMap)
}

// entriesObject returns the object of a map of the kind.
func (tx *Editor) entriesObject(index uint64, kind format.Kind) (*format.MapObject, error) {
	p, err := tx.object(index, kind)
	return (*format.MapObject)(p), err
}

// editEntries returns the object of a map of the kind, writable, in a block of this
// transaction.
func (tx *Editor) editEntries(index uint64, kind format.Kind) (*format.MapObject, error) {
	root, p, err := table.Edit(tx.write, format.Link(tx.state.Table), index, kind, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	return (*format.MapObject)(p), nil
}

// edit returns the payload of an object of the kind, writable, in a block of this
// transaction.
func (tx *Editor) edit(index uint64, kind format.Kind, size format.ByteCount) (unsafe.Pointer, error) {
	root, p, err := table.Edit(tx.write, format.Link(tx.state.Table), index, kind, size)
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	return p, nil
}

// newObject writes a new object with the payload size and returns its index and
// its payload.
func (tx *Editor) newObject(kind format.Kind, size format.ByteCount) (uint64, unsafe.Pointer, error) {
	index := tx.takeIndex()
	root, p, err := table.New(tx.write, format.Link(tx.state.Table), index, kind, size)
	if err != nil {
		return 0, nil, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	tx.state.Objects++
	return index, p, nil
}

// enter makes a block of the transaction a new object and returns its index.
func (tx *Editor) enter(a format.Addr) (uint64, error) {
	index := tx.takeIndex()
	root, err := table.Enter(tx.write, format.Link(tx.state.Table), index, a)
	if err != nil {
		return 0, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	tx.state.Objects++
	return index, nil
}

// takeIndex returns the index of the next new object. Who applies changes says the indexes
// himself.
func (tx *Editor) takeIndex() uint64 {
	index := tx.state.NextIndex
	if tx.role != applying {
		index = tx.store.takeIndex(index)
	}
	tx.state.NextIndex = index + 1
	return index
}
