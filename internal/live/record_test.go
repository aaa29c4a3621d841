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

// The record is opened after the seal of the words was verified, and reads one of the words.
// A file that was truncated in between counts as one that was truncated before.
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
