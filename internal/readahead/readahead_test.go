package readahead

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/everheap/everheap/internal/format"
)

// A piece is read in steps, in order, without extents not in use; no byte is read twice, and no more
// than the limit.
func TestReadAhead_Pieces(t *testing.T) { // A2, A3, A4
	const extent = format.ExtentSize
	for _, c := range []struct {
		name       string
		end, limit uint64
		unused     []uint64 // extents
		fails      uint64   // offset of a step that fails
		want       []string // the ranges read, piece by piece
	}{
		{name: "nothing", limit: 1 << 40, want: []string{""}},
		{name: "less than a step", end: 3 * extent, limit: 1 << 40, want: []string{"0+3", ""}},
		{name: "steps", end: 40 * extent, limit: 1 << 40, want: []string{"0+16 16+16 32+8", ""}},
		{name: "not in use", end: 20 * extent, limit: 1 << 40, unused: []uint64{0, 1, 5, 19}, want: []string{"2+3 6+13", ""}},
		{name: "a limit", end: 40 * extent, limit: 20 * extent, want: []string{"0+16", ""}},
		{name: "unknown memory", end: extent, limit: 0, want: []string{""}},
		{name: "a page that cannot be read", end: 64 * extent, limit: 1 << 40, fails: 16 * extent, want: []string{"0+16 16+16", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Reader
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
	var a Reader
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

// memoryLimit finds the limit in control groups of both versions, in the group of the process and in
// its parents.
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
