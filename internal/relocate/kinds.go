package relocate

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// Offsets in payloads.
const (
	stateTable = int(unsafe.Offsetof(format.State{}.Table))
	statePins  = int(unsafe.Offsetof(format.State{}.Pins))
)

// each calls fn for every word of a block that refers to another block. It knows the
// references of a state itself; for the blocks of an object it asks the object's kind.
func (w *walker) each(b *object.Block, of object.Owner, fn object.Refer) error {
	kind := b.Head.Kind()
	if kind == format.KindState {
		return w.eachOfState(b, of, fn)
	}
	node := object.NodeOf(kind)
	if node == nil {
		return w.src.damage(b.Addr, "this program does not know blocks of kind %s", kind) // N2
	}
	return node.Refer(w, b, of, fn)
}

// refersTo reports whether blocks of a kind can refer to other blocks. Only for those is each called.
func refersTo(kind format.Kind) bool {
	if kind == format.KindPins { // walker.checkpoints walks the checkpoints, last
		return false
	}
	node := object.NodeOf(kind)
	return node == nil || node.Refer != nil
}

// value changes the addresses in a copied block that point into the block itself, and takes
// out everything that a copy leaves out.
func (w *walker) value(b *object.Block, copied []byte, of object.Owner) error {
	kind := b.Head.Kind()
	switch kind {
	case format.KindState:
		return w.restate(b, copied, of)
	case format.KindPins:
		w.repin(copied)
		return nil
	}
	node := object.NodeOf(kind)
	if node.Hold == nil {
		return nil
	}
	held, err := node.Hold(w, b, of)
	if err != nil {
		return err
	}
	if err := held.Move(copied, uintptr(b.Addr)+format.HeaderSize, uintptr(w.place(b.Addr))+format.HeaderSize); err != nil {
		return w.src.damage(b.Addr, "the value of a %s block: %v", kind, err)
	}
	return nil
}

// eachOfState is each for a state: it refers to the object table and to the list of checkpoints.
func (w *walker) eachOfState(b *object.Block, of object.Owner, fn object.Refer) error {
	if len(b.Payload) != format.StateSize {
		return w.src.damage(b.Addr, "a state block of the wrong size")
	}
	of.Item = nil
	if err := object.ReferVector(w, b, stateTable, of, fn); err != nil {
		return err
	}
	if of.Newest && len(w.pins) > 0 {
		return fn(statePins, format.KindPins, of)
	}
	return nil
}

// restate takes the blocks that are not copied out of the copy of a state.
func (w *walker) restate(b *object.Block, copied []byte, of object.Owner) error {
	state, err := w.src.State(b.Addr)
	if err != nil {
		return err
	}
	left, err := w.left(state, of.Newest)
	if err != nil {
		return err
	}
	kept := new(format.State)
	if _, err := binary.Decode(copied, binary.LittleEndian, kept); err != nil {
		return err
	}
	kept.Previous, kept.OpWhat, kept.OpBlock, kept.OpArg = 0, 0, 0, 0
	if !of.Newest || len(w.pins) == 0 {
		kept.Pins = 0
	}
	kept.BlockBytes -= uint64(left)
	if of.Newest {
		kept.NextIndex = max(kept.NextIndex, w.next)
	}
	_, err = binary.Encode(copied, binary.LittleEndian, kept)
	return err
}

// repin writes the list of the copied checkpoints, with their new addresses.
func (w *walker) repin(copied []byte) {
	clear(copied)
	binary.LittleEndian.PutUint64(copied, uint64(len(w.pins)))
	for i, p := range w.pins {
		p.State = uint64(w.place(format.Addr(p.State)))
		at := copied[format.PinsHeadSize+i*format.PinSize:]
		if _, err := binary.Encode(at, binary.LittleEndian, &p); err != nil {
			panic(fmt.Sprintf("relocate: a checkpoint does not encode: %v", err)) // cannot happen: the source's block had room for as many
		}
	}
}

// Damage implements object.Walker.
func (w *walker) Damage(a format.Addr, what string, args ...any) error {
	return w.src.damage(a, what, args...)
}

// Object implements object.Walker.
func (w *walker) Object(from *object.Block, word uint64) (format.Kind, error) {
	a := format.Addr(word & format.AddrMask)
	if !w.src.contains(a) {
		return 0, w.src.damage(from.Addr, "the object table holds an impossible address %#x", word)
	}
	hd := w.src.head(a)
	if object.Of(hd.Kind()) == nil {
		return 0, w.src.damage(a, "the object table refers to a block of kind %s, which is not an object that this program knows", hd.Kind())
	}
	return hd.Kind(), nil
}

// Shape implements object.Walker.
func (w *walker) Shape(key, value *layout.Type) *entry.Shape {
	types := [2]*layout.Type{key, value}
	sh := w.shapes[types]
	if sh == nil {
		sh = entry.NewShape(key, value, w.src.secret)
		w.shapes[types] = sh
	}
	return sh
}

// Type implements object.Walker.
func (w *walker) Type(user *object.Block, index uint64, of object.Owner) (*layout.Type, error) {
	a, err := w.find(of.Table, index)
	if err != nil {
		return nil, err
	}
	if a == 0 {
		return nil, w.src.damage(user.Addr, "the type of an object, object %d, is missing", index)
	}
	if t := w.types[a]; t != nil {
		return t, nil
	}
	d, err := w.src.block(a, format.KindType)
	if err != nil {
		return nil, err
	}
	t, err := object.DecodeType(d.Payload)
	if err != nil {
		return nil, w.src.damage(a, "%v", err)
	}
	w.types[a] = t
	return t, nil
}

// find returns the address of the object with an index; 0 if there is none.
func (w *walker) find(link format.Link, index uint64) (format.Addr, error) {
	for levels := link.VectorLevels(); link != 0; levels-- {
		slot := index >> (format.FanBits * (levels - 1))
		if slot>>link.VectorBits() != 0 {
			return 0, nil
		}
		b, err := w.src.block(link.Addr(), format.KindTable)
		if err != nil {
			return 0, err
		}
		if levels == 0 || levels > format.MaxVectorLevels || link.VectorLevels() != levels || len(b.Payload) < 8<<link.VectorBits() {
			return 0, w.src.damage(b.Addr, "the link %#x of a radix vector is impossible", uint64(link))
		}
		link = format.Link(b.Word(int(slot) * 8))
		if levels == 1 {
			return link.Addr(), nil
		}
		index &= 1<<(format.FanBits*(levels-1)) - 1
	}
	return 0, nil
}
