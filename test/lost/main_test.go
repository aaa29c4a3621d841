// Package lost_test has the tests of what becomes of programs whose live file, the memory in
// which they agree, is cut or written over while they have the space open.
package lost_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// patience bounds what must happen soon; no test waits for it when it passes.
const patience = 2 * time.Minute

// children are what the test binary does when it is run as another process. Each calls
// ready when the file may be cut, and returns nil when it has come to the right end.
var children = map[string]func(c *child) error{}

// child is a process that has the space open.
type child struct {
	dir   string
	stdin *bufio.Reader
	space *everheap.Space
	m     everheap.Map[int, string]
}

func TestMain(m *testing.M) {
	name := os.Getenv("EVERHEAP_LOST_CHILD")
	if name == "" {
		os.Exit(m.Run())
	}
	c := &child{dir: os.Getenv("EVERHEAP_LOST_DIR"), stdin: bufio.NewReader(os.Stdin)}
	if err := children[name](c); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ended")
}

// ready says that the file may be cut.
func (c *child) ready() { fmt.Println("ready") }

// cut returns when the file was cut.
func (c *child) cut() error {
	_, err := c.stdin.ReadString('\n')
	return err
}

// open opens the space, and the map with what the test has put there.
func (c *child) open(opts ...everheap.Option) (err error) {
	c.space, c.m, err = open(c.dir, opts...)
	return err
}

// close closes the space, which says that live is lost, and ends the child: once it has
// seen that everything is refused.
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

// refused returns an error unless everything that one can do with the space is refused.
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

// watched follows the map, and returns how that has ended.
func watched(ctx context.Context, s *everheap.Space, m everheap.Map[int, string], each func(everheap.Change[int, string])) error {
	for c, err := range m.Watch(ctx, s) {
		if err != nil {
			return err
		}
		each(c)
	}
	return nil
}

// followed follows the versions, and returns how that has ended.
func followed(ctx context.Context, s *everheap.Space, each func()) error {
	for _, err := range s.Changes(ctx) {
		if err != nil {
			return err
		}
		each()
	}
	return nil
}

// process is a child, as the test sees it.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ready chan struct{}
	ended chan struct{}
	out   struct {
		sync.Mutex
		lines []string
		rest  bytes.Buffer // of its standard error
	}
}

// start runs a child.
func start(t *testing.T, name, dir string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(os.Args[0], "-test.run=^$"), ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "EVERHEAP_LOST_CHILD="+name, "EVERHEAP_LOST_DIR="+dir, "GOTRACEBACK=all")
	p.cmd.Stderr = &p.out.rest
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	must(t, err)
	stdout, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go p.read(stdout)
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// read collects what the child says, up to its end.
func (p *process) read(stdout io.Reader) {
	defer close(p.ended)
	ready := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		p.out.Lock()
		p.out.lines = append(p.out.lines, lines.Text())
		p.out.Unlock()
		if lines.Text() == "ready" && !ready {
			ready = true
			close(p.ready)
		}
	}
}

// awaitReady waits until the child says that the file may be cut.
func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		p.end(t)
		t.Fatalf("%s has ended before anything was done to it: %q", p.name, p.said())
	case <-time.After(patience):
		p.dump(t)
	}
}

// end waits for the end of the child, which must be the right one.
func (p *process) end(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.dump(t)
	}
	if err := p.cmd.Wait(); err != nil || len(p.said()) == 0 || p.said()[len(p.said())-1] != "ended" {
		said := p.said()
		t.Errorf("%s has ended with %v: %q\n%s", p.name, err, said[max(0, len(said)-3):], p.out.rest.String())
	}
}

// dump fails the test for a child that does not go on, and tells where it stands.
func (p *process) dump(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(patience):
	}
	_ = p.cmd.Wait()
	t.Fatalf("%s does not go on: %q\n%s", p.name, p.said(), p.out.rest.String())
}

// said returns what the child has said.
func (p *process) said() []string {
	p.out.Lock()
	defer p.out.Unlock()
	return p.out.lines
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const window = 1 << 30

// entries is how many keys, from 0 on, the test has put there before anything is cut.
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

// value is what a key has that the test has put there.
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

// survives opens the space again, and looks whether all is there that must be.
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
