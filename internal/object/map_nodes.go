package object

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Offsets in the payload of a map.
const (
	mapKey   = int(unsafe.Offsetof(format.MapObject{}.Key))
	mapValue = int(unsafe.Offsetof(format.MapObject{}.Value))
	mapRoot  = int(unsafe.Offsetof(format.MapObject{}.Root))
	mapSize  = int(unsafe.Sizeof(format.MapObject{}))
)

// Nodes implements Kind.
func (k mapKind) Nodes() []Node {
	entries := Node{Kind: format.KindEntry, Hold: func(_ Walker, _ *Block, of Owner) (Held, error) { return Held{Shape: of.Shape}, nil }}
	return append(append([]Node{{Kind: k.kind, Refer: k.refer}}, k.nodes()...), entries)
}

// refer is Node.Refer for the object of a map.
func (k mapKind) refer(s Walker, b *Block, of Owner, fn Refer) error {
	if len(b.Payload) != mapSize {
		return s.Damage(b.Addr, "a %s object of the wrong size", k.About().Called)
	}
	var types [2]*layout.Type
	if b.Word(mapKey) == 0 && b.Word(mapValue) == 0 { // it is one of the space's own
		types[0], types[1] = OwnTypes()
	} else {
		for i, index := range [2]uint64{b.Word(mapKey) &^ format.KeyMarks, b.Word(mapValue)} {
			var err error
			if types[i], err = s.Type(b, index, of); err != nil {
				return err
			}
		}
	}
	of.Shape = s.Shape(types[0], types[1])
	return k.referRoot(s, b, mapRoot, of, fn)
}
