package replica

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go"
)

// line is a proxy between a client and a server. While it is muted, it drops the server's answers.
type line struct {
	net.Listener
	to    string
	muted atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
}

// newLine makes a line to a server, and connects a client through it.
func newLine(t *testing.T, js *jetStream) (*line, *nats.Conn) {
	t.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	spacetest.Must(t, err)
	l := &line{Listener: at, to: js.Addr().String()}
	go l.accept()
	t.Cleanup(func() { l.Close(); l.cut() })
	nc, err := nats.Connect("nats://"+at.Addr().String(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	spacetest.Must(t, err)
	t.Cleanup(nc.Close)
	return l, nc
}

// accept lets clients in until the line is closed.
func (l *line) accept() {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.to)
		if err != nil {
			client.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, client, server)
		l.mu.Unlock()
		go io.Copy(server, client)
		go func() {
			b := make([]byte, 64<<10)
			for {
				n, err := server.Read(b)
				if err != nil {
					return
				}
				if !l.muted.Load() {
					client.Write(b[:n])
				}
			}
		}()
	}
}

// cut breaks all connections.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// When answers are lost with their connections, leader and follower ask again, whatever the deadline
// of the program's context (JS11).
func TestRun_AnswersAreLost(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	s := newSpace(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	toLeader, a := newLine(t, js)
	toFollower, b := newLine(t, js)
	l, err := Lead(ctx, a, s, testOptions(t, "a"))
	spacetest.Must(t, err)
	defer l.Stop()
	f, err := Follow(ctx, b, filepath.Join(t.TempDir(), "b"), testOptions(t, "b"))
	spacetest.Must(t, err)
	defer f.Stop()
	fill(t, s, 0, 10, 10)
	caught(t, s, f)
	for range 2 {
		toLeader.muted.Store(true)
		toFollower.muted.Store(true)
		time.Sleep(checkEvery + checkEvery/2) // both have called a server
		toLeader.cut()
		toFollower.cut()
		toLeader.muted.Store(false)
		toFollower.muted.Store(false)
		fill(t, s, 0, 10, 20)
		caught(t, s, f)
	}
	alike(t, f.Space(), s)
}
