//go:build linux

// Package crew runs several processes that serve one port, and starts a new one when one
// dies. The supervisor makes the listening sockets, as many as there are seats, with
// SO_REUSEPORT: the kernel spreads connections over them. A process inherits the socket of
// its seat. So a socket outlives its process, and connections that wait in it are
// taken by the next one: none is lost, neither when a process is killed nor when a new version
// takes over.
//
// Start reading at Start; child.go is the other side.
package crew

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// seatEnv tells a process that it is a child, and where the site listens.
const seatEnv = "EVERFORUM_SEAT"

// Options say what a crew is like.
type Options struct {
	Address string // host:port; port 0 is a free one
	Seats   int
	// Command returns a new command of the program that serves. It is asked each time: a
	// program that was replaced meanwhile is the new one.
	Command func() *exec.Cmd
	// Log is told what happens; it may be nil.
	Log func(format string, args ...any)
}

// Crew is a supervisor and its children.
type Crew struct {
	opt     Options
	address string
	files   []*os.File // listening sockets, by seat
	starts  chan func()
	mu      struct {
		sync.Mutex
		children map[*child]bool
		newest   []*child // by seat
		stopped  bool
	}
	all sync.WaitGroup
}

// child is a process that serves.
type child struct {
	cmd     *exec.Cmd
	seat    int
	ready   chan struct{} // closed when it serves
	gone    chan struct{} // closed when it has ended
	leaving bool          // it ends, or is to
}

// Start opens the sockets and starts a process for each; it returns when all serve.
func Start(opt Options) (*Crew, error) {
	if opt.Log == nil {
		opt.Log = func(string, ...any) {}
	}
	c := &Crew{opt: opt, address: opt.Address, starts: make(chan func())}
	c.mu.children = map[*child]bool{}
	c.mu.newest = make([]*child, opt.Seats)
	if err := c.listen(); err != nil {
		return nil, err
	}
	go c.startAll()
	for seat := range opt.Seats {
		if err := c.start(seat); err != nil {
			c.Stop()
			return nil, err
		}
	}
	if err := c.wait(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// Address returns where the crew serves, as host:port.
func (c *Crew) Address() string { return c.address }

// listen opens one socket for each seat, all at one port.
func (c *Crew) listen() error {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
			return e
		}
		return err
	}}
	// With SO_REUSEPORT another crew of this user could have the port as well: then browsers
	// would get now this site and now that one.
	probe, err := net.Listen("tcp", c.address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", c.address, err)
	}
	c.address = probe.Addr().String()
	probe.Close()
	for range c.opt.Seats {
		l, err := config.Listen(context.Background(), "tcp", c.address)
		if err != nil {
			return fmt.Errorf("listening on %s: %w", c.address, err)
		}
		c.address = l.Addr().String()
		f, err := fileOf(l.(*net.TCPListener))
		l.Close() // the file is the same socket, and stays
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
	}
	return nil
}

// fileOf returns the socket of a listener as a file that can be handed to children while others use it.
// TCPListener.File does not: os/exec asks such a file for its descriptor, which makes the socket
// block, for all processes that have it. A server that accepts a connection in that moment waits for
// the next one within the system, and its listener cannot be closed until one comes.
func fileOf(l *net.TCPListener) (f *os.File, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var own int
		if own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			f = os.NewFile(uintptr(own), "listener") // of NewFile, it stays as it is
		}
	})
	return f, errors.Join(controlErr, err)
}

// startAll starts processes, in a thread that ends with this process only: a child gets its
// signal when the thread that started it ends, or the whole process.
func (c *Crew) startAll() {
	runtime.LockOSThread()
	for fn := range c.starts {
		fn()
	}
	select {}
}

// start starts a process for a seat.
func (c *Crew) start(seat int) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer to.Close()
	cmd := c.opt.Command()
	cmd.Env = append(cmd.Environ(), seatEnv+"="+c.address)
	cmd.ExtraFiles = []*os.File{c.files[seat], to}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	c.starts <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		from.Close()
		return err
	}
	ch := &child{cmd: cmd, seat: seat, ready: make(chan struct{}), gone: make(chan struct{})}
	c.mu.Lock()
	c.mu.children[ch] = true
	c.mu.newest[seat] = ch
	stopped := c.mu.stopped
	c.mu.Unlock()
	if stopped {
		cmd.Process.Kill()
	}
	c.all.Go(func() { c.attend(ch, from) })
	return nil
}

// attend listens to a child until it ends, and fills its seat again.
func (c *Crew) attend(ch *child, from *os.File) {
	began := time.Now()
	served := false
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "ready":
			served = true
			c.opt.Log("process %d serves, %v after its start", ch.cmd.Process.Pid, time.Since(began).Round(100*time.Microsecond))
			close(ch.ready)
		case "leaving":
			c.replace(ch)
		case "kill":
			if pid, err := strconv.Atoi(rest); err == nil {
				if err := c.Kill(pid); err != nil {
					c.opt.Log("%v", err)
				}
			}
		}
	}
	from.Close()
	err := ch.cmd.Wait()
	c.mu.Lock()
	delete(c.mu.children, ch)
	c.mu.Unlock()
	close(ch.gone)
	if err != nil {
		c.opt.Log("process %d ended: %v", ch.cmd.Process.Pid, err)
	}
	if !served {
		time.Sleep(200 * time.Millisecond) // not to fail at full speed
	}
	c.replace(ch)
}

// replace starts another process for the seat of one that leaves or has ended, once.
func (c *Crew) replace(ch *child) {
	c.mu.Lock()
	again := !ch.leaving && !c.mu.stopped && c.mu.newest[ch.seat] == ch
	ch.leaving = true
	c.mu.Unlock()
	if again {
		if err := c.start(ch.seat); err != nil {
			c.opt.Log("starting a process: %v", err)
		}
	}
}

// ErrNotServing is returned by Start and Roll if a process ends instead of serving.
var ErrNotServing = errors.New("a server ended before it served; see what it printed")

// wait waits until the newest process of each seat serves.
func (c *Crew) wait() error {
	for seat := range c.opt.Seats {
		c.mu.Lock()
		ch := c.mu.newest[seat]
		c.mu.Unlock()
		select {
		case <-ch.ready:
		case <-ch.gone:
			select {
			case <-ch.ready: // and then it was killed: that happens
			default:
				return ErrNotServing
			}
		}
	}
	return nil
}

// Kill kills a child with SIGKILL. It kills nothing but children: their numbers cannot
// be those of other processes before attend has waited for them.
func (c *Crew) Kill(pid int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.mu.children {
		if ch.cmd.Process.Pid == pid {
			return ch.cmd.Process.Kill()
		}
	}
	return fmt.Errorf("%d is no server of this site", pid)
}

// PIDs returns the processes that run, in no order.
func (c *Crew) PIDs() (pids []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.mu.children {
		pids = append(pids, ch.cmd.Process.Pid)
	}
	return pids
}

// Roll replaces all processes by new ones, of the program as it is now. Those of the old
// version serve until the new ones do; then they end when their requests are answered. One that does
// not is ended, and the error names it.
func (c *Crew) Roll() error {
	c.mu.Lock()
	var old []*child
	for ch := range c.mu.children {
		old = append(old, ch)
	}
	c.mu.Unlock()
	for seat := range c.opt.Seats {
		if err := c.start(seat); err != nil {
			return err
		}
	}
	if err := c.wait(); err != nil {
		return err
	}
	for _, ch := range old {
		c.mu.Lock()
		ch.leaving = true
		c.mu.Unlock()
		ch.cmd.Process.Signal(syscall.SIGUSR1)
	}
	var failed error
	for _, ch := range old {
		select {
		case <-ch.gone:
		case <-time.After(lastPatience):
			ch.cmd.Process.Signal(syscall.SIGQUIT) // it says where its goroutines stand, and ends,
			ch.cmd.Process.Signal(syscall.SIGCONT) // also if it was stopped
			<-ch.gone
			failed = errors.Join(failed, fmt.Errorf("process %d has not ended by itself; what it says is in its output", ch.cmd.Process.Pid))
		}
	}
	return failed
}

// lastPatience is how long Roll waits for the old servers: twice what their last requests may take.
const lastPatience = 30 * time.Second

// Stop asks all processes to end, and returns when they have.
func (c *Crew) Stop() {
	c.mu.Lock()
	c.mu.stopped = true
	var list []*child
	for ch := range c.mu.children {
		list = append(list, ch)
	}
	c.mu.Unlock()
	for _, ch := range list {
		ch.cmd.Process.Signal(syscall.SIGTERM)
	}
	ended := make(chan struct{})
	go func() { c.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		for _, ch := range list {
			ch.cmd.Process.Kill()
		}
		<-ended
	}
	for _, f := range c.files {
		f.Close()
	}
}
