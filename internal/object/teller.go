package object

import (
	"errors"
	"io"
	"math/bits"
	"runtime"
	"strconv"
	"unsafe"

	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// A Change is one change of a version, for people to read.
type Change struct {
	Summary
	Collection string // name of the object, if known
	Key, Value []byte // as JSON; nil if there is none or it cannot be shown. The key of an element is its index, that of a truncation how many are left
	Bytes      int    // size of the payload
	Known      bool   // the types of the object are known; otherwise key and value cannot be shown
}

// A Teller shows changes one by one, with keys and values. It learns the types of objects from the
// changes that made them, and asks Find for those of others. It trusts no change: if the bytes do
// not fit the types, it shows the change without key and value. It remembers a little about each
// object that changes have named, and what it writes about a change is bounded by the size of the
// change (layout.Type.AppendJSON).
type Teller struct {
	Find func() bool // finds what the next changes need, and calls Learn; false, or a nil Find: it is unknown

	own   *entry.Shape
	types map[uint64]*layout.Type
	known map[uint64]Layout // the zero Layout: Find did not know it
	names map[uint64]string
}

// NewTeller returns a Teller that has seen nothing.
func NewTeller() *Teller {
	key, value := OwnTypes()
	return &Teller{own: entry.NewShape(key, value, 0), types: map[uint64]*layout.Type{}, known: map[uint64]Layout{}, names: map[uint64]string{}}
}

// Name tells the Teller the name of an object, unless changes have given it one.
func (t *Teller) Name(index uint64, name string) {
	if _, ok := t.names[index]; !ok {
		t.names[index] = name
	}
}

// Learn tells the Teller the layout of an object, or the type that it is, unless known.
func (t *Teller) Learn(index uint64, l Layout, typ *layout.Type) {
	if !t.knows(index) {
		t.known[index] = l
	}
	if t.types[index] == nil {
		t.types[index] = typ
	}
}

// knows reports whether the layout of an object is known.
func (t *Teller) knows(index uint64) bool {
	l := t.known[index]
	return l.Shape != nil || l.Cell != nil
}

// Backup learns the layouts of objects from a backup.
func (t *Teller) Backup(r io.Reader) error {
	b, err := backup.NewReader(r)
	if err != nil {
		return err
	}
	for {
		h, payload, err := b.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = t.learn(h, payload)
		}
		if err != nil {
			return err
		}
	}
}

// Needed calls made with each object that changes make. It calls needs with each object whose
// contents they change, and with each descriptor of an object that they make.
func Needed(ops []byte, made, needs func(index uint64)) error {
	return eachOp(ops, func(h format.OpHead, _ []byte) error {
		index := format.ObjectOf(h.What)
		switch op := format.OpKindOf(h.What); op {
		case format.OpNewMap, format.OpNewSorted:
			made(index)
			needs(h.Addr &^ format.KeyMarks)
			needs(h.Arg)
		case format.OpNewList, format.OpNewValue:
			made(index)
			needs(h.Arg)
		case format.OpNewType:
			made(index)
		default:
			needs(index)
		}
		return nil
	})
}

// eachOp calls fn with each change.
func eachOp(ops []byte, fn func(h format.OpHead, payload []byte) error) error {
	for len(ops) > 0 {
		h, payload, rest, ok := format.NextOp(ops)
		if !ok {
			return errors.New("a change that does not fit")
		}
		if err := fn(h, payload); err != nil {
			return err
		}
		ops = rest
	}
	return nil
}

// Tell calls yield with each change, until yield returns false.
func (t *Teller) Tell(ops []byte, yield func(c *Change) bool) error {
	err := eachOp(ops, func(h format.OpHead, payload []byte) error {
		if err := t.learn(h, payload); err != nil {
			return err
		}
		c, err := t.change(h, payload)
		if c.Collection == "" {
			c.Collection = t.names[c.Object]
		}
		if err == nil && !yield(c) {
			err = io.EOF
		}
		return err
	})
	if err == io.EOF {
		err = nil
	}
	return err
}

// learn learns types and names from a change.
func (t *Teller) learn(h format.OpHead, payload []byte) error {
	index := format.ObjectOf(h.What)
	switch op := format.OpKindOf(h.What); op {
	case format.OpNewType:
		typ, err := TypeIn(payload)
		if err != nil {
			return err
		}
		t.types[index] = typ
	case format.OpNewMap, format.OpNewSorted:
		key, value := t.typeOf(h.Addr&^format.KeyMarks), t.typeOf(h.Arg)
		t.known[index] = Layout{}
		if key == nil || value == nil {
			return nil
		}
		if err := entry.CheckKeys(key, OfOp(op).About().Kind); err != nil {
			return err
		}
		t.known[index] = Layout{Shape: entry.NewShape(key, value, 0)}
	case format.OpNewList, format.OpNewValue:
		t.known[index] = Layout{}
		if typ := t.typeOf(h.Arg); typ != nil && op == format.OpNewList {
			t.known[index] = Layout{Cell: entry.NewItem(typ, nil)}
		} else if typ != nil {
			t.known[index] = Layout{Cell: entry.NewValue(typ, nil)}
		}
	case format.OpSet, format.OpDelete:
		if index != format.CatalogIndex {
			return nil
		}
		name, object, err := nameOf(t.own, h, payload)
		if err != nil {
			return err
		}
		if t.names[object] = name; op == format.OpDelete {
			delete(t.names, object)
		}
	}
	return nil
}

// find calls Find, and forgets it once it has reported false.
func (t *Teller) find() {
	if t.Find != nil && !t.Find() {
		t.Find = nil
	}
}

// typeOf returns the type in a descriptor; nil if unknown.
func (t *Teller) typeOf(index uint64) *layout.Type {
	if _, seen := t.types[index]; !seen {
		t.types[index] = nil
		t.find()
	}
	return t.types[index]
}

// layoutOf returns the layout of an object; ok is false if it is unknown.
func (t *Teller) layoutOf(index uint64) (l Layout, ok bool) {
	if _, seen := t.known[index]; !seen {
		t.known[index] = Layout{}
		t.find()
	}
	return t.known[index], t.knows(index)
}

// change returns one change for people.
func (t *Teller) change(h format.OpHead, payload []byte) (c *Change, err error) {
	index := format.ObjectOf(h.What)
	c = &Change{Summary: Summary{Object: index, Op: format.OpKindOf(h.What), Count: 1}, Bytes: len(payload)}
	switch c.Op {
	case format.OpDrop:
		c.Count = bits.OnesCount64(h.Arg)
		return c, nil
	case format.OpAppend, format.OpSetItem, format.OpTruncate:
		c.Key = strconv.AppendUint(nil, h.Arg, 10)
	}
	switch c.Op {
	case format.OpCheckpoint, format.OpDropCheckpoint:
		c.Name = string(payload)
		return c, nil
	case format.OpSet, format.OpDelete:
		if index == format.CatalogIndex {
			c.Name, c.Object, err = nameOf(t.own, h, payload)
			c.Collection = c.Name
			return c, err
		}
	case format.OpAppend, format.OpSetItem, format.OpSetValue, format.OpNewValue:
	default:
		return c, nil
	}
	var l Layout
	if l, c.Known = t.layoutOf(index); !c.Known {
		return c, nil
	}
	buf := make([]uint64, len(payload)/8+1) // Go memory without pointers, aligned
	p := unsafe.Pointer(unsafe.SliceData(buf))
	defer runtime.KeepAlive(buf)
	copy(unsafe.Slice((*byte)(p), len(payload)), payload)
	b := layout.Bounds{Lo: uintptr(p), Hi: uintptr(p) + uintptr(len(payload))}
	switch {
	case l.Shape != nil && (c.Op == format.OpSet || c.Op == format.OpDelete):
		if RelocateEntry(l.Shape, h, p, b) != nil {
			c.Known = false
			return c, nil
		}
		c.Key = text(l.Shape.Key, l.Shape.KeyOf(p), b)
		if c.Op == format.OpSet {
			c.Value = text(l.Shape.Value, l.Shape.ValueOf(p), b)
		}
	case l.Cell != nil && len(payload) > 0:
		if RelocateCell(l.Cell, h, p, b) != nil {
			c.Known = false
			return c, nil
		}
		c.Value = text(l.Cell.Type, l.Cell.ValueOf(p), b)
	}
	return c, nil
}

// text returns a key or a value as JSON; nil if its bytes do not fit its type.
func text(t *layout.Type, p unsafe.Pointer, b layout.Bounds) []byte {
	j, err := t.AppendJSON(nil, p, b)
	if err != nil {
		return nil
	}
	return j
}
