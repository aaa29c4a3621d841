package powercut

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/mapping"
)

// slow is a file whose WriteAt first lets another goroutine look at the disk, and then writes.
type slow struct {
	mapping.File
	before func()
}

// WriteAt implements mapping.File.
func (s slow) WriteAt(p []byte, off int64) (int, error) {
	s.before()
	return s.File.WriteAt(p, off)
}

// Bytes that were written and synced are on disk, even if another goroutine looks at the
// disk after the write has begun and before it has written anything.
func TestDisk_ObservedWhileAWriteBegins(t *testing.T) {
	d, dir := New(), t.TempDir()
	opened, err := d.OpenFile(filepath.Join(dir, "journal"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	f := opened.(*file)
	f.File = slow{f.File, func() { d.Observe(); d.Observe() }}
	want := bytes.Repeat([]byte("written"), 100)
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		t.Fatal(err)
	}
	image := t.TempDir()
	if err := d.Image(image, "journal", d.Observe(), AllOld, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(image, "journal"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the disk has %d bytes of %d: %v", len(got), len(want), err)
	}
}
