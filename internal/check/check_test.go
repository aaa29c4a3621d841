package check_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/layout"
)

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// link is a value with a handle.
type link struct {
	_  layout.RefOf[string]
	ID uint64
}

// A world is a space with an object of each kind.
type world struct {
	*heaptest.Space
	t      *testing.T
	reader heap.Reader
	state  format.Addr
}

// newWorld makes a world with some entries in each object.
func newWorld(t *testing.T, entries int) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "space")
	sp, err := engine.Open(dir, engine.Options{MaxSize: 64 << 20})
	must(t, err)
	text, number := layout.IdentityOf[string](), layout.IdentityOf[uint64]()
	must(t, sp.Change(false, func(tx *engine.Tx) error {
		hashed, err := tx.OpenMap("hashed", edit.MapOf{Key: text, Value: text})
		must(t, err)
		sorted, err := tx.OpenMap("sorted", edit.MapOf{Key: number, Value: text, Sorted: true})
		must(t, err)
		links, err := tx.OpenMap("links", edit.MapOf{Key: number, Value: layout.IdentityOf[link]()})
		must(t, err)
		list, err := tx.OpenList("list", text)
		must(t, err)
		for i := range uint64(entries) {
			key, value := fmt.Sprint("key ", i), strings.Repeat("value ", int(i%40))
			must(t, tx.Set(edit.MapOf{ID: hashed, Key: text, Value: text}, unsafe.Pointer(&key), unsafe.Pointer(&value)))
			must(t, tx.Set(edit.MapOf{ID: sorted, Key: number, Value: text, Sorted: true}, unsafe.Pointer(&i), unsafe.Pointer(&value)))
			must(t, tx.Append(edit.ListOf{ID: list, Value: text}, unsafe.Pointer(&value), 1))
			id, err := tx.NewValue(text, unsafe.Pointer(&value))
			must(t, err)
			l := link{ID: uint64(id)}
			must(t, tx.Set(edit.MapOf{ID: links, Key: number, Value: layout.IdentityOf[link]()}, unsafe.Pointer(&i), unsafe.Pointer(&l)))
		}
		return nil
	}))
	for i := range uint64(entries / 10) { // each in a version of its own
		key, value := fmt.Sprint("key ", i), "another value"
		id, err := sp.OpenMap("hashed", edit.MapOf{Key: text, Value: text})
		must(t, err)
		must(t, sp.Alone(false).Set(edit.MapOf{ID: id, Key: text, Value: text}, unsafe.Pointer(&key), unsafe.Pointer(&value)))
	}
	h := sp.Header()
	must(t, sp.Close())
	w := &world{Space: (&heaptest.Space{Dir: dir, Header: h}).Join(t), t: t}
	w.reader = w.Heap.Reader(true)
	w.state = w.Live.Current()
	return w
}

// marks returns an empty set.
func (w *world) marks() *heap.Marks { return w.Heap.NewMarks(w.Live.Carved()) }

// verify verifies the version.
func (w *world) verify() *check.Report {
	return check.Verify(&w.reader, w.state, w.marks(), func(k, v *layout.Type) *entry.Shape { return entry.NewShape(k, v, w.Header.Secret) })
}

// blocks lists the blocks that the version can reach.
func (w *world) blocks() (list []format.Addr) {
	w.t.Helper()
	must(w.t, check.Newer(&w.reader, w.state, 0, func(a format.Addr, _ format.ByteCount) { list = append(list, a) }))
	return list
}

// kindOf returns the kind of a block.
func kindOf(a format.Addr) format.Kind {
	return (*format.BlockHeader)(unsafe.Add(unsafe.Pointer(nil), uintptr(a))).Kind()
}

// edit calls fn with the writable bytes of a block, and with a function that corrects its checksum.
// Afterwards it restores the block.
func (w *world) edit(a format.Addr, fn func(block []byte, seal func())) {
	w.t.Helper()
	_ = w.Update(w.t, func(txn *heap.Txn) error {
		size := int(w.reader.Size(a)) + format.HeaderSize
		block := unsafe.Slice((*byte)(unsafe.Add(txn.Payload(a), -format.HeaderSize)), size)
		was := append([]byte(nil), block...)
		fn(block, func() {
			sum := format.BlockSum(block, uint64(a)-w.Header.Base)
			*(*uint32)(unsafe.Pointer(&block[0])) = sum
		})
		copy(block, was)
		return fmt.Errorf("not to be published")
	})
}

// An undamaged version has no findings and the right counts, and marking visits the same blocks as
// verifying.
func TestVerify_Whole(t *testing.T) {
	for _, entries := range []int{0, 1, 700} {
		w := newWorld(t, entries)
		report := w.verify()
		for _, f := range report.Findings {
			t.Errorf("%d entries: %+v", entries, f)
		}
		if want := uint64(5 * entries); report.Entries < want || report.Entries > want+20 { // plus names and types
			t.Errorf("%d entries of each kind are counted as %d", entries, report.Entries)
		}
		list := w.blocks()
		if report.Blocks != len(list) {
			t.Errorf("%d blocks are verified, and %d are met", report.Blocks, len(list))
		}
		marks := w.marks()
		must(t, check.Mark(&w.reader, w.state, marks))
		must(t, check.Complete(&w.reader, w.state, w.marks()))
		if marks.Blocks != report.Blocks || marks.Bytes != report.Bytes {
			t.Errorf("%d blocks with %d bytes are marked, and %d with %d verified", marks.Blocks, marks.Bytes, report.Blocks, report.Bytes)
		}
		seen := map[format.Addr]bool{}
		for _, a := range list {
			if seen[a] || !marks.Has(a) {
				t.Errorf("block %#x is met twice, or is not marked", a)
			}
			seen[a] = true
		}
	}
}

// Whichever block is changed, Verify finds exactly that block, and Mark fails; blocks that can be
// reached without it are verified nevertheless.
func TestVerify_FindsWhichBlock(t *testing.T) {
	w := newWorld(t, 60)
	kinds := map[format.Kind]int{}
	for _, a := range w.blocks() {
		kind := kindOf(a)
		if kinds[kind]++; kinds[kind] > 12 {
			continue
		}
		w.edit(a, func(block []byte, seal func()) {
			block[len(block)-1] ^= 1
			report := w.verify()
			found := 0
			for _, f := range report.Findings {
				if f.Addr == a {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%v %#x is damaged, and found %d times: %+v", kind, a, found, report.Findings)
			}
			if err := check.Mark(&w.reader, w.state, w.marks()); err == nil {
				t.Errorf("%v %#x is damaged, and marked", kind, a)
			}
		})
	}
	if len(w.verify().Findings) != 0 || len(kinds) < 8 {
		t.Errorf("the space is not what it was, or there are %d kinds of blocks only", len(kinds))
	}
}

// A block with a correct checksum is not trusted either. Whichever word of it is changed, the walks
// end; Verify finds the change unless the word is part of a program's value, which may be anything.
func TestVerify_FindsWhatAChecksumCovers(t *testing.T) {
	w := newWorld(t, 40)
	met, changed, found := map[format.Kind]int{}, map[format.Kind]int{}, map[format.Kind]int{}
	for _, a := range w.blocks() {
		kind := kindOf(a)
		if met[kind]++; met[kind] > 3 {
			continue
		}
		for at := format.HeaderSize; at+8 <= int(w.reader.Size(a))+format.HeaderSize; at += 8 {
			for _, change := range []uint64{1, 1 << 20, 1 << 45, 1 << 63} {
				w.edit(a, func(block []byte, seal func()) {
					*(*uint64)(unsafe.Pointer(&block[at])) ^= change
					seal()
					if !marksIndexed(kind, at, change) {
						changed[kind]++
						if len(w.verify().Findings) > 0 {
							found[kind]++
						}
					}
					_ = check.Mark(&w.reader, w.state, w.marks())
				})
			}
		}
	}
	for kind, n := range changed {
		t.Logf("%v: of %d changes %d are found", kind, n, found[kind])
		switch kind {
		case format.KindInner, format.KindBucket, format.KindTable, format.KindBranch, format.KindLeaf, format.KindMap, format.KindSorted, format.KindList:
			if found[kind] < n {
				t.Errorf("%v: of %d changes only %d are found", kind, n, found[kind])
			}
		}
	}
}

// marksIndexed reports whether a change marks a map as indexed, although no index is declared. That
// is not damage: readers look for indexes and find none, and a salvage that has lost the declarations
// leaves such maps (IX2).
func marksIndexed(kind format.Kind, at int, change uint64) bool {
	key := format.HeaderSize + int(unsafe.Offsetof(format.MapObject{}.Key))
	return (kind == format.KindMap || kind == format.KindSorted) && at == key && change == format.Indexed
}

// Newer finds exactly the blocks written after a version.
func TestNewer(t *testing.T) {
	w := newWorld(t, 50)
	births := map[format.Version]int{}
	all := w.blocks()
	for _, a := range all {
		births[w.reader.Birth(a)]++
	}
	if len(births) < 2 {
		t.Fatalf("all blocks are of one version: %v", births)
	}
	for version := range births {
		want := 0
		for birth, n := range births {
			if birth > version {
				want += n
			}
		}
		got := 0
		must(t, check.Newer(&w.reader, w.state, version, func(a format.Addr, size format.ByteCount) {
			got++
			if w.reader.Birth(a) <= version || size != w.reader.BlockBytes(a) {
				t.Errorf("block %#x, of %d bytes, is no newer than version %d", a, size, version)
			}
		}))
		if got != want {
			t.Errorf("%d blocks are newer than version %d, and %d are met", want, version, got)
		}
	}
}

// A report has each block once, and a bounded number of findings.
func TestReport_Add(t *testing.T) {
	var r check.Report
	for range 3 {
		r.Add(check.Finding{Addr: 16, What: "bad"})
		r.Add(check.Finding{What: "no particular block"})
	}
	if len(r.Findings) != 4 {
		t.Errorf("%d findings, of which one block's should stand once", len(r.Findings))
	}
	for i := range 5000 {
		r.Add(check.Finding{Addr: format.Addr(32 + i*16)})
	}
	if len(r.Findings) > 1000 {
		t.Errorf("a report has %d findings", len(r.Findings))
	}
}
