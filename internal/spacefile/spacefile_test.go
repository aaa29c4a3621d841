package spacefile_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// create creates a space, and returns its directory.
func create(t *testing.T, c spacefile.Creation) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	if err := c.Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// opened opens a directory, its heap file for locks, and its heap file.
func opened(t *testing.T, path string, wanted mapping.FileID) *spacefile.Dir {
	t.Helper()
	d, err := spacefile.OpenDir(path, wanted, spacefile.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	guest, err := d.OpenLocks(false)
	if err != nil || guest {
		t.Fatalf("guest %v: %v", guest, err)
	}
	t.Cleanup(func() { spacefile.CloseLocks(d.Locks) })
	if err := d.OpenHeap(os.O_RDWR); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Heap.Close() })
	return d
}

// A new space is whole, and has the sizes that its creator asked for.
func TestCreate_Whole(t *testing.T) {
	dir := create(t, spacefile.Creation{MaxSize: 100 << 20, Mode: 0o750})
	id, err := spacefile.Find(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := opened(t, dir, id)
	if err := d.CheckSize(); err != nil {
		t.Error(err)
	}
	anchors, doubts, err := d.Anchors()
	if err != nil || doubts != (spacefile.Doubts{Anchored: 1}) {
		t.Fatalf("%+v: %v", doubts, err)
	}
	if a := spacefile.NewestAnchor(anchors); a.Version != 1 || a.Clean != 1 || a.Limit != 100<<20 {
		t.Errorf("the anchor is %+v", a)
	}
	if d.HeapID != id || d.Perm() != 0o640 {
		t.Errorf("the heap file is %v with %v", d.HeapID, d.Perm())
	}
	o, err := spacefile.Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if o.Base != d.Header.Base || o.Window != d.Header.Window || o.MaxSize != 100<<20 || o.Open || o.Disk != spacefile.DiskBytes(dir) {
		t.Errorf("it looks like %+v", o)
	}
}

// A directory is vacant, or the error names it and its contents stay.
func TestVacant(t *testing.T) {
	file := func(name string, b []byte) func(dir string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), b, 0o600) }
	}
	written := make([]byte, format.SegmentSize)
	written[4711] = 1
	for name, c := range map[string]struct {
		fill   func(dir string) error
		vacant bool
	}{
		"nothing":              {func(dir string) error { return os.Remove(dir) }, true},
		"empty":                {func(string) error { return nil }, true},
		"lost+found":           {func(dir string) error { return os.Mkdir(filepath.Join(dir, "lost+found"), 0o700) }, true},
		"half made":            {func(dir string) error { return os.Mkdir(filepath.Join(dir, ".everheap.new-1"), 0o700) }, true},
		"an unwritten journal": {file(journal.FileName, make([]byte, format.SegmentSize)), true},
		"a short journal":      {file(journal.FileName, make([]byte, 512)), false},
		"a written journal":    {file(journal.FileName, written), false},
		"a heap":               {file(spacefile.HeapName, nil), false},
		"another file":         {file("x", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.fill(dir); err != nil {
				t.Fatal(err)
			}
			err := spacefile.Vacant(dir)
			if c.vacant != (err == nil) || err != nil && (!errors.Is(err, spacefile.ErrExists) || !errors.Is(err, fs.ErrExist)) {
				t.Error(err)
			}
		})
	}
}

// Find creates a space where there is none, or returns an error.
func TestFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	if _, err := spacefile.Find(dir, nil); !errors.Is(err, spacefile.ErrNotFound) {
		t.Errorf("there is no space, and no create: %v", err)
	}
	if _, err := spacefile.Look(dir); !errors.Is(err, spacefile.ErrNotFound) {
		t.Errorf("Look where there is no space: %v", err)
	}
	id, err := spacefile.Find(dir, (&spacefile.Creation{MaxSize: 64 << 20}).Create)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := spacefile.Find(dir, nil); err != nil || again != id {
		t.Errorf("found %v, then %v: %v", id, again, err)
	}
}

// SameHeap notices that the heap file was replaced.
func TestSameHeap(t *testing.T) {
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	d := opened(t, dir, mapping.FileID{})
	if err := d.SameHeap(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, spacefile.HeapName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, spacefile.NewHeapName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename(spacefile.NewHeapName, spacefile.HeapName); err != nil {
		t.Fatal(err)
	}
	if err := d.SameHeap(); !errors.Is(err, spacefile.ErrOtherHeap) {
		t.Errorf("the heap file was replaced: %v", err)
	}
	var words format.Live
	if m := d.ExamineHeap(&words); m == nil || m.Cut || !errors.Is(m.Err, spacefile.ErrReplaced) {
		t.Errorf("the heap file was replaced: %+v", m)
	}
	other, err := spacefile.OpenDir(dir, d.HeapID, spacefile.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.OpenLocks(false); !errors.Is(err, spacefile.ErrOtherHeap) {
		t.Errorf("the caller wanted another heap file: %v", err)
	}
	spacefile.CloseLocks(other.Locks)
}

// One process at a time holds the gate, and a process that holds presence exclusively is alone.
func TestGateAndPresence(t *testing.T) {
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	one, other := opened(t, dir, mapping.FileID{}), opened(t, dir, mapping.FileID{})
	gate, err := one.TakeGate(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := other.TakeGate(ctx, false); !errors.Is(err, spacefile.ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("the gate is taken: %v", err)
	}
	spacefile.CloseLocks(gate)
	if gate, err = other.TakeGate(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	spacefile.CloseLocks(gate)

	for _, d := range []*spacefile.Dir{one, other} {
		if ok, err := d.Presence(true); !ok || err != nil {
			t.Fatalf("%v: %v", ok, err)
		}
	}
	if alone, err := one.Alone(); alone || err != nil {
		t.Errorf("alone, but another process has presence: %v", err)
	}
	if o, err := spacefile.Look(dir); err != nil || !o.Open {
		t.Errorf("Look does not see that the space is open: %+v, %v", o, err)
	}
	if err := other.PinPresence(); err != nil {
		t.Fatal(err)
	}
	if alone, err := one.Alone(); alone || err != nil {
		t.Errorf("alone, but another process has its presence pinned: %v", err)
	}
	other.UnpinPresence()
	if alone, err := one.Alone(); !alone || err != nil {
		t.Errorf("not alone, but the other process has left: %v", err)
	}
}

// ExamineJournal and ExamineHeap report a journal that was cut or removed, and a heap that was cut.
func TestExamine(t *testing.T) {
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	d := opened(t, dir, mapping.FileID{})
	s, err := d.Stat(journal.FileName)
	if err != nil {
		t.Fatal(err)
	}
	heap, err := d.Heap.Size()
	if err != nil {
		t.Fatal(err)
	}
	var words format.Live
	words.Carved.Store(uint64(heap))
	words.SegmentCount.Store(1)
	if m := d.ExamineHeap(&words); m != nil {
		t.Errorf("%+v", m)
	}
	if m := d.ExamineJournal(&words, s.FileID); m != nil {
		t.Errorf("%+v", m)
	}
	path := filepath.Join(dir, journal.FileName)
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if m := d.ExamineJournal(&words, s.FileID); m == nil || !m.Cut || !strings.Contains(m.Err.Error(), "truncated") {
		t.Errorf("the journal was cut: %+v", m)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if m := d.ExamineJournal(&words, s.FileID); m == nil || m.Cut || !errors.Is(m.Err, spacefile.ErrReplaced) {
		t.Errorf("the journal is gone: %+v", m)
	}
	words.Carved.Store(uint64(heap) + 1)
	if m := d.ExamineHeap(&words); m == nil || !m.Cut {
		t.Errorf("the heap was cut: %+v", m)
	}
}

// A damaged anchor is a doubt; without any anchor there is no version.
func TestAnchors_Damaged(t *testing.T) {
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	d := opened(t, dir, mapping.FileID{})
	if _, err := d.Heap.WriteAt([]byte{1, 2, 3}, format.AnchorOffset+format.PageSize+100); err != nil {
		t.Fatal(err)
	}
	_, doubts, err := d.Anchors()
	if err != nil || doubts.Damaged != 1 {
		t.Errorf("%+v: %v", doubts, err)
	}
	if err := d.Reached(doubts, 1); err != nil {
		t.Error(err)
	}
	if err := d.Reached(doubts, 0); err == nil {
		t.Error("Reached accepts a recovery that ends before the anchored version 1")
	}
	if _, err := d.Heap.WriteAt([]byte{1, 2, 3}, format.AnchorOffset+100); err != nil {
		t.Fatal(err)
	}
	var damage *format.DamageError
	if _, _, err := d.Anchors(); !errors.As(err, &damage) {
		t.Errorf("no anchor is left: %v", err)
	}
}

// A new live file has the values of the newest anchor, and CheckMarks refuses it until it is
// recovered.
func TestRebuildLive(t *testing.T) {
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	d := opened(t, dir, mapping.FileID{})
	info, err := d.Locks.Stat()
	if err != nil {
		t.Fatal(err)
	}
	doubts, err := d.RebuildLive(info, true)
	if err != nil || doubts.Damaged != 0 {
		t.Fatalf("%+v: %v", doubts, err)
	}
	lv, err := live.Open(d.Dir, d.Header.SpaceID, info)
	if err != nil {
		t.Fatal(err)
	}
	defer lv.Leave(false)
	w := lv.Words()
	if w.Written.Load() != 1 || w.Limit.Load() != 64<<20 || w.Failed.Load() != 1 || w.Clean.Load() != 1 {
		t.Errorf("version %d, limit %d, failed %d, clean %d", w.Written.Load(), w.Limit.Load(), w.Failed.Load(), w.Clean.Load())
	}
	if err := d.CheckMarks(w); !errors.Is(err, live.ErrUntrusted) {
		t.Errorf("CheckMarks before the recovery: %v", err)
	}
	w.Recovering.Store(0)
	if err := d.CheckMarks(w); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(){
		"carved beyond the file": func() { w.Carved.Store(uint64(info.Size()) + format.ExtentSize) },
		"carved below an anchor": func() { w.Carved.Store(w.Carved.Load() - format.ExtentSize) },
		"an end beyond the file": func() { w.End.Store(uint64(info.Size()) + format.ExtentSize) },
		"a limit of no extents":  func() { w.Limit.Add(1) },
		"no index is left":       func() { w.NextIndex.Store(1 << 62) },
	} {
		carved, end, limit, next := w.Carved.Load(), w.End.Load(), w.Limit.Load(), w.NextIndex.Load()
		spoil()
		if err := d.CheckMarks(w); !errors.Is(err, live.ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
		w.Carved.Store(carved)
		w.End.Store(end)
		w.Limit.Store(limit)
		w.NextIndex.Store(next)
	}
}
