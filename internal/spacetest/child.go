//go:build unix

package spacetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// A Child is this test binary, run again as another process of a space. TestMain
// calls the function that the variable EVERHEAP_CHILD names. A child talks by
// lines on its standard output:
//
//	start N     it begins after its own N-th transaction
//	ack N T     transaction N returned, at T (nanoseconds since 1970)
//	durable N   transactions up to N survive power loss
//	suspended   a transaction returned ErrSuspended
//	fail TEXT   something is wrong: the test fails
//
// and any others, which the test waits for. The line "end" on its standard input
// asks it to end; the end of the input, that of the parent, ends it at once.
type Child struct {
	T       testing.TB
	Process *os.Process
	In      io.WriteCloser
	Stderr  bytes.Buffer // after done

	Started   atomic.Bool
	First     atomic.Uint64 // transactions that it found, when it started
	Acked     atomic.Uint64
	Durable   atomic.Uint64 // transactions that survive power loss
	AckedAt   atomic.Int64
	Suspended atomic.Int64
	killed    atomic.Bool // its death is no failure

	said struct {
		sync.Mutex
		lines []string
	}
	done   chan struct{}
	status *os.ProcessState // after done
}

// Patience is how long a test waits for what should take a moment: machines that
// do many things at once are slow, and a test of speed this is not.
const Patience = time.Minute

// StartChild starts a child; it is killed when the test ends.
func StartChild(t testing.TB, name string, env ...string) *Child {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "-test.run=^$")
	cmd.Env = append(append(os.Environ(), "EVERHEAP_CHILD="+name), env...)
	c := &Child{T: t, done: make(chan struct{})}
	cmd.Stderr = &c.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		c.In, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Process = cmd.Process
	go c.listen(cmd, out)
	t.Cleanup(c.Kill)
	return c
}

// listen reads the child's lines, and its status when it has ended.
func (c *Child) listen(cmd *exec.Cmd, out io.Reader) {
	defer close(c.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		c.hear(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // after a line that is too long: else the child would wait
	err := cmd.Wait()
	c.status = cmd.ProcessState
	if err != nil && !c.killed.Load() && !c.WasKilled() {
		c.T.Errorf("child %d ended: %v\n%s", c.Process.Pid, err, &c.Stderr)
	}
}

// hear takes in one line.
func (c *Child) hear(line string) {
	var n uint64
	var at int64
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "start":
		n, _ = strconv.ParseUint(rest, 10, 64)
		c.First.Store(n)
		c.Acked.Store(n)
		c.Started.Store(true)
	case "ack":
		if _, err := fmt.Sscan(rest, &n, &at); err == nil {
			c.Acked.Store(n)
			c.AckedAt.Store(at)
		}
	case "durable":
		n, _ = strconv.ParseUint(rest, 10, 64)
		c.Durable.Store(n)
	case "suspended":
		c.Suspended.Add(1)
	case "fail":
		c.T.Errorf("child %d: %s", c.Process.Pid, rest)
	default:
		c.said.Lock()
		c.said.lines = append(c.said.lines, line)
		c.said.Unlock()
	}
}

// WasKilled reports whether SIGKILL ended the child, which is gone.
func (c *Child) WasKilled() bool {
	s, ok := c.status.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// Kill sends SIGKILL and returns when the child is gone and all it said was heard.
func (c *Child) Kill() {
	c.killed.Store(true)
	_ = c.Process.Kill()
	<-c.done
}

// Gone reports whether the child has ended.
func (c *Child) Gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Stop sends SIGSTOP and waits until the child stands still.
func (c *Child) Stop() {
	c.T.Helper()
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		c.T.Fatal(err)
	}
	c.Await("standing still", c.Stopped)
}

// Resume sends SIGCONT.
func (c *Child) Resume() {
	c.T.Helper()
	if err := c.Process.Signal(syscall.SIGCONT); err != nil {
		c.T.Error(err)
	}
}

// Stopped reports whether the child stands still.
func (c *Child) Stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// Await waits for a condition on the child and fails the test if it does not
// come true.
func (c *Child) Await(what string, ok func() bool) {
	c.T.Helper()
	began := time.Now()
	if !Wait(Patience, func() bool { return ok() || c.Gone() }) || !ok() {
		c.T.Fatalf("child %d: waited %v for %s in vain\n%s", c.Process.Pid, time.Since(began), what, c.Words())
	}
}

// Heard counts the child's other lines that begin with the text.
func (c *Child) Heard(text string) (n int) {
	c.said.Lock()
	defer c.said.Unlock()
	for _, line := range c.said.lines {
		if strings.HasPrefix(line, text) {
			n++
		}
	}
	return n
}

// Rest returns what follows the text in the first line that begins with it.
func (c *Child) Rest(text string) string {
	c.said.Lock()
	defer c.said.Unlock()
	for _, line := range c.said.lines {
		if rest, ok := strings.CutPrefix(line, text); ok {
			return rest
		}
	}
	return ""
}

// Wait polls a condition.
func Wait(bound time.Duration, ok func() bool) bool {
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > bound {
			return ok()
		}
	}
	return true
}

// AwaitStart waits until the child works.
func (c *Child) AwaitStart() {
	c.T.Helper()
	c.Await("its start", func() bool { return c.Started.Load() || c.Gone() })
}

// AwaitLine waits for a line that begins with a word and returns the rest of it.
func (c *Child) AwaitLine(word string) (rest string) {
	c.T.Helper()
	c.Await("the line "+word, func() bool {
		for _, line := range c.Words() {
			if line == word || strings.HasPrefix(line, word+" ") {
				rest = strings.TrimPrefix(line[len(word):], " ")
				return true
			}
		}
		return false
	})
	return rest
}

// Words returns the other lines that the child said.
func (c *Child) Words() []string {
	c.said.Lock()
	defer c.said.Unlock()
	return append([]string(nil), c.said.lines...)
}

// InChild is what a child knows of its task.
type InChild struct {
	Dir    string
	Id     int
	Work   string
	Rng    *rand.Rand
	swept  time.Time // last
	pinned time.Time // last
	Ended  atomic.Bool
	Asked  chan string // lines of the parent other than "end"
}

// Env returns the variables that tell a child its task.
func Env(dir string, id int, work string, seed uint64) []string {
	return []string{"EVERHEAP_TEST_DIR=" + dir, fmt.Sprint("EVERHEAP_TEST_ID=", id), "EVERHEAP_TEST_WORK=" + work, fmt.Sprint("EVERHEAP_TEST_SEED=", seed)}
}

// NewInChild reads the task, and begins to listen to the parent.
func NewInChild() *InChild {
	id, _ := strconv.Atoi(os.Getenv("EVERHEAP_TEST_ID"))
	seed, _ := strconv.ParseUint(os.Getenv("EVERHEAP_TEST_SEED"), 10, 64)
	c := &InChild{
		Dir: os.Getenv("EVERHEAP_TEST_DIR"), Id: id, Work: os.Getenv("EVERHEAP_TEST_WORK"),
		Rng: rand.New(rand.NewPCG(seed, uint64(id))), Asked: make(chan string, 16),
	}
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "end" {
				c.Ended.Store(true)
				continue
			}
			c.Asked <- lines.Text()
		}
		os.Exit(3)
	}()
	return c
}

// Has reports whether the child's work has the property.
func (c *InChild) Has(property string) bool { return strings.Contains(c.Work, property) }

// Open opens the child's space.
func (c *InChild) Open(opts ...everheap.Option) (*everheap.Space, error) {
	return everheap.Open(c.Dir, Created(c.Dir, TestWindow, opts...)...)
}

// TestWindow is the maximum size of the spaces in these tests.
const TestWindow = 1 << 30

// Say writes one line, in one piece, so that a kill cannot tear it.
func Say(word string, args ...any) {
	os.Stdout.WriteString(strings.TrimSuffix(fmt.Sprintln(append([]any{word}, args...)...), "\n") + "\n")
}

// Ack tells the parent that transaction n returned.
func Ack(n uint64) { Say("ack", n, time.Now().UnixNano()) }

// Failed tells the parent of an error; its result is the child's status.
func Failed(doing string, err error) int {
	Say("fail", doing+":", strings.ReplaceAll(err.Error(), "\n", " | "))
	return 0
}

// Again runs a transaction until it is not taken over any more.
func Again(transact func() error) error {
	for {
		err := transact()
		if !errors.Is(err, everheap.ErrSuspended) {
			return err
		}
		Say("suspended")
	}
}

// Long is how long a child may take for all of its work.
const Long = 5 * time.Minute

// UsedCPU returns the processor time that this process has used.
func UsedCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// AwaitLong is AwaitLine for work that takes long.
func (c *Child) AwaitLong(word string) {
	c.T.Helper()
	Wait(Long, func() bool { return len(c.Words()) > 0 || c.Gone() })
	c.AwaitLine(word)
}

// Tell sends the child a line.
func (c *Child) Tell(line string) {
	c.T.Helper()
	if _, err := fmt.Fprintln(c.In, line); err != nil {
		c.T.Fatal(err)
	}
}
