package relocate

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// refer is called with the offset of a word in a payload whose low 48 bits are the
// address of a block, of the kind, with what must be known to walk on there.
type refer func(at int, kind format.Kind, of owner) error

// Offsets in payloads.
const (
	stateTable = int(unsafe.Offsetof(format.State{}.Table))
	statePins  = int(unsafe.Offsetof(format.State{}.Pins))
	mapKey     = int(unsafe.Offsetof(format.MapObject{}.Key))
	mapValue   = int(unsafe.Offsetof(format.MapObject{}.Value))
	mapRoot    = int(unsafe.Offsetof(format.MapObject{}.Root))
	mapSize    = int(unsafe.Sizeof(format.MapObject{}))
	listValue  = int(unsafe.Offsetof(format.ListObject{}.Value))
	listRoot   = int(unsafe.Offsetof(format.ListObject{}.Root))
	typeLength = int(unsafe.Offsetof(format.TypeObject{}.Length))
	typeSize   = int(unsafe.Sizeof(format.TypeObject{}))
	pinState   = int(unsafe.Offsetof(format.Pin{}.State))
)

// Limits of trees: deeper or wider ones are damaged.
const (
	fanBits      = 6
	hashBits     = 64
	vectorLevels = 8
	treeLevels   = 15
)

// each calls fn for every word of a block that refers to another block. A new kind of
// block that refers to others has its case here; one that holds values, in value too.
func (w *walker) each(b *block, of owner, fn refer) error {
	switch b.head.Kind() {
	case format.KindState:
		return w.eachOfState(b, of, fn)
	case format.KindTable:
		return w.eachOfTable(b, of, fn)
	case format.KindMap:
		return w.eachOfMap(b, of, fn)
	case format.KindInner:
		return w.eachOfInner(b, of, fn)
	case format.KindBucket:
		if len(b.payload) != 8<<of.link.WordBits()-format.HeaderSize {
			return w.src.damage(b.addr, "a bucket of %d bytes under a link for 2^%d words", len(b.payload), of.link.WordBits())
		}
		return eachEntry(b, of, fn)
	case format.KindChain:
		return eachEntry(b, of, fn)
	case format.KindSorted:
		return w.eachOfSorted(b, of, fn)
	case format.KindBranch:
		return w.eachOfNode(b, of, format.BranchSlotSize, fn)
	case format.KindLeaf:
		return w.eachOfNode(b, of, format.LeafSlotSize, fn)
	case format.KindList:
		return w.eachOfList(b, of, fn)
	case format.KindType, format.KindEntry, format.KindItem, format.KindValue, format.KindPins: // checkpoints are walked last, on their own
		return nil
	}
	return w.src.damage(b.addr, "blocks of kind %s are not known to this program", b.head.Kind()) // N2
}

// value changes the addresses that a copied block has within itself, and whatever
// else is not taken over as it is.
func (w *walker) value(b *block, copied []byte, of owner) error {
	switch b.head.Kind() {
	case format.KindState:
		return w.restate(b, copied, of)
	case format.KindPins:
		w.repin(copied)
	case format.KindEntry:
		return w.moved(b, copied, of.shape.Move)
	case format.KindItem:
		return w.moved(b, copied, func(block []byte, from, to uintptr) error { return of.item.Move(block, 0, from, to) })
	case format.KindValue:
		t, err := w.typeOfValue(b, of)
		if err != nil {
			return err
		}
		return w.moved(b, copied, func(block []byte, from, to uintptr) error {
			return t.Move(block, uintptr(format.ValueObjectSize), from, to)
		})
	}
	return nil
}

// moved changes the addresses in a copied block by move.
func (w *walker) moved(b *block, copied []byte, move func(block []byte, from, to uintptr) error) error {
	if err := move(copied, uintptr(b.addr)+format.HeaderSize, uintptr(w.place(b.addr))+format.HeaderSize); err != nil {
		return w.src.damage(b.addr, "the value of a %s block: %v", b.head.Kind(), err)
	}
	return nil
}

// typeOfValue returns the type of the object of a reference.
func (w *walker) typeOfValue(b *block, of owner) (*layout.Type, error) {
	if len(b.payload) < format.ValueObjectSize {
		return nil, w.src.damage(b.addr, "a value object of the wrong size")
	}
	index, ok := format.ValueType(b.word(0))
	if !ok {
		return nil, w.src.damage(b.addr, "a value that does not say its type")
	}
	return w.typeOf(b, index, of)
}

// eachOfState is each for a version: its object table, and its checkpoints.
func (w *walker) eachOfState(b *block, of owner, fn refer) error {
	if len(b.payload) != format.StateSize {
		return w.src.damage(b.addr, "a state block of the wrong size")
	}
	of.item = nil
	if err := w.vector(b, stateTable, of, fn); err != nil {
		return err
	}
	if of.newest && len(w.pins) > 0 {
		return fn(statePins, format.KindPins, of)
	}
	return nil
}

// restate changes what a version says of blocks that are not kept.
func (w *walker) restate(b *block, copied []byte, of owner) error {
	state, err := w.src.State(b.addr)
	if err != nil {
		return err
	}
	left, err := w.left(state, of.newest)
	if err != nil {
		return err
	}
	kept := new(format.State)
	if _, err := binary.Decode(copied, binary.LittleEndian, kept); err != nil {
		return err
	}
	kept.Previous, kept.OpWhat, kept.OpBlock, kept.OpArg = 0, 0, 0, 0
	if !of.newest || len(w.pins) == 0 {
		kept.Pins = 0
	}
	kept.BlockBytes -= uint64(left)
	if of.newest {
		kept.NextIndex = max(kept.NextIndex, w.next)
	}
	_, err = binary.Encode(copied, binary.LittleEndian, kept)
	return err
}

// repin lists the checkpoints that are kept, where they go.
func (w *walker) repin(copied []byte) {
	clear(copied)
	binary.LittleEndian.PutUint64(copied, uint64(len(w.pins)))
	for i, p := range w.pins {
		p.State = uint64(w.place(format.Addr(p.State)))
		at := copied[format.PinsHeadSize+i*format.PinSize:]
		if _, err := binary.Encode(at, binary.LittleEndian, &p); err != nil {
			panic(fmt.Sprintf("relocate: a checkpoint does not encode: %v", err)) // its block had room for it
		}
	}
}

// vector calls fn for the link of a radix vector at an offset, if it is not nil.
func (w *walker) vector(b *block, at int, of owner, fn refer) error {
	of.link = format.Link(b.word(at))
	if of.link == 0 {
		return nil
	}
	if n := of.link.VectorLevels(); n == 0 || n > vectorLevels {
		return w.src.damage(b.addr, "the link %#x of a radix vector is impossible", uint64(of.link))
	}
	return fn(at, format.KindTable, of)
}

// eachOfList is each for the object of a list.
func (w *walker) eachOfList(b *block, of owner, fn refer) (err error) {
	if len(b.payload) != format.ListObjectSize {
		return w.src.damage(b.addr, "a list object of the wrong size")
	}
	if of.item, err = w.typeOf(b, b.word(listValue), of); err != nil {
		return err
	}
	return w.vector(b, listRoot, of, fn)
}

// eachOfTable is each for a node of a radix vector: links to nodes, or, in the last
// level, addresses: of the elements of a list, or of objects, whose headers say what
// they are.
func (w *walker) eachOfTable(b *block, of owner, fn refer) error {
	levels, bits := of.link.VectorLevels(), of.link.VectorBits()
	if bits == 0 || bits > fanBits || len(b.payload) < 8<<bits {
		return w.src.damage(b.addr, "the link %#x of a radix vector is impossible", uint64(of.link))
	}
	for at := 0; at < 8<<bits; at += 8 {
		word := b.word(at)
		if word == 0 {
			continue
		}
		kind := format.KindTable
		if levels == 1 && of.item != nil {
			kind = format.KindItem
		} else if levels == 1 {
			a := format.Addr(word & format.AddrMask)
			if !w.src.contains(a) {
				return w.src.damage(b.addr, "the object table leads to an impossible address %#x", word)
			}
			hd := w.src.head(a)
			if kind = hd.Kind(); !kind.Object() {
				return w.src.damage(a, "the object table leads to a block of kind %s, which is none that this program knows as an object", kind)
			}
		} else if of.link = format.Link(word); of.link.VectorLevels() != levels-1 {
			return w.src.damage(b.addr, "the link %#x of a radix vector is impossible", word)
		}
		if err := fn(at, kind, of); err != nil {
			return err
		}
	}
	return nil
}

// eachOfMap is each for the object of a hash map.
func (w *walker) eachOfMap(b *block, of owner, fn refer) (err error) {
	if len(b.payload) != mapSize {
		return w.src.damage(b.addr, "a map object of the wrong size")
	}
	if of.shape, err = w.shape(b, of); err != nil {
		return err
	}
	of.shift = 0
	return w.link(b, mapRoot, of, fn)
}

// eachOfInner is each for an inner node of a hash trie.
func (w *walker) eachOfInner(b *block, of owner, fn refer) error {
	bits := of.link.Bits()
	if of.shift >= hashBits || bits == 0 || bits > fanBits || len(b.payload) < 8<<bits {
		return w.src.damage(b.addr, "an inner node with %d bits at hash bit %d", bits, of.shift)
	}
	of.shift += fanBits
	for at := 0; at < 8<<bits; at += 8 {
		if err := w.link(b, at, of, fn); err != nil {
			return err
		}
	}
	return nil
}

// link calls fn for the link of a hash trie at an offset, if it is not nil.
func (w *walker) link(b *block, at int, of owner, fn refer) error {
	of.link = format.Link(b.word(at))
	switch of.link.Kind() {
	case format.LinkInner:
		return fn(at, format.KindInner, of)
	case format.LinkBucket:
		return fn(at, format.KindBucket, of)
	case format.LinkChain:
		return fn(at, format.KindChain, of)
	}
	if of.link != 0 {
		return w.src.damage(b.addr, "the link %#x of a hash trie is impossible", uint64(of.link))
	}
	return nil
}

// eachOfSorted is each for the object of a sorted map.
func (w *walker) eachOfSorted(b *block, of owner, fn refer) (err error) {
	if len(b.payload) != mapSize {
		return w.src.damage(b.addr, "a sorted map object of the wrong size")
	}
	if of.shape, err = w.shape(b, of); err != nil {
		return err
	}
	return w.treeLink(b, mapRoot, of, treeLevels, fn)
}

// treeLink calls fn for the link of a B+tree at an offset, if it is not nil: to a node
// of that many levels at the most.
func (w *walker) treeLink(b *block, at int, of owner, most uint, fn refer) error {
	of.link = format.Link(b.word(at))
	switch levels := of.link.TreeLevels(); {
	case of.link == 0:
		return nil
	case levels == 0 || levels > most:
		return w.src.damage(b.addr, "the link %#x of a B+tree is impossible", uint64(of.link))
	case levels == 1:
		return fn(at, format.KindLeaf, of)
	}
	return fn(at, format.KindBranch, of)
}

// eachOfNode is each for a node of a B+tree with slots of a size: the references stand
// behind as many words of keys as there is room for.
func (w *walker) eachOfNode(b *block, of owner, slot int, fn refer) error {
	const headSize = format.NodeHeadSize
	room := (len(b.payload) - headSize) / slot
	if room <= 0 || int(uint16(b.word(0))) > room {
		return w.src.damage(b.addr, "a node of a B+tree has more slots than room")
	}
	levels := of.link.TreeLevels()
	for i := range int(uint16(b.word(0))) {
		at := headSize + (room+i)*8
		if levels == 1 {
			if err := fn(at, format.KindEntry, of); err != nil {
				return err
			}
		} else if err := w.treeLink(b, at, of, levels-1, fn); err != nil {
			return err
		}
	}
	return nil
}

// eachEntry is each for a leaf of a hash trie.
func eachEntry(b *block, of owner, fn refer) error {
	for at := 0; at+8 <= len(b.payload); at += 8 {
		if b.word(at) == 0 {
			continue
		}
		if err := fn(at, format.KindEntry, of); err != nil {
			return err
		}
	}
	return nil
}

// shape returns the layout of the entries of a map.
func (w *walker) shape(b *block, of owner) (*entry.Shape, error) {
	var types [2]*layout.Type
	if b.word(mapKey) == 0 && b.word(mapValue) == 0 { // one of the space's own
		types[0], _ = layout.For[string]()
		types[1], _ = layout.For[uint64]()
	} else {
		for i, at := range [2]int{mapKey, mapValue} {
			var err error
			if types[i], err = w.typeOf(b, b.word(at), of); err != nil {
				return nil, err
			}
		}
	}
	sh := w.shapes[types]
	if sh == nil {
		sh = entry.NewShape(types[0], types[1], w.src.secret)
		w.shapes[types] = sh
	}
	return sh, nil
}

// typeOf returns the type whose descriptor is the object with the index in the version
// of the object b, which uses it.
func (w *walker) typeOf(b *block, index uint64, of owner) (*layout.Type, error) {
	a, err := w.object(of.table, index)
	if err != nil {
		return nil, err
	}
	if a == 0 {
		return nil, w.src.damage(b.addr, "the type of an object, object %d, is missing", index)
	}
	if t := w.types[a]; t != nil {
		return t, nil
	}
	d, err := w.src.block(a, format.KindType)
	if err != nil {
		return nil, err
	}
	if len(d.payload) < typeSize || d.word(typeLength) > uint64(len(d.payload)-typeSize) {
		return nil, w.src.damage(a, "a type descriptor is longer than its block")
	}
	encoded := d.payload[typeSize:][:d.word(typeLength)]
	t, err := layout.Decode(append([]byte(nil), encoded...))
	if err != nil {
		return nil, w.src.damage(a, "a type descriptor: %v", err)
	}
	w.types[a] = t
	return t, nil
}

// object returns the address of the object with an index; 0 if there is none.
func (w *walker) object(link format.Link, index uint64) (format.Addr, error) {
	for levels := link.VectorLevels(); link != 0; levels-- {
		slot := index >> (fanBits * (levels - 1))
		if slot>>link.VectorBits() != 0 {
			return 0, nil
		}
		b, err := w.src.block(link.Addr(), format.KindTable)
		if err != nil {
			return 0, err
		}
		if levels == 0 || levels > vectorLevels || link.VectorLevels() != levels || len(b.payload) < 8<<link.VectorBits() {
			return 0, w.src.damage(b.addr, "the link %#x of a radix vector is impossible", uint64(link))
		}
		link = format.Link(b.word(int(slot) * 8))
		if levels == 1 {
			return link.Addr(), nil
		}
		index &= 1<<(fanBits*(levels-1)) - 1
	}
	return 0, nil
}
