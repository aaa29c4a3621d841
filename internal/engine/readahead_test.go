package engine

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
)

// A piece is read in steps, in order, without what is not in use; all together no more
// than once, and no more than the limit.
func TestReadAhead_Pieces(t *testing.T) { // A2, A3, A4
	const extent = format.ExtentSize
	for _, c := range []struct {
		name       string
		end, limit uint64
		unused     []uint64 // extents
		fails      uint64   // offset of a step that does
		want       []string // what is read, piece by piece
	}{
		{name: "nothing", limit: 1 << 40, want: []string{""}},
		{name: "less than a step", end: 3 * extent, limit: 1 << 40, want: []string{"0+3", ""}},
		{name: "steps", end: 40 * extent, limit: 1 << 40, want: []string{"0+16 16+16 32+8", ""}},
		{name: "not in use", end: 20 * extent, limit: 1 << 40, unused: []uint64{0, 1, 5, 19}, want: []string{"2+3 6+13", ""}},
		{name: "a limit", end: 40 * extent, limit: 20 * extent, want: []string{"0+16", ""}},
		{name: "no memory is known of", end: extent, limit: 0, want: []string{""}},
		{name: "a page that cannot be read", end: 64 * extent, limit: 1 << 40, fails: 16 * extent, want: []string{"0+16 16+16", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a readAhead
			for i, want := range c.want {
				got := ""
				a.piece(c.end, c.limit, func(off uint64) bool { return !slices.Contains(c.unused, off/extent) }, func(off, n uint64) bool {
					if got != "" {
						got += " "
					}
					got += fmt.Sprint(off/extent, "+", n/extent)
					return c.fails == 0 || off != c.fails
				})
				if got != want || a.over != (i == len(c.want)-1 || want == "" || a.at >= c.end || c.fails != 0 || a.bytes+aheadStep > c.limit) {
					t.Errorf("piece %d: %q, want %q; over: %v", i, got, want, a.over)
				}
			}
		})
	}
	var a readAhead
	pieces := 0
	for end := uint64(5*aheadPiece + 3*extent); !a.over; pieces++ {
		before := a.bytes
		a.piece(end, 1<<40, func(uint64) bool { return true }, func(off, n uint64) bool { return true })
		if n := a.bytes - before; n > aheadPiece {
			t.Errorf("a piece of %d bytes", n)
		}
	}
	if pieces != 6 || a.bytes != 5*aheadPiece+3*extent {
		t.Errorf("%d bytes in %d pieces", a.bytes, pieces)
	}
}

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

// A space that is not in memory is read ahead once somebody waits for its pages, but not
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
			for i := 0; i < 1000 && mapping.MajorFaults() < before+2*aheadFaults; i++ {
				err := sp.look(func(tx *Tx) error {
					p, err := tx.PeekItem(edit.ListOf{ID: list, Value: text}, i)
					if err == nil && len(*(*string)(p)) != len(large) { // the page is touched
						err = fmt.Errorf("element %d is another one", i)
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

// What the control groups of the process may have bounds what is read ahead, whichever
// version they are of, and whichever of them has the limit.
func TestMemoryLimit(t *testing.T) { // A2
	for _, c := range []struct {
		name   string
		files  map[string]string
		groups string
		want   uint64
	}{
		{"none", nil, "", math.MaxUint64},
		{"nothing is limited", map[string]string{"a/memory.max": "max"}, "0::/a\n", math.MaxUint64},
		{"version 2", map[string]string{"a/b/memory.max": "1000\n", "a/memory.max": "2000\n"}, "0::/a/b\n", 1000},
		{"one around it", map[string]string{"a/b/memory.max": "3000\n", "a/memory.max": "2000\n"}, "0::/a/b\n", 2000},
		{"a container", map[string]string{"memory.max": "500\n"}, "0::/somewhere/else\n", 500},
		{"another group's", map[string]string{"c/memory.max": "1\n"}, "0::/a\n", math.MaxUint64},
		{"version 1", map[string]string{"memory/a/memory.limit_in_bytes": "4096\n"}, "5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n", 4096},
		{"both", map[string]string{"unified/a/memory.max": "70\n", "memory/a/memory.limit_in_bytes": "80\n"}, "4:memory:/a\n0::/a\n", 70},
		{"nonsense", map[string]string{"a/memory.max": "x"}, "0::/a\nnonsense\n::\n0::/../../a\n", math.MaxUint64},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range c.files {
				name = filepath.Join(root, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if got := memoryLimit(root, c.groups); got != c.want {
				t.Errorf("%d, not %d", got, c.want)
			}
		})
	}
	if there := memoryThere(); there == 0 {
		t.Error("this machine has no memory")
	}
}
