//go:build unix

// Package proctest runs parts of a test in child processes: it starts the test binary again. A child
// and its test exchange lines.
//
// Start reading at Main, then Start.
package proctest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Children has the functions that children run, by name; dir is the argument of Start.
var Children = map[string]func(dir string) error{}

// Patience is how long a test waits for a quick operation.
const Patience = 2 * time.Minute

// childEnv and dirEnv are the variables that tell a child what to do, and where.
const (
	childEnv = "EVERHEAP_TEST_CHILD"
	dirEnv   = "EVERHEAP_TEST_DIR"
)

// Main is for TestMain. If the environment names a child, Main runs it and ends the process; it
// prints an error of the child in a line "fail".
func Main() {
	name := os.Getenv(childEnv)
	if name == "" {
		return
	}
	child, ok := Children[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no child named %s\n", name)
		os.Exit(2)
	}
	if err := child(os.Getenv(dirEnv)); err != nil {
		Say("fail", strings.ReplaceAll(err.Error(), "\n", " | "))
	}
	os.Exit(0)
}

// Proc is a child. It writes lines, and receives lines; the end of its input ends it.
type Proc struct {
	t   testing.TB
	Cmd *exec.Cmd
	in  io.WriteCloser
	mu  sync.Mutex
	out []string
	end chan struct{}
	err bytes.Buffer
}

// Start starts a child; change, if not nil, may change the command first.
func Start(t testing.TB, name, dir string, change func(*exec.Cmd)) *Proc {
	t.Helper()
	self, err := os.Executable()
	fatal(t, err)
	p := &Proc{t: t, Cmd: exec.Command(self, "-test.run=^$"), end: make(chan struct{})}
	p.Cmd.Env = append(os.Environ(), childEnv+"="+name, dirEnv+"="+dir)
	p.Cmd.Stderr = &p.err
	if change != nil {
		change(p.Cmd)
	}
	out, err := p.Cmd.StdoutPipe()
	fatal(t, err)
	p.in, err = p.Cmd.StdinPipe()
	fatal(t, err)
	fatal(t, p.Cmd.Start())
	go func() {
		defer close(p.end)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.out = append(p.out, lines.Text())
			p.mu.Unlock()
		}
		_ = p.Cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Cmd.Process.Kill()
		<-p.end
	})
	return p
}

// Hear waits for a line of the child that begins with a word, and returns the rest of the line.
func (p *Proc) Hear(word string) (rest string) {
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
	if !Wait(func() bool { return found() || p.Gone() }) || !found() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Fatalf("process %d: no line %q came; it wrote %q\n%s", p.Cmd.Process.Pid, word, p.out, &p.err)
	}
	return rest
}

// Kill kills the child, and waits for its end.
func (p *Proc) Kill() {
	p.t.Helper()
	_ = p.Cmd.Process.Kill()
	if !Wait(p.Gone) {
		p.t.Fatalf("process %d outlives a kill", p.Cmd.Process.Pid)
	}
}

// Said returns the rest of each line so far that began with a word.
func (p *Proc) Said(word string) (rest []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.out {
		if first, more, _ := strings.Cut(line, " "); first == word {
			rest = append(rest, more)
		}
	}
	return rest
}

// Gone reports whether the child has ended.
func (p *Proc) Gone() bool {
	select {
	case <-p.end:
		return true
	default:
		return false
	}
}

// Ends waits for the child's end, and fails the test if the child has failed.
func (p *Proc) Ends() {
	p.t.Helper()
	if !Wait(p.Gone) {
		_ = p.Cmd.Process.Signal(syscall.SIGQUIT) // it prints its stacks
		Wait(p.Gone)
		p.t.Fatalf("process %d does not end\n%s", p.Cmd.Process.Pid, &p.err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.out {
		if strings.HasPrefix(line, "fail") {
			p.t.Errorf("process %d: %s", p.Cmd.Process.Pid, line)
		}
	}
	if !p.Cmd.ProcessState.Success() {
		p.t.Errorf("process %d: %v\n%s", p.Cmd.Process.Pid, p.Cmd.ProcessState, &p.err)
	}
}

// Tell sends a line to the child.
func (p *Proc) Tell(line string) { fmt.Fprintln(p.in, line) }

// Stop suspends the child.
func (p *Proc) Stop() {
	p.t.Helper()
	fatal(p.t, p.Cmd.Process.Signal(syscall.SIGSTOP))
	if !Wait(p.Still) {
		p.t.Fatal("the child is not suspended")
	}
}

// Still reports whether the child is suspended.
func (p *Proc) Still() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(rest, "T")
}

// Resume lets the child continue.
func (p *Proc) Resume() { fatal(p.t, p.Cmd.Process.Signal(syscall.SIGCONT)) }

// Say writes a line, in a child.
func Say(words ...any) { fmt.Println(words...) }

// Told waits for the parent's next line, in a child.
var Told = func() func() string {
	lines := bufio.NewScanner(os.Stdin)
	return func() string {
		if !lines.Scan() {
			os.Exit(3)
		}
		return lines.Text()
	}
}()

// Wait polls a condition for as long as Patience lasts.
func Wait(ok func() bool) bool {
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > Patience {
			return ok()
		}
	}
	return true
}

// fatal fails the test on an error.
func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
