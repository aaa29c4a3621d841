// Package lost_test tests programs whose live file, the memory that they share, is cut or overwritten
// while they have the space open.
package lost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
)

// child is a process that has the space open.
type child struct {
	dir   string
	space *everheap.Space
	m     everheap.Map[int, string]
}

// children has the functions that the test binary runs as a child process. Each calls ready when the
// file may be cut, and returns nil if all went right.
var children = map[string]func(c *child) error{}

func TestMain(m *testing.M) {
	for name, run := range children {
		proctest.Children[name] = func(dir string) error { return run(&child{dir: dir}) }
	}
	proctest.Main()
	os.Exit(m.Run())
}

// ready says that the file may be cut.
func (c *child) ready() { proctest.Say("ready") }

// cut waits until the file was cut.
func (c *child) cut() { proctest.Told() }

// open opens the space, and the map that the test has filled.
func (c *child) open(opts ...everheap.Option) (err error) {
	c.space, c.m, err = open(c.dir, opts...)
	return err
}

// close verifies that every call is refused, and closes the space, which must report that live is
// lost.
func (c *child) close() error {
	if err := refused(c.space, c.m); err != nil {
		return err
	}
	if err := lost("close", c.space.Close()); err != nil {
		return err
	}
	if err := c.space.Close(); err != nil {
		return fmt.Errorf("closing it again: %w", err)
	}
	return nil
}

// lost returns an error unless err says that live is lost.
func lost(what string, err error) error {
	for _, target := range []error{everheap.ErrLiveLost, everheap.ErrReplaced} {
		if !errors.Is(err, target) {
			return fmt.Errorf("%s: the error is %v, want %v", what, err, target)
		}
	}
	for _, part := range []string{"/live", "safe", "open it again"} {
		if !strings.Contains(err.Error(), part) {
			return fmt.Errorf("%s: the error does not say %q: %w", what, part, err)
		}
	}
	return nil
}

// refused returns an error unless every call on the space is refused.
func refused(s *everheap.Space, m everheap.Map[int, string]) error {
	ctx := context.Background()
	for what, err := range map[string]error{
		"get":        second(m.Get(s, 1)),
		"has":        second(m.Has(s, 1)),
		"len":        second(m.Len(s)),
		"set":        m.Set(s, 1, "x"),
		"delete":     second(m.Delete(s, 1)),
		"upsert":     m.Upsert(s, 1, func(*string, bool) error { return nil }),
		"update":     s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, 1, "x") }),
		"durable":    s.Update(ctx, func(tx *everheap.Tx) error { return m.Set(tx, 1, "x") }, everheap.Durable),
		"view":       s.View(func(*everheap.Tx) error { return nil }),
		"view at":    s.ViewAt("c", func(*everheap.Tx) error { return nil }),
		"sync":       s.Sync(ctx),
		"open map":   second(everheap.OpenMap[int, string](s, "m")),
		"checkpoint": s.Checkpoint("another"),
		"drop":       s.DropCheckpoint("c"),
		"restore":    s.Restore(ctx, "c"),
		"list":       second(s.Checkpoints()),
		"backup":     s.Backup(io.Discard),
		"check":      second(s.Check(ctx)),
		"collect":    second(s.Collect(ctx)),
		"compact":    second(s.Compact(ctx)),
		"processes":  second(s.Processes()),
		"readers":    second(s.Readers()),
		"locks":      second(s.Locks()),
		"lock":       s.Mutex("another").Lock(ctx),
		"try lock":   second(s.Mutex("another").TryLock()),
		"acquire":    s.Semaphore("another", 2).Acquire(ctx),
		"watch":      watched(ctx, s, m, func(everheap.Change[int, string]) {}),
		"changes":    followed(ctx, s, func() {}),
		"resume": everheap.Resume(ctx, s, "job", 0, func(*int, func() error) error {
			return nil
		}),
	} {
		if s != nil && what != "resume" || !errors.Is(err, everheap.ErrReadOnly) {
			if err := lost(what, err); err != nil {
				return err
			}
		}
	}
	if st := s.Stats(); !st.Closed {
		return fmt.Errorf("the statistics do not say that it counts as closed")
	}
	return nil
}

// second returns the second of two results.
func second[T any](_ T, err error) error { return err }

// watched watches the map, and returns the final error.
func watched(ctx context.Context, s *everheap.Space, m everheap.Map[int, string], each func(everheap.Change[int, string])) error {
	for c, err := range m.Watch(ctx, s) {
		if err != nil {
			return err
		}
		each(c)
	}
	return nil
}

// followed follows the versions, and returns the final error.
func followed(ctx context.Context, s *everheap.Space, each func()) error {
	for _, err := range s.Changes(ctx) {
		if err != nil {
			return err
		}
		each()
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const window = 1 << 30

// entries is the number of keys, from 0 on, that the test stores before the cut.
const entries = 300

// open opens the space and the map of the tests.
func open(dir string, opts ...everheap.Option) (*everheap.Space, everheap.Map[int, string], error) {
	s, err := everheap.Open(dir, append([]everheap.Option{everheap.WithMaxSize(window)}, opts...)...)
	if err != nil {
		return nil, everheap.Map[int, string]{}, err
	}
	m, err := everheap.OpenMap[int, string](s, "m")
	if err != nil {
		return nil, m, errors.Join(err, s.Close())
	}
	return s, m, nil
}

// value returns the value that the test stores under a key.
func value(i int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("x", i)) }

// prepare makes a space with entries that are durable, and a checkpoint.
func prepare(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "s")
	s, m, err := open(dir, everheap.WithDurability(everheap.Durable))
	must(t, err)
	must(t, s.Update(t.Context(), func(tx *everheap.Tx) error {
		for i := range entries {
			if err := m.Set(tx, i, value(i)); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, s.Checkpoint("c"))
	must(t, second(everheap.OpenMap[string, int](s, "steps")))
	must(t, s.Close())
	return dir
}

// survives opens the space again, and verifies that all durable entries are there.
func survives(t *testing.T, dir string, durable []int) {
	t.Helper()
	s, m, err := open(dir)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	for i := range entries {
		if v, err := m.Get(s, i); err != nil || v != value(i) {
			t.Fatalf("key %d has %.20q (%v), want %.20q", i, v, err, value(i))
		}
	}
	for _, i := range durable {
		if v, err := m.Get(s, i); err != nil || v != value(i%entries) {
			t.Errorf("key %d was durable, and has %.20q (%v), want %.20q", i, v, err, value(i%entries))
		}
	}
	report, err := s.Check(t.Context())
	must(t, err)
	for _, f := range report.Findings {
		t.Errorf("check: %s+%d: %s", f.File, f.Offset, f.What)
	}
	for i := range 50 {
		must(t, m.Set(s, -1-i, "it goes on"))
	}
	must(t, s.Sync(t.Context()))
}
