//go:build invariants && linux

package invariant

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// recordsIn sets the directory of the records of a test; "": there are none.
func recordsIn(t *testing.T, dir string) {
	t.Helper()
	before := recordDir
	recordDir = func() string { return dir }
	t.Cleanup(func() { recordDir = before })
}

// Without a record every method does nothing.
func TestRecord_DoesWithoutOne(t *testing.T) { // D1
	s := subject(t)
	unwritable := filepath.Join(s.Dir, "none")
	noSpace := filepath.Join(t.TempDir(), "records")
	if err := os.Mkdir(noSpace, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"off": "", "no such directory": unwritable, "a file in the way": noSpace} {
		t.Run(name, func(t *testing.T) {
			recordsIn(t, dir)
			if dir == noSpace {
				if err := os.Mkdir(recordPath(s.Heap), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			Distrust(s.Dir)
			r := OpenRecord(s)
			r.Join()
			r.Own(1<<9, func(uint64) bool { return true })
			r.Note(Epoch, 0, 1, 2)
			r.Clear(1)
			if r.Asserts() || r.Strangers(7) || r.Block(1, 2) != nil || r.Extent(1) != nil || r.History(0) != "" {
				t.Errorf("a missing record answers: %+v", r)
			}
			r.Close()
		})
	}
}

// crowded returns a record on a file system with space only for the first bytes of its file.
// A file that is sealed against growth behaves in the same way.
func crowded(t *testing.T, space int64) *record {
	t.Helper()
	fd, err := unix.MemfdCreate("record", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "record")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(space); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		t.Fatal(err)
	}
	return &record{file: f}
}

// Wherever the file system becomes full, the record ends: touching a page without disk space
// would raise a signal.
func TestRecord_EndsWhereTheDiskIsFull(t *testing.T) { // D2
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if r := crowded(t, headBytes-pageBytes); r.mapHead() == nil {
		t.Error("the head is mapped, but it has no disk space")
	}
	for _, pages := range []int64{0, 1, 2, 7} {
		r := crowded(t, headBytes+pages*pageBytes)
		if err := r.mapHead(); err != nil {
			t.Fatal(err)
		}
		Record{r}.Own(1<<9, func(uint64) bool { return true })
		for i := range uint64(ringEvents) {
			Record{r}.Note(Took, i<<4, i, i)
		}
		noted := uint64(0)
		if r.row != nil {
			noted = r.row.count.Load()
		}
		if want := uint64(pages * perPage); noted > want || noted+perPage < want || pages > 0 && r.ring.Load() != nil {
			t.Errorf("%d events were noted in %d pages", noted, pages)
		}
		if w := (Record{r}).Extent(3); w != nil || (Record{r}).Asserts() {
			t.Error("the ledger asserts, but it has no disk space")
		}
		open.Delete(r)
	}
	r := crowded(t, ledgerAt+2*pageBytes) // space for the extents of a chunk, and for the first blocks of its first extent
	if err := r.mapHead(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{0, 1, pageBytes / 8, blocksOfExtent - 1} {
		if w := (Record{r}).Block(0, n); w != nil {
			w.Store(1)
		} else if n < pageBytes/8 {
			t.Errorf("block %d has no word", n)
		}
	}
	if (Record{r}).Asserts() || r.head.off.Load() != offNoRoom {
		t.Error("the ledger asserts, but it has no disk space for all blocks")
	}
}
