package power

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacetest"
)

// failingFiles opens files whose k-th call fails.
type failingFiles struct {
	k, calls int
	with     error
}

type failingFile struct {
	mapping.File
	f *failingFiles
}

func (f *failingFiles) open(path string, flag int, perm os.FileMode) (mapping.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.call("create"); err != nil {
			return nil, err
		}
	}
	file, err := mapping.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return failingFile{file, f}, nil
}

func (f *failingFiles) call(what string) error {
	if f.calls++; f.calls == f.k {
		return fmt.Errorf("%s: %w (made by the test)", what, f.with)
	}
	return nil
}

func (f failingFile) Allocate(off, n int64) error {
	if err := f.f.call("allocate"); err != nil {
		return err
	}
	return f.File.Allocate(off, n)
}

func (f failingFile) PunchHole(off, n int64) error {
	if err := f.f.call("punch"); err != nil {
		return err
	}
	return f.File.PunchHole(off, n)
}

func (f failingFile) Truncate(size int64) error {
	if err := f.f.call("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f failingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.f.call("write"); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f failingFile) Datasync() error {
	if err := f.f.call("sync"); err != nil {
		return err
	}
	return f.File.Datasync()
}

// goldenSpace makes a closed space with the golden contents and its checkpoints, once.
var goldenSpace = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp(os.Getenv("EVERHEAP_HOME"), "golden-") // EVERHEAP_HOME is removed at the end
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "s")
})

// goldenVersion is the version of that space.
var goldenVersion everheap.Version

func copyOfGolden(t *testing.T) string {
	t.Helper()
	dir := goldenSpace()
	if !spacetest.HasFile(dir, "heap") {
		s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20), spacetest.WithoutBackground())
		spacetest.Must(t, err)
		spacetest.WriteContents(t, s)
		spacetest.PinContents(t, s)
		goldenVersion = s.Stats().Version
		spacetest.Must(t, s.Close())
	}
	copied := filepath.Join(t.TempDir(), "copy")
	spacetest.CopySpace(t, dir, copied)
	spacetest.Must(t, os.Remove(filepath.Join(copied, "live"))) // live belongs to another file
	return copied
}

// Whichever call fails while a closed space is rewritten, there is an error, the space is whole, and
// no file is left behind.
func TestRewrite_FailureAtKthCall(t *testing.T) { // N3
	for name, rewrite := range spacetest.Rewriters {
		for _, with := range []error{syscall.ENOSPC, syscall.EIO} {
			t.Run(fmt.Sprint(name, "/", with), func(t *testing.T) {
				for k := 1; ; k++ {
					f := &failingFiles{k: k, with: with}
					dir := copyOfGolden(t)
					before := spacetest.SpaceBytes(t, dir)
					err := rewrite(dir, spacetest.WithFiles(f.open))
					if f.calls < k {
						spacetest.Must(t, err)
						if k < 6 {
							t.Errorf("there were %d calls only", f.calls)
						}
						return
					}
					if !errors.Is(err, with) || !strings.Contains(err.Error(), name) {
						t.Fatalf("call %d failed: %v", k, err)
					}
					if now := spacetest.SpaceBytes(t, dir); string(now.Files["heap"]) == string(before.Files["heap"]) {
						before.Unchanged(t)
					} else if spacetest.HasFile(dir, "heap.new") {
						t.Error("a new file was left behind")
					}
					s := spacetest.Open(t, dir)
					spacetest.VerifyContents(t, s)
					spacetest.VerifyPinned(t, s)
					spacetest.Must(t, s.Close())
				}
			})
		}
	}
}

// Whichever call fails while an open space is compacted, the contents stay, and after a full disk all
// works.
func TestCompact_FailureAtKthCall(t *testing.T) {
	for _, with := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(with.Error(), func(t *testing.T) {
			for k := 1; ; k++ {
				f := &failingFiles{with: with}
				dir := copyOfGolden(t)
				s, err := everheap.Open(dir, spacetest.WithFiles(f.open), spacetest.WithoutBackground())
				spacetest.Must(t, err)
				words, err := everheap.OpenMap[string, int](s, "words")
				spacetest.Must(t, err)
				spacetest.Must(t, words.Set(s, "word0", 0))
				f.calls, f.k = 0, k
				_, err = s.Compact(context.Background())
				failed := f.calls >= k
				f.k = 0
				if failed && err == nil && with != syscall.ENOSPC || err != nil && !errors.Is(err, with) && (with == syscall.ENOSPC || !errors.Is(err, everheap.ErrIO)) { // without room, Compact may still succeed in part
					t.Fatalf("call %d failed: %v", k, err)
				}
				spacetest.VerifyContents(t, s)
				spacetest.VerifyPinned(t, s)
				err = words.Set(s, "word0", 0)
				if err != nil && !errors.Is(err, everheap.ErrIO) {
					t.Fatalf("after call %d failed: %v", k, err)
				}
				spacetest.CheckSpace(t, s)
				if err := s.Close(); err != nil && !errors.Is(err, everheap.ErrIO) {
					t.Errorf("after call %d failed: %v", k, err)
				}
				s = spacetest.Open(t, dir)
				spacetest.VerifyContents(t, s)
				spacetest.Must(t, words.Set(s, "word0", 0))
				_, err = s.Compact(context.Background())
				spacetest.Must(t, err)
				spacetest.Must(t, s.Close())
				if !failed {
					if k < 6 {
						t.Errorf("there were %d calls only", k-1)
					}
					return
				}
			}
		})
	}
}

// With a damaged bit in a block, the space is not rewritten, and no file changes. A damaged bit
// outside of all blocks does no harm.
func TestRewrite_ErrCorrupt(t *testing.T) { // N1, N3
	refused, done := 0, 0
	spacetest.Rounds(t, 25, func(t *testing.T, r *rand.Rand) {
		dir := copyOfGolden(t)
		b, err := os.ReadFile(filepath.Join(dir, "heap"))
		spacetest.Must(t, err)
		at := r.IntN(len(b))
		for b[at] == 0 && r.IntN(100_000) > 0 {
			at = r.IntN(len(b))
		}
		b[at] ^= 1 << r.IntN(8)
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, "heap"), b, 0o600))
		checked := filepath.Join(t.TempDir(), "checked")
		spacetest.CopySpace(t, dir, checked)
		damaged := isDamaged(checked)
		before := spacetest.SpaceBytes(t, dir)
		for name, rewrite := range spacetest.Rewriters {
			own := filepath.Join(t.TempDir(), name)
			spacetest.CopySpace(t, dir, own)
			err := rewrite(own)
			before.Dir = own
			switch {
			case damaged != nil && !errors.Is(err, everheap.ErrCorrupt):
				t.Errorf("%s, with byte %d damaged, where %v: %v", name, at, damaged, err)
			case damaged != nil:
				refused++
				before.Unchanged(t)
			case err != nil:
				t.Errorf("%s, with byte %d damaged, which is clean: %v", name, at, err)
			default:
				done++
				if err := isDamaged(own); err != nil {
					t.Errorf("%s, with byte %d damaged, which is clean: afterwards %v", name, at, err)
				}
			}
		}
	})
	if (refused == 0 || done == 0) && spacetest.Scaled(25) >= 12 { // fewer rounds may all be of one kind
		t.Errorf("%d were refused and %d done", refused, done)
	}
	t.Logf("%d were refused, %d done", refused, done)
}

// isDamaged opens a copy of the golden space, checks what is in it, and closes it.
func isDamaged(dir string) error {
	s, err := everheap.Open(dir, spacetest.WithoutBackground())
	if err != nil {
		return err
	}
	defer s.Close()
	if now := s.Stats().Version; now < goldenVersion {
		return fmt.Errorf("version %d is left of %d", now, goldenVersion)
	}
	report, err := spacetest.Engine(s).Check(context.Background())
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		if f.File == "" && !strings.Contains(f.What, "batch") && !strings.Contains(f.What, "anchor") { // these are written again
			return errors.New(f.What)
		}
	}
	return nil
}
