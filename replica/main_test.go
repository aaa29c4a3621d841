package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestMain(m *testing.M) {
	proctest.Main()
	os.Exit(spacetest.Main(m))
}

// jetStream is a server in this process.
type jetStream struct {
	t    testing.TB
	dir  string
	opts server.Options
	*server.Server
}

// startJetStream starts a server that keeps its streams in a directory.
func startJetStream(t testing.TB, change ...func(*server.Options)) *jetStream {
	t.Helper()
	j := &jetStream{t: t, dir: filepath.Join(t.TempDir(), "jetstream"), opts: server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, NoSigs: true, NoLog: true}}
	for _, c := range change {
		c(&j.opts)
	}
	j.start()
	j.opts.Port = j.Addr().(*net.TCPAddr).Port
	t.Cleanup(j.stop)
	return j
}

func (j *jetStream) start() {
	j.t.Helper()
	opts := j.opts
	opts.StoreDir = j.dir
	s, err := server.NewServer(&opts)
	spacetest.Must(j.t, err)
	s.Start()
	if !s.ReadyForConnections(spacetest.Patience) {
		j.t.Fatal("the server does not start")
	}
	j.Server = s
}

func (j *jetStream) stop() {
	j.Shutdown()
	j.WaitForShutdown()
}

// connect returns a connection that reconnects.
func (j *jetStream) connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", j.opts.Port), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	spacetest.Must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// testOptions are options for a copy of a test.
func testOptions(t testing.TB, copy string) Options {
	var log *slog.Logger
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("test", t.Name())
	} else {
		log = slog.New(slog.DiscardHandler)
	}
	return Options{Stream: "s", Copy: copy, Log: log, Lease: time.Second, Open: []everheap.Option{everheap.WithMaxSize(256 << 20), everheap.WithFlushInterval(5 * time.Millisecond)}}
}

// soon returns a context for a quick operation.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), spacetest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// newSpace creates a space to lead with.
func newSpace(t testing.TB) *everheap.Space {
	t.Helper()
	return spacetest.Open(t, filepath.Join(t.TempDir(), "space"), everheap.WithMaxSize(256<<20), everheap.WithFlushInterval(5*time.Millisecond))
}

// mustLead leads until the test ends.
func mustLead(t testing.TB, nc *nats.Conn, s *everheap.Space, o Options) *Leader {
	t.Helper()
	l, err := Lead(soon(t), nc, s, o)
	spacetest.Must(t, err)
	t.Cleanup(func() { l.Stop() })
	return l
}

// mustFollow follows until the test ends.
func mustFollow(t testing.TB, nc *nats.Conn, dir string, o Options) *Follower {
	t.Helper()
	f, err := Follow(soon(t), nc, dir, o)
	spacetest.Must(t, err)
	t.Cleanup(func() { f.Stop() })
	return f
}

// await waits until ok returns true.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !spacetest.Wait(spacetest.Patience, ok) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// caught waits until a follower has the newest version of a leader's space.
func caught(t testing.TB, s *everheap.Space, f *Follower) {
	t.Helper()
	v, err := newestOf(s)
	spacetest.Must(t, err)
	ok := spacetest.Wait(spacetest.Patience, func() bool { return f.Status().Durable >= v })
	if !ok {
		b, _ := json.MarshalIndent(f.Status(), "", " ")
		t.Fatalf("the follower has not version %d: %s", v, b)
	}
}

// alike compares the contents of two spaces.
func alike(t testing.TB, got, want *everheap.Space) {
	t.Helper()
	spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, got)), spacetest.ReadDump(t, spacetest.BackupOf(t, want)))
}

// copyTree copies a directory.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	spacetest.Must(t, os.CopyFS(to, os.DirFS(from)))
}
