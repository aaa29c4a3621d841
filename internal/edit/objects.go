package edit

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/table"
)

// object returns the payload of an object of the kind, or a *table.KindError, or table.ErrNoObject.
// A payload is adjacent to its header, so checking the kind costs nothing.
func (ed *Editor) object(index uint64, kind format.Kind) (unsafe.Pointer, error) {
	if s := ed.store; s.trusting {
		if word := s.finder.Word(format.Link(ed.State.Table), index); word != 0 {
			p := s.finder.Pointer(word)
			if isKind(p, kind) {
				return p, nil
			}
		}
	}
	return table.Object(ed.Reader, format.Link(ed.State.Table), index, kind)
}

// isKind reports whether the block with the payload has the kind.
func isKind(payload unsafe.Pointer, kind format.Kind) bool {
	return (*format.BlockHeader)(unsafe.Add(payload, -format.HeaderSize)).Kind() == kind
}

// mapObject returns the object of a map that is not sorted, such as those of the space
// itself.
func (ed *Editor) mapObject(index uint64) (*format.MapObject, error) {
	return ed.entriesObject(index, format.KindMap)
}

// entriesObject returns the object of a map of the kind.
func (ed *Editor) entriesObject(index uint64, kind format.Kind) (*format.MapObject, error) {
	p, err := ed.object(index, kind)
	return (*format.MapObject)(p), err
}

// EditMap returns the object of a map of the kind, writable, in a block of this
// transaction.
func (ed *Editor) EditMap(index uint64, kind format.Kind) (*format.MapObject, error) {
	root, p, err := table.Edit(ed.Write, format.Link(ed.State.Table), index, kind, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return nil, ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	return (*format.MapObject)(p), nil
}

// Touch makes the transaction publish a version although it changes nothing in it.
func (ed *Editor) Touch() error {
	_, err := ed.EditMap(ed.State.Catalog, format.KindMap)
	return err
}

// edit returns the payload of an object of the kind, writable, in a block of this
// transaction.
func (ed *Editor) edit(index uint64, kind format.Kind, size format.ByteCount) (unsafe.Pointer, error) {
	root, p, err := table.Edit(ed.Write, format.Link(ed.State.Table), index, kind, size)
	if err != nil {
		return nil, ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	return p, nil
}

// newObject writes a new object with the payload size and returns its index and
// its payload.
func (ed *Editor) newObject(kind format.Kind, size format.ByteCount) (uint64, unsafe.Pointer, error) {
	index := ed.takeIndex()
	root, p, err := table.New(ed.Write, format.Link(ed.State.Table), index, kind, size)
	if err != nil {
		return 0, nil, ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	ed.State.Objects++
	return index, p, nil
}

// addObject makes a block of the transaction a new object and returns its index.
func (ed *Editor) addObject(a format.Addr) (uint64, error) {
	index := ed.takeIndex()
	root, err := table.Enter(ed.Write, format.Link(ed.State.Table), index, a)
	if err != nil {
		return 0, ed.Fail(err)
	}
	ed.State.Table = uint64(root)
	ed.State.Objects++
	return index, nil
}

// takeIndex returns the index of the next new object. When changes are applied, the log decides the
// index.
func (ed *Editor) takeIndex() uint64 {
	index := ed.State.NextIndex
	if ed.role != applying {
		index = ed.store.takeIndex(index)
	}
	ed.State.NextIndex = index + 1
	return index
}
