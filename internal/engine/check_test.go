package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// findings checks a space.
func findings(t *testing.T, sp *Space) []check.Finding {
	t.Helper()
	report, err := sp.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return report.Findings
}

// flip changes a byte of a file of the space, and returns a function that changes it back.
func flip(t *testing.T, sp *Space, name string, off int64) (restore func()) {
	t.Helper()
	f, err := os.OpenFile(sp.Files.Join(name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	change := func() {
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 4
		if _, err := f.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
	}
	change()
	return func() { change(); f.Close() }
}

// expectFinding fails the test unless there is a finding at the place.
func expectFinding(t *testing.T, sp *Space, file string, off int64, what string) {
	t.Helper()
	list := findings(t, sp)
	for _, f := range list {
		at, where := f.Offset, f.File
		if where == "" {
			where, at = HeapName, int64(uint64(f.Addr)-sp.Head.Base)
		}
		if where == file && at == off && strings.Contains(f.What, what) {
			return
		}
	}
	t.Errorf("no finding in %s at %d that says %q: %v", file, off, what, list)
}

// manual opens a space without background work, and its map.
func manual(t *testing.T, dir string) (*Space, format.ID) {
	t.Helper()
	sp, err := Open(dir, Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	id, err := sp.OpenMap("m", words(0))
	if err != nil {
		t.Fatal(err)
	}
	return sp, id
}

func TestCheck_HeaderAndAnchors(t *testing.T) {
	sp, id := manual(t, filepath.Join(t.TempDir(), "s"))
	defer func() { verify(t, sp) }()
	var states []format.Addr
	for i := range uint64(5) {
		store(t, sp, id, i, i)
		if err := sp.Anchor(false); err != nil {
			t.Fatal(err)
		}
		states = append(states, sp.Live.Current())
	}
	store(t, sp, id, 9, 9)
	if list := findings(t, sp); len(list) > 0 {
		t.Fatalf("%v", list)
	}
	restore := flip(t, sp, HeapName, 40)
	expectFinding(t, sp, HeapName, 0, "header")
	restore()
	usable := map[int]bool{}
	for _, a := range sp.Live.UsableAnchors() {
		usable[a.Slot] = true
		off := format.AnchorOffset + int64(a.Slot)*format.PageSize
		restore := flip(t, sp, HeapName, off+100)
		expectFinding(t, sp, HeapName, off, "anchor")
		restore()
	}
	for slot := range format.NumAnchors { // the others may hold anything
		if !usable[slot] {
			defer flip(t, sp, HeapName, format.AnchorOffset+int64(slot)*format.PageSize+100)()
		}
	}
	for i, state := range states {
		off := int64(uint64(state)-sp.Head.Base) + format.HeaderSize + 32
		restore := flip(t, sp, HeapName, off)
		if i >= len(states)-2 { // only the anchors reach it
			expectFinding(t, sp, HeapName, off-format.HeaderSize-32, "anchored version")
		} else if list := findings(t, sp); len(list) > 0 {
			t.Errorf("a flip in the state of an old version, which nothing reaches, is a finding: %v", list)
		}
		restore()
	}
	if list := findings(t, sp); len(list) > 0 {
		t.Errorf("findings after the bytes were restored: %v", list)
	}
}

func TestCheck_Journal(t *testing.T) {
	sp, id := manual(t, filepath.Join(t.TempDir(), "s"))
	defer func() { verify(t, sp) }()
	if err := sp.Anchor(true); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(6) {
		store(t, sp, id, i, i)
		if i < 5 {
			if err := sp.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if list := findings(t, sp); len(list) > 0 {
		t.Fatalf("%v", list)
	}
	b, err := os.ReadFile(sp.Files.Join(journal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	newest := sp.Live.UsableAnchors()[0].Version
	durable := sp.Live.Words().Durable.Load()
	frames := 0
	for off := 0; off < len(b); off += format.FrameAlign {
		h, ok := format.DecodeFrameHead(b[off:])
		if !ok {
			continue
		}
		for _, at := range []int{0, 8, 50, 100} { // one of them makes it no frame at all
			restore := flip(t, sp, journal.FileName, int64(off+at))
			needed := h.Last > uint64(newest) && h.Last <= durable
			if list := findings(t, sp); needed != (len(list) > 0) {
				t.Errorf("the frame of version %d at %d, byte %d; %d is anchored, %d durable: %v", h.Last, off, at, newest, durable, list)
			} else if needed && at >= 50 {
				expectFinding(t, sp, journal.FileName, int64(off), fmt.Sprintf("version %d", h.Last))
			}
			if restore(); needed {
				frames++
			}
		}
	}
	if frames < 5*4 {
		t.Errorf("only %d frames are needed", frames/4)
	}
	restore := flip(t, sp, journal.FileName, 50)
	if err := sp.Anchor(true); err != nil {
		t.Fatal(err)
	}
	if list := findings(t, sp); len(list) > 0 {
		t.Errorf("findings in a journal that two anchors have made unnecessary: %v", list)
	}
	restore()
}

// A block that is intact, but is a later one than the version had.
func TestCheck_BlockOfALaterVersion(t *testing.T) {
	sp, id := manual(t, filepath.Join(t.TempDir(), "s"))
	defer sp.Close()
	store(t, sp, id, 1, 1)
	var block format.Addr
	r := sp.Heap.Reader(true)
	err := check.Newer(&r, sp.Live.Current(), 0, func(a format.Addr, _ format.ByteCount) {
		if r.Kind(a) == format.KindEntry {
			block = a
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	hd := (*format.BlockHeader)(unsafe.Add(unsafe.Pointer(nil), uintptr(block)+sp.Region.Delta()))
	meta, sum := hd.Meta, hd.Sum
	hd.Meta = format.MakeMeta(hd.Birth()+100, hd.Kind(), hd.Class())
	hd.Sum = format.BlockSum(unsafe.Slice((*byte)(unsafe.Pointer(hd)), format.HeaderSize+int(hd.Size)), uint64(block)-sp.Head.Base)
	expectFinding(t, sp, HeapName, int64(uint64(block)-sp.Head.Base), "written by version")
	hd.Meta, hd.Sum = meta, sum
	if list := findings(t, sp); len(list) > 0 {
		t.Error(list)
	}
}

// In a space that was closed cleanly the free-block batches stay as they are.
func TestCheck_BatchesOfACleanSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := manual(t, dir)
	for i := range uint64(3000) {
		store(t, sp, id, i%100, i)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	sp, err := Open(dir, Options{ReadOnly: true, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	report, err := sp.Check(context.Background())
	if err != nil || len(report.Findings) > 0 || report.Free == 0 {
		t.Fatalf("%v %v", report, err)
	}
	batches := 0
	for stack := range format.NumStacks {
		if off := sp.Live.StackHead(stack); off != 0 {
			restore := flip(t, sp, HeapName, int64(off)+40)
			expectFinding(t, sp, HeapName, int64(off), "batch")
			restore()
			batches++
		}
	}
	if batches == 0 {
		t.Error("there are no batches")
	}
	verify(t, sp)
}

// Each page of the extent table or of a block that cannot be read is a finding, with its place.
func TestCheck_UnreadablePages(t *testing.T) {
	sp, id := manual(t, filepath.Join(t.TempDir(), "s"))
	defer func() { verify(t, sp) }()
	for i := range uint64(500) {
		store(t, sp, id, i, i)
	}
	for _, h := range []hidden{{format.TableOffset, format.PageSize}, someBlock(t, sp, 0), someBlock(t, sp, 100), someBlock(t, sp, 499)} {
		protect(t, sp, h, true)
		list := findings(t, sp)
		protect(t, sp, h, false)
		if len(list) == 0 || !strings.Contains(list[0].What, fmt.Sprintf("the page at offset %d", h.off)) {
			t.Errorf("with %v hidden: %v", h, list)
		}
	}
}
