package spacefile

import (
	"crypto/rand"
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// CreateFiles creates the files of an empty space that may grow up to limit bytes.
func (c *Creation) CreateFiles(dir string, h *format.Header, limit uint64) error {
	d, err := mapping.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	perm := c.mode() & 0o666
	if err := c.createHeap(d, h, limit, perm); err != nil {
		return err
	}
	return c.System.createJournal(d, perm)
}

// NewHeader returns the header of a new space with a window of that size.
func (c *Creation) NewHeader(window uint64) (*format.Header, error) {
	h := &format.Header{Window: window, Created: uint64(time.Now().UnixNano())}
	var random [10]byte
	if _, err := rand.Read(h.SpaceID[:]); err != nil {
		return nil, err
	}
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	h.Secret = binary.LittleEndian.Uint64(random[:])
	h.Tag = binary.LittleEndian.Uint16(random[8:]) | 1 // never 0
	var err error
	if h.Base = c.Base; h.Base == 0 {
		h.Base, err = PickPlace(window, c.Taken)
	}
	return h, err
}

// createHeap writes the heap file of an empty space: the header, an anchor, and the blocks
// of version 1.
func (c *Creation) createHeap(dir *mapping.Dir, h *format.Header, limit uint64, perm os.FileMode) error {
	f, err := c.System.Open(dir, HeapName, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer f.Close()
	first := format.FirstExtent(h.Window)
	blocks, state, classes := firstVersion(h)
	carved := first + uint64(len(blocks))
	anchor := &format.Anchor{SpaceID: h.SpaceID, Sequence: 1, Clean: 1, Version: 1, State: state, Carved: carved, Limit: limit, UnixNano: h.Created}
	pieces := []struct {
		off  int64
		data []byte
	}{
		{format.HeaderOffset, h.Encode()},
		{format.AnchorOffset, anchor.Encode()},
		{format.TableOffset + int64(first>>format.ExtentShift), classes},
		{int64(first), blocks},
	}
	if err := f.Allocate(0, format.ExtentSize); err != nil {
		return err
	}
	for _, p := range pieces {
		if err := f.Allocate(p.off, int64(len(p.data))); err != nil {
			return err
		}
		if _, err := f.WriteAt(p.data, p.off); err != nil {
			return err
		}
	}
	return f.Datasync()
}

// createJournal creates the journal, with one segment: a journal always has at least one.
func (s *System) createJournal(dir *mapping.Dir, perm os.FileMode) error {
	f, err := s.Open(dir, journal.FileName, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := journal.Extend(f, 0, 0); err != nil {
		return err
	}
	return f.Datasync()
}

// firstVersion builds the two extents with the blocks of version 1: the state,
// the object table, and the empty maps of names and of types.
func firstVersion(h *format.Header) (blocks []byte, state uint64, classes []byte) {
	const mapBytes, tableBytes = int(unsafe.Sizeof(format.MapObject{})), 4 * 8
	at := h.Base + format.FirstExtent(h.Window)
	blocks = make([]byte, 2*format.ExtentSize)
	small := format.ClassFor(format.ByteCount(max(mapBytes, tableBytes)))
	size := int(small.BlockSize())
	put := func(off int, kind format.Kind, words ...uint64) uint64 {
		payload := blocks[off+format.HeaderSize:]
		for i, w := range words {
			binary.LittleEndian.PutUint64(payload[i*8:], w)
		}
		b := blocks[off : off+format.HeaderSize+len(words)*8]
		binary.LittleEndian.PutUint32(b[4:], uint32(len(words)*8))
		binary.LittleEndian.PutUint64(b[8:], format.MakeMeta(1, kind, format.ClassFor(format.ByteCount(len(words)*8))))
		binary.LittleEndian.PutUint32(b, format.BlockSum(b, format.FirstExtent(h.Window)+uint64(off)))
		return at + uint64(off)
	}
	catalog := put(0, format.KindMap, 0, 0, 0, 0)
	types := put(size, format.KindMap, 0, 0, 0, 0)
	table := put(2*size, format.KindTable, 0, catalog, types, 0)
	stateClass := format.ClassFor(format.ByteCount(unsafe.Sizeof(format.State{})))
	bytes := uint64(3*size) + uint64(stateClass.BlockSize())
	root := format.MakeVectorLink(format.Addr(table), 2, 1)
	state = put(format.ExtentSize, format.KindState, 1, uint64(root), format.FirstIndex, 2, h.Created, 0, 0, 0, 0, 0, 0,
		format.CatalogIndex, format.TypesIndex, bytes)
	return blocks, state, []byte{byte(small), byte(stateClass)}
}
