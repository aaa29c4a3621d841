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

// scan looks for versions in the whole file: by their state blocks, and, since those of
// the last versions may lie close together and be lost together, by the roots of object
// tables, for which a state is made up. The newest come first. Most of them are long
// gone, and other things lie where their blocks were.
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
	levels uint // from it down to the words
}

// tableNodeOf reads what a node says of itself. Only its contents tell its level.
func tableNodeOf(off uint64, block []byte) (n tableNode, ok bool) {
	size := binary.LittleEndian.Uint32(block[4:])
	n = tableNode{off: off, birth: format.Version(binary.LittleEndian.Uint64(block[8:]) & format.MaxVersion), bits: uint(bits.Len32(size/8) - 1)}
	for words := block[format.HeaderSize : format.HeaderSize+int(size)]; len(words) >= 8; words = words[8:] {
		if w := binary.LittleEndian.Uint64(words); w != 0 {
			n.levels = format.Link(w).VectorLevels() + 1 // of an object's address: 0
			return n, true
		}
	}
	return n, false
}

// hasCatalog reports whether a node leads to a map where an object table leads to the
// catalog. The vectors of lists have nodes of the same kind, and lead to elements.
func (s *salvager) hasCatalog(n tableNode) bool {
	has := false
	_ = s.guarded(func() error { // what cannot be read is none
		link := format.MakeVectorLink(format.Addr(s.header.Base+n.off), n.bits, n.levels)
		word, err := vector.Get(&s.r, link, format.CatalogIndex)
		has = err == nil && s.verifier(n.birth)(format.Addr(word), format.KindMap) == nil
		return nil
	})
	return has
}

// indexGap is how far the next index lies behind the last one that was met, of a
// version that does not tell it: those of objects that were deleted lie in between.
const indexGap = 1 << 16

// rootsOf returns the versions of which the root of the object table was found: each
// change of a table makes a new root, of the version that made it.
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

// searched are the kinds of blocks that search finds, and the sizes of their payloads.
var searched = []struct {
	kind format.Kind
	size format.ByteCount
}{
	{format.KindState, format.ByteCount(format.StateSize)},
	{format.KindTable, 4 * 8}, {format.KindTable, 8 * 8}, {format.KindTable, 16 * 8}, {format.KindTable, 32 * 8}, {format.KindTable, 64 * 8},
}

// search calls fn with each state and each node of a table in the file that is intact,
// from an offset on, until it returns false. It relies on no other word of the file.
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

// extent reads an extent of the file, or its beginning at the end of the file. Pages
// that cannot be read are zero.
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

// inside reports whether what lies at an offset is a part of another block, as the
// extent table has it: a program may have stored the bytes of a heap.
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

// classOf reads the extent table.
func (s *salvager) classOf(extent uint64) format.Class {
	var b [1]byte
	if _, err := s.file.ReadAt(b[:], int64(format.TableOffset+extent)); err != nil {
		return format.ClassFree
	}
	return format.Class(b[0])
}

// spread picks versions further and further apart: the newest may all lack what the
// power loss kept from the disk, and to walk each of thousands would take for ever.
func spread(list []*candidate) (picked []*candidate) {
	for i, step := 0, 1; i < len(list); i += step {
		picked = append(picked, list[i])
		if i >= 4 {
			step = (i + 2) / 2
		}
	}
	return picked
}
