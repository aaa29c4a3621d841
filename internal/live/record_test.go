//go:build invariants

package live_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/live"
)

// The record is opened after the words were found sealed, and reads one of them: a file that
// was cut in between is one that was cut before.
func TestOpen_CutBeforeItsRecord(t *testing.T) { // L14
	s := heaptest.Open(t, 1<<20)
	info, err := os.Stat(filepath.Join(s.Dir, engine.HeapName))
	if err != nil {
		t.Fatal(err)
	}
	dir := openDir(t, s.Dir)
	v, err := live.Open(dir, s.Header.SpaceID, info)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Leave(false)
	if err := os.Truncate(filepath.Join(s.Dir, live.FileName), 0); err != nil {
		t.Fatal(err)
	}
	if err := v.OpenRecord(dir, s.Header.SpaceID, info); !errors.Is(err, live.ErrUntrusted) {
		t.Errorf("%v, want %v", err, live.ErrUntrusted)
	}
}
