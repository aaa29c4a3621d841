package salvage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/salvage"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/table"
)

// contents reads all files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// writable lists the files of a directory that this process can write, through open
// descriptors or mappings.
func writable(t *testing.T, dir string) (list []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.HasPrefix(to, dir+"/") {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		_, flags, _ := strings.Cut(string(info), "flags:")
		if flags = strings.Fields(flags)[0]; flags[len(flags)-1] != '0' { // the last digit is the access mode; 0 is read only
			list = append(list, "descriptor of "+to)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) > 5 && strings.HasPrefix(f[5], dir+"/") && f[1][1] == 'w' {
			list = append(list, "mapping of "+f[5])
		}
	}
	return list
}

// whileTold is a writer that calls a function at the first byte of a backup.
type whileTold struct{ fn func() }

func (w *whileTold) Write(b []byte) (int, error) {
	if w.fn != nil {
		w.fn()
		w.fn = nil
	}
	return len(b), nil
}

// Run refuses a space that a process has open; no process can open the space while Run reads
// it; and Run leaves its files as they were.
func TestSalvage_OnlyReads(t *testing.T) { // Y1
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	store(t, sp, id, 1, 2)
	if _, err := salvage.Run(dir, io.Discard); !errors.Is(err, spacefile.ErrBusy) {
		t.Errorf("salvaging a space that a process has open: %v", err)
	}
	verify(t, sp)
	before := contents(t, dir)
	locks, err := os.Open(filepath.Join(dir, engine.HeapName))
	if err != nil {
		t.Fatal(err)
	}
	defer locks.Close()
	looked := false
	w := &whileTold{fn: func() {
		looked = true
		if taken, err := oslock.HeldByOther(locks, format.LockGate); !taken || err != nil {
			t.Errorf("the gate is free while the space is salvaged: %v", err)
		}
		for _, what := range writable(t, dir) {
			t.Errorf("while it salvages the space, this process can write: %s", what)
		}
	}}
	if _, err := salvage.Run(dir, w); err != nil || !looked {
		t.Fatalf("the backup was begun: %v; %v", looked, err)
	}
	if !maps.Equal(contents(t, dir), before) {
		t.Error("the salvage has changed the files")
	}
}

// forge writes a state of a version without objects, newer than all others, into free
// memory, and returns its offset. Only its checksum is wrong.
func forge(t *testing.T, heap []byte) (off uint64) {
	t.Helper()
	class := format.ClassFor(format.ByteCount(format.StateSize))
	step := uint64(class.BlockSize())
	off = uint64(len(heap)) / format.ExtentSize * format.ExtentSize
	for free := false; !free; {
		if off -= step; off < format.FirstExtent(256<<20) {
			t.Fatal("the heap has no free block")
		}
		free = off%format.ExtentSize+step <= format.ExtentSize && off%format.ExtentSize%step == 0 &&
			!slices.ContainsFunc(heap[off:off+step], func(b byte) bool { return b != 0 })
	}
	b := heap[off:]
	binary.LittleEndian.PutUint32(b[4:], uint32(format.StateSize))
	binary.LittleEndian.PutUint64(b[8:], format.MakeMeta(1<<40, format.KindState, class))
	state := (*format.State)(unsafe.Pointer(&b[format.HeaderSize]))
	*state = format.State{Version: 1 << 40, NextIndex: 1 << 20, Catalog: format.CatalogIndex, Types: format.TypesIndex}
	binary.LittleEndian.PutUint32(b, 1^format.BlockSum(b[:format.HeaderSize+format.StateSize], off))
	return off
}

// Run does not trust live, the anchors and the extent table: it finds an intact version
// whatever they contain.
func TestSalvage_BelievesWhatVerifies(t *testing.T) { // Y2
	dir := filepath.Join(t.TempDir(), "s")
	f, g, all := maze(t, dir)
	heap := f[engine.HeapName]
	anchor := newestAnchorIn(t, dir)
	whole := func(t *testing.T, report *salvage.Report, got map[[2]uint64]uint64) {
		t.Helper()
		if report.Version != format.Version(anchor.Version) || !maps.Equal(got, all) {
			t.Errorf("version %d, want %d; %d entries of %d: %+v", report.Version, anchor.Version, len(got), len(all), report)
		}
	}
	t.Run("extent table", func(t *testing.T) {
		for seed := range uint64(4) {
			hurt := bytes.Clone(heap)
			r := rand.New(rand.NewPCG(seed, 5))
			for i := range int(format.FirstExtent(256<<20) - format.TableOffset) {
				hurt[format.TableOffset+i] = byte(r.Uint32()) * byte(seed) // with the first seed: all extents are free
			}
			report, got := salvageIn(t, files{engine.HeapName: hurt})
			whole(t, report, got)
		}
	})
	t.Run("anchor", func(t *testing.T) {
		hurt := bytes.Clone(heap)
		forged := *anchor
		forged.Version, forged.State, forged.Sequence = 1<<40, g.base+forge(t, hurt), anchor.Sequence+1
		forged.Carved = max(forged.Carved, uint64(len(hurt))/format.ExtentSize*format.ExtentSize)
		slot := 0
		for ; slices.ContainsFunc(hurt[format.AnchorOffset+slot*format.PageSize:][:format.PageSize], func(b byte) bool { return b != 0 }); slot++ {
		}
		copy(hurt[format.AnchorOffset+slot*format.PageSize:], forged.Encode())
		report, got := salvageIn(t, files{engine.HeapName: hurt})
		whole(t, report, got)
		if !slices.ContainsFunc(report.Findings, func(l salvage.Loss) bool { return strings.Contains(l.What, "the state of the anchored version") }) {
			t.Errorf("the report does not mention the anchor: %+v", report.Findings)
		}
	})
	t.Run("live", func(t *testing.T) { // in the original directory: live names this very heap file
		forged := bytes.Clone(heap)
		off := forge(t, forged)
		patch(t, filepath.Join(dir, engine.HeapName), int64(off), forged[off:off+128])
		current := unsafe.Offsetof(format.Live{}.Current)
		for _, to := range []uint64{g.base + off, g.base + off - 16, uint64(g.root), g.base + 1<<30, 1, 0} {
			patch(t, filepath.Join(dir, live.FileName), int64(current), binary.LittleEndian.AppendUint64(nil, to))
			var b bytes.Buffer
			report, err := salvage.Run(dir, &b)
			if err != nil {
				t.Fatal(err)
			}
			whole(t, report, entriesOf(t, b.Bytes()))
		}
	})
}

// patch overwrites a part of a file.
func patch(t *testing.T, path string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// objectAt is an object of a closed space, from its object table.
type objectAt struct {
	off     uint64
	kind    format.Kind
	payload []byte
}

// objectsOf lists the objects of the newest version of a closed space by their indexes.
func objectsOf(t *testing.T, dir string) map[uint64]objectAt {
	t.Helper()
	file, err := mapping.OpenFile(filepath.Join(dir, engine.HeapName), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	header, err := spacefile.ReadHeader(file)
	if err != nil {
		t.Fatal(err)
	}
	size, err := file.Size()
	if err != nil {
		t.Fatal(err)
	}
	region, err := mapping.Map(file, header.Base, header.Window, true)
	if err != nil {
		t.Fatal(err)
	}
	defer region.Close()
	r := heap.Detached(region, uint64(size)).Reader(true)
	root := format.Link(blocksOf(&r, format.Addr(newestAnchor(t, file, header).State))[1])
	objects := map[uint64]objectAt{}
	visit := func(a format.Addr, kind format.Kind) (bool, error) { return true, r.Verify(a, kind) }
	if err := table.Walk(&r, root, visit, func(index uint64, a format.Addr) error {
		payload := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)), r.Size(a))
		objects[index] = objectAt{uint64(a) - header.Base, r.Kind(a), bytes.Clone(payload)}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return objects
}

// Run leaves out and notes the journal's changes of lost objects, and a restore accepts the
// other changes.
func TestSalvage_ChangesOfWhatIsLost(t *testing.T) { // Y4
	dir := filepath.Join(t.TempDir(), "s")
	sp, m := begin(t, dir)
	large, err := sp.OpenMap("large", words(0))
	if err != nil {
		t.Fatal(err)
	}
	for key := range uint64(500) { // enough that no older version is better, though it has the lost objects
		store(t, sp, large, 1000+key, key)
	}
	store(t, sp, m, 1, 2)
	verify(t, sp)
	image, objects := imageOf(t, dir)[engine.HeapName], objectsOf(t, dir)
	sp, _ = begin(t, dir)
	later, err := sp.OpenMap("later", words(0))
	if err != nil {
		t.Fatal(err)
	}
	store(t, sp, m, 3, 4)
	store(t, sp, large, 7, 8)
	store(t, sp, later, 5, 6)
	if err := sp.Sync(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, journal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	verify(t, sp)

	word, err := layout.For[uint64]()
	if err != nil {
		t.Fatal(err)
	}
	inM, inLater, inLarge := [2]uint64{m.Index(), 1}, [2]uint64{later.Index(), 5}, [2]uint64{large.Index(), 7}
	for _, c := range []struct {
		name    string
		damaged func(index uint64, o objectAt) bool
		want    [][2]uint64
	}{
		{"nothing", func(uint64, objectAt) bool { return false }, [][2]uint64{inM, {m.Index(), 3}, inLater, inLarge}},
		{"a map", func(index uint64, _ objectAt) bool { return index == m.Index() }, [][2]uint64{inLater, inLarge}},
		{"the type of all keys", func(_ uint64, o objectAt) bool {
			return o.kind == format.KindType && bytes.HasPrefix(o.payload[unsafe.Sizeof(format.TypeObject{}):], word.Encode())
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			hurt, damaged := bytes.Clone(image), 0
			for index, o := range objects {
				if c.damaged(index, o) {
					damaged++
					hurt[o.off+format.HeaderSize] ^= 1
				}
			}
			report, got := salvageIn(t, files{engine.HeapName: hurt, journal.FileName: log})
			maps.DeleteFunc(got, func(e [2]uint64, _ uint64) bool { return e[1] >= 1000 })
			for _, e := range c.want {
				if _, ok := got[e]; !ok {
					t.Errorf("the entry %d of object %d is missing", e[1], e[0])
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("the entries %v, want %v", got, c.want)
			}
			noted := slices.ContainsFunc(report.Findings, func(l salvage.Loss) bool { return filepath.Base(l.File) == journal.FileName })
			if noted != (damaged > 0) || noted != (report.Lost > 0) || len(c.want) > 0 && report.Changes == 0 {
				t.Errorf("%d objects were damaged: %+v", damaged, report)
			}
		})
	}
}

// hide makes pages of the mapped heap file unreadable: touching them faults.
func hide(t *testing.T, h *format.Header, off, n uint64) {
	t.Helper()
	if err := unix.Mprotect(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(h.Base+off))), n), unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
}

// Pages that cannot be read cost the blocks on them, and the blocks that only those refer
// to. Run salvages everything else.
func TestSalvage_HiddenPages(t *testing.T) { // Y5
	f, g, all := maze(t, filepath.Join(t.TempDir(), "s"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, engine.HeapName), f[engine.HeapName], 0o600); err != nil {
		t.Fatal(err)
	}
	var pages []uint64 // the pages with blocks of the version
	for a := range g.blocks {
		off := uint64(a) - g.base
		if page := off &^ (format.PageSize - 1); !slices.Contains(pages, page) {
			pages = append(pages, page)
		}
	}
	slices.Sort(pages)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 21))
		s, err := salvage.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		damaged := map[format.Addr]bool{}
		for range 1 + r.IntN(5) {
			page := pages[r.IntN(len(pages))]
			hide(t, s.Header(), page, format.PageSize)
			for a, size := range g.blocks {
				if off := uint64(a) - g.base; off < page+format.PageSize && off+uint64(size) > page {
					damaged[a] = true
				}
			}
		}
		var b bytes.Buffer
		if err := s.Work(&b); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s.Close()
		got, want := entriesOf(t, b.Bytes()), g.left(damaged)
		for e := range want {
			if v, ok := got[e]; !ok || v != all[e] {
				t.Fatalf("seed %d: the entry %d of map %d can be read, and is missing", seed, e[1], e[0])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d entries, want %d", seed, len(got), len(want))
		}
	}
}
