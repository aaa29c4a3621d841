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

// A Child is another process of a space: this test binary, run again. TestMain calls the
// function that the variable EVERHEAP_CHILD names. A child writes lines to its standard
// output:
//
//	start N     it begins after its own N-th transaction
//	ack N T     transaction N returned, at T (nanoseconds since 1970)
//	durable N   transactions up to N survive power loss
//	suspended   a transaction returned ErrSuspended
//	fail TEXT   something is wrong: the test fails
//
// and other lines, for which a test may wait. The line "end" on its standard input asks the
// child to end. If its input ends, since the parent has ended, the child ends at once.
type Child struct {
	T       testing.TB
	Process *os.Process
	In      io.WriteCloser
	Stderr  bytes.Buffer // after done

	Started   atomic.Bool
	First     atomic.Uint64 // how many transactions it found when it started
	Acked     atomic.Uint64
	Durable   atomic.Uint64 // how many transactions survive a power loss
	AckedAt   atomic.Int64
	Suspended atomic.Int64
	killed    atomic.Bool // the test has killed it: its death is not a failure

	said struct {
		sync.Mutex
		lines []string
	}
	done   chan struct{}
	status *os.ProcessState // after done
}

// Patience is how long a test waits for something that should take a moment. A busy machine
// may be slow, and these tests do not test speed.
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
	_, _ = io.Copy(io.Discard, out) // after a line that is too long; otherwise the child would block
	err := cmd.Wait()
	c.status = cmd.ProcessState
	if err != nil && !c.killed.Load() && !c.WasKilled() {
		c.T.Errorf("child %d ended: %v\n%s", c.Process.Pid, err, &c.Stderr)
	}
}

// hear processes one line.
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

// WasKilled reports whether SIGKILL has ended the child. The child must have ended.
func (c *Child) WasKilled() bool {
	s, ok := c.status.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// Kill sends SIGKILL, and returns when the child has ended and all its lines were processed.
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

// Stop sends SIGSTOP, and waits until the child has stopped.
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

// Stopped reports whether the child is stopped.
func (c *Child) Stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// Await waits for a condition on the child, and fails the test if it does not become true.
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

// AwaitStart waits until the child has started its work.
func (c *Child) AwaitStart() {
	c.T.Helper()
	c.Await("its start", func() bool { return c.Started.Load() || c.Gone() })
}

// AwaitLine waits for a line that begins with a word, and returns the rest of the line.
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

// Words returns the other lines of the child.
func (c *Child) Words() []string {
	c.said.Lock()
	defer c.said.Unlock()
	return append([]string(nil), c.said.lines...)
}

// InChild is the task of a child, in the child.
type InChild struct {
	Dir    string
	Id     int
	Work   string
	Rng    *rand.Rand
	swept  time.Time // when it last swept
	pinned time.Time // when it last made or dropped a checkpoint
	Ended  atomic.Bool
	Asked  chan string // lines from the parent, other than "end"
}

// Env returns the environment variables with a child's task.
func Env(dir string, id int, work string, seed uint64) []string {
	return []string{"EVERHEAP_TEST_DIR=" + dir, fmt.Sprint("EVERHEAP_TEST_ID=", id), "EVERHEAP_TEST_WORK=" + work, fmt.Sprint("EVERHEAP_TEST_SEED=", seed)}
}

// NewInChild reads the task, and starts to read lines from the parent.
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

// Say writes one line with one call, so that a kill cannot tear it.
func Say(word string, args ...any) {
	os.Stdout.WriteString(strings.TrimSuffix(fmt.Sprintln(append([]any{word}, args...)...), "\n") + "\n")
}

// Ack tells the parent that transaction n returned.
func Ack(n uint64) { Say("ack", n, time.Now().UnixNano()) }

// Failed tells the parent of an error, and returns the exit status for the child.
func Failed(doing string, err error) int {
	Say("fail", doing+":", strings.ReplaceAll(err.Error(), "\n", " | "))
	return 0
}

// Again runs a transaction until it ends without being taken over.
func Again(transact func() error) error {
	for {
		err := transact()
		if !errors.Is(err, everheap.ErrSuspended) {
			return err
		}
		Say("suspended")
	}
}

// Long is how long a child may take for all its work.
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
