package salvage_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/salvage"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/trie"
)

// A graph has the blocks of one version, and which of them refer to which.
type graph struct {
	root     format.Addr
	types    []format.Addr
	blocks   map[format.Addr]format.ByteCount // sizes, headers included
	children map[format.Addr][]format.Addr
	entries  map[format.Addr][2]uint64 // index of the map, key
	base     uint64
}

// graphOf walks the newest version of a closed space. It finds the references from the words
// of each block, and so is independent of the code that it tests.
func graphOf(t *testing.T, dir string) *graph {
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
	g := &graph{blocks: map[format.Addr]format.ByteCount{}, children: map[format.Addr][]format.Addr{}, entries: map[format.Addr][2]uint64{}, base: header.Base}
	r := heap.Detached(region, uint64(size)).Reader(true)
	newest := newestAnchor(t, file, header)
	root := format.Link(blocksOf(&r, format.Addr(newest.State))[1])
	visit := func(a format.Addr, kind format.Kind) (bool, error) {
		g.blocks[a] = r.Size(a) + format.HeaderSize
		return true, r.Verify(a, kind)
	}
	g.root = root.Addr()
	err = table.Walk(&r, root, visit, func(index uint64, a format.Addr) error {
		if r.Kind(a) == format.KindType {
			g.types = append(g.types, a)
			_, err := visit(a, format.KindType)
			return err
		}
		if _, err := visit(a, format.KindMap); err != nil {
			return err
		}
		return trie.Blocks(&r, format.Link(blocksOf(&r, a)[2]), func(a format.Addr, kind format.Kind) (bool, error) {
			if kind == format.KindEntry && index >= format.FirstIndex {
				g.entries[a] = [2]uint64{index, blocksOf(&r, a)[1]}
			}
			return visit(a, kind)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for a := range g.blocks {
		if r.Kind(a) == format.KindEntry || r.Kind(a) == format.KindType {
			continue
		}
		for _, w := range blocksOf(&r, a) {
			if to := format.Addr(w & format.AddrMask); g.blocks[to] > 0 {
				g.children[a] = append(g.children[a], to)
			}
		}
	}
	return g
}

// newestAnchor returns the newest anchor of a heap file.
func newestAnchor(t *testing.T, file mapping.File, h *format.Header) (newest *format.Anchor) {
	t.Helper()
	page := make([]byte, format.PageSize)
	for i := range format.NumAnchors {
		if _, err := file.ReadAt(page, format.AnchorOffset+int64(i)*format.PageSize); err != nil {
			t.Fatal(err)
		}
		if a, err := format.DecodeAnchor(page, i, h); err == nil && a.Newer(newest) {
			newest = a
		}
	}
	return newest
}

// newestAnchorIn returns the newest anchor of the space in a directory.
func newestAnchorIn(t *testing.T, dir string) *format.Anchor {
	t.Helper()
	file, err := mapping.OpenFile(filepath.Join(dir, engine.HeapName), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	header, err := spacefile.ReadHeader(file)
	if err != nil {
		t.Fatal(err)
	}
	return newestAnchor(t, file, header)
}

// blocksOf returns the payload of a block.
func blocksOf(r *heap.Reader, a format.Addr) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)), r.Size(a)/8)
}

// left returns the entries that are reachable without the damaged blocks.
func (g *graph) left(damaged map[format.Addr]bool) map[[2]uint64]bool {
	left := map[[2]uint64]bool{}
	if slices.ContainsFunc(g.types, func(a format.Addr) bool { return damaged[a] }) {
		return left // all maps have the same type
	}
	seen := map[format.Addr]bool{}
	types := 0
	for todo := []format.Addr{g.root}; len(todo) > 0; {
		a := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if damaged[a] || seen[a] {
			continue
		}
		seen[a] = true
		if e, ok := g.entries[a]; ok {
			left[e] = true
		}
		if slices.Contains(g.types, a) {
			types++
		}
		todo = append(todo, g.children[a]...)
	}
	if types < len(g.types) { // the node of the object table that refers to the type
		clear(left)
	}
	return left
}

// entriesOf reads the entries of maps of words from a backup.
func entriesOf(t *testing.T, stream []byte) map[[2]uint64]uint64 {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	list := map[[2]uint64]uint64{}
	for {
		h, payload, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if index := format.ObjectOf(h.What); format.OpKindOf(h.What) == format.OpSet && index >= format.FirstIndex {
			list[[2]uint64{index, binary.LittleEndian.Uint64(payload[8:])}] = binary.LittleEndian.Uint64(payload[16:])
		}
	}
}

// maze creates a space with many maps in one version, and closes it.
func maze(t *testing.T, dir string) (f files, g *graph, all map[[2]uint64]uint64) {
	t.Helper()
	sp, _ := begin(t, dir)
	err := sp.Change(false, func(tx *engine.Tx) error {
		for i := range uint64(150) {
			id, err := tx.NewMap(words(0))
			if err != nil {
				return err
			}
			n := i * i % 97
			if i%50 == 7 {
				n = 3000
			}
			for key := range n {
				value := key*1000 + i
				if err := tx.Set(words(id), unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	tx, err := sp.View()
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Backup(&b); err != nil {
		t.Fatal(err)
	}
	tx.EndView()
	all = entriesOf(t, b.Bytes())
	verify(t, sp)
	g = graphOf(t, dir)
	f = imageOf(t, dir)
	if left := g.left(nil); len(left) != len(all) || len(all) < 9000 {
		t.Fatalf("%d entries in the graph, %d in the backup", len(left), len(all))
	}
	return f, g, all
}

// files has the files of a space, by name.
type files map[string][]byte

// imageOf returns the heap file of a closed space. It leaves out the journal, from which everything could be recovered.
func imageOf(t *testing.T, dir string) files {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, engine.HeapName))
	if err != nil {
		t.Fatal(err)
	}
	return files{engine.HeapName: b}
}

// words returns the type of a map of words with an ID.
func words(id format.ID) edit.MapOf {
	return edit.MapOf{ID: id, Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[uint64]()}
}

// begin opens a space whose background writes no anchors, and its map.
func begin(t *testing.T, dir string) (*engine.Space, format.ID) {
	t.Helper()
	sp, err := engine.Open(dir, engine.Options{MaxSize: 256 << 20, AnchorInterval: time.Hour, FlushInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	id, err := sp.OpenMap("m", words(0))
	if err != nil {
		t.Fatal(err)
	}
	return sp, id
}

// store stores a word.
func store(t *testing.T, sp *engine.Space, id format.ID, key, value uint64) {
	t.Helper()
	if err := sp.Alone(false).Set(words(id), unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
		t.Fatal(err)
	}
}

// load reads a key; 0 if it is missing.
func load(t *testing.T, sp *engine.Space, id format.ID, key uint64) (value uint64) {
	t.Helper()
	if _, err := sp.Alone(false).Get(words(id), unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
		t.Fatal(err)
	}
	return value
}

// verify checks and closes a space.
func verify(t *testing.T, sp *engine.Space) {
	t.Helper()
	report, err := sp.Check(context.Background())
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("check: %v (%v)", report, err)
	}
	if err := sp.Close(); err != nil {
		t.Error(err)
	}
}

// salvageIn salvages files in a new directory, and restores the backup.
func salvageIn(t *testing.T, f files) (*salvage.Report, map[[2]uint64]uint64) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range f {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	report, err := salvage.Run(dir, &b)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	if err := engine.Restore(to, bytes.NewReader(b.Bytes()), engine.Options{Files: withoutSync}, nil); err != nil {
		t.Fatal(err)
	}
	sp, err := engine.Open(to, engine.Options{Files: withoutSync})
	if err != nil {
		t.Fatal(err)
	}
	got := entriesOf(t, b.Bytes())
	for e, want := range got {
		if e[0] > 155 {
			continue // not a map of words
		}
		if value := load(t, sp, format.MakeID(sp.Tag(), e[0]), e[1]); value != want {
			t.Fatalf("map %d has the value %d at key %d, not %d", e[0], value, e[1], want)
		}
	}
	verify(t, sp)
	return report, got
}

// unsynced is a file whose syncs do nothing.
type unsynced struct{ mapping.File }

func (unsynced) Datasync() error { return nil }

func withoutSync(path string, flag int, perm os.FileMode) (mapping.File, error) {
	f, err := mapping.OpenFile(path, flag, perm)
	return unsynced{f}, err
}

// Whatever blocks are damaged, Run salvages all entries that are reachable without them, and
// no others.
func TestSalvage_WhatIsLeft(t *testing.T) { // Y3
	f, g, all := maze(t, filepath.Join(t.TempDir(), "s"))
	var nodes, leaves []format.Addr
	for _, a := range slices.Sorted(maps.Keys(g.blocks)) {
		if g.children[a] != nil {
			nodes = append(nodes, a)
		} else {
			leaves = append(leaves, a)
		}
	}
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 11))
		damaged := map[format.Addr]bool{}
		hurt := files{engine.HeapName: bytes.Clone(f[engine.HeapName])}
		hit := func(a format.Addr) {
			if !damaged[a] {
				damaged[a] = true
				hurt[engine.HeapName][uint64(a)-g.base+r.Uint64N(uint64(g.blocks[a]))] ^= 1 << r.IntN(8)
			}
		}
		for range 1 + r.IntN(6) {
			hit(nodes[r.IntN(len(nodes))])
		}
		for range r.IntN(20) {
			if a := leaves[r.IntN(len(leaves))]; !slices.Contains(g.types, a) || r.IntN(5) == 0 {
				hit(a)
			}
		}
		if r.IntN(3) == 0 {
			clear(hurt[engine.HeapName][format.TableOffset:][:format.ExtentSize])
		}
		if r.IntN(3) == 0 {
			clear(hurt[engine.HeapName][format.AnchorOffset:format.TableOffset])
		}
		report, got := salvageIn(t, hurt)
		want := g.left(damaged)
		for e := range want {
			if v, ok := got[e]; !ok || v != all[e] {
				t.Fatalf("seed %d: the entry %d of map %d is reachable, and is missing: %+v", seed, e[1], e[0], report)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d entries, want %d", seed, len(got), len(want))
		}
		if report.Lost == 0 {
			t.Fatalf("seed %d: the report does not mention the damage", seed)
		}
	}
}

// The state of the newest version and the states beside it are lost, and so are the anchors
// or the states that they name. Run finds the object table nevertheless.
func TestSalvage_StatesLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	f, _, all := maze(t, dir)
	for _, anchors := range []bool{true, false} {
		hurt := files{engine.HeapName: bytes.Clone(f[engine.HeapName])}
		b := hurt[engine.HeapName]
		if !anchors {
			clear(b[format.AnchorOffset:format.TableOffset])
		}
		for off := format.FirstExtent(256 << 20); off+128 <= uint64(len(b)); off += 128 {
			if _, err := format.DecodeState(b[off:], uint64(off)); err == nil {
				b[off+20] ^= 1
			}
		}
		report, got := salvageIn(t, hurt)
		if !maps.Equal(got, all) {
			t.Errorf("%d entries of %d: %+v", len(got), len(all), report)
		}
		if report.Lost == 0 {
			t.Errorf("the report does not mention the damage: %+v", report)
		}
	}
}

// A page that cannot be read costs the blocks on it. A file that is truncated while Run
// reads it looks the same.
func TestSalvage_UnreadablePages(t *testing.T) {
	f, _, all := maze(t, filepath.Join(t.TempDir(), "s"))
	for _, keep := range []int{len(f[engine.HeapName]) / 2, 400 << 10, 200 << 10} {
		dir := t.TempDir()
		path := filepath.Join(dir, engine.HeapName)
		if err := os.WriteFile(path, f[engine.HeapName], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := salvage.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(keep)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := s.Work(&b); err != nil {
			var damage *format.DamageError
			if !errors.As(err, &damage) {
				t.Errorf("%d bytes left: %v", keep, err)
			}
		} else {
			for e, v := range entriesOf(t, b.Bytes()) {
				if all[e] != v {
					t.Errorf("the entry %v is %d, not %d", e, v, all[e])
				}
			}
			to := filepath.Join(t.TempDir(), "restored")
			if err := engine.Restore(to, &b, engine.Options{}, nil); err != nil {
				t.Error(err)
			}
		}
		s.Close()
	}
}

// A block with a later birth than a version is not one of its blocks, even if it is intact.
func TestSalvage_YoungerBlocks(t *testing.T) { // Y3
	dir := filepath.Join(t.TempDir(), "s")
	sp, id := begin(t, dir)
	store(t, sp, id, 1, 2)
	verify(t, sp)
	s, err := salvage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	newest := newestAnchor(t, s.File(), s.Header())
	state, version := format.Addr(newest.State), format.Version(newest.Version)
	if err := s.Verify(version, state, format.KindState); err != nil {
		t.Errorf("the state of version %d: %v", version, err)
	}
	if err := s.Verify(version-1, state, format.KindState); err == nil {
		t.Errorf("a block of version %d belongs to version %d", version, version-1)
	}
}

// Run finds no versions inside a value that holds the bytes of a whole heap.
func TestSalvage_HeapInAHeap(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	f, _, all := maze(t, dir)
	sp, err := engine.Open(dir, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The inner heap has the same addresses, and its states look newer than all others.
	inner := bytes.Clone(f[engine.HeapName])
	for off := format.FirstExtent(256 << 20); off+128 <= uint64(len(inner)); off += 128 {
		if _, err := format.DecodeState(inner[off:], uint64(off)); err == nil {
			b := inner[off:]
			binary.LittleEndian.PutUint64(b[8:], format.MakeMeta(1<<40, format.KindState, format.ClassFor(format.ByteCount(format.StateSize))))
			binary.LittleEndian.PutUint64(b[format.HeaderSize:], 1<<40)
			binary.LittleEndian.PutUint32(b, format.BlockSum(b[:format.HeaderSize+format.StateSize], uint64(off)))
		}
	}
	of := textOf(0)
	id, err := sp.OpenMap("heaps", of)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 16, 48, 80, 112} {
		key, value := uint64(at), string(make([]byte, at))+string(inner)
		if err := sp.Alone(false).Set(textOf(id), unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, sp)
	hurt := imageOf(t, dir)
	version := format.Version(newestAnchorIn(t, dir).Version)
	clear(hurt[engine.HeapName][format.AnchorOffset:format.TableOffset])
	report, got := salvageIn(t, hurt)
	maps.DeleteFunc(got, func(e [2]uint64, _ uint64) bool { return e[0] == id.Index() })
	if report.Version != version || !maps.Equal(got, all) {
		t.Errorf("version %d, want %d; %d entries of %d", report.Version, version, len(got), len(all))
	}
}

// textOf returns the type of a map of words to strings with an ID.
func textOf(id format.ID) edit.MapOf {
	return edit.MapOf{ID: id, Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[string]()}
}
