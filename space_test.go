package everheap_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"go.uber.org/goleak"
)

// TestMain runs a child, or the tests.
func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }

func TestSmoke(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	m, err := everheap.OpenMap[string, string](s, "users")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		if err := m.Set(s, fmt.Sprint("k", i), fmt.Sprint("v", i)); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := range 20000 {
		v, err := m.Get(s, fmt.Sprint("k", i))
		if err != nil || v != fmt.Sprint("v", i) {
			t.Fatal(i, v, err)
		}
	}
	if _, err := m.Get(s, "none"); !errors.Is(err, everheap.ErrNotFound) {
		t.Fatal(err)
	}
	for i := 0; i < 20000; i += 2 {
		ok, err := m.Delete(s, fmt.Sprint("k", i))
		if err != nil || !ok {
			t.Fatal(i, ok, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = spacetest.Open(t, dir)
	m, err = everheap.OpenMap[string, string](s, "users")
	if err != nil {
		t.Fatal(err)
	}
	n, err := m.Len(s)
	if err != nil || n != 10000 {
		t.Fatal(n, err)
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		c := 0
		for k, v := range m.All(tx) {
			if "v"+k[1:] != *v {
				t.Fatal(k, *v)
			}
			c++
			m.Set(tx, k+"x", "new")
		}
		if c != 10000 {
			t.Fatal(c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := m.Len(s); n != 20000 {
		t.Fatal(n)
	}
}

// resources lists the open files, and the mappings of files, that have to do with
// a directory.
func resources(t *testing.T, dir string) (files, mappings []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	spacetest.Must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, dir) {
			files = append(files, to)
		}
	}
	f, err := os.Open("/proc/self/maps")
	spacetest.Must(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.Contains(lines.Text(), dir) {
			mappings = append(mappings, lines.Text())
		}
	}
	return files, mappings
}

func TestClose_LeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := filepath.Join(t.TempDir(), "s")
	for range 3 {
		s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
		spacetest.Must(t, err)
		m := spacetest.MapOf[int, string](t, s)
		for i := range 100 {
			spacetest.Must(t, m.Set(s, i, "v"))
		}
		spacetest.Must(t, s.Sync(context.Background()))
		base, size := spacetest.Engine(s).Window()
		var leaked *string
		spacetest.View(t, s, func(tx *everheap.Tx) error { leaked = m.Peek(tx, 1); return nil })
		if files, mappings := resources(t, dir); len(files) < 3 || len(mappings) < 3 {
			t.Errorf("the test looks at the wrong place: %v %v", files, mappings)
		}
		spacetest.Must(t, s.Close())
		if files, mappings := resources(t, dir); len(files) > 0 || len(mappings) > 0 {
			t.Errorf("after Close there are still %v %v", files, mappings)
		}
		expectReserved(t, base, size)
		if !endsInFault(func() { _ = strings.Clone(*leaked) }) {
			t.Error("a leaked pointer can be read after Close")
		}
	}
	spacetest.NoneLeft(t, before)
}

func TestOpen_FailedLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	heap, err := os.ReadFile(filepath.Join(dir, "heap"))
	spacetest.Must(t, err)
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	for _, at := range []int{100, 4096 + 16, 0} { // header; anchor; too short
		b := append([]byte(nil), heap...)
		if at == 0 {
			b = b[:70000]
		} else {
			for slot := 0; slot < 9; slot++ {
				b[at%4096+slot*4096] ^= 0xff
			}
		}
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, "heap"), b, 0o600))
		if s, err := everheap.Open(dir); err == nil {
			s.Close()
			t.Errorf("damage at %d was not seen", at)
		}
		if files, mappings := resources(t, dir); len(files) > 0 || len(mappings) > 0 {
			t.Errorf("after a failed Open there are still %v %v", files, mappings)
		}
	}
	spacetest.Must(t, os.WriteFile(filepath.Join(dir, "heap"), heap, 0o600))
	s, err = everheap.Open(dir)
	spacetest.Must(t, err)
	spacetest.CheckSpace(t, s)
	spacetest.Must(t, s.Close())
	spacetest.NoneLeft(t, before)
}

// expectReserved fails the test unless the window is there, inaccessible.
func expectReserved(t *testing.T, base, size uint64) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	spacetest.Must(t, err)
	for line := range strings.Lines(string(maps)) {
		var lo, hi uint64
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &lo, &hi, &mode); n == 3 && lo <= base && base+size <= hi {
			if mode != "---p" {
				t.Errorf("the window is still accessible: %s", line)
			}
			return
		}
	}
	t.Errorf("the window at %#x is not reserved any more", base)
}

// endsInFault reports whether fn ends in a memory fault.
func endsInFault(fn func()) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { fault = recover() != nil }()
	fn()
	return false
}
