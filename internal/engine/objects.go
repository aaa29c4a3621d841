package engine

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/trie"
)

// object returns the payload of an object of the kind; a *table.KindError, or
// table.ErrNoObject, if there is none. A payload is adjacent to its header, so checking
// the kind costs nothing.
func (tx *Tx) object(index uint64, kind format.Kind) (unsafe.Pointer, error) {
	if sp := tx.sp; sp.trusting {
		if word := sp.finder.Word(format.Link(tx.state.Table), index); word != 0 {
			p := sp.finder.Pointer(word)
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
func (tx *Tx) mapObject(index uint64) (*format.MapObject, error) {
	return tx.entriesObject(index, format.KindMap)
}

// entriesObject returns the object of a map of the kind.
func (tx *Tx) entriesObject(index uint64, kind format.Kind) (*format.MapObject, error) {
	p, err := tx.object(index, kind)
	return (*format.MapObject)(p), err
}

// editEntries returns the object of a map of the kind, writable, in a block of this
// transaction.
func (tx *Tx) editEntries(index uint64, kind format.Kind) (*format.MapObject, error) {
	root, p, err := table.Edit(tx.write, format.Link(tx.state.Table), index, kind, format.ByteCount(unsafe.Sizeof(format.MapObject{})))
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	return (*format.MapObject)(p), nil
}

// newObject writes a new object with the payload size and returns its index and
// its payload.
func (tx *Tx) newObject(kind format.Kind, size format.ByteCount) (uint64, unsafe.Pointer, error) {
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
func (tx *Tx) enter(a format.Addr) (uint64, error) {
	index := tx.takeIndex()
	root, err := table.Enter(tx.write, format.Link(tx.state.Table), index, a)
	if err != nil {
		return 0, tx.fail(err)
	}
	tx.state.Table = uint64(root)
	tx.state.Objects++
	return index, nil
}

// takeIndex returns the index of the next new object. It is never used again, also
// if the transaction aborts, since the program may keep the ID: so no transaction
// gets one that another one has had, in whatever process. Who applies changes says
// the indexes himself.
func (tx *Tx) takeIndex() uint64 {
	index := tx.state.NextIndex
	if !tx.applying {
		next := &tx.sp.live.Words().NextIndex
		for given := next.Load(); ; given = next.Load() {
			index = max(index, given)
			if next.CompareAndSwap(given, index+1) {
				break
			}
		}
	}
	tx.state.NextIndex = index + 1
	return index
}

// lookup reads a word from one of the space's own maps.
func (tx *Tx) lookup(index uint64, key string) (uint64, bool, error) {
	m, err := tx.mapObject(index)
	if err != nil {
		return 0, false, err
	}
	sh := tx.sp.catalog
	hash, err := sh.Hash(layout.Arg(&key))
	if err != nil {
		return 0, false, err
	}
	entry, err := trie.Get(tx.reader, format.Link(m.Root), sh, hash, layout.Arg(&key))
	if err != nil || entry == nil {
		return 0, false, err
	}
	return *layout.Cast[uint64](sh.ValueOf(entry)), true, nil
}

// enroll stores a word in one of the space's own maps.
func (tx *Tx) enroll(index uint64, key string, word uint64) error {
	m, err := tx.editEntries(index, format.KindMap)
	if err != nil {
		return err
	}
	sh := tx.sp.catalog
	hash, err := sh.Hash(layout.Arg(&key))
	if err != nil {
		return err
	}
	root, entry, old, err := trie.Set(tx.write, format.Link(m.Root), sh, hash, layout.Arg(&key), layout.Arg(&word))
	if err != nil {
		return tx.fail(err)
	}
	m.Root = uint64(root)
	if old == nil {
		m.Count++
	}
	tx.write.LogSet(index, entry, blockAt(old))
	return nil
}

// Named returns the index of the object with a name.
func (tx *Tx) Named(name string) (uint64, bool, error) {
	return tx.lookup(tx.state.Catalog, name)
}

// NamedObject is an entry of the catalog.
type NamedObject struct {
	Name  string
	ID    format.ID
	Kind  string
	Key   *layout.Type // nil: it has no keys
	Value *layout.Type
	Count uint64
}

// Names lists the catalog, in no order.
func (tx *Tx) Names() ([]NamedObject, error) {
	m, err := tx.mapObject(tx.state.Catalog)
	if err != nil {
		return nil, err
	}
	var list []NamedObject
	sh := tx.sp.catalog
	_, walkErr := trie.All(tx.reader, format.Link(m.Root), m.Count, func(entry unsafe.Pointer) bool {
		var name string
		if err = sh.Key.CopyOut(unsafe.Pointer(&name), sh.KeyOf(entry), tx.Bounds(entry)); err != nil {
			return false
		}
		var o NamedObject
		if o, err = tx.describe(name, *layout.Cast[uint64](sh.ValueOf(entry))); err != nil {
			return false
		}
		list = append(list, o)
		return true
	})
	if err == nil {
		err = walkErr
	}
	return list, err
}

// describe reads what a named object is.
func (tx *Tx) describe(name string, index uint64) (NamedObject, error) {
	id := format.MakeID(tx.sp.header.Tag, index)
	st, err := tx.Stored(id)
	if err != nil {
		return NamedObject{Name: name, ID: id}, err
	}
	return NamedObject{Name: name, ID: id, Kind: st.Kind, Key: st.Key, Value: st.Value, Count: st.Count}, nil
}

// storedType returns the type whose descriptor is the object with the index. A
// descriptor never changes and its index is never used again, so it is decoded
// once.
func (tx *Tx) storedType(index uint64) (*layout.Type, error) {
	if t, ok := tx.sp.types.Load(index); ok {
		return t.(*layout.Type), nil
	}
	for _, f := range tx.fresh.types {
		if f.index == index {
			return f.typ, nil
		}
	}
	p, err := table.Object(tx.reader, format.Link(tx.state.Table), index, format.KindType)
	if err != nil {
		return nil, err
	}
	size := tx.reader.Size(blockAt(p))
	n := (*format.TypeObject)(p).Length
	if size < 8 || n > uint64(size-8) {
		return nil, &format.DamageError{File: HeapName, Offset: int64(uint64(uintptr(p)) - tx.sp.header.Base), What: "a type descriptor is longer than its block"}
	}
	t, err := layout.Decode(append([]byte(nil), unsafe.Slice((*byte)(unsafe.Add(p, 8)), n)...))
	if err != nil {
		return nil, fmt.Errorf("the descriptor of type %d: %w", index, err)
	}
	if tx.published(index) {
		tx.sp.types.Store(index, t)
	} else if tx.write != nil { // a snapshot is shared, and remembers nothing
		tx.fresh.types = append(tx.fresh.types, freshType{index, t})
	}
	return t, nil
}

// fresh is what a transaction knows of the types that it has stored itself. Others
// learn of them when it has committed.
type fresh struct {
	types []freshType
	typed []*typed
}

type freshType struct {
	index uint64
	typ   *layout.Type
}

// reset forgets all.
func (f *fresh) reset() {
	clear(f.types)
	clear(f.typed)
	f.types, f.typed = f.types[:0], f.typed[:0]
}

// typeIndex returns the index of the descriptor of a type, storing it if the
// space has none yet.
func (tx *Tx) typeIndex(t *layout.Type) (uint64, error) {
	encoded := t.Encode()
	digest := layout.Digest(encoded)
	index, found, err := tx.lookup(tx.state.Types, digest)
	if err != nil || found {
		return index, err
	}
	if index, err = tx.newType(encoded); err != nil {
		return 0, err
	}
	return index, tx.enroll(tx.state.Types, digest, index)
}

// newType stores an encoded descriptor under the next index, which it returns.
func (tx *Tx) newType(encoded []byte) (uint64, error) {
	index, p, err := tx.newObject(format.KindType, format.ByteCount(8+len(encoded)))
	if err != nil {
		return 0, err
	}
	(*format.TypeObject)(p).Length = uint64(len(encoded))
	copy(unsafe.Slice((*byte)(unsafe.Add(p, 8)), len(encoded)), encoded)
	tx.write.Log(format.Op{What: format.MakeWhat(format.OpNewType, index), Block: uint64(tx.write.BlockOf(p))})
	return index, nil
}
