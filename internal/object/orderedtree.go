package object

import (
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// orderedTree is the B+tree of a sorted map.
type orderedTree struct{}

var aboutSorted = About{Kind: format.KindSorted, Handle: layout.Sorted, Name: "sorted", Called: "sorted map", Types: 2,
	New: format.OpNewSorted, Ops: []format.OpKind{format.OpNewSorted, format.OpSet, format.OpDelete}}

func (orderedTree) about() *About { return &aboutSorted }

func (orderedTree) blocks(r *heap.Reader, root format.Link, visit Visit) error {
	return btree.Blocks(r, root, visit)
}

func (orderedTree) all(r *heap.Reader, m *format.MapObject, sh *entry.Shape, yield func(e unsafe.Pointer) bool) error {
	return btree.Range(r, format.Link(m.Root), sh, btree.Bound{}, btree.Bound{}, m.Count, false, yield)
}

func (orderedTree) differences(was, now treeVersion, sh *entry.Shape) (stepFunc, error) {
	d, err := btree.NewDiffer(btree.Tree{Reader: was.reader, Root: was.root, Count: was.count}, btree.Tree{Reader: now.reader, Root: now.root, Count: now.count}, sh)
	if err != nil {
		return nil, err
	}
	return d.Step, nil
}

func (orderedTree) check(c Checker, root format.Link, sh *entry.Shape, report func(a format.Addr, what string)) (uint64, error) {
	return btree.Check(c.Reader(), root, sh, c.Visit, report)
}

func (orderedTree) checkKey(sh *entry.Shape, key unsafe.Pointer) error { return sh.CheckOrder(key) }

func (orderedTree) nodes() []Node {
	refer := func(slot int) func(s Walker, b *Block, of Owner, fn Refer) error {
		return func(s Walker, b *Block, of Owner, fn Refer) error { return referNode(s, b, of, slot, fn) }
	}
	return []Node{
		{Kind: format.KindBranch, Refer: refer(format.BranchSlotSize)},
		{Kind: format.KindLeaf, Refer: refer(format.LeafSlotSize)},
	}
}

func (orderedTree) referRoot(s Walker, b *Block, at int, of Owner, fn Refer) error {
	return referTree(s, b, at, of, format.MaxTreeLevels, fn)
}

// referTree calls fn for the link of a B+tree at an offset, unless the link is nil; most is how
// many levels the node may have.
func referTree(s Walker, b *Block, at int, of Owner, most uint, fn Refer) error {
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

// referNode is Node.Refer for a node of a B+tree with slots of a size: the references stand after
// the words for as many keys as the node has room for.
func referNode(s Walker, b *Block, of Owner, slot int, fn Refer) error {
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
