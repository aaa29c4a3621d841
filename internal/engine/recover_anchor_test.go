package engine

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// overwrite writes the keys again and again, with anchors and reclaims in between, so that blocks
// of old versions are reused.
func overwrite(t *testing.T, sp *Space, id format.ID, rounds uint64) {
	t.Helper()
	for v := range rounds {
		for key := range uint64(300) {
			store(t, sp, id, key, 1000*v+key)
		}
		if err := sp.Anchor(false); err != nil {
			t.Fatal(err)
		}
		// A sweep also reclaims. The background may have the writer lock.
		if _, err := sp.Sweep(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// newestAnchors returns the valid anchors of an image and their slots, the newest first.
func newestAnchors(image files, h *format.Header) (slots []int, anchors []*format.Anchor) {
	for i := range format.NumAnchors {
		a, err := format.DecodeAnchor(image[HeapName][format.AnchorOffset+i*format.PageSize:][:format.PageSize], i, h)
		if err != nil {
			continue
		}
		at := 0
		for at < len(anchors) && !a.Newer(anchors[at]) {
			at++
		}
		slots = append(slots[:at], append([]int{i}, slots[at:]...)...)
		anchors = append(anchors[:at], append([]*format.Anchor{a}, anchors[at:]...)...)
	}
	return slots, anchors
}

// openDamaged resets the space to an image and opens it.
func openDamaged(t *testing.T, dir string, b files) (*Space, error) {
	t.Helper()
	reset(t, dir, b)
	return Open(dir, Options{Manual: true})
}

// When the two newest anchors are damaged, the version of an older one may have lost blocks since:
// a recovery refuses it.
func TestRecover_AnchorThatIsTooOld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	overwrite(t, sp, id, 8)
	for v := range uint64(6) { // the third newest anchor protects nothing of this any more
		err := sp.Change(false, func(tx *Tx) error {
			for key := range uint64(300) {
				if err := tx.Set(words(id), pointerTo(key), pointerTo(v)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b := image(t, dir)
	h := sp.Head
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	slots, anchors := newestAnchors(b, h)
	if len(slots) < 3 {
		t.Fatalf("only %d anchors", len(slots))
	}
	for _, slot := range slots[:2] {
		clear(b[HeapName][format.AnchorOffset+slot*format.PageSize+40:][:64])
	}
	sp, err := openDamaged(t, dir, b)
	if err == nil {
		version := sp.Heap.VersionOf(sp.Live.Current())
		sp.Close()
		t.Fatalf("version %d is served; the anchors of %d and %d are damaged", version, anchors[0].Version, anchors[1].Version)
	}
	if damage := (*failure.CorruptError)(nil); !errors.As(err, &damage) || damage.Offset != format.AnchorOffset {
		t.Errorf("%v", err)
	}
}

// If the states of the two newest anchors are damaged, and the journal does not lead from an older
// anchor to their versions, the error says that newer versions existed.
func TestRecover_DoesNotGoBackBehindAnAnchor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	for i := range uint64(4) {
		store(t, sp, id, 1, 100+i)
		if err := errors.Join(sp.Sync(), sp.Anchor(false)); err != nil {
			t.Fatal(err)
		}
	}
	b := image(t, dir)
	h := sp.Head
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	_, anchors := newestAnchors(b, h)
	for _, a := range anchors[:2] {
		b[HeapName][a.State-h.Base+format.HeaderSize+8] ^= 1
	}
	if sp, err := openDamaged(t, dir, b); err != nil {
		t.Errorf("although the journal has all versions: %v", err)
	} else {
		if got := load(t, sp, id, 1); got != 103 {
			t.Errorf("recovered %d", got)
		}
		verify(t, sp)
	}
	clear(b[journal.FileName])
	if sp, err := openDamaged(t, dir, b); !errors.Is(err, failure.ErrCorrupt) {
		t.Errorf("%v", err)
		if err == nil {
			sp.Close()
		}
	}
}
