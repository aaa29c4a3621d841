package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/registry"
)

// copySpace copies the files of a space that survive a loss of power, and the live file
// if there is one, as cp -r does.
func copySpace(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.Mkdir(to, 0o700))
	list, err := os.ReadDir(from)
	must(t, err)
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(from, f.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, f.Name()), b, 0o600))
	}
}

// rewriters are the two ways to write a closed space anew; each one leaves all but
// addresses as it is.
var rewriters = map[string]func(dir string, opts ...everheap.Option) error{
	"rebase": func(dir string, opts ...everheap.Option) error {
		return everheap.Rebase(context.Background(), dir, 0, opts...)
	},
	"compact": func(dir string, opts ...everheap.Option) error {
		_, err := everheap.Compact(context.Background(), dir, opts...)
		return err
	},
	"resize": func(dir string, opts ...everheap.Option) error { // to a window twice as large, and back, in turns
		info, err := everheap.Describe(dir)
		if err != nil {
			return err
		}
		size := info.Window / 2
		if bits.TrailingZeros64(info.Window)%2 == 0 {
			size = info.Window * 2
		}
		base, err := engine.PickPlace(size, nil)
		if err != nil {
			return err
		}
		return engine.Resize(context.Background(), dir, info.MaxSize, base, size, everheap.EngineOptions(opts...))
	},
}

// pinGolden makes a checkpoint of the golden contents, and changes some of them and
// back: so that a checkpoint and the newest version share most and differ.
func pinGolden(t *testing.T, s *everheap.Space) {
	t.Helper()
	words, err := everheap.OpenMap[string, int](s, "words")
	must(t, err)
	must(t, s.Checkpoint("golden"))
	for i := range goldenWords {
		_, err := words.Delete(s, fmt.Sprint("word", i))
		must(t, err)
	}
	must(t, s.Checkpoint("without words"))
	for i := range goldenWords {
		must(t, words.Set(s, fmt.Sprint("word", i), i))
	}
	must(t, s.Checkpoint("dropped"))
	must(t, s.DropCheckpoint("dropped"))
}

// verifyPinned verifies the checkpoints of pinGolden.
func verifyPinned(t *testing.T, s *everheap.Space) {
	t.Helper()
	list, err := s.Checkpoints()
	must(t, err)
	if len(list) != 2 {
		t.Fatalf("there are the checkpoints %v", list)
	}
	for name, want := range map[string]int{"golden": goldenWords, "without words": 0} {
		err := s.ViewAt(name, func(tx *everheap.Tx) error {
			words, err := everheap.OpenMap[string, int](tx, "words")
			if err != nil {
				return err
			}
			n := 0
			for key, v := range words.All(tx) {
				if key != fmt.Sprint("word", *v) {
					t.Errorf("%s is %d", key, *v)
				}
				n++
			}
			if n != want {
				t.Errorf("the checkpoint %q has %d words", name, n)
			}
			return nil
		})
		must(t, err)
	}
}

// A copy of a space is given another window, and is opened beside the original, in one
// process: both hold everything, and go their own ways.
func TestRebase_CopyBesideTheOriginal(t *testing.T) {
	original := scratch(t)
	writeGolden(t, original)
	pinGolden(t, original)
	must(t, original.Close())
	dir := original.Stats().Dir
	copied := filepath.Join(t.TempDir(), "copy")
	copySpace(t, dir, copied)

	original = open(t, dir)
	if _, err := everheap.Open(copied); !errors.Is(err, everheap.ErrAddressInUse) || !strings.Contains(err.Error(), "everheap rebase") {
		t.Fatalf("opening the copy as it is: %v", err)
	}
	must(t, everheap.Rebase(context.Background(), copied, 0))
	other := open(t, copied)
	a, b := original.Stats(), other.Stats()
	if a.Base == b.Base || a.Window != b.Window {
		t.Errorf("the windows are at %#x and %#x", a.Base, b.Base)
	}
	if a.Version != b.Version || a.Objects != b.Objects || a.Created != b.Created || a.Committed != b.Committed {
		t.Errorf("the original and the copy are %+v and %+v", a, b)
	}
	for _, s := range []*everheap.Space{original, other} {
		verifyGolden(t, s)
		verifyPinned(t, s)
	}
	if original.Engine().Header().SpaceID != other.Engine().Header().SpaceID || original.Engine().Tag() != other.Engine().Tag() {
		t.Error("the copy is another space")
	}

	words, err := everheap.OpenMap[string, int](original, "words")
	must(t, err)
	for i, s := range []*everheap.Space{original, other} {
		must(t, words.Set(s, "mine", i)) // the handle is good for both
		must(t, s.Restore(context.Background(), "without words"))
		must(t, words.Set(s, "mine", i))
		must(t, s.Restore(context.Background(), "golden"))
		verifyGolden(t, s)
		must(t, words.Set(s, "mine", i))
	}
	for i, s := range []*everheap.Space{original, other} {
		if got, err := words.Get(s, "mine"); got != i || err != nil {
			t.Errorf("space %d has %d, %v", i, got, err)
		}
		if n, err := words.Len(s); n != goldenWords+1 || err != nil {
			t.Errorf("space %d has %d words, %v", i, n, err)
		}
	}
	must(t, other.Close())
	must(t, everheap.Rebase(context.Background(), copied, 0)) // and once more
	other = open(t, copied)
	verifyPinned(t, other)
}

// A space that was not closed is rewritten without being recovered: what the journal has
// beyond the newest anchor is replayed onto the new file.
func TestRewrite_JournalIsReplayedAfterwards(t *testing.T) {
	for name, rewrite := range rewriters {
		t.Run(name, func(t *testing.T) {
			s := scratch(t, everheap.WithoutBackground())
			words := mapOf[string, string](t, s)
			must(t, words.Set(s, "anchored", "yes"))
			must(t, s.Checkpoint("pin"))
			must(t, s.Engine().Anchor(true))
			must(t, words.Set(s, "in the journal", "only"))
			writeGolden(t, s)
			must(t, s.Sync(context.Background()))
			if st := s.Stats(); st.Anchored >= st.Version {
				t.Fatal("everything is anchored, the test tests nothing")
			}
			version := s.Stats().Version
			copied := filepath.Join(t.TempDir(), "copy")
			copySpace(t, s.Stats().Dir, copied)
			must(t, s.Close())
			must(t, rewrite(copied))
			again := open(t, copied)
			if got := again.Stats().Version; got != version {
				t.Errorf("version %d became %d", version, got)
			}
			verifyGolden(t, again)
			for key, want := range map[string]string{"anchored": "yes", "in the journal": "only"} {
				if got, err := mapOf[string, string](t, again).Get(again, key); got != want || err != nil {
					t.Errorf("%q is %q, %v", key, got, err)
				}
			}
			must(t, again.ViewAt("pin", func(tx *everheap.Tx) error {
				m, err := everheap.OpenMap[string, string](tx, "m")
				if err != nil {
					return err
				}
				if n, err := m.Len(tx); n != 1 || err != nil {
					t.Errorf("the checkpoint has %d entries, %v", n, err)
				}
				return nil
			}))
		})
	}
}

// What a process committed before it was killed is there, although nothing of it was
// written to the disk.
func TestRewrite_AfterSIGKILL(t *testing.T) {
	for name, rewrite := range rewriters {
		t.Run(name, func(t *testing.T) {
			s := scratch(t)
			dir := s.Stats().Dir
			must(t, s.Close())
			c := startChild(t, "unflushed", env(dir, 1, "", 1)...)
			want := c.awaitLine("committed")
			c.kill()
			must(t, rewrite(dir))
			if hasFile(dir, "live") {
				t.Error("the live file of the old heap was left behind")
			}
			s = open(t, dir)
			m := mapOf[int, string](t, s)
			if n, err := m.Len(s); fmt.Sprint(n) != want || err != nil {
				t.Errorf("%d entries, %v; %s were committed", n, err, want)
			}
			for i := range 1000 {
				if got, err := m.Get(s, i); err != nil || got != strings.Repeat(fmt.Sprint(i), i%50) {
					t.Errorf("entry %d is %q, %v", i, got, err)
				}
			}
		})
	}
}

// hasFile reports whether a directory has a file.
func hasFile(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// A live file that is of another heap file goes before there is a new one, which could
// get the inode of that; what a crash has left behind goes, too.
func TestRewrite_LeftoversGo(t *testing.T) {
	for name, rewrite := range rewriters {
		t.Run(name, func(t *testing.T) {
			s := scratch(t)
			writeGolden(t, s)
			dir := s.Stats().Dir
			must(t, s.Close())
			copied := filepath.Join(t.TempDir(), "copy")
			copySpace(t, dir, copied)
			leave := func() { must(t, os.WriteFile(filepath.Join(copied, "heap.new"), make([]byte, 1<<20), 0o600)) }
			leave()
			broken, err := os.ReadFile(filepath.Join(copied, "heap"))
			must(t, err)
			bad := bytes.Replace(broken, []byte("everheap"), []byte("everheaq"), 1)
			must(t, os.WriteFile(filepath.Join(copied, "heap"), bad, 0o600))
			if err := rewrite(copied); !errors.Is(err, everheap.ErrCorrupt) {
				t.Errorf("damaged: %v", err)
			}
			if hasFile(copied, "live") || hasFile(copied, "heap.new") {
				t.Errorf("something was left behind: live %v, heap.new %v", hasFile(copied, "live"), hasFile(copied, "heap.new"))
			}
			must(t, os.WriteFile(filepath.Join(copied, "heap"), broken, 0o600))
			leave()
			must(t, rewrite(copied))
			if hasFile(copied, "heap.new") {
				t.Error("a new file was left behind")
			}
			leave()
			s = open(t, copied)
			if verifyGolden(t, s); hasFile(copied, "heap.new") {
				t.Error("a new file was left behind by an opener")
			}
		})
	}
}

// An unflushed child commits, writes nothing to the disk, and waits to be killed.
func init() { children["unflushed"] = unflushedChild }

func unflushedChild() int {
	c := newInChild()
	s, err := c.open(everheap.WithoutBackground())
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[int, string](s, "m")
	for i := 0; i < 1000 && err == nil; i++ {
		err = m.Set(s, i, strings.Repeat(fmt.Sprint(i), i%50))
	}
	if err != nil {
		return failed("set", err)
	}
	n, err := m.Len(s)
	if err != nil {
		return failed("len", err)
	}
	say("committed", n)
	select {}
}

func TestRewrite_ErrBusy(t *testing.T) {
	for name, rewrite := range rewriters {
		t.Run(name, func(t *testing.T) {
			s := scratch(t)
			dir := s.Stats().Dir
			if err := rewrite(dir); !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), "this process has the space open; close it there first") {
				t.Errorf("open in this process: %v", err)
			}
			must(t, s.Close())
			c := startChild(t, "unflushed", env(dir, 1, "", 1)...)
			c.awaitLine("committed")
			if err := rewrite(dir); !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("process ", c.process.Pid)) {
				t.Errorf("open in another process: %v", err)
			}
			c.kill()
			must(t, rewrite(dir))
		})
	}
}

func TestRebase_GivenWindow(t *testing.T) {
	ctx := context.Background()
	s := scratch(t)
	writeGolden(t, s)
	dir, old, size := s.Stats().Dir, s.Stats().Base, s.Stats().Window
	must(t, s.Close())
	for _, base := range []uint64{old + 4096, 1 << 20, 1 << 47} {
		if err := everheap.Rebase(ctx, dir, base); !errors.Is(err, everheap.ErrUnsupported) {
			t.Errorf("a window at %#x: %v", base, err)
		}
	}
	base := old ^ size // the place beside it
	must(t, everheap.Rebase(ctx, dir, base))
	if info, err := everheap.Describe(dir); err != nil || info.Base != base {
		t.Errorf("the window is at %#x (%v)", info.Base, err)
	}
	must(t, everheap.Rebase(ctx, dir, base)) // it is there already
	s = open(t, dir)
	verifyGolden(t, s)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	must(t, s.Close())
	before := spaceBytes(t, dir)
	if err := everheap.Rebase(cancelled, dir, old); !errors.Is(err, everheap.ErrBusy) {
		t.Errorf("cancelled: %v", err)
	}
	before.unchanged(t)
	if err := everheap.Rebase(ctx, filepath.Join(dir, "none"), 0); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("of no space: %v", err)
	}
}

// The registry learns of the new window, and no space is given one that another has.
func TestRebase_Registry(t *testing.T) {
	ctx := context.Background()
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	var spaces []everheap.Stats
	for _, name := range []string{"one", "two"} {
		s, err := everheap.Open(name, everheap.WithMaxSize(64<<20))
		must(t, err)
		spaces = append(spaces, s.Stats())
		must(t, s.Close())
	}
	window := func(name string) uint64 {
		e, found, err := registry.Open("").Lookup(name)
		if err != nil || !found {
			t.Fatalf("%s: %v, %v", name, found, err)
		}
		return e.Base
	}
	must(t, everheap.Rebase(ctx, "one", 0))
	info, err := everheap.Describe(spaces[0].Dir)
	must(t, err)
	if info.Base == spaces[0].Base || window("one") != info.Base {
		t.Errorf("the window was at %#x and is at %#x; registered is %#x", spaces[0].Base, info.Base, window("one"))
	}
	if err := everheap.Rebase(ctx, "one", spaces[1].Base); !errors.Is(err, everheap.ErrAddressInUse) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("the window of another space: %v", err)
	}
	if err := everheap.Rebase(ctx, "one", info.Base+4096); !errors.Is(err, everheap.ErrUnsupported) || window("one") != info.Base {
		t.Errorf("an impossible window: %v; registered is %#x", err, window("one"))
	}
	if err := everheap.Rebase(ctx, "three", 0); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("an unknown space: %v", err)
	}
	// A crash came between the two.
	must(t, registry.Open("").Register(registry.Entry{Name: "one", Dir: spaces[0].Dir, Base: spaces[0].Base, Size: spaces[0].Window}))
	s, err := everheap.Open("one")
	must(t, err)
	must(t, s.Close())
	if window("one") != info.Base {
		t.Errorf("registered is %#x, the window is at %#x", window("one"), info.Base)
	}
}

// spaceFiles are the bytes of all files in a directory.
type spaceFiles struct {
	dir   string
	files map[string][]byte
}

func spaceBytes(t *testing.T, dir string) spaceFiles {
	t.Helper()
	f := spaceFiles{dir, map[string][]byte{}}
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		f.files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
	}
	return f
}

// unchanged fails the test if the directory holds anything else now. A live file that
// belonged to another file may be gone.
func (f spaceFiles) unchanged(t *testing.T) {
	t.Helper()
	now := spaceBytes(t, f.dir)
	for name, b := range f.files {
		if got, ok := now.files[name]; !bytes.Equal(got, b) && (ok || name != "live") {
			t.Errorf("%s was changed", name)
		}
	}
	for name := range now.files {
		if _, ok := f.files[name]; !ok {
			t.Errorf("%s was left behind", name)
		}
	}
}
