package everheap_test

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

// A child is this test binary, run again as another process of a space. TestMain
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
type child struct {
	t       testing.TB
	process *os.Process
	in      io.WriteCloser
	stderr  bytes.Buffer // after done

	started   atomic.Bool
	first     atomic.Uint64 // transactions that it found, when it started
	acked     atomic.Uint64
	durable   atomic.Uint64 // transactions that survive power loss
	ackedAt   atomic.Int64
	suspended atomic.Int64
	killed    atomic.Bool // its death is no failure

	said struct {
		sync.Mutex
		lines []string
	}
	done   chan struct{}
	status *os.ProcessState // after done
}

// patience is how long a test waits for what should take a moment: machines that
// do many things at once are slow, and a test of speed this is not.
const patience = time.Minute

// startChild starts a child; it is killed when the test ends.
func startChild(t testing.TB, name string, env ...string) *child {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "-test.run=^$")
	cmd.Env = append(append(os.Environ(), "EVERHEAP_CHILD="+name), env...)
	c := &child{t: t, done: make(chan struct{})}
	cmd.Stderr = &c.stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		c.in, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.process = cmd.Process
	go c.listen(cmd, out)
	t.Cleanup(c.kill)
	return c
}

// listen reads the child's lines, and its status when it has ended.
func (c *child) listen(cmd *exec.Cmd, out io.Reader) {
	defer close(c.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		c.hear(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // after a line that is too long: else the child would wait
	err := cmd.Wait()
	c.status = cmd.ProcessState
	if err != nil && !c.killed.Load() && !c.wasKilled() {
		c.t.Errorf("child %d ended: %v\n%s", c.process.Pid, err, &c.stderr)
	}
}

// hear takes in one line.
func (c *child) hear(line string) {
	var n uint64
	var at int64
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "start":
		n, _ = strconv.ParseUint(rest, 10, 64)
		c.first.Store(n)
		c.acked.Store(n)
		c.started.Store(true)
	case "ack":
		if _, err := fmt.Sscan(rest, &n, &at); err == nil {
			c.acked.Store(n)
			c.ackedAt.Store(at)
		}
	case "durable":
		n, _ = strconv.ParseUint(rest, 10, 64)
		c.durable.Store(n)
	case "suspended":
		c.suspended.Add(1)
	case "fail":
		c.t.Errorf("child %d: %s", c.process.Pid, rest)
	default:
		c.said.Lock()
		c.said.lines = append(c.said.lines, line)
		c.said.Unlock()
	}
}

// wasKilled reports whether SIGKILL ended the child, which is gone.
func (c *child) wasKilled() bool {
	s, ok := c.status.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// kill sends SIGKILL and returns when the child is gone and all it said was heard.
func (c *child) kill() {
	c.killed.Store(true)
	_ = c.process.Kill()
	<-c.done
}

// gone reports whether the child has ended.
func (c *child) gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop sends SIGSTOP and waits until the child stands still.
func (c *child) stop() {
	c.t.Helper()
	if err := c.process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	c.await("standing still", c.stopped)
}

// resume sends SIGCONT.
func (c *child) resume() {
	c.t.Helper()
	if err := c.process.Signal(syscall.SIGCONT); err != nil {
		c.t.Error(err)
	}
}

// stopped reports whether the child stands still.
func (c *child) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.process.Pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// await waits for a condition on the child and fails the test if it does not
// come true.
func (c *child) await(what string, ok func() bool) {
	c.t.Helper()
	began := time.Now()
	if !wait(patience, func() bool { return ok() || c.gone() }) || !ok() {
		c.t.Fatalf("child %d: waited %v for %s in vain\n%s", c.process.Pid, time.Since(began), what, c.words())
	}
}

// heard counts the child's other lines that begin with the text.
func (c *child) heard(text string) (n int) {
	c.said.Lock()
	defer c.said.Unlock()
	for _, line := range c.said.lines {
		if strings.HasPrefix(line, text) {
			n++
		}
	}
	return n
}

// rest returns what follows the text in the first line that begins with it.
func (c *child) rest(text string) string {
	c.said.Lock()
	defer c.said.Unlock()
	for _, line := range c.said.lines {
		if rest, ok := strings.CutPrefix(line, text); ok {
			return rest
		}
	}
	return ""
}

// wait polls a condition.
func wait(bound time.Duration, ok func() bool) bool {
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > bound {
			return ok()
		}
	}
	return true
}

// awaitStart waits until the child works.
func (c *child) awaitStart() {
	c.t.Helper()
	c.await("its start", func() bool { return c.started.Load() || c.gone() })
}

// awaitLine waits for a line that begins with a word and returns the rest of it.
func (c *child) awaitLine(word string) (rest string) {
	c.t.Helper()
	c.await("the line "+word, func() bool {
		for _, line := range c.words() {
			if line == word || strings.HasPrefix(line, word+" ") {
				rest = strings.TrimPrefix(line[len(word):], " ")
				return true
			}
		}
		return false
	})
	return rest
}

// words returns the other lines that the child said.
func (c *child) words() []string {
	c.said.Lock()
	defer c.said.Unlock()
	return append([]string(nil), c.said.lines...)
}

// inChild is what a child knows of its task.
type inChild struct {
	dir    string
	id     int
	work   string
	rng    *rand.Rand
	swept  time.Time // last
	pinned time.Time // last
	ended  atomic.Bool
	asked  chan string // lines of the parent other than "end"
}

// env returns the variables that tell a child its task.
func env(dir string, id int, work string, seed uint64) []string {
	return []string{"EVERHEAP_TEST_DIR=" + dir, fmt.Sprint("EVERHEAP_TEST_ID=", id), "EVERHEAP_TEST_WORK=" + work, fmt.Sprint("EVERHEAP_TEST_SEED=", seed)}
}

// newInChild reads the task, and begins to listen to the parent.
func newInChild() *inChild {
	id, _ := strconv.Atoi(os.Getenv("EVERHEAP_TEST_ID"))
	seed, _ := strconv.ParseUint(os.Getenv("EVERHEAP_TEST_SEED"), 10, 64)
	c := &inChild{
		dir: os.Getenv("EVERHEAP_TEST_DIR"), id: id, work: os.Getenv("EVERHEAP_TEST_WORK"),
		rng: rand.New(rand.NewPCG(seed, uint64(id))), asked: make(chan string, 16),
	}
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "end" {
				c.ended.Store(true)
				continue
			}
			c.asked <- lines.Text()
		}
		os.Exit(3)
	}()
	return c
}

// has reports whether the child's work has the property.
func (c *inChild) has(property string) bool { return strings.Contains(c.work, property) }

// open opens the child's space.
func (c *inChild) open(opts ...everheap.Option) (*everheap.Space, error) {
	return everheap.Open(c.dir, created(c.dir, testWindow, opts...)...)
}

// testWindow is the maximum size of the spaces in these tests.
const testWindow = 1 << 30

// say writes one line, in one piece, so that a kill cannot tear it.
func say(word string, args ...any) {
	os.Stdout.WriteString(strings.TrimSuffix(fmt.Sprintln(append([]any{word}, args...)...), "\n") + "\n")
}

// ack tells the parent that transaction n returned.
func ack(n uint64) { say("ack", n, time.Now().UnixNano()) }

// failed tells the parent of an error; its result is the child's status.
func failed(doing string, err error) int {
	say("fail", doing+":", strings.ReplaceAll(err.Error(), "\n", " | "))
	return 0
}

// again runs a transaction until it is not taken over any more.
func again(transact func() error) error {
	for {
		err := transact()
		if !errors.Is(err, everheap.ErrSuspended) {
			return err
		}
		say("suspended")
	}
}
