package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

func TestBackup_RoundTrip(t *testing.T) {
	s := scratch(t)
	fillAll(t, s, 1)
	first := backupOf(t, s)
	want := tell(t, first)
	if len(want) < 2000 {
		t.Fatalf("the backup tells %d things only", len(want))
	}
	again := restored(t, first)
	same(t, tell(t, backupOf(t, again)), want)
	if a, b := s.Engine().Header(), again.Engine().Header(); a.SpaceID == b.SpaceID || a.Base == b.Base || a.Tag != b.Tag || a.Secret != b.Secret || a.Window != b.Window {
		t.Errorf("restored %+v, from %+v", b, a)
	}
	m, err := everheap.OpenMap[string, string](again, stringToString.name)
	must(t, err)
	original, err := everheap.OpenMap[string, string](s, stringToString.name)
	must(t, err)
	if m != original {
		t.Errorf("the map has the ID %x, it was %x", m.ID(), original.ID())
	}
	for i := range 300 {
		key := stringKey(i)
		want, wantErr := original.Get(s, key)
		got, err := m.Get(again, key)
		if got != want || isNotFound(err) != isNotFound(wantErr) {
			t.Fatalf("key %d: %.60q, %v; want %.60q, %v", i, got, err, want, wantErr)
		}
	}
	fillAll(t, again, 2) // it can be written
}

// A hash cut to few bits makes chains.
func TestBackup_Collisions(t *testing.T) {
	s := scratch(t, everheap.WithHashBits(3))
	fillKind(t, s, stringToString, rand.New(rand.NewPCG(4, 4)), 200)
	stream := backupOf(t, s)
	same(t, tell(t, backupOf(t, restored(t, stream, everheap.WithHashBits(3)))), tell(t, stream))
	same(t, tell(t, backupOf(t, restored(t, stream))), tell(t, stream))
}

func TestBackup_EmptySpace(t *testing.T) {
	s := scratch(t)
	stream := backupOf(t, s)
	again := restored(t, stream)
	same(t, tell(t, backupOf(t, again)), tell(t, stream))
	fillAll(t, again, 1)
}

// nest is a value with a handle.
type nest struct {
	Name  string
	Inner everheap.Map[string, nest]
}

func TestBackup_HandlesInValues(t *testing.T) {
	s := scratch(t)
	const depth = 5
	update(t, s, func(tx *everheap.Tx) error {
		outer, err := everheap.OpenMap[string, nest](tx, "outer")
		if err != nil {
			return err
		}
		for i := range depth {
			inner, err := everheap.NewMap[string, nest](tx)
			if err != nil {
				return err
			}
			if err := outer.Set(tx, "next", nest{fmt.Sprint("level ", i), inner}); err != nil {
				return err
			}
			outer = inner
		}
		top, err := everheap.OpenMap[string, nest](tx, "outer")
		if err != nil {
			return err
		}
		return outer.Set(tx, "back", nest{"top", top}) // a cycle: a handle of an object that comes earlier
	})
	again := restored(t, backupOf(t, s))
	view(t, again, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[string, nest](tx, "outer")
		top := m
		for i := range depth {
			if err != nil {
				return err
			}
			var n nest
			n, err = m.Get(tx, "next")
			if n.Name != fmt.Sprint("level ", i) {
				t.Errorf("level %d is %q", i, n.Name)
			}
			m = n.Inner
		}
		n, err := m.Get(tx, "back")
		if n.Inner != top {
			t.Errorf("the way back leads to %x, not to %x", n.Inner.ID(), top.ID())
		}
		return err
	})
}

// What was never filled, and what has no name, is there; and an index that was used
// is not used again.
func TestBackup_AnonymousAndEmptyMaps(t *testing.T) {
	s := scratch(t)
	var anonymous, last everheap.Map[string, int]
	update(t, s, func(tx *everheap.Tx) (err error) {
		if _, err = everheap.OpenMap[string, int](tx, "empty"); err != nil {
			return err
		}
		if anonymous, err = everheap.NewMap[string, int](tx); err != nil {
			return err
		}
		last, err = everheap.NewMap[string, int](tx)
		return errors.Join(err, anonymous.Set(tx, "a", 1))
	})
	again := restored(t, backupOf(t, s))
	m, err := everheap.OpenMap[string, int](again, "empty")
	must(t, err)
	if n, err := m.Len(again); n != 0 || err != nil {
		t.Errorf("the empty map has %d entries, %v", n, err)
	}
	if v, err := anonymous.Get(again, "a"); v != 1 || err != nil {
		t.Errorf("the map without a name: %d, %v", v, err)
	}
	update(t, again, func(tx *everheap.Tx) error {
		next, err := everheap.NewMap[string, int](tx)
		if next.ID()&format.AddrMask != last.ID()&format.AddrMask+1 {
			t.Errorf("the next map is %x, after %x", next.ID(), last.ID())
		}
		return err
	})
}

// Indexes of objects that are gone, at the end of the table and in the middle, are
// not used again.
func TestBackup_IndexesOfTheDeleted(t *testing.T) {
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, format.BackupHead{Window: small, Limit: small, Version: 7, Tag: 5, Secret: 99})
	must(t, err)
	text, _ := layout.For[string]()
	descriptor := append([]byte{byte(len(text.Encode())), 0, 0, 0, 0, 0, 0, 0}, text.Encode()...)
	must(t, w.Put(format.OpHead{What: format.MakeWhat(format.OpNewType, 10)}, descriptor))
	must(t, w.Put(format.OpHead{What: format.MakeWhat(format.OpNewMap, 5000), Addr: 10, Arg: 10}, nil))
	must(t, w.Close(70_000, 4, 0))
	s := restored(t, b.Bytes())
	update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewMap[string, string](tx)
		if index := format.ID(m.ID()).Index(); index < 70_000 || index > 70_002 { // two types come first
			t.Errorf("the next map has index %d", index)
		}
		return err
	})
	same(t, tell(t, backupOf(t, restored(t, backupOf(t, s)))), tell(t, backupOf(t, s)))
}

func TestBackup_LargeValues(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, []byte](t, s)
	sizes := []int{0, 1, 32 << 10, 64 << 10, 64<<10 + 1, 256<<10 - 100, 256 << 10, 1 << 20, 5<<20 + 3, 40 << 20}
	for i, n := range sizes {
		must(t, m.Set(s, i, bytes.Repeat([]byte{byte(i + 1)}, n)))
	}
	again := restored(t, backupOf(t, s))
	m = mapOf[int, []byte](t, again)
	for i, n := range sizes {
		if v, err := m.Get(again, i); err != nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Errorf("value %d: %d bytes, want %d; %v", i, len(v), n, err)
		}
	}
}

func TestBackup_ThousandMaps(t *testing.T) {
	s := scratch(t)
	update(t, s, func(tx *everheap.Tx) error {
		for i := range 1000 {
			m, err := everheap.OpenMap[int, string](tx, fmt.Sprint("map ", i))
			if err != nil {
				return err
			}
			for j := range i % 7 {
				if err := m.Set(tx, j, fmt.Sprint(i, j)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	stream := backupOf(t, s)
	again := restored(t, stream)
	same(t, tell(t, backupOf(t, again)), tell(t, stream))
	list, err := again.Collections()
	must(t, err)
	if len(list) != 1000 {
		t.Errorf("%d collections", len(list))
	}
}

// More than goes into one transaction of a restore.
func TestBackup_SeveralTransactions(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, string](t, s)
	const n = 60_000
	update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, i, strings.Repeat(fmt.Sprint(i), 100)); err != nil {
				return err
			}
		}
		return nil
	})
	stream := backupOf(t, s)
	if len(stream) < 30<<20 {
		t.Fatalf("a backup of %d bytes", len(stream))
	}
	again := restored(t, stream)
	if v := again.Stats().Version; v < 3 {
		t.Errorf("restored in %d versions", v)
	}
	same(t, tell(t, backupOf(t, again)), tell(t, stream))
}

// While goroutines move money, each backup is one version: the sum is right, and the
// number of moves is that of the version.
func TestBackup_WhileWritersRun(t *testing.T) {
	s := scratch(t)
	const accounts, start = 3000, 1000
	balances := mapOf[int, int](t, s)
	moves, err := everheap.OpenMap[string, int](s, "moves")
	must(t, err)
	update(t, s, func(tx *everheap.Tx) error {
		for i := range accounts {
			if err := balances.Set(tx, i, start); err != nil {
				return err
			}
		}
		return moves.Set(tx, "n", 0)
	})
	before := s.Stats().Version
	var stop atomic.Bool
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			for r := rand.New(rand.NewPCG(uint64(g), 8)); !stop.Load(); {
				err := s.Update(context.Background(), func(tx *everheap.Tx) error {
					from, to, n := r.IntN(accounts), r.IntN(accounts), r.IntN(50)
					return errors.Join(
						balances.Modify(tx, from, func(v *int) error { *v -= n; return nil }),
						balances.Modify(tx, to, func(v *int) error { *v += n; return nil }),
						moves.Modify(tx, "n", func(v *int) error { *v++; return nil }))
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var streams [][]byte
	for range scaled(8) {
		var b bytes.Buffer
		must(t, s.Backup(&slowly{&b}))
		streams = append(streams, b.Bytes())
	}
	stop.Store(true)
	wg.Wait()
	for _, stream := range streams {
		r, err := backup.NewReader(bytes.NewReader(stream))
		must(t, err)
		again, sum := restored(t, stream), 0
		view(t, again, func(tx *everheap.Tx) error {
			for _, v := range balances.All(tx) { // a handle of the original
				sum += *v
			}
			return nil
		})
		n, err := moves.Get(again, "n")
		must(t, err)
		if sum != accounts*start || uint64(n) != r.Head.Version-uint64(before) {
			t.Errorf("the sum is %d, want %d; %d moves in version %d after %d", sum, accounts*start, n, r.Head.Version, before)
		}
	}
}

func TestBackup_WriteError(t *testing.T) {
	s := scratch(t)
	m := mapOf[int, string](t, s)
	for i := range 10 {
		must(t, m.Set(s, i, strings.Repeat("x", 100_000)))
	}
	size := len(backupOf(t, s))
	full := errors.New("the tape is full")
	for _, n := range []int{0, 10, 99, 100, 200, 300_000, size - 64, size - 1} {
		if err := s.Backup(&faulty{n, full}); !errors.Is(err, full) {
			t.Errorf("an error after %d bytes: %v", n, err)
		}
		if err := s.Backup(&faulty{n, nil}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("a short write after %d bytes: %v", n, err)
		}
	}
	must(t, s.Backup(&faulty{size, full}))
	if readers, err := s.Readers(); len(readers) > 0 {
		t.Errorf("after the errors versions are held: %v, %v", readers, err)
	}
}

func TestBackup_Closed(t *testing.T) {
	s := scratch(t)
	must(t, s.Close())
	if err := s.Backup(io.Discard); !errors.Is(err, everheap.ErrClosed) {
		t.Error(err)
	}
}

// A backup by a process that may only read.
func TestBackup_ReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	fillAll(t, s, 1)
	want := tell(t, backupOf(t, s))
	must(t, s.Close())
	reader, err := everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	defer reader.Close()
	same(t, tell(t, backupOf(t, reader)), want)
}

// A damaged block is not backed up: the error says where it is.
func TestBackup_Damaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
	must(t, err)
	defer s.Close()
	m := mapOf[string, string](t, s)
	must(t, m.Set(s, "key", "a value that will be damaged"))
	path := filepath.Join(dir, "heap")
	b, err := os.ReadFile(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("A"), int64(bytes.Index(b, []byte("a value that"))))
	must(t, err)
	err = s.Backup(io.Discard)
	var where *everheap.CorruptError
	if !errors.As(err, &where) || where.File != path || where.Offset == 0 {
		t.Errorf("a backup of a damaged value: %v", err)
	}
}
