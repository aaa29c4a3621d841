package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/readahead"
)

// resident returns which pages of a file are in memory.
func resident(t *testing.T, path string) []bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	pages := make([]byte, (len(b)+4095)/4096)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(unsafe.Pointer(unsafe.SliceData(pages)))); errno != 0 {
		t.Fatal(errno)
	}
	in := make([]bool, len(pages))
	for i, p := range pages {
		in[i] = p&1 != 0
	}
	return in
}

// A space that is not in memory is read ahead once an operation waits for its pages, but not
// without background work.
func TestReadAhead_AfterAColdStart(t *testing.T) { // A1
	dir := filepath.Join(t.TempDir(), "s")
	heap := filepath.Join(dir, HeapName)
	o := Options{MaxSize: 256 << 20, Manual: true}
	sp, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	text := layout.IdentityOf[string]()
	list, err := sp.OpenList("l", text)
	if err != nil {
		t.Fatal(err)
	}
	large := string(make([]byte, 20_000))
	if err := sp.Change(false, func(tx *Tx) error {
		for range 1000 {
			if err := tx.Append(edit.ListOf{ID: list, Value: text}, unsafe.Pointer(&large), 1); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		for _, in := range resident(t, heap) {
			if in {
				n++
			}
		}
		return n
	}
	evict := func() int {
		f, err := os.Open(heap)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		return count()
	}
	const used = 1000 * 20_000 / 4096 // pages, at least
	if n := evict(); n > used/10 {
		t.Skipf("this file system keeps %d pages in memory", n)
	}
	read := func(o Options) (*Space, func()) {
		sp, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return sp, func() {
			before := mapping.MajorFaults()
			for i := 0; i < 1000 && mapping.MajorFaults() < before+2*readahead.Faults; i++ {
				err := sp.look(func(tx *Tx) error {
					p, err := tx.PeekItem(edit.ListOf{ID: list, Value: text}, i)
					if err == nil && len(*(*string)(p)) != len(large) { // this touches the page
						err = fmt.Errorf("element %d has another length", i)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	sp, touch := read(o)
	touch()
	if n := count(); n > used/2 {
		t.Errorf("%d of %d pages are in memory without background work", n, used)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	evict()
	o.Manual = false
	sp, touch = read(o)
	touch()
	n := 0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n = count(); n >= used {
			break
		}
	}
	if n < used {
		t.Errorf("%d of %d pages are in memory", n, used)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}
