// Package rest tests the sizes of a space's files when no process writes to it any more: the journal
// takes a segment, and the heap file little more than its contents, whatever has happened before, and
// without losing data.
//
// Start reading at TestJournal_IsShortAtRest.
package rest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// children has the functions that tests run in child processes: the test binary, started again.
var children = map[string]func(dir string, args []string) error{}

// childEnv, dirEnv and argsEnv are the variables that tell a child what to do, and where.
const (
	childEnv = "REST_CHILD"
	dirEnv   = "REST_DIR"
	argsEnv  = "REST_ARGS"
)

var (
	seedFlag = flag.Uint64("everheap.seed", 1, "of what is random")
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child, ok := children[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no child named %s\n", name)
			os.Exit(2)
		}
		if err := child(os.Getenv(dirEnv), strings.Fields(os.Getenv(argsEnv))); err != nil {
			say("fail", strings.ReplaceAll(err.Error(), "\n", " | "))
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel {
		_ = flag.Set("test.parallel", "4") // parallel tests mostly wait for looks, once a second
	}
	os.Exit(m.Run())
}

const (
	patience = 2 * time.Minute // how long a test waits for a quick operation
	window   = 1 << 30
	segment  = 2 << 20 // of the journal
)

// A proc is a child. It writes lines, and receives lines; the end of its input ends it.
type proc struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	mu   sync.Mutex
	out  []string
	read int // lines heard
	end  chan struct{}
	err  bytes.Buffer
}

// start starts a child. point, if not "", says where the child stops or dies.
func start(t testing.TB, name, dir, point string, args ...any) *proc {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	p := &proc{t: t, cmd: exec.Command(self, "-test.run=^$"), end: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+name, dirEnv+"="+dir, argsEnv+"="+strings.TrimSpace(fmt.Sprintln(args...)), "EVERHEAP_POINT="+point)
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.in, err = p.cmd.StdinPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go func() {
		defer close(p.end)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.out = append(p.out, lines.Text())
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// kill kills the child, and waits for its end.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.end
}

// hear waits for the next line that begins with a word, and returns the rest of it.
func (p *proc) hear(word string) string {
	p.t.Helper()
	rest, ok := p.listen(word, func() bool { return false })
	if !ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Fatalf("process %d: no line %q came; it wrote %q\n%s", p.cmd.Process.Pid, word, p.out, &p.err)
	}
	return rest
}

// listen is hear, but ends when other returns true.
func (p *proc) listen(word string, other func() bool) (rest string, ok bool) {
	wait(func() bool {
		gone := p.gone()
		p.mu.Lock()
		defer p.mu.Unlock()
		for ; p.read < len(p.out) && !ok; p.read++ {
			if line := p.out[p.read]; line == word || strings.HasPrefix(line, word+" ") {
				rest, ok = strings.TrimPrefix(line[len(word):], " "), true
			}
		}
		return ok || gone || other()
	})
	return rest, ok
}

// said returns the rest of the last line that begins with a word.
func (p *proc) said(word string) (rest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.out {
		if strings.HasPrefix(line, word+" ") {
			rest = line[len(word)+1:]
		}
	}
	return rest
}

// gone reports whether the child has ended.
func (p *proc) gone() bool {
	select {
	case <-p.end:
		return true
	default:
		return false
	}
}

// tell sends a line to the child.
func (p *proc) tell(words ...any) { fmt.Fprintln(p.in, words...) }

// stop suspends the child.
func (p *proc) stop() {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	if !wait(p.still) {
		p.t.Fatal("it does not stand still")
	}
}

// still reports whether the child is suspended.
func (p *proc) still() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	i := bytes.LastIndexByte(stat, ')')
	return err == nil && i > 0 && i+2 < len(stat) && stat[i+2] == 'T'
}

// resume lets the child continue.
func (p *proc) resume() { must(p.t, p.cmd.Process.Signal(syscall.SIGCONT)) }

// say writes a line, in a child.
func say(words ...any) { fmt.Println(words...) }

// lines has the lines of the parent; their end ends the child.
var lines = sync.OnceValue(func() <-chan string {
	ch := make(chan string, 100)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			ch <- in.Text()
		}
		os.Exit(3)
	}()
	return ch
})

// wait polls a condition for as long as patience lasts.
func wait(ok func() bool) bool {
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			return ok()
		}
	}
	return true
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDir returns a new directory name for a space.
func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "space") }

// opened opens a space, which is closed at the end of the test.
func opened(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	s := openAlone(t, dir, append([]everheap.Option{everheap.WithMaxSize(window)}, opts...)...)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, everheap.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// openAlone opens a space. Spaces of other tests of this process that were made by other processes may have
// the same addresses, one of 256 pairs: then it waits until the other test is over.
func openAlone(t testing.TB, dir string, opts ...everheap.Option) (s *everheap.Space) {
	t.Helper()
	var err error
	wait(func() bool {
		s, err = everheap.Open(dir, opts...)
		return !errors.Is(err, everheap.ErrAddressInUse)
	})
	must(t, err)
	return s
}

// powerLoss puts a closed space into the state after a power loss.
func powerLoss(t testing.TB, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "live")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// whole fails the test unless a check of the space finds no damage.
func whole(t testing.TB, s *everheap.Space) {
	t.Helper()
	report, err := s.Check(context.Background())
	must(t, err)
	for _, f := range report.Findings {
		t.Errorf("check: %s", f.What)
	}
}

// length returns the length of a file of a space, and its bytes on disk.
func length(t testing.TB, dir, name string) (size, disk int64) {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, name))
	must(t, err)
	return info.Size(), info.Sys().(*syscall.Stat_t).Blocks * 512
}

// number parses a number in a child's line.
func number(t testing.TB, text string) int {
	t.Helper()
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}
