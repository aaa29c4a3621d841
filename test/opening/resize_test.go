package opening

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/registry"
)

// least is the smallest allowed maximum size, in bytes.
const least = 64 << 20

func init() {
	proctest.Children["fill"] = func(dir string) error { // stores values on command until it is told to end
		s, err := everheap.Open(dir)
		if err != nil {
			return err
		}
		m, err := everheap.OpenMap[int, []byte](s, "large")
		if err != nil {
			return err
		}
		proctest.Say("opened")
		for word := proctest.Told(); word != "end"; word = proctest.Told() {
			var n int
			fmt.Sscan(word, &n)
			switch err := m.Set(s, n, make([]byte, 1<<20)); {
			case err == nil:
				proctest.Say("stored", n)
			case errors.Is(err, everheap.ErrNoSpace):
				proctest.Say("full", n)
			default:
				return err
			}
		}
		return s.Close()
	}
	proctest.Children["resize"] = func(dir string) error {
		s, err := everheap.Open(dir)
		if err == nil {
			err = s.Resize(context.Background(), 2*least)
		}
		if err == nil {
			proctest.Say("resized")
			proctest.Told()
		}
		return err
	}
}

// largeOf opens the map of large values.
func largeOf(t testing.TB, s *everheap.Space) everheap.Map[int, []byte] {
	t.Helper()
	m, err := everheap.OpenMap[int, []byte](s, "large")
	must(t, err)
	return m
}

// fillUp stores large values until the space is full, and returns the last error.
func fillUp(t testing.TB, s *everheap.Space, m everheap.Map[int, []byte], from int) (next int, err error) {
	t.Helper()
	for i := from; ; i++ {
		if err := m.Set(s, i, make([]byte, 1<<20)); err != nil {
			return i, err
		}
		if i-from > 1<<12 {
			t.Fatal("the space takes more than it may")
		}
	}
}

// dies makes a child die at a point.
func dies(point string) func(*exec.Cmd) {
	return func(c *exec.Cmd) { c.Env = append(c.Env, "EVERHEAP_POINT="+point+":1:kill") }
}

// A full space grows while several processes have it open, and all of them can use the room.
func TestResize_InPlace(t *testing.T) { // Z1
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir, everheap.WithMaxSize(least))
	m := largeOf(t, s)
	p := proctest.Start(t, "fill", dir, nil)
	p.Hear("opened")
	n, err := fillUp(t, s, m, 0)
	expectError(t, err, everheap.ErrNoSpace, "everheap resize", fmt.Sprint(least))
	if n < 32 {
		t.Fatalf("%d MiB fill 64 MiB", n)
	}
	p.Tell(fmt.Sprint(10_001))
	p.Hear("full 10001")
	must(t, s.Resize(t.Context(), 3*least/2))
	p.Tell(fmt.Sprint(10_002))
	p.Hear("stored 10002")
	more, err := fillUp(t, s, m, n)
	expectError(t, err, everheap.ErrNoSpace, fmt.Sprint(3*least/2))
	if more < n+24 {
		t.Errorf("32 MiB more take %d values of 1 MiB", more-n)
	}
	st := s.Stats()
	if st.MaxSize != 3*least/2 || st.File > st.MaxSize || st.Window < st.MaxSize {
		t.Errorf("maximum size %d, window %d, file %d", st.MaxSize, st.Window, st.File)
	}
	p.Tell("end")
	p.Ends()
}

// Impossible sizes are refused, and the errors say what to do.
func TestResize_Refused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir, everheap.WithMaxSize(2*least))
	st := s.Stats()
	expectError(t, s.Resize(t.Context(), st.Window+1), everheap.ErrMaxSize, "everheap resize", fmt.Sprint(st.Window))
	expectError(t, everheap.Resize(t.Context(), dir, st.Window+1), everheap.ErrBusy, "this process has the space open")
	m := largeOf(t, s)
	for i := range 80 {
		must(t, m.Set(s, i, make([]byte, 1<<20)))
	}
	expectError(t, s.Resize(t.Context(), least), everheap.ErrMaxSize, "everheap compact")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expectError(t, s.Resize(cancelled, 4*least), everheap.ErrBusy)
	if got := s.Stats().MaxSize; got != 2*least {
		t.Errorf("the maximum size is %d", got)
	}
	must(t, s.Close())
	expectError(t, s.Resize(t.Context(), 4*least), everheap.ErrClosed)
	expectError(t, everheap.Resize(t.Context(), dir, 1<<60), everheap.ErrUnsupported, "4 TiB")
	expectError(t, everheap.Resize(t.Context(), filepath.Join(dir, "none"), least), everheap.ErrNotFound)
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	_, err := everheap.Open("huge", everheap.WithMaxSize(1<<60))
	expectError(t, err, everheap.ErrUnsupported, "4 TiB")
	r, err := everheap.Open(dir, everheap.WithReadOnly())
	must(t, err)
	expectError(t, r.Resize(t.Context(), 4*least), everheap.ErrReadOnly)
	must(t, r.Close())
}

// Opening a space with another maximum size is an error, whether the space is open in this process,
// in another one, or in none.
func TestOpen_WithOtherMaxSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := openPlain(t, dir, everheap.WithMaxSize(2*least))
	refused := func() {
		t.Helper()
		for _, bytes := range []uint64{1, least, 4 * least, 1 << 60} {
			other, err := everheap.Open(dir, everheap.WithMaxSize(bytes))
			expectError(t, err, everheap.ErrMaxSize, fmt.Sprintf("it has %d bytes, and WithMaxSize says %d", 2*least, bytes), "everheap resize")
			if err == nil {
				other.Close()
			}
		}
		other, err := everheap.Open(dir, everheap.WithMaxSize(2*least-100)) // rounded up
		must(t, err)
		must(t, other.Close())
	}
	refused()
	p := proctest.Start(t, "fill", dir, nil)
	p.Hear("opened")
	must(t, s.Close())
	refused()
	p.Tell("end")
	p.Ends()
	refused()
	must(t, os.Remove(filepath.Join(dir, "live")))
	refused()
}

// After Resize has returned, the maximum size survives the death of all processes and a power loss.
// If the process died before, the size is the old or the new one, and the space is whole.
func TestResize_Durable(t *testing.T) { // Z2
	points := []string{""}
	if invariant.Enabled {
		points = append(points, "resize.told", "anchor.synced", "anchor.written")
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s := openPlain(t, dir, everheap.WithMaxSize(least))
			must(t, mapOf(t, s).Set(s, "k", 7))
			must(t, s.Close())
			var p *proctest.Proc
			if point == "" {
				p = proctest.Start(t, "resize", dir, nil)
				p.Hear("resized")
				must(t, p.Cmd.Process.Kill())
			} else {
				p = proctest.Start(t, "resize", dir, dies(point))
			}
			if !proctest.Wait(p.Gone) {
				t.Fatal("it does not die")
			}
			must(t, os.Remove(filepath.Join(dir, "live")))
			s = open(t, dir)
			if got := s.Stats().MaxSize; got != 2*least && (point == "" || got != least) {
				t.Errorf("the maximum size is %d", got)
			}
			if v, err := mapOf(t, s).Get(s, "k"); v != 7 || err != nil {
				t.Errorf("k is %d, %v", v, err)
			}
		})
	}
}

// A recovery from an older anchor, with a smaller maximum size, replays the changes that the larger
// size had made possible.
func TestResize_RecoveryIsBoundedByTheWindow(t *testing.T) { // Z3
	manual := inside.Option(func(o *engine.Options) { o.Manual = true }).(everheap.Option) // the background would write anchors
	for range 10 {
		dir := filepath.Join(t.TempDir(), "s")
		s := openPlain(t, dir, everheap.WithMaxSize(least), manual)
		m := largeOf(t, s)
		must(t, m.Set(s, 0, nil))
		must(t, s.Sync(t.Context()))
		before := anchors(t, dir)
		must(t, s.Resize(t.Context(), 4*least))
		for i := range 80 { // more than the older anchor allows
			must(t, m.Set(s, i, make([]byte, 1<<20)))
		}
		must(t, s.Sync(t.Context()))
		copied := filepath.Join(t.TempDir(), "copy")
		must(t, os.CopyFS(copied, os.DirFS(dir)))
		must(t, s.Close())
		must(t, os.Remove(filepath.Join(copied, "live")))
		if !forgetAnchors(t, copied, before) {
			continue
		}
		s = open(t, copied)
		m = largeOf(t, s)
		for i := range 80 {
			if v, err := m.Get(s, i); len(v) != 1<<20 || err != nil {
				t.Fatalf("value %d has %d bytes: %v", i, len(v), err)
			}
		}
		must(t, s.Resize(t.Context(), 4*least))
		must(t, m.Set(s, 1000, make([]byte, 1<<20)))
		return
	}
	t.Error("no older anchor was left, in ten tries")
}

// forgetAnchors clears the slots of newer anchors, and reports whether an older anchor is left that
// the journal reaches back to.
func forgetAnchors(t *testing.T, dir string, before [format.NumAnchors]string) bool {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "heap"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	since, left := 0, 0
	for i, a := range anchors(t, dir) {
		switch {
		case a != before[i]:
			_, err := f.WriteAt(make([]byte, format.PageSize), format.AnchorOffset+int64(i)*format.PageSize)
			must(t, err)
			since++
		case strings.HasPrefix(a, format.AnchorMagic):
			left++
		}
	}
	if since == 0 {
		t.Fatal("no anchor has been written since")
	}
	return since == 1 && left > 0 // the older usable anchor was written before
}

// anchors returns the pages of the anchor slots.
func anchors(t *testing.T, dir string) (pages [format.NumAnchors]string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "heap"))
	must(t, err)
	defer f.Close()
	for i := range pages {
		b := make([]byte, format.PageSize)
		_, err := f.ReadAt(b, format.AnchorOffset+int64(i)*format.PageSize)
		must(t, err)
		pages[i] = string(b)
	}
	return pages
}

// A closed space gets a larger window, at another address, which the registry notes; the contents,
// checkpoints and IDs are unchanged.
func TestResize_LargerWindow(t *testing.T) { // Z4
	t.Setenv("EVERHEAP_HOME", t.TempDir())
	s, err := everheap.Open("forum", everheap.WithMaxSize(least))
	must(t, err)
	m := mapOf(t, s)
	words := map[string]int{}
	for i := range 1000 {
		words[strings.Repeat("k", i%50)+fmt.Sprint(i)] = i
		must(t, m.Set(s, strings.Repeat("k", i%50)+fmt.Sprint(i), i))
	}
	err = s.Checkpoint("before")
	must(t, err)
	must(t, m.Set(s, "since", 1))
	id := m.ID()
	version := s.Stats().Version
	must(t, s.Close())

	old := s.Stats()
	must(t, everheap.Resize(t.Context(), "forum", old.Window+1))
	s, err = everheap.Open("forum", everheap.WithMaxSize(old.Window+1))
	must(t, err)
	defer s.Close()
	st := s.Stats()
	if st.Window <= old.Window || st.MaxSize != old.Window+format.ExtentSize || st.Version != version {
		t.Errorf("window %d, maximum size %d, version %d", st.Window, st.MaxSize, st.Version)
	}
	entry, found, err := registry.Open("").Lookup("forum")
	if err != nil || !found || entry.Base != st.Base || entry.Size != st.Window {
		t.Errorf("the registry says %+v, %v", entry, err)
	}
	m = mapOf(t, s)
	if m.ID() != id {
		t.Error("the map has another ID")
	}
	words["since"] = 1
	for k, v := range words {
		if got, err := m.Get(s, k); got != v || err != nil {
			t.Fatalf("%s is %d, %v", k, got, err)
		}
	}
	must(t, s.ViewAt("before", func(tx *everheap.Tx) error {
		if ok, err := m.Has(tx, "since"); ok || err != nil {
			t.Errorf("the checkpoint has a later change: %v", err)
		}
		return nil
	}))
	report, err := s.Check(t.Context())
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("check: %+v, %v", report.Findings, err)
	}
}

// A backup keeps the maximum size, and a restore can give another one.
func TestRestoreBackup_KeepsTheMaxSize(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "s"), everheap.WithMaxSize(3*least/2))
	f, err := os.Create(filepath.Join(dir, "backup"))
	must(t, err)
	defer f.Close()
	err = s.Backup(f)
	must(t, err)
	for name, want := range map[string]uint64{"same": 3 * least / 2, "other": 5 * least} {
		_, err = f.Seek(0, 0)
		must(t, err)
		var opts []everheap.Option
		if name == "other" {
			opts = []everheap.Option{everheap.WithMaxSize(want)}
		}
		must(t, everheap.RestoreBackup(filepath.Join(dir, name), f, opts...))
		if info, err := everheap.Describe(filepath.Join(dir, name)); err != nil || info.MaxSize != want {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}
