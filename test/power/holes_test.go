package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacetest"
	"golang.org/x/sys/unix"
)

// spaceKeeper is a heap file that knows which extents have disk space, and the extent table as last
// synced.
type spaceKeeper struct {
	mapping.File
	k *keeper
}

type keeper struct {
	t *testing.T
	sync.Mutex
	first   int64
	has     map[int64]bool // extents: with space
	synced  []byte         // the table
	punched int
	filled  int // allocated after they were punched
	full    int // allocations that may still succeed; -1: all do
}

func (k *keeper) open(path string, flag int, perm os.FileMode) (mapping.File, error) {
	f, err := mapping.OpenFile(path, flag, perm)
	if err != nil || filepath.Base(path) != "heap" {
		return f, err
	}
	return spaceKeeper{f, k}, nil
}

const extent = format.ExtentSize

func (f spaceKeeper) Allocate(off, n int64) error {
	f.k.Lock()
	defer f.k.Unlock()
	if f.k.full == 0 {
		return fmt.Errorf("%w (made by the test)", unix.ENOSPC)
	}
	f.k.full--
	err := f.File.Allocate(off, n)
	for e := off / extent; err == nil && (e+1)*extent <= off+n; e++ {
		if had, known := f.k.has[e]; known && !had {
			f.k.filled++
		}
		f.k.has[e] = true
	}
	return err
}

func (f spaceKeeper) PunchHole(off, n int64) error {
	f.k.Lock()
	defer f.k.Unlock()
	for e := off / extent; e < (off+n)/extent; e++ {
		f.k.has[e] = false
		f.k.punched++
		if c := format.Class(f.k.synced[e]); c != format.ClassHole {
			f.k.t.Errorf("extent %d is punched; on disk the table says class %d", e, c)
		}
	}
	if off%extent != 0 || n%extent != 0 {
		f.k.t.Errorf("%d bytes at %d are punched", n, off)
	}
	return f.File.PunchHole(off, n)
}

func (f spaceKeeper) Datasync() error {
	table := f.table()
	f.k.Lock()
	f.k.synced = table
	f.k.Unlock()
	return f.File.Datasync()
}

// table reads the extent table.
func (f spaceKeeper) table() []byte {
	b := make([]byte, f.k.first/extent*extent)
	n, _ := f.ReadAt(b, format.TableOffset)
	return b[:n]
}

// verify fails the test if an extent that the table does not call a hole has no space.
func (k *keeper) verify(dir string) {
	k.t.Helper()
	f, err := k.open(filepath.Join(dir, "heap"), os.O_RDONLY, 0)
	spacetest.Must(k.t, err)
	defer f.Close()
	table := f.(spaceKeeper).table()
	k.Lock()
	defer k.Unlock()
	for e, has := range k.has {
		if !has && format.Class(table[e]) != format.ClassHole {
			k.t.Errorf("extent %d has no space, and is of class %d", e, table[e])
		}
	}
}

func newKeeper(t *testing.T) *keeper {
	return &keeper{t: t, first: int64(format.FirstExtent(spacetest.Small)), has: map[int64]bool{}, full: -1}
}

// A hole is allocated before a process writes to it, however the process got the extent; and the mark
// of a hole is on disk before the space is given back.
func TestCompact_HolesAreAllocatedBeforeUse(t *testing.T) {
	k := newKeeper(t)
	dir := filepath.Join(t.TempDir(), "s")
	r := rand.New(rand.NewPCG(1, 1))
	want := map[int]string{}
	for round := range 12 {
		s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small), spacetest.WithFiles(k.open), spacetest.WithoutBackground())
		spacetest.Must(t, err)
		m := spacetest.MapOf[int, string](t, s)
		for range 400 {
			key := r.IntN(200)
			if r.IntN(3) == 0 {
				delete(want, key)
				_, err := m.Delete(s, key)
				spacetest.Must(t, err)
				continue
			}
			n := 1 + r.IntN(300)
			if r.IntN(4) == 0 {
				n = 1 + r.IntN(300_000)
			}
			want[key] = strings.Repeat(string(rune('a'+key%26)), n)
			spacetest.Must(t, m.Set(s, key, want[key]))
			if r.IntN(100) == 0 {
				_, err := s.Compact(context.Background())
				spacetest.Must(t, err)
				k.verify(dir)
			}
		}
		spacetest.Holds(t, s, m, want)
		spacetest.CheckSpace(t, s)
		k.verify(dir)
		spacetest.Must(t, s.Close())
		if round%3 == 2 { // power is lost: only the table knows the holes
			spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
		}
	}
	if k.punched == 0 || k.filled == 0 {
		t.Fatalf("%d extents were punched and %d of them allocated again", k.punched, k.filled)
	}
	t.Logf("%d extents were punched, %d of them allocated again", k.punched, k.filled)
	s := spacetest.Open(t, dir)
	spacetest.Holds(t, s, spacetest.MapOf[int, string](t, s), want)
}

// On a full disk, using a hole is ErrNoSpace, at every allocation that fails; when there is space
// again, all works.
func TestCompact_HolesOnFullDisk(t *testing.T) {
	k := newKeeper(t)
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small), spacetest.WithFiles(k.open), spacetest.WithoutBackground())
	spacetest.Must(t, err)
	m := spacetest.MapOf[int, string](t, s)
	large := strings.Repeat("x", 400_000)
	want := map[int]string{}
	failures := 0
	for round := range spacetest.Scaled(12) {
		k.full = -1
		for i := range 30 {
			spacetest.Must(t, m.Set(s, i, large))
		}
		for i := range 30 {
			_, err := m.Delete(s, i)
			spacetest.Must(t, err)
		}
		_, err := s.Compact(context.Background())
		spacetest.Must(t, err)
		k.full = round
		for i := range 30 {
			err := m.Set(s, 1000+i, large[:1+i*13_000])
			if err == nil {
				want[1000+i] = large[:1+i*13_000]
				continue
			}
			if failures++; !errors.Is(err, everheap.ErrNoSpace) {
				t.Fatal(err)
			}
		}
		k.verify(dir)
		spacetest.Holds(t, s, m, want)
		k.full = -1
		for i := range 30 {
			want[1000+i] = large[:1+i*13_000]
			spacetest.Must(t, m.Set(s, 1000+i, want[1000+i]))
		}
		spacetest.Holds(t, s, m, want)
		for i := range 30 {
			delete(want, 1000+i)
			_, err := m.Delete(s, 1000+i)
			spacetest.Must(t, err)
		}
	}
	if failures == 0 {
		t.Error("nothing failed")
	}
	spacetest.Must(t, s.Close())
	s = spacetest.Open(t, dir)
	spacetest.Holds(t, s, spacetest.MapOf[int, string](t, s), want)
}

// Power is lost after a hole was allocated and used for blocks that never reached the disk: the table
// may have the allocation, and the file system may have lost it. Such an extent is allocated again
// before it is used.
func TestCompact_LostAllocations(t *testing.T) {
	k := newKeeper(t)
	dir := filepath.Join(t.TempDir(), "s")
	opts := []everheap.Option{everheap.WithMaxSize(spacetest.Small), spacetest.WithFiles(k.open), spacetest.WithoutBackground()}
	s, err := everheap.Open(dir, opts...)
	spacetest.Must(t, err)
	m := spacetest.MapOf[int, string](t, s)
	large := strings.Repeat("x", 400_000)
	for i := range 20 {
		spacetest.Must(t, m.Set(s, i, large))
	}
	for i := range 19 {
		_, err := m.Delete(s, i)
		spacetest.Must(t, err)
	}
	_, err = s.Compact(context.Background())
	spacetest.Must(t, err)
	copied := filepath.Join(t.TempDir(), "copy")
	spacetest.CopySpace(t, dir, copied)
	spacetest.Must(t, s.Close())

	f, err := mapping.OpenFile(filepath.Join(copied, "heap"), os.O_RDWR, 0)
	spacetest.Must(t, err)
	lost := 0
	for e, has := range k.has {
		if has {
			continue
		}
		lost++
		spacetest.Must(t, f.PunchHole(e*extent, extent)) // the copy may have given it space
		_, err := f.WriteAt([]byte{[]byte{0, 5, byte(format.ClassRun)}[lost%3]}, format.TableOffset+e)
		spacetest.Must(t, err)
	}
	spacetest.Must(t, f.Close())
	invariant.Distrust(copied)
	if lost < 50 {
		t.Fatalf("%d holes", lost)
	}
	s, err = everheap.Open(copied, opts...)
	spacetest.Must(t, err)
	k.full = 1
	failures := 0
	for i := range 20 {
		if err := m.Set(s, i, large[:100_000+i]); errors.Is(err, everheap.ErrNoSpace) {
			failures++
		} else {
			spacetest.Must(t, err)
		}
		if i == 3 {
			spacetest.Must(t, spacetest.Sweep(s))
		}
	}
	k.full = -1
	for i := range 20 {
		spacetest.Must(t, m.Set(s, i, large))
	}
	b, err := os.ReadFile(filepath.Join(copied, "heap"))
	spacetest.Must(t, err)
	for e, has := range k.has {
		if !has && len(bytes.Trim(b[e*extent:(e+1)*extent], "\x00")) > 0 {
			t.Errorf("extent %d has no space, and was written to", e)
		}
	}
	if k.filled == 0 || failures == 0 {
		t.Errorf("%d holes were allocated, %d failed", k.filled, failures)
	}
	t.Logf("%d extents had lost their space, %d have some again; %d values found none", lost, k.filled, failures)
	spacetest.CheckSpace(t, s)
	spacetest.Must(t, s.Close())
}
