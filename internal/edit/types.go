package edit

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// StoredType returns the type whose descriptor is the object with the index. A descriptor never
// changes, and its index is never used again, so the Store decodes each one once.
func (ed *Editor) StoredType(index uint64) (*layout.Type, error) {
	if t, ok := ed.store.types.Load(index); ok {
		return t.(*layout.Type), nil
	}
	for _, f := range ed.fresh.types {
		if f.index == index {
			return f.typ, nil
		}
	}
	p, err := table.Object(ed.Reader, format.Link(ed.State.Table), index, format.KindType)
	if err != nil {
		return nil, err
	}
	size := ed.Reader.Size(blockAt(p))
	n := (*format.TypeObject)(p).Length
	if size < 8 || n > uint64(size-8) {
		return nil, &format.DamageError{File: "heap", Offset: int64(uint64(uintptr(p)) - ed.store.header.Base), What: "a type descriptor is longer than its block"}
	}
	t, err := layout.Decode(append([]byte(nil), unsafe.Slice((*byte)(unsafe.Add(p, 8)), n)...))
	if err != nil {
		return nil, fmt.Errorf("the descriptor of type %d: %w", index, err)
	}
	if ed.published(index) {
		ed.store.types.Store(index, t)
	} else if ed.Write != nil { // a snapshot is shared, and remembers nothing
		ed.fresh.types = append(ed.fresh.types, freshType{index, t})
	}
	return t, nil
}

// fresh has the types that the transaction itself has stored. Other transactions find them once it
// has committed.
type fresh struct {
	types []freshType
	typed []*typed
}

type freshType struct {
	index uint64
	typ   *layout.Type
}

// reset empties it.
func (f *fresh) reset() {
	clear(f.types)
	clear(f.typed)
	f.types, f.typed = f.types[:0], f.typed[:0]
}

// TypeIndex returns the index of the descriptor of a type, storing it if the
// space has none yet.
func (ed *Editor) TypeIndex(t *layout.Type) (uint64, error) {
	encoded := t.Encode()
	digest := layout.Digest(encoded)
	index, found, err := ed.lookup(ed.State.Types, digest)
	if err != nil || found {
		return index, err
	}
	if index, err = ed.newType(encoded); err != nil {
		return 0, err
	}
	return index, ed.putWord(ed.State.Types, digest, index)
}

// newType stores an encoded descriptor under the next index, which it returns.
func (ed *Editor) newType(encoded []byte) (uint64, error) {
	index, p, err := ed.newObject(format.KindType, format.ByteCount(8+len(encoded)))
	if err != nil {
		return 0, err
	}
	(*format.TypeObject)(p).Length = uint64(len(encoded))
	copy(unsafe.Slice((*byte)(unsafe.Add(p, 8)), len(encoded)), encoded)
	ed.Write.Log(format.Op{What: format.MakeWhat(format.OpNewType, index), Block: uint64(ed.Write.BlockOf(p))})
	return index, nil
}
