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
	entries := Node{Kind: format.KindEntry, Hold: func(_ Surveyor, _ *Block, of Owner) (Held, error) { return Held{Shape: of.Shape}, nil }}
	if k.sorted() {
		return []Node{
			{Kind: format.KindSorted, Refer: k.refer},
			{Kind: format.KindBranch, Refer: func(s Surveyor, b *Block, of Owner, fn Refer) error {
				return referNode(s, b, of, format.BranchSlotSize, fn)
			}},
			{Kind: format.KindLeaf, Refer: func(s Surveyor, b *Block, of Owner, fn Refer) error {
				return referNode(s, b, of, format.LeafSlotSize, fn)
			}},
			entries,
		}
	}
	return []Node{
		{Kind: format.KindMap, Refer: k.refer},
		{Kind: format.KindInner, Refer: referInner},
		{Kind: format.KindBucket, Refer: referBucket},
		{Kind: format.KindChain, Refer: referChain},
		entries,
	}
}

// refer is Node.Refer for the object of a map.
func (k mapKind) refer(s Surveyor, b *Block, of Owner, fn Refer) error {
	if len(b.Payload) != mapSize {
		return s.Damage(b.Addr, "a %s object of the wrong size", k.About().Called)
	}
	var types [2]*layout.Type
	if b.Word(mapKey) == 0 && b.Word(mapValue) == 0 { // one of the space's own
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
	if k.sorted() {
		return referTree(s, b, mapRoot, of, format.MaxTreeLevels, fn)
	}
	of.Shift = 0
	return referTrie(s, b, mapRoot, of, fn)
}

// referInner is Node.Refer for an inner node of a hash trie.
func referInner(s Surveyor, b *Block, of Owner, fn Refer) error {
	bits := of.Link.Bits()
	if of.Shift >= format.HashBits || bits == 0 || bits > format.FanBits || len(b.Payload) < 8<<bits {
		return s.Damage(b.Addr, "an inner node with %d bits at hash bit %d", bits, of.Shift)
	}
	of.Shift += format.FanBits
	for at := 0; at < 8<<bits; at += 8 {
		if err := referTrie(s, b, at, of, fn); err != nil {
			return err
		}
	}
	return nil
}

// referTrie calls fn for the link of a hash trie at an offset, if it is not nil.
func referTrie(s Surveyor, b *Block, at int, of Owner, fn Refer) error {
	of.Link = format.Link(b.Word(at))
	switch of.Link.Kind() {
	case format.LinkInner:
		return fn(at, format.KindInner, of)
	case format.LinkBucket:
		return fn(at, format.KindBucket, of)
	case format.LinkChain:
		return fn(at, format.KindChain, of)
	}
	if of.Link != 0 {
		return s.Damage(b.Addr, "the link %#x of a hash trie is impossible", uint64(of.Link))
	}
	return nil
}

// referBucket is Node.Refer for a bucket of a hash trie.
func referBucket(s Surveyor, b *Block, of Owner, fn Refer) error {
	if len(b.Payload) != 8<<of.Link.WordBits()-format.HeaderSize {
		return s.Damage(b.Addr, "a bucket of %d bytes under a link for 2^%d words", len(b.Payload), of.Link.WordBits())
	}
	return referChain(s, b, of, fn)
}

// referChain is Node.Refer for any leaf of a hash trie.
func referChain(_ Surveyor, b *Block, of Owner, fn Refer) error {
	for at := 0; at+8 <= len(b.Payload); at += 8 {
		if b.Word(at) == 0 {
			continue
		}
		if err := fn(at, format.KindEntry, of); err != nil {
			return err
		}
	}
	return nil
}

// referTree calls fn for the link of a B+tree at an offset, if it is not nil: to a node
// of that many levels at the most.
func referTree(s Surveyor, b *Block, at int, of Owner, most uint, fn Refer) error {
	of.Link = format.Link(b.Word(at))
	switch levels := of.Link.TreeLevels(); {
	case of.Link == 0:
		return nil
	case levels == 0 || levels > most:
		return s.Damage(b.Addr, "the link %#x of a B+tree is impossible", uint64(of.Link))
	case levels == 1:
		return fn(at, format.KindLeaf, of)
	}
	return fn(at, format.KindBranch, of)
}

// referNode is Node.Refer for a node of a B+tree with slots of a size: the references
// stand behind as many words of keys as there is room for.
func referNode(s Surveyor, b *Block, of Owner, slot int, fn Refer) error {
	const headSize = format.NodeHeadSize
	room := (len(b.Payload) - headSize) / slot
	if room <= 0 || int(uint16(b.Word(0))) > room {
		return s.Damage(b.Addr, "a node of a B+tree has more slots than room")
	}
	levels := of.Link.TreeLevels()
	for i := range int(uint16(b.Word(0))) {
		at := headSize + (room+i)*8
		if levels == 1 {
			if err := fn(at, format.KindEntry, of); err != nil {
				return err
			}
		} else if err := referTree(s, b, at, of, levels-1, fn); err != nil {
			return err
		}
	}
	return nil
}
