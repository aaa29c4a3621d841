package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// child is a process of the demo: this program again, in another role. It prints lines, and ends when
// its input ends.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	errors bytes.Buffer
}

// start starts a process in a role.
func (d *demo) start(ctx context.Context, role string, args ...string) (*child, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := new(child)
	c.cmd = exec.CommandContext(ctx, path, append([]string{WorkerVerb, role, d.dir, strconv.Itoa(d.n)}, args...)...)
	c.cmd.Args[0] = os.Args[0]
	c.cmd.Stderr = &c.errors
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	return c, c.cmd.Start()
}

// pid is the number of the process.
func (c *child) pid() int { return c.cmd.Process.Pid }

// tell sends a line to the process.
func (c *child) tell(line string) error {
	_, err := io.WriteString(c.in, line+"\n")
	return err
}

// hear reads a line of the process into v, as JSON.
func (c *child) hear(v any) error {
	if !c.out.Scan() {
		return c.failed(errors.Join(errors.New("it ended early"), c.out.Err()))
	}
	if err := json.Unmarshal(c.out.Bytes(), v); err != nil {
		return c.failed(err)
	}
	return nil
}

// ask sends a line and reads the answer.
func (c *child) ask(line string, answer any) error {
	if err := c.tell(line); err != nil {
		return c.failed(err)
	}
	return c.hear(answer)
}

// end closes the input of the process and waits for its end.
func (c *child) end() error {
	c.in.Close()
	for c.out.Scan() {
	}
	if err := c.cmd.Wait(); err != nil {
		return c.failed(err)
	}
	return nil
}

// kill ends the process as the kernel would: at once.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return c.failed(err)
	}
	for c.out.Scan() {
	}
	c.cmd.Wait() // its error is that it was killed
	return nil
}

// failed adds the output of a failed process to an error.
func (c *child) failed(err error) error {
	c.in.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait() // so that all of its output has arrived
	said := strings.TrimSpace(c.errors.String())
	if said != "" {
		said = ": " + said
	}
	return fmt.Errorf("process %d of the demo: %w%s", c.pid(), err, said)
}

// report runs a process that prints one line and ends, and reads that line.
func (d *demo) report(ctx context.Context, answer any, role string, args ...string) (pid int, err error) {
	c, err := d.start(ctx, role, args...)
	if err != nil {
		return 0, err
	}
	if err := c.hear(answer); err != nil {
		return 0, err
	}
	return c.pid(), c.end()
}
