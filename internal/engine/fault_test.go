package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/mapping"
)

// faults makes the file operations of spaces fail from the k-th one on, counted
// in calls that change or sync a file.
type faults struct {
	left atomic.Int64 // calls that succeed yet
	once bool         // one call fails, and then none
	err  error
	done atomic.Int64 // calls that failed
	hurt atomic.Int64 // of these, calls that no one may pass over in silence
}

// faultyFile is a file whose calls fail when it is their turn.
type faultyFile struct {
	mapping.File
	faults *faults
}

func (f *faults) turn(op string) error {
	n := f.left.Add(-1)
	if n >= 0 || f.once && n < -1 {
		return nil
	}
	f.done.Add(1)
	if op != "allocate" { // for its own ends, the heap can do without: the free space leaks until a sweep
		f.hurt.Add(1)
	}
	return fmt.Errorf("%s: %w (made by the test)", op, f.err)
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.faults.turn("write"); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off) // a short write
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f faultyFile) Allocate(off, n int64) error {
	if err := f.faults.turn("allocate"); err != nil {
		return err
	}
	return f.File.Allocate(off, n)
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.faults.turn("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f faultyFile) Datasync() error {
	if err := f.faults.turn("sync"); err != nil {
		return err
	}
	return f.File.Datasync()
}

// open opens a file that fails when it is its turn.
func (f *faults) open(path string, flag int, perm os.FileMode) (mapping.File, error) {
	file, err := mapping.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return faultyFile{file, f}, nil
}

// life is a small life of a space: it returns the value that the last Sync
// acknowledged, and the last one that a commit acknowledged.
func life(dir string, f *faults) (synced, committed uint64, err error) {
	sp, err := Open(dir, Options{MaxSize: 64 << 20, AnchorInterval: time.Hour, Files: f.open})
	if err != nil {
		return 0, 0, err
	}
	var errs []error
	fail := func(err error) bool {
		err = sp.Explain("life", err)
		if err != nil {
			errs = append(errs, err)
		}
		return err != nil
	}
	id, err := sp.OpenMap("m", words(0))
	if !fail(err) {
		for v := uint64(1); v <= 3; v++ {
			ok := true
			for key := uint64(1); key <= 2500; key++ { // enough for the file to grow
				ok = ok && !fail(sp.Set(words(id), pointerTo(key), pointerTo(v), false))
			}
			if ok {
				committed = v
			}
			if !fail(sp.Sync()) && ok {
				synced = v
			}
		}
	}
	fail(sp.Close())
	return synced, committed, errors.Join(errs...)
}

func TestFaults_EveryFileOperation(t *testing.T) {
	for _, kind := range []struct {
		name string
		err  error
		once bool
	}{
		{"no space, for ever", mapping.ErrNoSpace, false},
		{"no space, once", mapping.ErrNoSpace, true},
		{"I/O error, for ever", mapping.ErrIO, false},
		{"I/O error, once", mapping.ErrIO, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			most := 60
			if testing.Short() {
				most = 15
			}
			for k := range most {
				dir := filepath.Join(t.TempDir(), "s")
				f := &faults{once: kind.once, err: kind.err}
				f.left.Store(int64(k))
				synced, committed, err := life(dir, f)
				failed := f.done.Load()
				if failed == 0 {
					if err != nil || synced != 3 {
						t.Errorf("operation %d: nothing failed, and yet: %d, %v", k, synced, err)
					}
					if k < 10 {
						t.Errorf("a life has only %d file operations", k)
					}
					return
				}
				if err == nil && kind.err == mapping.ErrIO && f.hurt.Load() > 0 {
					t.Errorf("operation %d failed, and nobody was told", k)
				}
				if err != nil && !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrIO) {
					t.Errorf("operation %d: the error does not say what it is: %v", k, err)
				}
				survives(t, dir, k, synced, committed)
			}
		})
	}
}

// survives opens a space after its files failed, twice: as the next process, and
// as after a loss of power.
func survives(t *testing.T, dir string, k int, synced, committed uint64) {
	t.Helper()
	for _, powerLoss := range []bool{false, true} {
		if _, err := os.Stat(filepath.Join(dir, HeapName)); errors.Is(err, os.ErrNotExist) {
			if synced != 0 {
				t.Errorf("operation %d: the space is gone", k)
			}
			return
		}
		if powerLoss {
			if err := os.Remove(filepath.Join(dir, "live")); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		sp, err := Open(dir, Options{AnchorInterval: time.Hour})
		if err != nil {
			t.Errorf("operation %d: the space does not open again (power loss %v): %v", k, powerLoss, err)
			return
		}
		id, err := sp.OpenMap("m", words(0))
		if err != nil {
			t.Errorf("operation %d: %v", k, err)
		}
		for _, key := range []uint64{1, 1000, 2500} {
			if got := load(t, sp, id, key); got < synced || !powerLoss && got < committed {
				t.Errorf("operation %d, power loss %v: key %d is %d; %d was committed, %d was synced", k, powerLoss, key, got, committed, synced)
			}
		}
		store(t, sp, id, 1, 99)
		if got := load(t, sp, id, 1); got != 99 {
			t.Errorf("operation %d: wrote 99, read %d", k, got)
		}
		verify(t, sp)
	}
}
