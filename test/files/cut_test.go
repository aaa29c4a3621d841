package files_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap"
)

// segment is the size of a piece of the journal that one process writes.
const segment = 2 << 20

// cuts are the ways in which a journal loses its contents but stays in place.
var cuts = map[string]func(path string) error{
	"to nothing":         func(path string) error { return os.Truncate(path, 0) },
	"by a page":          func(path string) error { return shorten(path, 4096) },
	"to a page":          func(path string) error { return os.Truncate(path, 4096) },
	"hole at the start":  func(path string) error { return punch(path, 0, 64<<10) },
	"hole in the middle": func(path string) error { return punch(path, segment/2, segment/4) },
	"written over in place": func(path string) error { // as cp does
		return errors.Join(os.Truncate(path, 0), os.WriteFile(path, make([]byte, 100), 0o600))
	},
}

func shorten(path string, n int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()-n)
}

func punch(path string, off, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// full reports whether a file has whole segments, all of them on disk.
func full(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 || info.Size()%segment != 0 {
		return false
	}
	return info.Sys().(*syscall.Stat_t).Blocks*512 >= info.Size()
}

func init() {
	for name, cut := range cuts {
		// Commits are durable before the cut and after it; then the power fails. The child prints the
		// errors that it got.
		children["cut "+name] = func(dir string) error {
			s, m, err := open(dir)
			for i := 0; i < 50 && err == nil; i++ {
				if err = m.Set(s, i, "durable"); err == nil {
					fmt.Println("durable", i)
				}
			}
			if err != nil {
				return err
			}
			if err := cut(filepath.Join(dir, "journal")); err != nil {
				return err
			}
			for i := 50; i < 150; i++ {
				switch err := m.Set(s, i, "durable"); {
				case err == nil:
					fmt.Println("durable", i)
				case errors.Is(err, everheap.ErrCorrupt) && strings.Contains(err.Error(), filepath.Join(dir, "journal")):
					fmt.Println("told", i)
				default:
					return err
				}
			}
			return powerFails()
		}
		// The journal is cut while the space is idle, and has been told to sync.
		children["idle "+name] = func(dir string) error {
			s, m, err := open(dir)
			for i := 0; i < 50 && err == nil; i++ {
				if err = m.Set(s, i, "durable"); err == nil {
					fmt.Println("durable", i)
				}
			}
			if err != nil {
				return err
			}
			if err := cut(filepath.Join(dir, "journal")); err != nil {
				return err
			}
			if err := s.Sync(testContext); !errors.Is(err, everheap.ErrCorrupt) {
				return fmt.Errorf("sync after the cut: %v", err)
			}
			if err := s.Sync(testContext); err != nil {
				return fmt.Errorf("sync again: %v", err)
			}
			return powerFails()
		}
		// The same without a call: the background makes the durable commits durable again.
		children["unasked "+name] = func(dir string) error {
			s, m, err := open(dir)
			for i := 0; i < 50 && err == nil; i++ {
				if err = m.Set(s, i, "durable"); err == nil {
					fmt.Println("durable", i)
				}
			}
			if err != nil {
				return err
			}
			if err := cut(filepath.Join(dir, "journal")); err != nil {
				return err
			}
			for began := time.Now(); !full(filepath.Join(dir, "journal")); time.Sleep(5 * time.Millisecond) {
				if time.Since(began) > patience {
					return errors.New("the journal did not become whole again")
				}
			}
			if err := m.Set(s, 50, "durable"); !errors.Is(err, everheap.ErrCorrupt) {
				return fmt.Errorf("the next durable commit: %v", err)
			}
			fmt.Println("told 50")
			return powerFails()
		}
	}
}

// All commits that were acknowledged as durable survive a power loss, although the journal was cut in
// between; and a call reports the cut.
func TestCutJournal_LosesNothing(t *testing.T) { // F3
	for name := range cuts {
		for _, how := range []string{"cut ", "idle ", "unasked "} {
			t.Run(how+name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "s")
				lines := run(t, how+name, dir)
				reboot(t, dir)
				s, m := opened(t, dir)
				told, durable := 0, 0
				for _, line := range lines {
					var i int
					switch {
					case strings.HasPrefix(line, "told"):
						told++
					case strings.HasPrefix(line, "durable"):
						durable++
						_, err := fmt.Sscanf(line, "durable %d", &i)
						must(t, err)
						if v, err := m.Get(s, i); err != nil || v != "durable" {
							t.Fatalf("key %d was durable, and has %q (%v)", i, v, err)
						}
					default:
						t.Errorf("the process said %q", line)
					}
				}
				if want := map[string]int{"cut ": 149, "idle ": 50, "unasked ": 50}[how]; durable < want || how != "idle " && told != 1 {
					t.Errorf("%d commits were durable, and it was told of the cut %d times", durable, told)
				}
				work(t, s, m, "on")
				holds(t, s, m, 100, "on")
			})
		}
	}
}

// The heap is cut while the space is open: every call returns an error or the right answer, and no
// process dies.
func TestCutHeap_IsAnError(t *testing.T) {
	for _, left := range []int64{0, 4096, 200 << 10, 4 << 20} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s, m, err := open(dir)
			must(t, err)
			other, beside := opened(t, filepath.Join(t.TempDir(), "other"))
			for i := range 200 {
				must(t, m.Set(s, i, strings.Repeat("x", 50_000)))
			}
			must(t, os.Truncate(filepath.Join(dir, "heap"), left))
			fails := func(what string, err error) bool {
				t.Helper()
				if err != nil && !errors.Is(err, everheap.ErrFault) && !errors.Is(err, everheap.ErrCorrupt) && !errors.Is(err, everheap.ErrIO) {
					t.Errorf("%s: %v", what, err)
				}
				return err != nil
			}
			bad := 0
			for i := range 200 {
				v, err := m.Get(s, i)
				if fails("get", err) {
					bad++
				} else if len(v) != 50_000 {
					t.Errorf("key %d has %d bytes", i, len(v))
				}
			}
			if bad == 0 {
				t.Error("all values can be read")
			}
			for name, step := range map[string]func() error{
				"set":        func() error { return m.Set(s, 1000, "more") },
				"large":      func() error { return m.Set(s, 1001, strings.Repeat("y", 3<<20)) },
				"sync":       func() error { return s.Sync(t.Context()) },
				"checkpoint": func() error { return s.Checkpoint("c") },
			} {
				if !fails(name, step()) {
					t.Errorf("%s has succeeded", name)
				}
			}
			_ = fails("view", s.View(func(tx *everheap.Tx) error {
				for range m.All(tx) {
				}
				return nil
			}))
			if !fails("close", s.Close()) {
				t.Error("close has succeeded")
			}
			must(t, beside.Set(other, 1, "others go on"))
			s, m, err = open(dir)
			if err == nil { // an older anchor is whole, and the journal has all later changes
				holds(t, s, m, 200, strings.Repeat("x", 50_000))
				must(t, s.Close())
			} else if !errors.Is(err, everheap.ErrCorrupt) {
				t.Errorf("opened again: %v", err)
			}
		})
	}
}

func init() {
	// join opens a space that another process has open, and prints the result.
	children["join"] = func(dir string) error {
		s, m, err := open(dir)
		switch {
		case errors.Is(err, everheap.ErrReplaced) && strings.Contains(err.Error(), filepath.Join(dir, "journal")):
			fmt.Println("refused")
			return nil
		case err != nil:
			return err
		}
		fmt.Println("opened")
		if err := m.Set(s, 0, "joined"); err != nil {
			return err
		}
		return s.Close()
	}
}

// Two processes never write different journals.
func TestReplacedJournal_NobodyJoins(t *testing.T) { // F4
	for _, g := range gone() {
		if g.says != "journal" {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s, m, err := open(dir, everheap.WithoutCollect())
			must(t, err)
			must(t, m.Set(s, 0, "kept"))
			if said := run(t, "join", dir); said[0] != "opened" {
				t.Fatal(said)
			}
			must(t, m.Set(s, 0, "kept"))
			g.do(t, dir)
			if said := run(t, "join", dir); said[0] != "refused" {
				t.Errorf("the process said %q", said)
			}
			expect(t, "close", s.Close(), nil, everheap.ErrReplaced)
			s, m = opened(t, dir)
			holds(t, s, m, 1, "kept")
		})
	}
}

func init() {
	// crash makes durable commits in several segments, and then the power fails.
	children["crash"] = func(dir string) error {
		s, m, err := open(dir, everheap.WithMaxSize(window))
		for i := 0; i < 100 && err == nil; i++ {
			err = m.Set(s, i, "kept")
			if err == nil {
				err = m.Set(s, 1000+i, strings.Repeat("x", 100_000))
			}
		}
		if err != nil {
			return err
		}
		return powerFails()
	}
}

// The order of the segments does not matter; the journal of another space is refused, and not written
// to.
func TestJournal_AfterReboot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	run(t, "crash", dir)
	reboot(t, dir)
	path := filepath.Join(dir, "journal")
	b, err := os.ReadFile(path)
	must(t, err)
	foreign := filepath.Join(t.TempDir(), "foreign")
	run(t, "crash", foreign)
	must(t, os.Rename(path, path+".kept"))
	must(t, os.Rename(filepath.Join(foreign, "journal"), path))
	before, err := os.ReadFile(path)
	must(t, err)
	_, _, err = open(dir)
	expect(t, "open", err, []string{path, "another space"}, everheap.ErrReplaced)
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the journal of another space was written to (%v)", err)
	}
	must(t, os.Rename(path, filepath.Join(foreign, "journal")))
	must(t, os.Rename(path+".kept", path))
	if len(b) < 3*segment {
		t.Fatalf("the journal has %d bytes only", len(b))
	}
	swapped := append(append(append([]byte(nil), b[segment:2*segment]...), b[:segment]...), b[2*segment:]...)
	must(t, os.WriteFile(path, swapped, 0o600))
	s, m := opened(t, dir)
	holds(t, s, m, 100, "kept")
	s, m = opened(t, foreign)
	holds(t, s, m, 100, "kept")
}
