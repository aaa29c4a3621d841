package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// create makes the space in directory dir, unless somebody else does so meanwhile.
func create(dir string, o Options) error {
	limit, size, err := sizes(o.MaxSize)
	if err != nil {
		return err
	}
	err = construct(dir, o, func(temporary string) error {
		h, err := newHeader(size, o)
		if err != nil {
			return err
		}
		return createFiles(temporary, h, limit, o)
	}, func(temporary string) error { return rename(temporary, dir, o) })
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) { // any other failure is its own, and told
		if _, statErr := os.Stat(filepath.Join(dir, HeapName)); statErr == nil {
			return nil // another process was faster, and may have removed what this one had begun: K12
		}
	}
	return err
}

// construct makes a directory with a space: in a temporary directory beside it, which
// build fills and syncs; place renames it, and then the parent is synced. So there is
// a whole space or none; a temporary directory that a crash leaves behind is in
// nobody's way.
func construct(dir string, o Options, build, place func(temporary string) error) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return constructIn(dir, o, build, place)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, o.mode()); err != nil {
		return err
	}
	if err := mapping.CheckFileSystem(parent); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, o.mode()); err != nil {
		return err
	}
	if err := build(temporary); err != nil {
		return err
	}
	if err := o.syncDir(temporary); err != nil {
		return err
	}
	if err := place(temporary); err != nil {
		return err
	}
	return o.syncDir(parent)
}

// mode returns the permissions of the directory of a space that is created.
func (o *Options) mode() os.FileMode {
	if o.Mode == 0 {
		return 0o700
	}
	return o.Mode
}

// createFiles makes the files of an empty space that may grow up to the limit.
func createFiles(dir string, h *format.Header, limit uint64, o Options) error {
	d, err := mapping.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	perm := o.mode() & 0o666
	if err := createHeap(d, h, limit, perm, o); err != nil {
		return err
	}
	return createJournal(d, perm, o)
}

// Supported returns nil if this system can have spaces, and otherwise why it cannot.
func Supported() error { return mapping.Supported() }

// WindowSize returns the size of the window of a space that is to hold the given
// number of bytes at the most; 0: the default.
func WindowSize(bytes uint64) (uint64, error) {
	_, window, err := sizes(bytes)
	if err != nil {
		return 0, kindOf("", err)
	}
	return window, nil
}

// PickPlace returns a free place for a window, that taken does not refuse; taken
// may be nil.
func PickPlace(size uint64, taken func(base, size uint64) bool) (uint64, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return 0, err
	}
	if taken == nil {
		taken = func(base, size uint64) bool { return false }
	}
	return mapping.PickPlace(size, binary.LittleEndian.Uint64(seed[:]), taken)
}

// rename puts the new directory in its place. An empty directory gives way to
// it; a space that another process has created meanwhile is as good.
func rename(temporary, dir string, o Options) error {
	if inside(temporary, dir) {
		return o.publish(temporary, dir)
	}
	err := o.move(temporary, dir)
	if err == nil {
		return nil
	}
	if _, statErr := os.Stat(filepath.Join(dir, HeapName)); statErr == nil {
		return nil
	}
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("the directory %s is there, is not empty and holds no space: %w", dir, err)
	}
	return err
}

// moveTo is rename(2), for which an empty directory is no obstacle, as it is for
// os.Rename.
func moveTo(from, to string) error {
	if err := syscall.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// newHeader returns the header of a new space with a window of the size.
func newHeader(window uint64, o Options) (*format.Header, error) {
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
	if h.Base = o.Base; h.Base == 0 {
		h.Base, err = PickPlace(window, o.Taken)
	}
	return h, err
}

// createHeap writes the heap file of an empty space: header, an anchor, and the
// blocks of version 1.
func createHeap(dir *mapping.Dir, h *format.Header, limit uint64, perm os.FileMode, o Options) error {
	f, err := o.open(dir, HeapName, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
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

// perm returns the permissions of the files of an existing space.
func (sp *Space) perm() os.FileMode {
	if info, err := sp.gate.Stat(); err == nil {
		return info.Mode().Perm()
	}
	return 0o600
}

// createJournal makes the journal with one segment, so that there is always one.
func createJournal(dir *mapping.Dir, perm os.FileMode, o Options) error {
	f, err := o.open(dir, journal.FileName, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
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
