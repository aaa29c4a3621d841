package rewrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/registry"
)

// A copy of a space gets another window, and is opened beside the original, in one process: both have
// all contents, and change independently.
func TestRebase_CopyBesideTheOriginal(t *testing.T) {
	original := spacetest.Scratch(t)
	spacetest.WriteContents(t, original)
	spacetest.PinContents(t, original)
	spacetest.Must(t, original.Close())
	dir := original.Stats().Dir
	copied := filepath.Join(t.TempDir(), "copy")
	spacetest.CopySpace(t, dir, copied)

	original = spacetest.Open(t, dir)
	if _, err := everheap.Open(copied); !errors.Is(err, everheap.ErrAddressInUse) || !strings.Contains(err.Error(), "everheap rebase") {
		t.Fatalf("opening the copy as it is: %v", err)
	}
	spacetest.Must(t, everheap.Rebase(context.Background(), copied, 0))
	other := spacetest.Open(t, copied)
	a, b := original.Stats(), other.Stats()
	if a.Base == b.Base || a.Window != b.Window {
		t.Errorf("the windows are at %#x and %#x", a.Base, b.Base)
	}
	if a.Version != b.Version || a.Objects != b.Objects || a.Created != b.Created || a.Committed != b.Committed {
		t.Errorf("the original and the copy are %+v and %+v", a, b)
	}
	for _, s := range []*everheap.Space{original, other} {
		spacetest.VerifyContents(t, s)
		spacetest.VerifyPinned(t, s)
	}
	if spacetest.Engine(original).Header().SpaceID != spacetest.Engine(other).Header().SpaceID || spacetest.Engine(original).Tag() != spacetest.Engine(other).Tag() {
		t.Error("the copy is another space")
	}

	words, err := everheap.OpenMap[string, int](original, "words")
	spacetest.Must(t, err)
	for i, s := range []*everheap.Space{original, other} {
		spacetest.Must(t, words.Set(s, "mine", i)) // the handle is valid in both
		spacetest.Must(t, s.Restore(context.Background(), "without words"))
		spacetest.Must(t, words.Set(s, "mine", i))
		spacetest.Must(t, s.Restore(context.Background(), "golden"))
		spacetest.VerifyContents(t, s)
		spacetest.Must(t, words.Set(s, "mine", i))
	}
	for i, s := range []*everheap.Space{original, other} {
		if got, err := words.Get(s, "mine"); got != i || err != nil {
			t.Errorf("space %d has %d, %v", i, got, err)
		}
		if n, err := words.Len(s); n != spacetest.ContentWords+1 || err != nil {
			t.Errorf("space %d has %d words, %v", i, n, err)
		}
	}
	spacetest.Must(t, other.Close())
	spacetest.Must(t, everheap.Rebase(context.Background(), copied, 0)) // and once more
	other = spacetest.Open(t, copied)
	spacetest.VerifyPinned(t, other)
}

// A space that was not closed is rewritten without a recovery: the changes in the journal after the
// newest anchor are replayed onto the new file.
func TestRewrite_JournalIsReplayedAfterwards(t *testing.T) {
	for name, rewrite := range spacetest.Rewriters {
		t.Run(name, func(t *testing.T) {
			s := spacetest.Scratch(t, spacetest.WithoutBackground())
			words := spacetest.MapOf[string, string](t, s)
			spacetest.Must(t, words.Set(s, "anchored", "yes"))
			spacetest.Must(t, s.Checkpoint("pin"))
			spacetest.Must(t, spacetest.Engine(s).Anchor(true))
			spacetest.Must(t, words.Set(s, "in the journal", "only"))
			spacetest.WriteContents(t, s)
			spacetest.Must(t, s.Sync(context.Background()))
			if st := s.Stats(); st.Anchored >= st.Version {
				t.Fatal("everything is anchored, the test tests nothing")
			}
			version := s.Stats().Version
			copied := filepath.Join(t.TempDir(), "copy")
			spacetest.CopySpace(t, s.Stats().Dir, copied)
			spacetest.Must(t, s.Close())
			spacetest.Must(t, rewrite(copied))
			again := spacetest.Open(t, copied)
			if got := again.Stats().Version; got != version {
				t.Errorf("version %d became %d", version, got)
			}
			spacetest.VerifyContents(t, again)
			for key, want := range map[string]string{"anchored": "yes", "in the journal": "only"} {
				if got, err := spacetest.MapOf[string, string](t, again).Get(again, key); got != want || err != nil {
					t.Errorf("%q is %q, %v", key, got, err)
				}
			}
			spacetest.Must(t, again.ViewAt("pin", func(tx *everheap.Tx) error {
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

// The commits of a killed process are there, although none of them was written to the disk.
func TestRewrite_AfterSIGKILL(t *testing.T) {
	for name, rewrite := range spacetest.Rewriters {
		t.Run(name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			dir := s.Stats().Dir
			spacetest.Must(t, s.Close())
			c := spacetest.StartChild(t, "unflushed", spacetest.Env(dir, 1, "", 1)...)
			want := c.AwaitLine("committed")
			c.Kill()
			spacetest.Must(t, rewrite(dir))
			if spacetest.HasFile(dir, "live") {
				t.Error("the live file of the old heap was left behind")
			}
			s = spacetest.Open(t, dir)
			m := spacetest.MapOf[int, string](t, s)
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

// A live file of another heap file is removed before a new heap file is made, which could get the
// same inode; leftovers of a crash are removed, too.
func TestRewrite_LeftoversGo(t *testing.T) { // W3
	for name, rewrite := range spacetest.Rewriters {
		t.Run(name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			spacetest.WriteContents(t, s)
			dir := s.Stats().Dir
			spacetest.Must(t, s.Close())
			copied := filepath.Join(t.TempDir(), "copy")
			spacetest.CopySpace(t, dir, copied)
			leave := func() { spacetest.Must(t, os.WriteFile(filepath.Join(copied, "heap.new"), make([]byte, 1<<20), 0o600)) }
			leave()
			broken, err := os.ReadFile(filepath.Join(copied, "heap"))
			spacetest.Must(t, err)
			bad := bytes.Replace(broken, []byte("everheap"), []byte("everheaq"), 1)
			spacetest.Must(t, os.WriteFile(filepath.Join(copied, "heap"), bad, 0o600))
			if err := rewrite(copied); !errors.Is(err, everheap.ErrCorrupt) {
				t.Errorf("damaged: %v", err)
			}
			if spacetest.HasFile(copied, "live") || spacetest.HasFile(copied, "heap.new") {
				t.Errorf("something was left behind: live %v, heap.new %v", spacetest.HasFile(copied, "live"), spacetest.HasFile(copied, "heap.new"))
			}
			spacetest.Must(t, os.WriteFile(filepath.Join(copied, "heap"), broken, 0o600))
			leave()
			spacetest.Must(t, rewrite(copied))
			if spacetest.HasFile(copied, "heap.new") {
				t.Error("a new file was left behind")
			}
			leave()
			s = spacetest.Open(t, copied)
			if spacetest.VerifyContents(t, s); spacetest.HasFile(copied, "heap.new") {
				t.Error("a new file was left behind by an opener")
			}
		})
	}
}

func TestRewrite_ErrBusy(t *testing.T) {
	for name, rewrite := range spacetest.Rewriters {
		t.Run(name, func(t *testing.T) {
			s := spacetest.Scratch(t)
			dir := s.Stats().Dir
			if err := rewrite(dir); !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), "this process has the space open; close it there first") {
				t.Errorf("open in this process: %v", err)
			}
			spacetest.Must(t, s.Close())
			c := spacetest.StartChild(t, "unflushed", spacetest.Env(dir, 1, "", 1)...)
			c.AwaitLine("committed")
			if err := rewrite(dir); !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("process ", c.Process.Pid)) {
				t.Errorf("open in another process: %v", err)
			}
			c.Kill()
			spacetest.Must(t, rewrite(dir))
		})
	}
}

func TestRebase_GivenWindow(t *testing.T) {
	ctx := context.Background()
	s := spacetest.Scratch(t)
	spacetest.WriteContents(t, s)
	dir, old, size := s.Stats().Dir, s.Stats().Base, s.Stats().Window
	spacetest.Must(t, s.Close())
	for _, base := range []uint64{old + 4096, 1 << 20, 1 << 47} {
		if err := everheap.Rebase(ctx, dir, base); !errors.Is(err, everheap.ErrUnsupported) {
			t.Errorf("a window at %#x: %v", base, err)
		}
	}
	base := old ^ size // the adjacent window
	spacetest.Must(t, everheap.Rebase(ctx, dir, base))
	if info, err := everheap.Describe(dir); err != nil || info.Base != base {
		t.Errorf("the window is at %#x (%v)", info.Base, err)
	}
	spacetest.Must(t, everheap.Rebase(ctx, dir, base)) // the window has that base already
	s = spacetest.Open(t, dir)
	spacetest.VerifyContents(t, s)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	spacetest.Must(t, s.Close())
	before := spacetest.SpaceBytes(t, dir)
	if err := everheap.Rebase(cancelled, dir, old); !errors.Is(err, everheap.ErrBusy) {
		t.Errorf("cancelled: %v", err)
	}
	before.Unchanged(t)
	if err := everheap.Rebase(ctx, filepath.Join(dir, "none"), 0); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("of no space: %v", err)
	}
}

// The registry gets the new window, and no space gets a window that another has.
func TestRebase_Registry(t *testing.T) {
	ctx := context.Background()
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	var spaces []everheap.Stats
	for _, name := range []string{"one", "two"} {
		s, err := everheap.Open(name, everheap.WithMaxSize(64<<20))
		spacetest.Must(t, err)
		spaces = append(spaces, s.Stats())
		spacetest.Must(t, s.Close())
	}
	window := func(name string) uint64 {
		e, found, err := registry.Open("").Lookup(name)
		if err != nil || !found {
			t.Fatalf("%s: %v, %v", name, found, err)
		}
		return e.Base
	}
	spacetest.Must(t, everheap.Rebase(ctx, "one", 0))
	info, err := everheap.Describe(spaces[0].Dir)
	spacetest.Must(t, err)
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
	// A crash came between the change of the registry and that of the space.
	spacetest.Must(t, registry.Open("").Register(registry.Entry{Name: "one", Dir: spaces[0].Dir, Base: spaces[0].Base, Size: spaces[0].Window}))
	s, err := everheap.Open("one")
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	if window("one") != info.Base {
		t.Errorf("registered is %#x, the window is at %#x", window("one"), info.Base)
	}
}
