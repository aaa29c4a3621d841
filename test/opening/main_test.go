// Package opening tests how processes come to a space and leave it: many at once, beside
// those who wait or stand still, in whatever mode and by whatever user.
//
// Start reading at TestClose_WaitingKeepsNobodyFromOtherSpaces.
package opening

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
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"go.uber.org/goleak"
)

// children are the programs that tests run in processes of their own: this very test
// binary, started again.
var children = map[string]func(dir string) error{}

// childEnv and dirEnv are the variables that tell a child what to do, and where.
const (
	childEnv = "OPENING_CHILD"
	dirEnv   = "OPENING_DIR"
)

var soakFlag = flag.Duration("everheap.soak", 0, "if it is set, as many processes as there can be are started")

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child, ok := children[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no child named %s\n", name)
			os.Exit(2)
		}
		if err := child(os.Getenv(dirEnv)); err != nil {
			say("fail", strings.ReplaceAll(err.Error(), "\n", " | "))
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// patience is how long a test waits for what should take a moment.
const patience = 2 * time.Minute

// small is the maximum size of the spaces here.
const small = 256 << 20

// A proc is a child. It says lines, and gets lines; the end of its input ends it.
type proc struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	mu  sync.Mutex
	out []string
	end chan struct{}
	err bytes.Buffer
}

// start starts a child; change may change the command before.
func start(t testing.TB, name, dir string, change func(*exec.Cmd)) *proc {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	p := &proc{t: t, cmd: exec.Command(self, "-test.run=^$"), end: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+name, dirEnv+"="+dir)
	p.cmd.Stderr = &p.err
	if change != nil {
		change(p.cmd)
	}
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
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.end
	})
	return p
}

// hear waits for a line that begins with a word, and returns the rest of it.
func (p *proc) hear(word string) (rest string) {
	p.t.Helper()
	found := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, line := range p.out {
			if line == word || strings.HasPrefix(line, word+" ") {
				rest = strings.TrimPrefix(line[len(word):], " ")
				return true
			}
		}
		return false
	}
	if !wait(func() bool { return found() || p.gone() }) || !found() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Fatalf("process %d: waited for the line %q in vain; it said %q\n%s", p.cmd.Process.Pid, word, p.out, &p.err)
	}
	return rest
}

// gone reports whether it has ended.
func (p *proc) gone() bool {
	select {
	case <-p.end:
		return true
	default:
		return false
	}
}

// ends waits for its end, and fails the test if it has failed.
func (p *proc) ends() {
	p.t.Helper()
	if !wait(p.gone) {
		p.t.Fatalf("process %d does not end", p.cmd.Process.Pid)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.out {
		if strings.HasPrefix(line, "fail") {
			p.t.Errorf("process %d: %s", p.cmd.Process.Pid, line)
		}
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("process %d: %v\n%s", p.cmd.Process.Pid, p.cmd.ProcessState, &p.err)
	}
}

// tell says a line to it.
func (p *proc) tell(line string) { fmt.Fprintln(p.in, line) }

// stop makes it stand still.
func (p *proc) stop() {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	still := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return err == nil && strings.HasPrefix(rest, "T")
	}
	if !wait(still) {
		p.t.Fatal("it does not stand still")
	}
}

// resume lets it go on.
func (p *proc) resume() { must(p.t, p.cmd.Process.Signal(syscall.SIGCONT)) }

// say writes a line of a child.
func say(words ...any) { fmt.Println(words...) }

// told waits for the parent's next line.
var told = func() func() string {
	lines := bufio.NewScanner(os.Stdin)
	return func() string {
		if !lines.Scan() {
			os.Exit(3)
		}
		return lines.Text()
	}
}()

// wait polls a condition for as long as patience lasts.
func wait(ok func() bool) bool {
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			return ok()
		}
	}
	return true
}

// open opens a space that is checked, and closed, at the end of the test.
func open(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	s := openPlain(t, dir, opts...)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		again, err := everheap.Open(dir)
		if err != nil {
			t.Errorf("opening the space to check it: %v", err)
			return
		}
		report, err := again.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("check: %+v (%v)", report.Findings, err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openPlain is open without the check.
func openPlain(t testing.TB, dir string, opts ...everheap.Option) *everheap.Space {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "heap")); err != nil { // it is created, and gets a size
		opts = append([]everheap.Option{everheap.WithMaxSize(small)}, opts...)
	}
	s, err := everheap.Open(dir, opts...)
	must(t, err)
	return s
}

// mapOf opens the map "m" of a space.
func mapOf(t testing.TB, s *everheap.Space) everheap.Map[string, int] {
	t.Helper()
	m, err := everheap.OpenMap[string, int](s, "m")
	must(t, err)
	return m
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited %v for %s in vain", patience, what)
	}
	return v
}

// within panics, with the stacks of all goroutines, if fn hangs.
func within(t testing.TB, what string, fn func()) {
	t.Helper()
	watch := time.AfterFunc(patience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s takes longer than %v", t.Name(), what, patience))
	})
	defer watch.Stop()
	fn()
}

// expectError fails the test unless the error is of the kind and has the texts.
func expectError(t testing.TB, err, kind error, texts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("the error is %v, not %v", err, kind)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

// openFiles lists the open files of this process in a directory.
func openFiles(t testing.TB, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.HasPrefix(to, dir) {
			files = append(files, to)
		}
	}
	return files
}

// noneLeft fails the test if there are goroutines that were not there before.
func noneLeft(t testing.TB, before goleak.Option) {
	t.Helper()
	var err error
	if !wait(func() bool { err = goleak.Find(before); return err == nil }) {
		t.Error(err)
	}
}
