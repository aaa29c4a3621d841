package relocate

import (
	"context"
	"encoding/binary"
	"iter"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// Placement maps each block of a live set to its new address.
type Placement struct {
	NextIndex uint64 // the newest version's NextIndex becomes at least this

	live    *LiveSet
	base    uint64
	first   int // the first extent of blocks in the copy
	packed  bool
	classes []format.Class // by extent of the copy, from offset 0 of the file
	// If packed, the blocks of a class fill one extent after the other, in the order of
	// their old addresses. The extents of all classes stand in the order in which their
	// first blocks were met, so blocks that were close together stay close.
	ranks []uint64                    // by extent of the source: how many blocks of its class lie in the extents before it; for a run: the extent that it goes to
	fills [format.NumClasses][]uint32 // by class: the extents of the copy that its blocks fill
}

// Pack returns a placement without gaps, for a file whose window begins at base and has the
// size window.
func (s *LiveSet) Pack(base, window uint64) *Placement {
	a := s.placement(base, format.FirstExtent(window))
	a.packed = true
	a.pack()
	return a
}

// Keep returns a placement in which every block keeps its offset in the file, for a window
// of the same size at base.
func (s *LiveSet) Keep(base uint64) (*Placement, error) {
	a := s.placement(base, s.src.first)
	return a, a.keep()
}

// placement returns an empty placement. Its first extent of blocks is at the offset first.
func (s *LiveSet) placement(base, first uint64) *Placement {
	first >>= format.ExtentShift
	return &Placement{live: s, base: base, first: int(first), classes: make([]format.Class, first)}
}

// keep leaves each extent where it is. An extent without a block of the live set becomes a
// hole.
func (a *Placement) keep() error {
	src := a.live.src
	for extent, marks := range a.live.set.extents {
		if marks == nil {
			continue
		}
		if len(a.classes) > extent {
			return src.damage(format.Addr(src.base+uint64(extent)<<format.ExtentShift), "a block lies in the middle of another one")
		}
		for len(a.classes) < extent {
			a.classes = append(a.classes, format.ClassHole)
		}
		a.begin(src.class(uint64(extent)), a.live.runExtents(uint64(extent)))
	}
	return nil
}

// begin adds an extent of a class, or a run of n extents.
func (a *Placement) begin(class format.Class, n int) {
	a.classes = append(a.classes, class)
	for range n - 1 {
		a.classes = append(a.classes, format.ClassRunRest)
	}
}

// runExtents returns how many extents the run at an extent has; 1 if the extent is of another class.
func (s *LiveSet) runExtents(extent uint64) int {
	if s.src.class(extent) != format.ClassRun {
		return 1
	}
	hd := s.src.head(format.Addr(s.src.base + extent<<format.ExtentShift))
	return format.RunExtents(format.ByteCount(hd.Size))
}

// pack counts the blocks of each class and gives the class as many extents as they need (N4).
func (a *Placement) pack() {
	s := a.live
	a.ranks = make([]uint64, len(s.set.extents))
	var total [format.NumClasses]uint64
	for i, marks := range s.set.extents {
		if marks == nil {
			continue
		}
		extent := uint64(i)
		class := s.src.class(extent)
		if class == format.ClassRun {
			a.ranks[extent] = uint64(len(a.classes))
			a.begin(class, s.runExtents(extent))
			continue
		}
		a.ranks[extent] = total[class]
		total[class] += s.set.count(extent)
		for total[class] > uint64(len(a.fills[class]))*perExtent(class) {
			a.fills[class] = append(a.fills[class], uint32(len(a.classes)))
			a.begin(class, 1)
		}
	}
}

// perExtent returns how many blocks of a class an extent has.
func perExtent(c format.Class) uint64 { return uint64(format.ExtentSize / c.BlockSize()) }

// Addr returns the new address of a block of the live set.
func (a *Placement) Addr(old format.Addr) format.Addr {
	src := a.live.src
	off := uint64(old) - src.base
	if !a.packed {
		return format.Addr(a.base + off)
	}
	extent := off >> format.ExtentShift
	rank, class := a.ranks[extent], src.class(extent)
	if class == format.ClassRun {
		return format.Addr(a.base + rank<<format.ExtentShift)
	}
	rank += a.live.set.before(old)
	n := perExtent(class)
	return format.Addr(a.base + uint64(a.fills[class][rank/n])<<format.ExtentShift + rank%n*uint64(class.BlockSize()))
}

// Size returns the size of the copy in bytes. All its blocks lie below that offset.
func (a *Placement) Size() int64 { return int64(len(a.classes)) << format.ExtentShift }

// Used lists the pieces of the file that need disk space, as offset and length: the pages
// before the extent table, the bytes of the table that are in use, and the extents that are
// not holes.
func (a *Placement) Used() iter.Seq2[int64, int64] {
	return func(yield func(off, n int64) bool) {
		if !yield(0, format.TableOffset) || !yield(format.TableOffset, int64(len(a.classes))) {
			return
		}
		for extent := a.first; extent < len(a.classes); {
			first := extent
			for extent < len(a.classes) && a.classes[extent] != format.ClassHole {
				extent++
			}
			if extent > first && !yield(int64(first)<<format.ExtentShift, int64(extent-first)<<format.ExtentShift) {
				return
			}
			for extent < len(a.classes) && a.classes[extent] == format.ClassHole {
				extent++
			}
		}
	}
}

// State returns the new address of the newest version's state.
func (a *Placement) State() format.Addr { return a.Addr(a.live.newest) }

// Write writes the extent table and all blocks to dst, the bytes of the new file. The caller
// writes the pages before the table.
func (a *Placement) Write(ctx context.Context, dst []byte) error {
	for i, c := range a.classes {
		dst[format.TableOffset+i] = byte(c)
	}
	at := func(b *object.Block) []byte {
		off := uint64(a.Addr(b.Addr)) - a.base
		return dst[off : off+format.HeaderSize+uint64(b.Head.Size)]
	}
	w := newWalker(ctx, a.live.src)
	w.known, w.place, w.next = &a.live.set, a.Addr, a.NextIndex
	w.visit = func(b *object.Block) []byte {
		to := at(b)
		copy(to[format.HeaderSize:], b.Payload)
		return to[format.HeaderSize:]
	}
	w.done = func(b *object.Block, _ []byte) {
		to := at(b)
		binary.LittleEndian.PutUint32(to[4:], b.Head.Size)
		binary.LittleEndian.PutUint64(to[8:], b.Head.Meta)
		binary.LittleEndian.PutUint32(to, format.BlockSum(to, uint64(a.Addr(b.Addr))-a.base))
	}
	if _, _, err := w.version(a.live.newest, 0); err != nil {
		return err
	}
	return w.checkpoints()
}
