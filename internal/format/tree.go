package format

import "unsafe"

// NodeHead starts the payload of a branch or a leaf of a B+tree. Words follow, as
// many as the node has room for: of each child of a branch, eight bytes of the
// ordered form of the least key below it, and of each entry of a leaf of its key,
// from the place Skip on; then as many references: links of the children, or
// addresses of the entries; then, in a branch, as many counts of the entries below
// each child. What is not in use is zero.
type NodeHead struct {
	Count    uint16 `doc:"children or entries"`
	Skip     uint16 `doc:"bytes of the ordered form that the keys of all words agree in, or fewer; the words begin after them"`
	Reserved uint32 `doc:"zero"`
	Prefix   uint64 `doc:"the first Skip of those bytes, 8 at most; the rest is zero"`
}

// Sizes of the parts of nodes.
const (
	NodeHeadSize   = int(unsafe.Sizeof(NodeHead{}))
	LeafSlotSize   = 16
	BranchSlotSize = 24
)

var _ [16]byte = [NodeHeadSize]byte{}

// MakeTreeLink packs a link of a B+tree: the levels from the node on, itself
// included, are 1 of a leaf.
func MakeTreeLink(a Addr, levels uint) Link { return Link(uint64(a) | uint64(levels)<<48) }

// TreeLevels returns the levels of the B+tree from this node on.
func (l Link) TreeLevels() uint { return uint(l >> 48) }
