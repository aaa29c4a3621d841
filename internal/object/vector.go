package object

import "github.com/everheap/everheap/internal/format"

// vectorNode is a node of a radix vector. It has links to nodes or, in the last level, addresses:
// of the elements of a list, or of objects, whose headers have their kinds.
var vectorNode = Node{Kind: format.KindTable, Refer: func(s Walker, b *Block, of Owner, fn Refer) error {
	levels, bits := of.Link.VectorLevels(), of.Link.VectorBits()
	if bits == 0 || bits > format.FanBits || len(b.Payload) < 8<<bits {
		return s.Damage(b.Addr, "the link %#x of a radix vector is impossible", uint64(of.Link))
	}
	for at := 0; at < 8<<bits; at += 8 {
		word := b.Word(at)
		if word == 0 {
			continue
		}
		kind := format.KindTable
		var err error
		if levels == 1 && of.Item != nil {
			kind = format.KindItem
		} else if levels == 1 {
			if kind, err = s.Object(b, word); err != nil {
				return err
			}
		} else if of.Link = format.Link(word); of.Link.VectorLevels() != levels-1 {
			return s.Damage(b.Addr, "the link %#x of a radix vector is impossible", word)
		}
		if err := fn(at, kind, of); err != nil {
			return err
		}
	}
	return nil
}}

// ReferVector calls fn for the link of a radix vector at an offset, unless the link is nil.
func ReferVector(s Walker, b *Block, at int, of Owner, fn Refer) error {
	of.Link = format.Link(b.Word(at))
	if of.Link == 0 {
		return nil
	}
	if n := of.Link.VectorLevels(); n == 0 || n > format.MaxVectorLevels {
		return s.Damage(b.Addr, "the link %#x of a radix vector is impossible", uint64(of.Link))
	}
	return fn(at, format.KindTable, of)
}
