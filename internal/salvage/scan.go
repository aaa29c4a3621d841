package salvage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/vector"
)

// scan searches the whole file for versions: for their state blocks and for the roots of
// their object tables. The states of the last versions may lie close together and be lost
// together; from a root scan reconstructs a state. Both lists are newest first. Most of
// these versions are gone: other blocks have taken the memory of theirs.
func (s *salvager) scan() (states, roots []*candidate) {
	var nodes []tableNode
	s.search(format.FirstExtent(s.header.Window), func(off uint64, kind format.Kind, block []byte) bool {
		if off >= s.header.Window || s.inside(off) {
			return true
		}
		if kind == format.KindTable {
			if n, ok := tableNodeOf(off, block); ok && s.hasCatalog(n) {
				nodes = append(nodes, n)
			}
		} else if c := s.candidate(format.Addr(s.header.Base+off), "its state was found in the file"); c != nil {
			states = append(states, c)
		}
		return true
	})
	slices.SortStableFunc(states, func(a, b *candidate) int { return cmp.Compare(b.state.Version, a.state.Version) })
	return states, s.rootsOf(nodes)
}

type tableNode struct {
	off    uint64
	birth  format.Version
	bits   uint // log2 of its slots
	levels uint // levels of nodes from this one down to the words
}

// tableNodeOf reads the fields of a node. Only its contents determine its level.
func tableNodeOf(off uint64, block []byte) (n tableNode, ok bool) {
	size := binary.LittleEndian.Uint32(block[4:])
	n = tableNode{off: off, birth: format.Version(binary.LittleEndian.Uint64(block[8:]) & format.MaxVersion), bits: uint(bits.Len32(size/8) - 1)}
	for words := block[format.HeaderSize : format.HeaderSize+int(size)]; len(words) >= 8; words = words[8:] {
		if w := binary.LittleEndian.Uint64(words); w != 0 {
			n.levels = format.Link(w).VectorLevels() + 1 // an object's address has 0 levels
			return n, true
		}
	}
	return n, false
}

// hasCatalog reports whether a node has a map at the catalog's index, as the root of an
// object table has. The vectors of lists have nodes of the same kind, but refer to elements.
func (s *salvager) hasCatalog(n tableNode) bool {
	has := false
	_ = s.guarded(func() error { // a node that cannot be read has none
		link := format.MakeVectorLink(format.Addr(s.header.Base+n.off), n.bits, n.levels)
		word, err := vector.Get(&s.r, link, format.CatalogIndex)
		has = err == nil && s.verifier(n.birth)(format.Addr(word), format.KindMap) == nil
		return nil
	})
	return has
}

// indexGap is the distance from the last object's index to the next index in a reconstructed
// state. Objects that were deleted may have had indexes in between.
const indexGap = 1 << 16

// rootsOf returns a version for each root of an object table among the nodes. Each change of
// a table writes a new root, whose birth is the version of the change.
func (s *salvager) rootsOf(nodes []tableNode) (list []*candidate) {
	top := uint(0)
	for _, n := range nodes {
		top = max(top, n.levels)
	}
	slices.SortStableFunc(nodes, func(a, b tableNode) int { return cmp.Compare(b.birth, a.birth) })
	for _, n := range nodes {
		if n.levels < top || len(list) > 0 && list[len(list)-1].state.Version == uint64(n.birth) {
			continue
		}
		c := &candidate{made: true, found: "the root of its object table was found in the file", addr: format.Addr(s.header.Base + n.off)}
		c.state = format.State{
			Version: uint64(n.birth), Table: uint64(format.MakeVectorLink(c.addr, n.bits, n.levels)), NextIndex: format.AddrMask - indexGap,
			Objects: 1 << 40, Catalog: format.CatalogIndex, Types: format.TypesIndex,
		}
		list = append(list, c)
	}
	return list
}

// searched has the kinds of blocks that search finds, and the sizes of their payloads.
var searched = []struct {
	kind format.Kind
	size format.ByteCount
}{
	{format.KindState, format.ByteCount(format.StateSize)},
	{format.KindTable, 4 * 8}, {format.KindTable, 8 * 8}, {format.KindTable, 16 * 8}, {format.KindTable, 32 * 8}, {format.KindTable, 64 * 8},
}

// search calls fn with each intact state and table node in the file, from an offset on,
// until fn returns false. It relies on no other word of the file.
func (s *salvager) search(from uint64, fn func(off uint64, kind format.Kind, block []byte) bool) {
	buf := make([]byte, format.ExtentSize)
	for from &^= format.ExtentSize - 1; from < s.size; from += format.ExtentSize {
		b := s.extent(buf, from)
		for _, want := range searched {
			class := format.ClassFor(want.size)
			step := int(class.BlockSize())
			for at := 0; at+step <= len(b); at += step {
				hd := headerIn(b[at:])
				if hd.Kind() != want.kind || hd.Class() != class || hd.Size != uint32(want.size) || format.BlockSum(b[at:at+format.HeaderSize+int(hd.Size)], from+uint64(at)) != hd.Sum {
					continue
				}
				if !fn(from+uint64(at), want.kind, b[at:at+step]) {
					return
				}
			}
		}
	}
}

func headerIn(b []byte) *format.BlockHeader {
	return &format.BlockHeader{Sum: binary.LittleEndian.Uint32(b), Size: binary.LittleEndian.Uint32(b[4:]), Meta: binary.LittleEndian.Uint64(b[8:])}
}

// extent reads an extent of the file; at the end of the file it reads a part. It returns
// zeros for pages that cannot be read.
func (s *salvager) extent(buf []byte, off uint64) []byte {
	b := buf[:min(uint64(len(buf)), s.size-off)]
	if _, err := s.file.ReadAt(b, int64(off)); err == nil || errors.Is(err, io.EOF) {
		return b
	}
	for rest := b; len(rest) > 0; {
		page := rest[:min(len(rest), format.PageSize)]
		if _, err := s.file.ReadAt(page, int64(off)+int64(len(b)-len(rest))); err != nil {
			clear(page)
		}
		rest = rest[len(page):]
	}
	return b
}

// inside reports whether an offset lies inside another block, by the extent table: a program
// may have stored the bytes of a heap as a value.
func (s *salvager) inside(off uint64) bool {
	extent := off >> format.ExtentShift
	class := s.classOf(extent)
	for class == format.ClassRunRest && extent > 0 {
		extent--
		class = s.classOf(extent)
	}
	start := extent << format.ExtentShift
	if size := uint64(class.BlockSize()); size > 0 {
		start = off - (off-start)%size
	} else if class != format.ClassRun {
		return false
	}
	a := format.Addr(s.header.Base + start)
	if start == off || !s.r.Plausible(a) {
		return false
	}
	err := s.guarded(func() error { _, err := s.r.VerifyAlone(a, s.r.Kind(a)); return err })
	return err == nil && start+format.HeaderSize+uint64(s.r.Size(a)) > off
}

// classOf returns the class of an extent from the extent table.
func (s *salvager) classOf(extent uint64) format.Class {
	var b [1]byte
	if _, err := s.file.ReadAt(b[:], int64(format.TableOffset+extent)); err != nil {
		return format.ClassFree
	}
	return format.Class(b[0])
}

// spread picks versions at growing distances. All of the newest may lack blocks that a power
// loss kept from the disk, and walking each of thousands would take too long.
func spread(list []*candidate) (picked []*candidate) {
	for i, step := 0, 1; i < len(list); i += step {
		picked = append(picked, list[i])
		if i >= 4 {
			step = (i + 2) / 2
		}
	}
	return picked
}
