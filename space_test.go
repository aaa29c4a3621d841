package everheap_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
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

// resources lists the open files, and the mappings of files, of a directory.
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

// expectReserved fails the test unless the window is mapped and inaccessible.
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

// Each write transaction is traced from its beginning to its end; after stop, none is traced.
func TestTrace(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	m, err := everheap.OpenMap[string, int](s, "m")
	spacetest.Must(t, err)
	var mu sync.Mutex
	var told []string
	var last everheap.TraceEvent
	type of struct{}
	key := of{}
	trace := func(ctx context.Context, e everheap.TraceEvent) {
		mu.Lock()
		defer mu.Unlock()
		text := e.Kind.String()
		if e.Background {
			text += " in the background"
		}
		if e.Kind >= everheap.TraceCommit && e.Changed {
			text += " changed"
		}
		if ctx.Value(key) != nil {
			text += " of the context"
		}
		told = append(told, text)
		if last.Kind != everheap.TraceCommit && last.Kind != everheap.TraceDurable && last.Kind != everheap.TraceFail && last.Transaction != 0 && e.Transaction != last.Transaction {
			t.Errorf("event %v of transaction %d comes after %v of %d", e.Kind, e.Transaction, last.Kind, last.Transaction)
		}
		if e.Took < 0 || e.Time.Before(last.Time) || (e.Err != nil) != (e.Kind == everheap.TraceFail) {
			t.Errorf("%+v after %+v", e, last)
		}
		last = e
	}
	expect := func(name string, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, want) {
			t.Errorf("%s: %q is told, want %q", name, told, want)
		}
		told = nil
	}
	spacetest.Must(t, m.Set(s, "untold", 1))
	expect("before")
	stop := s.Trace(trace)
	none := s.Trace(func(context.Context, everheap.TraceEvent) {})
	spacetest.Must(t, m.Set(s, "a", 1))
	expect("set", "begin", "turn", "written", "commit changed")
	if v := s.Stats().Version; last.Version != v {
		t.Errorf("version %d is told, %d is the newest", last.Version, v)
	}
	none()
	ctx := context.WithValue(context.Background(), key, 1)
	spacetest.Must(t, s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, "a", 2) }, everheap.Durable))
	expect("update", "begin of the context", "turn of the context", "written of the context", "commit changed of the context", "durable changed of the context")
	spacetest.Must(t, s.Update(context.Background(), func(tx *everheap.Tx) error { return nil }))
	expect("update of nothing", "begin", "turn", "written", "commit")
	failed := errors.New("failed")
	if err := s.Update(context.Background(), func(tx *everheap.Tx) error { return errors.Join(m.Set(tx, "a", 3), failed) }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	expect("update that fails", "begin", "turn", "fail")
	if err := m.Modify(s, "none", func(*int) error { return nil }); !errors.Is(err, everheap.ErrNotFound) || !errors.Is(last.Err, everheap.ErrNotFound) {
		t.Fatal(err, last.Err)
	}
	expect("modify of nothing", "begin", "turn", "fail")
	for _, act := range []func(){
		func() { _ = s.Update(context.Background(), func(*everheap.Tx) error { panic("wrong") }) },
		func() { _ = m.Upsert(s, "a", func(*int, bool) error { panic("wrong") }) },
	} {
		func() {
			defer func() { _ = recover() }()
			act()
			t.Error("no panic")
		}()
		expect("panic", "begin", "turn", "fail")
	}
	spacetest.Must(t, s.Update(context.Background(), func(*everheap.Tx) error {
		done, end := context.WithCancel(context.Background())
		end()
		told, last = nil, everheap.TraceEvent{Kind: everheap.TraceFail}
		var waits sync.WaitGroup
		waits.Go(func() {
			if err := s.Update(done, func(*everheap.Tx) error { return nil }); !errors.Is(err, everheap.ErrBusy) {
				t.Error(err)
			}
		})
		waits.Wait()
		return nil
	}))
	expect("one that gives up, in another one", "begin", "fail", "written", "commit")
	_, err = s.Collect(context.Background())
	spacetest.Must(t, err)
	for _, text := range told {
		if !strings.Contains(text, "in the background") {
			t.Errorf("a collection tells %q", text)
		}
	}
	told = nil
	durable := spacetest.Open(t, s.Stats().Dir, everheap.WithDurability(everheap.Durable), spacetest.WithoutBackground())
	spacetest.Must(t, m.Set(durable, "a", 4))
	expect("durable set by another handle", "begin", "turn", "written", "commit changed", "durable changed")
	stop()
	spacetest.Must(t, m.Set(s, "a", 5))
	expect("after the end")
}

// A scope that does not wait gets its turn at once, or ErrBusy, and then nothing has changed.
func TestSpace_NoWait(t *testing.T) {
	s := spacetest.Scratch(t)
	m, err := everheap.OpenMap[string, int](s, "m")
	spacetest.Must(t, err)
	c, err := s.Collection("m")
	spacetest.Must(t, err)
	e := encodings[1]
	in := c.As(e.Encoding)
	spacetest.Must(t, m.Set(s.NoWait(), "a", 1))
	acts := map[string]func() error{
		"set":            func() error { return m.Set(s.NoWait(), "b", 2) },
		"delete":         func() error { _, err := m.Delete(s.NoWait(), "a"); return err },
		"set encoded":    func() error { return in.Set(s.NoWait(), e.text("b"), e.number(2)) },
		"delete encoded": func() error { _, err := in.Delete(s.NoWait(), e.text("a")); return err },
		"open":           func() error { _, err := everheap.OpenMap[string, int](s.NoWait(), "other"); return err },
	}
	inside, end := make(chan bool), make(chan bool)
	done := make(chan error)
	go func() {
		done <- s.Update(context.Background(), func(*everheap.Tx) error { inside <- true; <-end; return nil })
	}()
	<-inside
	for name, act := range acts {
		if err := act(); !errors.Is(err, everheap.ErrBusy) {
			t.Errorf("%s while another goroutine has the turn: %v", name, err)
		}
	}
	if v, err := m.Get(s.NoWait(), "a"); v != 1 || err != nil {
		t.Errorf("a get: %d, %v", v, err)
	}
	if n, err := m.Len(s); n != 1 || err != nil {
		t.Errorf("%d entries: %v", n, err)
	}
	close(end)
	spacetest.Must(t, <-done)
	for name, act := range acts {
		if err := act(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	spacetest.Must(t, s.Update(context.Background(), func(*everheap.Tx) error {
		if err := acts["set"](); !errors.Is(err, everheap.ErrSelf) {
			t.Errorf("inside an Update: %v", err)
		}
		return nil
	}))
}
