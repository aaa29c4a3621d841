package object

import (
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
)

// hashTree is the hash trie of a map.
type hashTree struct{}

var aboutMap = About{Kind: format.KindMap, Handle: layout.Map, Name: "map", Called: "map", Types: 2,
	New: format.OpNewMap, Ops: []format.OpKind{format.OpNewMap, format.OpSet, format.OpDelete}}

func (hashTree) about() *About { return &aboutMap }

func (hashTree) blocks(r *heap.Reader, root format.Link, visit Visit) error {
	return trie.Blocks(r, root, visit)
}

func (hashTree) all(r *heap.Reader, m *format.MapObject, _ *entry.Shape, yield func(e unsafe.Pointer) bool) error {
	_, err := trie.All(r, format.Link(m.Root), m.Count, yield)
	return err
}

func (hashTree) differences(was, now treeVersion, sh *entry.Shape) (stepFunc, error) {
	d, err := trie.NewDiffer(trie.Tree{Reader: was.reader, Root: was.root, Count: was.count}, trie.Tree{Reader: now.reader, Root: now.root, Count: now.count}, sh)
	if err != nil {
		return nil, err
	}
	return d.Step, nil
}

func (hashTree) check(c Checker, root format.Link, sh *entry.Shape, report func(a format.Addr, what string)) (uint64, error) {
	return trie.Check(c.Reader(), root, sh, c.Visit, report)
}

func (hashTree) checkKey(sh *entry.Shape, key unsafe.Pointer) error {
	_, err := sh.Hash(key)
	return err
}

func (hashTree) nodes() []Node {
	return []Node{
		{Kind: format.KindInner, Refer: referInner},
		{Kind: format.KindBucket, Refer: referBucket},
		{Kind: format.KindChain, Refer: referChain},
	}
}

func (hashTree) referRoot(s Walker, b *Block, at int, of Owner, fn Refer) error {
	of.Shift = 0
	return referTrie(s, b, at, of, fn)
}

// referInner is Node.Refer for an inner node of a hash trie.
func referInner(s Walker, b *Block, of Owner, fn Refer) error {
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

// referTrie calls fn for the link of a hash trie at an offset, unless the link is nil.
func referTrie(s Walker, b *Block, at int, of Owner, fn Refer) error {
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
func referBucket(s Walker, b *Block, of Owner, fn Refer) error {
	if len(b.Payload) != 8<<of.Link.WordBits()-format.HeaderSize {
		return s.Damage(b.Addr, "a bucket of %d bytes under a link for 2^%d words", len(b.Payload), of.Link.WordBits())
	}
	return referChain(s, b, of, fn)
}

// referChain is Node.Refer for any leaf of a hash trie.
func referChain(_ Walker, b *Block, of Owner, fn Refer) error {
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
