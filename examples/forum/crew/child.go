//go:build linux

package crew

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Seat is the place of a child in its crew.
type Seat struct {
	address  string
	listener net.Listener
	to       *os.File // what the supervisor reads
	leave    sync.Once
	left     chan struct{}
}

// Join returns the seat of this process; nil if it is no child.
func Join() (*Seat, error) {
	address := os.Getenv(seatEnv)
	if address == "" {
		return nil, nil
	}
	os.Unsetenv(seatEnv)
	f := os.NewFile(3, "listener")
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("the socket of the crew: %w", err)
	}
	syscall.CloseOnExec(4)
	return &Seat{address: address, listener: l, to: os.NewFile(4, "supervisor"), left: make(chan struct{})}, nil
}

// Address returns where the crew listens.
func (s *Seat) Address() string { return s.address }

// Kill asks the supervisor to kill a process of the crew.
func (s *Seat) Kill(pid int) error {
	_, err := fmt.Fprintf(s.to, "kill %d\n", pid)
	return err
}

// Leave makes this process take no more connections, and end when those that it has are done.
// The supervisor starts another one.
func (s *Seat) Leave() {
	s.leave.Do(func() {
		fmt.Fprintln(s.to, "leaving")
		close(s.left)
		s.listener.Close() // the socket is not closed: the supervisor has it
	})
}

// lastRequests is how long a connection may wait for its last request, which gets the answer
// with the request to close it. A connection that is closed without one may lose a request
// that is on its way.
const lastRequests = 5 * time.Second

// Serve serves until the process is asked to end: with SIGTERM, since the whole site ends; with
// SIGUSR1 or by Leave, since another process takes over. drain is called then. run goes on
// beside that until the end.
func (s *Seat) Serve(handler http.Handler, drain func(), run func(ctx context.Context)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked := make(chan os.Signal, 2)
	signal.Ignore(syscall.SIGINT) // a terminal sends it to the supervisor, too, which knows what to do
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGUSR1)
	open := connections{}
	go func() {
		for sig := range asked {
			open.hurry.Store(sig == syscall.SIGTERM)
			drain()
		}
	}()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ConnState: open.note}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	var all sync.WaitGroup
	all.Go(func() { run(ctx) })
	fmt.Fprintln(s.to, "ready")
	var err error
	select {
	case <-s.left:
		open.wait(lastRequests)
	case err = <-served:
		select {
		case <-s.left: // so it had to
			err = nil
			open.wait(lastRequests)
		default:
		}
	}
	cancel() // streams end here
	ending, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	err = errors.Join(err, server.Shutdown(ending))
	all.Wait()
	return err
}

// connections knows which are open.
type connections struct {
	hurry atomic.Bool // nobody takes over: there is nothing to wait for
	mu    sync.Mutex
	open  map[net.Conn]bool
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	switch state {
	case http.StateNew:
		c.open[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

// wait returns when no connection is open, or after a time.
func (c *connections) wait(most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end) && !c.hurry.Load(); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		n := len(c.open)
		c.mu.Unlock()
		if n == 0 {
			return
		}
	}
}
