package backup

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
	"github.com/everheap/everheap/internal/spacetest"
)

func TestBackup_RoundTrip(t *testing.T) {
	s := spacetest.Scratch(t)
	fillAll(t, s, 1)
	first := spacetest.BackupOf(t, s)
	want := spacetest.ReadDump(t, first)
	if len(want) < 2000 {
		t.Fatalf("the backup tells %d things only", len(want))
	}
	again := spacetest.Restored(t, first)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, again)), want)
	if a, b := spacetest.Engine(s).Header(), spacetest.Engine(again).Header(); a.SpaceID == b.SpaceID || a.Base == b.Base || a.Tag != b.Tag || a.Secret != b.Secret || a.Window != b.Window {
		t.Errorf("restored %+v, from %+v", b, a)
	}
	m, err := everheap.OpenMap[string, string](again, spacetest.StringToString.Name)
	spacetest.Must(t, err)
	original, err := everheap.OpenMap[string, string](s, spacetest.StringToString.Name)
	spacetest.Must(t, err)
	if m != original {
		t.Errorf("the map has the ID %x, it was %x", m.ID(), original.ID())
	}
	for i := range 300 {
		key := spacetest.StringKey(i)
		want, wantErr := original.Get(s, key)
		got, err := m.Get(again, key)
		if got != want || spacetest.IsNotFound(err) != spacetest.IsNotFound(wantErr) {
			t.Fatalf("key %d: %.60q, %v; want %.60q, %v", i, got, err, want, wantErr)
		}
	}
	fillAll(t, again, 2) // it can be written
}

// A hash cut to few bits makes chains.
func TestBackup_Collisions(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithHashBits(3))
	spacetest.FillKind(t, s, spacetest.StringToString, rand.New(rand.NewPCG(4, 4)), 200)
	stream := spacetest.BackupOf(t, s)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, spacetest.Restored(t, stream, spacetest.WithHashBits(3)))), spacetest.ReadDump(t, stream))
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, spacetest.Restored(t, stream))), spacetest.ReadDump(t, stream))
}

func TestBackup_EmptySpace(t *testing.T) {
	s := spacetest.Scratch(t)
	stream := spacetest.BackupOf(t, s)
	again := spacetest.Restored(t, stream)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, again)), spacetest.ReadDump(t, stream))
	fillAll(t, again, 1)
}

// nest is a value with a handle.
type nest struct {
	Name  string
	Inner everheap.Map[string, nest]
}

func TestBackup_HandlesInValues(t *testing.T) {
	s := spacetest.Scratch(t)
	const depth = 5
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
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
		return outer.Set(tx, "back", nest{"top", top}) // a cycle: a handle of an earlier object
	})
	again := spacetest.Restored(t, spacetest.BackupOf(t, s))
	spacetest.View(t, again, func(tx *everheap.Tx) error {
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
			t.Errorf("the handle back is of %x, not of %x", n.Inner.ID(), top.ID())
		}
		return err
	})
}

// A restore has empty maps, and objects without names; and it does not reuse an index.
func TestBackup_AnonymousAndEmptyMaps(t *testing.T) {
	s := spacetest.Scratch(t)
	var anonymous, last everheap.Map[string, int]
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		if _, err = everheap.OpenMap[string, int](tx, "empty"); err != nil {
			return err
		}
		if anonymous, err = everheap.NewMap[string, int](tx); err != nil {
			return err
		}
		last, err = everheap.NewMap[string, int](tx)
		return errors.Join(err, anonymous.Set(tx, "a", 1))
	})
	again := spacetest.Restored(t, spacetest.BackupOf(t, s))
	m, err := everheap.OpenMap[string, int](again, "empty")
	spacetest.Must(t, err)
	if n, err := m.Len(again); n != 0 || err != nil {
		t.Errorf("the empty map has %d entries, %v", n, err)
	}
	if v, err := anonymous.Get(again, "a"); v != 1 || err != nil {
		t.Errorf("the map without a name: %d, %v", v, err)
	}
	spacetest.Update(t, again, func(tx *everheap.Tx) error {
		next, err := everheap.NewMap[string, int](tx)
		if next.ID()&format.AddrMask != last.ID()&format.AddrMask+1 {
			t.Errorf("the next map is %x, after %x", next.ID(), last.ID())
		}
		return err
	})
}

// Indexes of deleted objects, at the end of the table and in the middle, are not reused.
func TestBackup_IndexesOfTheDeleted(t *testing.T) {
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, format.BackupHead{Window: spacetest.Small, Limit: spacetest.Small, Version: 7, Tag: 5, Secret: 99})
	spacetest.Must(t, err)
	text, _ := layout.For[string]()
	descriptor := append([]byte{byte(len(text.Encode())), 0, 0, 0, 0, 0, 0, 0}, text.Encode()...)
	spacetest.Must(t, w.Put(format.OpHead{What: format.MakeWhat(format.OpNewType, 10)}, descriptor))
	spacetest.Must(t, w.Put(format.OpHead{What: format.MakeWhat(format.OpNewMap, 5000), Addr: 10, Arg: 10}, nil))
	spacetest.Must(t, w.Close(70_000, 4, 0))
	s := spacetest.Restored(t, b.Bytes())
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewMap[string, string](tx)
		if index := format.ID(m.ID()).Index(); index < 70_000 || index > 70_002 { // two types come first
			t.Errorf("the next map has index %d", index)
		}
		return err
	})
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, spacetest.Restored(t, spacetest.BackupOf(t, s)))), spacetest.ReadDump(t, spacetest.BackupOf(t, s)))
}

func TestBackup_LargeValues(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, []byte](t, s)
	sizes := []int{0, 1, 32 << 10, 64 << 10, 64<<10 + 1, 256<<10 - 100, 256 << 10, 1 << 20, 5<<20 + 3, 40 << 20}
	for i, n := range sizes {
		spacetest.Must(t, m.Set(s, i, bytes.Repeat([]byte{byte(i + 1)}, n)))
	}
	again := spacetest.Restored(t, spacetest.BackupOf(t, s))
	m = spacetest.MapOf[int, []byte](t, again)
	for i, n := range sizes {
		if v, err := m.Get(again, i); err != nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Errorf("value %d: %d bytes, want %d; %v", i, len(v), n, err)
		}
	}
}

func TestBackup_ThousandMaps(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
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
	stream := spacetest.BackupOf(t, s)
	again := spacetest.Restored(t, stream)
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, again)), spacetest.ReadDump(t, stream))
	list, err := again.Collections()
	spacetest.Must(t, err)
	if len(list) != 1000 {
		t.Errorf("%d collections", len(list))
	}
}

// More entries than fit into one transaction of a restore.
func TestBackup_SeveralTransactions(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, string](t, s)
	const n = 60_000
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range n {
			if err := m.Set(tx, i, strings.Repeat(fmt.Sprint(i), 100)); err != nil {
				return err
			}
		}
		return nil
	})
	stream := spacetest.BackupOf(t, s)
	if len(stream) < 30<<20 {
		t.Fatalf("a backup of %d bytes", len(stream))
	}
	again := spacetest.Restored(t, stream)
	if v := again.Stats().Version; v < 3 {
		t.Errorf("restored in %d versions", v)
	}
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, again)), spacetest.ReadDump(t, stream))
}

// While goroutines move money, each backup is one version: the sum is right, and the
// number of moves is that of the version.
func TestBackup_WhileWritersRun(t *testing.T) {
	s := spacetest.Scratch(t)
	const accounts, start = 3000, 1000
	balances := spacetest.MapOf[int, int](t, s)
	moves, err := everheap.OpenMap[string, int](s, "moves")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
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
	for range spacetest.Scaled(8) {
		var b bytes.Buffer
		spacetest.Must(t, s.Backup(&slowly{&b}))
		streams = append(streams, b.Bytes())
	}
	stop.Store(true)
	wg.Wait()
	for _, stream := range streams {
		r, err := backup.NewReader(bytes.NewReader(stream))
		spacetest.Must(t, err)
		again, sum := spacetest.Restored(t, stream), 0
		spacetest.View(t, again, func(tx *everheap.Tx) error {
			for _, v := range balances.All(tx) { // a handle of the original
				sum += *v
			}
			return nil
		})
		n, err := moves.Get(again, "n")
		spacetest.Must(t, err)
		if sum != accounts*start || uint64(n) != r.Head.Version-uint64(before) {
			t.Errorf("the sum is %d, want %d; %d moves in version %d after %d", sum, accounts*start, n, r.Head.Version, before)
		}
	}
}

func TestBackup_WriteError(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, string](t, s)
	for i := range 10 {
		spacetest.Must(t, m.Set(s, i, strings.Repeat("x", 100_000)))
	}
	size := len(spacetest.BackupOf(t, s))
	full := errors.New("the tape is full")
	for _, n := range []int{0, 10, 99, 100, 200, 300_000, size - 64, size - 1} {
		if err := s.Backup(&spacetest.Faulty{Left: n, Err: full}); !errors.Is(err, full) {
			t.Errorf("an error after %d bytes: %v", n, err)
		}
		if err := s.Backup(&spacetest.Faulty{Left: n}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("a short write after %d bytes: %v", n, err)
		}
	}
	spacetest.Must(t, s.Backup(&spacetest.Faulty{Left: size, Err: full}))
	if readers, err := s.Readers(); len(readers) > 0 {
		t.Errorf("after the errors versions are held: %v, %v", readers, err)
	}
}

func TestBackup_Closed(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.Must(t, s.Close())
	if err := s.Backup(io.Discard); !errors.Is(err, everheap.ErrClosed) {
		t.Error(err)
	}
}

// A backup by a process that may only read.
func TestBackup_ReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	fillAll(t, s, 1)
	want := spacetest.ReadDump(t, spacetest.BackupOf(t, s))
	spacetest.Must(t, s.Close())
	reader, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	defer reader.Close()
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, reader)), want)
}

// A damaged block is not backed up: the error says where it is.
func TestBackup_Damaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
	spacetest.Must(t, err)
	defer s.Close()
	m := spacetest.MapOf[string, string](t, s)
	spacetest.Must(t, m.Set(s, "key", "a value that will be damaged"))
	path := filepath.Join(dir, "heap")
	b, err := os.ReadFile(path)
	spacetest.Must(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	spacetest.Must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("A"), int64(bytes.Index(b, []byte("a value that"))))
	spacetest.Must(t, err)
	err = s.Backup(io.Discard)
	var where *everheap.CorruptError
	if !errors.As(err, &where) || where.File != path || where.Offset == 0 {
		t.Errorf("a backup of a damaged value: %v", err)
	}
}
