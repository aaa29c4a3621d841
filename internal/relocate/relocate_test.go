package relocate_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/relocate"
)

// A heapFile is the heap file of a closed space, in memory.
type heapFile struct {
	t      *testing.T
	data   []byte
	header *format.Header
	anchor *format.Anchor
}

// newHeapFile makes a space with a map of strings, of which some were deleted.
func newHeapFile(t *testing.T) *heapFile {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	sp, err := engine.Open(dir, engine.Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	of := edit.MapOf{Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[string]()}
	if of.ID, err = sp.OpenMap("m", of); err != nil {
		t.Fatal(err)
	}
	for k := range uint64(3000) {
		v := strings.Repeat("v", int(k*k%700))
		if k%500 == 0 {
			v = strings.Repeat("v", 100_000)
		}
		if err := sp.Alone(false).Set(of, unsafe.Pointer(&k), unsafe.Pointer(&v)); err != nil {
			t.Fatal(err)
		}
	}
	for k := range uint64(3000) {
		if k%3 != 0 {
			if _, err := sp.Alone(false).Delete(of, unsafe.Pointer(&k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	return readHeapFile(t, dir)
}

func readHeapFile(t *testing.T, dir string) *heapFile {
	t.Helper()
	f := &heapFile{t: t}
	var err error
	if f.data, err = os.ReadFile(filepath.Join(dir, engine.HeapName)); err != nil {
		t.Fatal(err)
	}
	if f.header, err = format.DecodeHeader(f.data); err != nil {
		t.Fatal(err)
	}
	for i := range format.NumAnchors {
		a, err := format.DecodeAnchor(f.data[format.AnchorOffset+i*format.PageSize:][:format.PageSize], i, f.header)
		if err == nil && a.Newer(f.anchor) {
			f.anchor = a
		}
	}
	return f
}

// live finds the live set of the file.
func (f *heapFile) live() (*relocate.LiveSet, error) {
	f.t.Helper()
	src, err := relocate.NewSource(f.data, f.header, f.anchor.Carved)
	if err != nil {
		f.t.Fatal(err)
	}
	return relocate.FindLive(context.Background(), src, format.Addr(f.anchor.State))
}

// payload returns the payload of the block at an address.
func (f *heapFile) payload(a uint64) []byte {
	b := f.data[a-f.header.Base:]
	return b[format.HeaderSize : format.HeaderSize+binary.LittleEndian.Uint32(b[4:])]
}

// seal computes the checksum of a block that was changed.
func (f *heapFile) seal(a uint64) {
	b := f.data[a-f.header.Base:]
	binary.LittleEndian.PutUint32(b, format.BlockSum(b[:format.HeaderSize+binary.LittleEndian.Uint32(b[4:])], a-f.header.Base))
}

// blocks calls fn with the address of every block of the kind in the file.
func (f *heapFile) blocks(kind format.Kind, fn func(a uint64) (more bool)) {
	for e := format.FirstExtent(f.header.Window) / format.ExtentSize; e < f.anchor.Carved/format.ExtentSize; e++ {
		size := uint64(format.Class(f.data[format.TableOffset+e]).BlockSize())
		for off := uint64(0); size > 0 && off+size <= format.ExtentSize; off += size {
			at := e*format.ExtentSize + off
			hd := format.BlockHeader{Meta: binary.LittleEndian.Uint64(f.data[at+8:])}
			if hd.Kind() == kind && !fn(f.header.Base+at) {
				return
			}
		}
	}
}

// write writes a copy of a live set, which must work, and returns it as a file.
func (f *heapFile) write(s *relocate.LiveSet, base uint64, packed bool) *heapFile {
	f.t.Helper()
	a := f.place(s, base, packed)
	to := &heapFile{t: f.t, data: make([]byte, a.Size()), header: &format.Header{}, anchor: &format.Anchor{}}
	*to.header, *to.anchor = *f.header, *f.anchor
	to.header.Base = base
	to.anchor.State, to.anchor.Carved = uint64(a.State()), uint64(a.Size())
	if err := a.Write(context.Background(), to.data); err != nil {
		f.t.Fatal(err)
	}
	return to
}

// place places a live set, which must work.
func (f *heapFile) place(s *relocate.LiveSet, base uint64, packed bool) *relocate.Placement {
	f.t.Helper()
	if packed {
		return s.Pack(base, f.header.Window)
	}
	a, err := s.Keep(base)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// N4: a copy has the same blocks, however it was made. Packing a packed file changes
// nothing, and moving to another window and back restores the file.
func TestPlacement_SameBlocks(t *testing.T) {
	f := newHeapFile(t)
	first, err := f.live()
	if err != nil {
		t.Fatal(err)
	}
	other := f.header.Base ^ f.header.Window
	moved := f.write(first, other, false)
	packed := f.write(first, f.header.Base, true)
	if len(packed.data) > len(moved.data)*2/3 {
		t.Errorf("%d bytes were packed into %d", len(moved.data), len(packed.data))
	}
	for name, next := range map[string]*heapFile{"moved": moved, "packed": packed} {
		s, err := next.live()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Version != first.Version || s.Blocks != first.Blocks || s.Bytes != first.Bytes {
			t.Errorf("%s: version %d with %d blocks of %d bytes became version %d with %d of %d", name,
				first.Version, first.Blocks, first.Bytes, s.Version, s.Blocks, s.Bytes)
		}
		again := next.write(s, next.header.Base, true)
		if name == "packed" && string(again.data) != string(next.data) {
			t.Error("packing the packed file changed it")
		}
		if name == "moved" {
			back := next.write(s, f.header.Base, false)
			once := f.write(first, f.header.Base, false)
			if string(back.data) != string(once.data) {
				t.Error("moving there and back changed the file")
			}
		}
	}
}

// In a packed file only the last extent of each class has free blocks.
func TestPlacement_Dense(t *testing.T) {
	f := newHeapFile(t)
	s, err := f.live()
	if err != nil {
		t.Fatal(err)
	}
	a := f.place(s, f.header.Base, true)
	packed := f.write(s, f.header.Base, true)
	free, last := map[format.Class]uint64{}, map[format.Class]uint64{}
	for e := format.FirstExtent(f.header.Window) / format.ExtentSize; e < uint64(a.Size())/format.ExtentSize; e++ {
		class := format.Class(packed.data[format.TableOffset+e])
		size := uint64(class.BlockSize())
		if free[class] > 0 && size > 0 {
			t.Errorf("extent %d is of class %d, of which extent %d has room for %d", e, class, last[class], free[class])
		}
		last[class] = e
		for off := uint64(0); size > 0 && off+size <= format.ExtentSize; off += size {
			if binary.LittleEndian.Uint64(packed.data[e*format.ExtentSize+off+8:]) == 0 {
				free[class]++
			}
		}
	}
	used := int64(0)
	for off, n := range a.Used() {
		if off+n > a.Size() {
			t.Errorf("%d bytes at %d are used, of %d", n, off, a.Size())
		}
		used += n
	}
	if most := a.Size() - int64(format.FirstExtent(f.header.Window)) + format.TableOffset + a.Size()/format.ExtentSize; used != most {
		t.Errorf("%d bytes are used, not %d", used, most)
	}
}

// N1, N2: a block of an unknown kind and sizes that do not add up are refused, even with
// correct checksums.
func TestFindLive_Refuses(t *testing.T) {
	const mapRoot, tableAt = 16, 8
	objectOf := func(f *heapFile) (object uint64) { // the map with types, in the only node of the object table
		table := binary.LittleEndian.Uint64(f.payload(f.anchor.State)[tableAt:])
		for words := f.payload(table & format.AddrMask); len(words) > 0; words = words[8:] {
			a := binary.LittleEndian.Uint64(words)
			if a != 0 && format.Kind(f.data[a-f.header.Base+14]) == format.KindMap && binary.LittleEndian.Uint64(f.payload(a)) != 0 {
				object = a
			}
		}
		return object
	}
	for name, damage := range map[string]func(f *heapFile){
		"an object of an unknown kind": func(f *heapFile) {
			a := objectOf(f)
			f.data[a-f.header.Base+14] = 200
			f.seal(a)
		},
		"an entry as an object": func(f *heapFile) {
			a := objectOf(f)
			f.data[a-f.header.Base+14] = byte(format.KindEntry)
			f.seal(a)
		},
		"bytes that do not add up": func(f *heapFile) {
			b := f.payload(f.anchor.State)
			at := unsafe.Offsetof(format.State{}.BlockBytes)
			binary.LittleEndian.PutUint64(b[at:], binary.LittleEndian.Uint64(b[at:])-32)
			f.seal(f.anchor.State)
		},
		"a map without its tree": func(f *heapFile) {
			a := objectOf(f)
			binary.LittleEndian.PutUint64(f.payload(a)[mapRoot:], 0)
			f.seal(a)
		},
		"a tree link outside the file": func(f *heapFile) {
			a := objectOf(f)
			b := f.payload(a)[mapRoot:]
			binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)&^format.AddrMask|f.header.Base+f.anchor.Carved)
			f.seal(a)
		},
		"a tree that contains itself": func(f *heapFile) {
			root := binary.LittleEndian.Uint64(f.payload(objectOf(f))[mapRoot:])
			b := f.payload(root & format.AddrMask)
			binary.LittleEndian.PutUint64(b, root)
			f.seal(root & format.AddrMask)
		},
		"a map whose type is missing": func(f *heapFile) {
			a := objectOf(f)
			binary.LittleEndian.PutUint64(f.payload(a), 1<<40)
			f.seal(a)
		},
		"a block of a later version": func(f *heapFile) {
			a := objectOf(f)
			b := f.data[a-f.header.Base+8:]
			binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)+f.anchor.Version)
			f.seal(a)
		},
		"a string outside its block": func(f *heapFile) {
			f.blocks(format.KindEntry, func(a uint64) bool {
				b := f.payload(a)
				for at := 16; at+8 <= len(b); at += 8 {
					if w := binary.LittleEndian.Uint64(b[at:]); w >= a && w < a+uint64(len(b)) && w != 0 {
						binary.LittleEndian.PutUint64(b[at:], w+1<<30)
						f.seal(a)
						break
					}
				}
				return true
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newHeapFile(t)
			damage(f)
			s, err := f.live()
			if err == nil { // Write, not FindLive, reads the values
				a := f.place(s, f.header.Base, true)
				err = a.Write(context.Background(), make([]byte, a.Size()))
			}
			if d := (*format.DamageError)(nil); !errors.As(err, &d) {
				t.Errorf("%v", err)
			} else {
				t.Log(err)
			}
		})
	}
}

// Whatever is damaged, FindLive and Write return an error or make a copy; they never panic.
func FuzzFindLive(f *testing.F) {
	f.Add(uint32(0), uint64(1))
	f.Add(uint32(70_000), uint64(1)<<63)
	var file *heapFile
	f.Fuzz(func(t *testing.T, at uint32, bits uint64) {
		if file == nil {
			file = newHeapFile(t)
		}
		first := uint32(format.FirstExtent(file.header.Window))
		at = (first + at%(uint32(len(file.data))-first-8)) &^ 7
		damaged := &heapFile{t: t, data: append([]byte(nil), file.data...), header: file.header, anchor: file.anchor}
		word := damaged.data[at:]
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)^bits)
		for a := file.header.Base + uint64(at)&^15; a > file.header.Base+uint64(at)-512 && a >= file.header.Base+uint64(first); a -= 16 {
			if n := binary.LittleEndian.Uint32(damaged.data[a-file.header.Base+4:]); n < 1024 && uint64(n) > file.header.Base+uint64(at)-a-16 {
				damaged.seal(a) // if a block begins here, it is the damaged one
			}
		}
		s, err := damaged.live()
		if err != nil {
			return
		}
		for _, window := range []uint64{file.header.Window, 16 * file.header.Window} {
			a := s.Pack(file.header.Base, window)
			_ = a.Write(context.Background(), make([]byte, a.Size()))
		}
		if a, err := s.Keep(file.header.Base); err == nil {
			_ = a.Write(context.Background(), make([]byte, a.Size()))
		}
	})
}
