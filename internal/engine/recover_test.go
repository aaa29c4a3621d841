package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
)

// store writes a key in a transaction of its own.
func store(t *testing.T, sp *Space, id format.ID, key, value uint64) {
	t.Helper()
	if err := sp.Alone(false).Set(words(id), unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
		t.Fatal(err)
	}
}

func words(id format.ID) edit.MapOf {
	return edit.MapOf{ID: id, Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[uint64]()}
}

// pointerTo returns a pointer to a copy of a word.
func pointerTo(word uint64) unsafe.Pointer { return unsafe.Pointer(&word) }

// load reads a key; 0 if the map lacks it.
func load(t *testing.T, sp *Space, id format.ID, key uint64) (value uint64) {
	t.Helper()
	if _, err := sp.Alone(false).Get(words(id), unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
		t.Fatal(err)
	}
	return value
}

// begin opens a space whose background writes no anchors, and its map.
func begin(t *testing.T, dir string) (*Space, format.ID) {
	t.Helper()
	sp, err := Open(dir, Options{MaxSize: 256 << 20, AnchorInterval: time.Hour, FlushInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	id, err := sp.OpenMap("m", words(0))
	if err != nil {
		t.Fatal(err)
	}
	return sp, id
}

// verify checks and closes a space.
func verify(t *testing.T, sp *Space) {
	t.Helper()
	report, err := sp.Check(context.Background())
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("check: %v (%v)", report, err)
	}
	if err := sp.Close(); err != nil {
		t.Error(err)
	}
}

// files are the contents of the files of a space that survive a loss of power.
type files map[string][]byte

// image is a copy of the files as they are now.
func image(t *testing.T, dir string) files {
	t.Helper()
	f := files{}
	for _, name := range []string{HeapName, journal.FileName} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f[name] = b
	}
	return f
}

// reset puts the files of an image in place of the space's, as after a loss of power.
func reset(t *testing.T, dir string, f files) {
	t.Helper()
	for name, b := range f {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "live")); err != nil {
		t.Fatal(err)
	}
}

// tear destroys the newest anchor of an image.
func tear(t *testing.T, image files, h *format.Header) {
	t.Helper()
	newest, slot := (*format.Anchor)(nil), 0
	for i := range format.NumAnchors {
		page := image[HeapName][format.AnchorOffset+i*format.PageSize:][:format.PageSize]
		if a, err := format.DecodeAnchor(page, i, h); err == nil && a.Newer(newest) {
			newest, slot = a, i
		}
	}
	clear(image[HeapName][format.AnchorOffset+slot*format.PageSize+32:][:64])
}

// Whichever of the two usable anchors is left, a recovery by the journal ends with the same
// version: that of the last Sync.
func TestRecover_EitherAnchorAndTheJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	for i := range uint64(3) {
		store(t, sp, id, 1, 100+i)
		if err := sp.durable.WriteAnchor(nil, false); err != nil {
			t.Fatal(err)
		}
	}
	store(t, sp, id, 1, 999)
	if err := sp.Sync(); err != nil {
		t.Fatal(err)
	}
	synced := *member.StateAt(sp.Live.Current())
	store(t, sp, id, 1, 1000) // neither anchored nor in the journal
	b := image(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	for torn := range 2 {
		if torn > 0 {
			tear(t, b, sp.Head)
		}
		reset(t, dir, b)
		sp, id = begin(t, dir)
		if got := load(t, sp, id, 1); got != 999 {
			t.Errorf("%d anchors torn: recovered %d, want what was synced", torn, got)
		}
		if s := member.StateAt(sp.Live.Current()); s.Version != synced.Version || s.Chain != synced.Chain || s.UnixNano != synced.UnixNano || s.Objects != synced.Objects || s.NextIndex != synced.NextIndex {
			t.Errorf("recovered %+v, want %+v", *s, synced)
		}
		for i := range uint64(500) { // and new versions build on it
			store(t, sp, id, i, i+1)
		}
		verify(t, sp)
	}
}

// A key that one transaction stores and deletes again stands in the journal as stored and deleted,
// even if earlier changes were taken off the list.
func TestRecover_StoredAndDeletedInOneTransaction(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	err := sp.Change(true, func(tx *Tx) error {
		for _, key := range []uint64{1, 2, 2} {
			if err := tx.Set(words(id), pointerTo(key), pointerTo(7)); err != nil {
				return err
			}
			if key == 1 {
				if removed, err := tx.Delete(words(id), pointerTo(key)); err != nil || !removed {
					t.Fatal(removed, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b := image(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	reset(t, dir, b)
	sp, id = begin(t, dir)
	if one, two := load(t, sp, id, 1), load(t, sp, id, 2); one != 0 || two != 7 {
		t.Errorf("recovered %d and %d", one, two)
	}
	verify(t, sp)
}

// After a recovery new versions get numbers that were used before the loss of power. The next
// recovery does not take the abandoned records that remain in the journal for the new ones.
func TestRecover_AbandonedHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	var lost format.Version
	for i := range uint64(20) {
		store(t, sp, id, 1, 100+i)
		if err := sp.Sync(); err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			lost = sp.Heap.VersionOf(sp.Live.Current())
		}
	}
	after := image(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	// The disk has lost the record of the eleventh version, but not the later records.
	for b := after[journal.FileName]; len(b) >= format.FrameAlign; b = b[format.FrameAlign:] {
		if h, ok := format.DecodeFrameHead(b); ok && h.First == uint64(lost) {
			clear(b[:format.FrameAlign])
		}
	}
	reset(t, dir, after)
	sp, id = begin(t, dir)
	if got := load(t, sp, id, 1); got != 109 {
		t.Fatalf("recovered %d, want the last one before the gap", got)
	}
	store(t, sp, id, 1, 7) // gets the number of the lost version
	if err := sp.Sync(); err != nil {
		t.Fatal(err)
	}
	b := image(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	reset(t, dir, b)
	sp, id = begin(t, dir)
	if got := load(t, sp, id, 1); got != 7 {
		t.Errorf("recovered %d, want 7", got)
	}
	verify(t, sp)
}

func TestRecover_NoAnchorIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, _ := begin(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	b := image(t, dir)
	clear(b[HeapName][format.AnchorOffset : format.AnchorOffset+format.NumAnchors*format.PageSize])
	reset(t, dir, b)
	if sp, err := Open(dir, Options{}); !errors.Is(err, failure.ErrCorrupt) {
		t.Errorf("%v", err)
		if err == nil {
			sp.Close()
		}
	}
}

func TestRecover_LiveThatKnowsLessThanTheAnchorIsRebuilt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	for i := range uint64(20000) {
		store(t, sp, id, i, i+1)
	}
	first := format.FirstExtent(sp.Head.Window)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "live"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var w format.Live
	low := []byte{0, 0, byte((first + 4*format.ExtentSize) >> 16), 0, 0, 0, 0, 0}
	if _, err := f.WriteAt(low, int64(unsafe.Offsetof(w.Carved))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	sp, id = begin(t, dir)
	for i := range uint64(20000) {
		store(t, sp, id, 100000+i, i)
	}
	for i := range uint64(20000) {
		if got := load(t, sp, id, i); got != i+1 {
			t.Fatalf("key %d is %d", i, got)
		}
	}
	verify(t, sp)
}

func TestClean_FreeSpaceOfACleanCloseIsUsed(t *testing.T) { // E5
	dir := filepath.Join(t.TempDir(), "s")
	for round := range uint64(30) { // each round writes some 3 MiB of blocks
		sp, id := begin(t, dir)
		for i := range uint64(2000) {
			store(t, sp, id, i, round+1)
		}
		if used := sp.Live.Words().Carved.Load(); used > 12<<20 {
			t.Errorf("round %d: %d bytes in use for %d bytes of blocks", round, used, member.StateAt(sp.Live.Current()).BlockBytes)
		}
		verify(t, sp)
		if round%2 == 1 {
			reset(t, dir, image(t, dir))
		}
	}
}

func TestSweep_FindsWhatALostProcessHad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	for i := range uint64(5000) {
		store(t, sp, id, i, 1)
	}
	if err := sp.Sync(); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5000) {
		store(t, sp, id, i, 2)
	}
	if err := sp.Sync(); err != nil {
		t.Fatal(err)
	}
	b := image(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	reset(t, dir, b) // no process has handed over its lists
	sp, id = begin(t, dir)
	found, err := sp.Sweep()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) { // the background's sweep has the writer lock
		t.Fatal(err)
	}
	w := sp.Live.Words()
	for began := time.Now(); found == 0 && w.Swept.Load() == 0 && time.Since(began) < patience; { // or the background's sweep found them
		time.Sleep(10 * time.Millisecond)
		if found, err = sp.Sweep(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	carved := w.Carved.Load()
	if state := member.StateAt(sp.Live.Current()); uint64(found) < (carved-format.FirstExtent(sp.Head.Window)-state.BlockBytes)/4 && w.Swept.Load() == 0 {
		t.Errorf("a sweep found %d bytes of %d", found, carved)
	}
	for i := range uint64(3000) {
		store(t, sp, id, i, 3)
	}
	if grown := w.Carved.Load() - carved; grown > 2<<20 {
		t.Errorf("the space grew by %d bytes more than the sweep had found", grown)
	}
	for i := range uint64(5000) {
		if got, want := load(t, sp, id, i), uint64(2); got != want && (i >= 3000 || got != 3) {
			t.Fatalf("key %d is %d", i, got)
		}
	}
	verify(t, sp)
}

// unsynced is a file whose syncs do nothing.
type unsynced struct{ mapping.File }

func (unsynced) Datasync() error { return nil }

func withoutSync(path string, flag int, perm os.FileMode) (mapping.File, error) {
	f, err := mapping.OpenFile(path, flag, perm)
	return unsynced{f}, err
}
