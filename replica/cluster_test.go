package replica

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

var (
	clusterFor  = flag.Duration("replica.cluster", 0, "how long TestCluster upsets three machines")
	clusterSeed = flag.Uint64("replica.seed", uint64(time.Now().UnixNano()), "seed of TestCluster")
)

const (
	clusterKeys = 8
	machineVar  = "REPLICA_MACHINE"
	syncVar     = "REPLICA_SYNC"
)

func init() {
	proctest.Children["server"] = serverChild
	proctest.Children["copy"] = func(dir string) error { return copyChild(dir, clusterOpen, nil) }
	proctest.Children["client"] = func(dir string) error { return clientChild(dir, clusterOpen) }
}

// address returns the address of a machine in the network of the test, which exists only in its
// namespaces.
func address(machine int) string { return fmt.Sprintf("10.77.91.%d", machine+1) }

// machine is the number of the machine that a child runs on.
func machine() int {
	n, err := strconv.Atoi(os.Getenv(machineVar))
	if err != nil {
		panic(err)
	}
	return n
}

// serverLog returns the path of a server's log.
func serverLog(dir string, n int) string { return filepath.Join(dir, fmt.Sprint("server", n, ".log")) }

// serverChild is a JetStream server of the cluster.
func serverChild(dir string) error {
	n := machine()
	opts := &server.Options{ServerName: fmt.Sprint("n", n), Host: address(n), Port: 4222, JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint("jetstream", n)),
		NoSigs: true, LogFile: serverLog(dir, n), Logtime: true, SyncAlways: os.Getenv(syncVar) != "",
		Cluster: server.ClusterOpts{Name: "c", Host: address(n), Port: 6222}}
	for i := range 3 {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: address(i) + ":6222"})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("the server does not start")
	}
	proctest.Say("ready")
	select {}
}

// diskDir is where the disk of a machine is mounted.
func diskDir(dir string, n int) string { return filepath.Join(dir, fmt.Sprint("disk", n)) }

// spaceDir is the directory of a machine's copy.
func spaceDir(dir string, n int) string { return filepath.Join(diskDir(dir, n), "space") }

// clusterOpen are the options of the spaces.
var clusterOpen = []everheap.Option{everheap.WithMaxSize(256 << 20), everheap.WithFlushInterval(20 * time.Millisecond)}

// copyChild leads or follows; connected gets its connection.
func copyChild(dir string, open []everheap.Option, connected func(*nats.Conn)) error {
	n := machine()
	urls := []string{}
	for i := range 3 {
		urls = append(urls, "nats://"+address((n+i)%3)+":4222")
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true), nats.DontRandomize(), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return err
	}
	if connected != nil {
		connected(nc)
	}
	role := AsFollower
	if n == 0 {
		role = AsLeader
	}
	o := Options{Stream: "c", Copy: fmt.Sprint("n", n), Replicas: 3, Lease: time.Second, PromoteAfter: 2 * time.Second, SnapshotBytes: 1 << 20, Open: open,
		Log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	return Run(context.Background(), nc, spaceDir(dir, n), role, o)
}

// now is a time that all processes of this machine share.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// clientChild uses the space of its machine. It writes and reads registers in Updates that wait for a
// copy; each Update also moves money in a bank. It prints the outcome of each operation: a line "op"
// with the key, w or r, the value, and the times of its beginning and end. An end of 0 says that the
// outcome is unknown. It prints a line "try" before each write, since it may be killed during the
// write.
func clientChild(dir string, open []everheap.Option) error {
	n := machine()
	space := spaceDir(dir, n)
	r := rand.New(rand.NewPCG(uint64(n), uint64(os.Getpid())))
	for i := 0; ; i++ {
		if _, err := os.Stat(filepath.Join(space, "heap")); err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		s, err := everheap.Open(space, open...)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for range 20 {
			if err := clientOnce(s, r, fmt.Sprintf("%d-%d-%d", n, os.Getpid(), i)); err != nil {
				break
			}
			i++
		}
		s.Close()
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
}

// clientOnce does one operation.
func clientOnce(s *everheap.Space, r *rand.Rand, id string) error {
	if bad := auditBank(s); bad != nil {
		say("wrong", bad)
	}
	if _, is, err := s.Leader(); err != nil || is {
		time.Sleep(20 * time.Millisecond)
		return errors.Join(err, everheap.ErrReadOnly)
	}
	key, write := r.IntN(clusterKeys), r.IntN(2) == 0
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	what, value := "r", ""
	began := now()
	if write {
		say("try", key, id, began)
	}
	err := s.Update(ctx, func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[int, string](tx, "registers")
		if err == nil && write {
			what, value = "w", id
			err = m.Set(tx, key, id)
		} else if err == nil {
			value = "-"
			if v := m.Peek(tx, key); v != nil {
				value = strings.Clone(*v)
			}
		}
		return errors.Join(err, bank(tx, r, id))
	}, everheap.WithReplicas(1))
	ended := now()
	switch {
	case err == nil:
	case errors.Is(err, everheap.ErrNotReplicated), errors.Is(err, everheap.ErrIO):
		ended = 0
	case errors.Is(err, everheap.ErrReadOnly), errors.Is(err, everheap.ErrBusy), errors.Is(err, everheap.ErrSuspended):
		return err // the operation was not done
	default:
		say("note", err)
		ended = 0
	}
	if write || ended != 0 {
		say("op", key, what, value, began, ended)
	}
	if ended != 0 {
		say("acked", id)
	}
	return nil
}

const accounts = 10

// bank moves money between accounts, and notes that it did.
func bank(tx *everheap.Tx, r *rand.Rand, id string) error {
	m, err := everheap.OpenMap[int, int](tx, "accounts")
	if err != nil {
		return err
	}
	for _, by := range []int{1, -1} {
		err = m.Upsert(tx, r.IntN(accounts), func(v *int, _ bool) error { *v += by; return nil })
		if err != nil {
			return err
		}
	}
	done, err := everheap.OpenMap[string, bool](tx, "done")
	if err == nil {
		err = done.Set(tx, id, true)
	}
	return err
}

// auditBank returns what is wrong with a bank.
func auditBank(s *everheap.Space) (bad error) {
	err := s.View(func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[int, int](tx, "accounts")
		if errors.Is(err, everheap.ErrNotFound) || errors.Is(err, everheap.ErrReadOnly) {
			return nil
		}
		sum := 0
		for _, v := range m.All(tx) {
			sum += *v
		}
		if sum != 0 {
			bad = fmt.Errorf("money came or went: %d", sum)
		}
		return err
	})
	if bad == nil && err != nil && !errors.Is(err, everheap.ErrClosed) {
		bad = err
	}
	return bad
}

// cluster is three machines, made of network namespaces.
type cluster struct {
	t     *testing.T
	dir   string
	sync  bool
	procs map[string]*process
	mu    sync.Mutex
	ops   []porcupine.Operation
	tried map[string]porcupine.Operation // begun writes with an unknown outcome, by their value
	acked []string
	wrong []string
	logs  []string
}

// process is a child on a machine.
type process struct {
	*exec.Cmd
	in   io.Writer
	gone chan struct{}
}

// ip runs ip(8).
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return err
}

func space91(n int) string { return fmt.Sprintf("everheap%d-%d", os.Getpid(), n) }
func hub91() string        { return fmt.Sprintf("everheap%d-hub", os.Getpid()) }

// newCluster makes the machines; the test is skipped if that is not allowed.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), procs: map[string]*process{}, tried: map[string]porcupine.Operation{}}
	if err := ip("netns", "add", hub91()); err != nil {
		t.Skipf("skipped: network namespaces cannot be made here (it needs root and ip): %v", err)
	}
	t.Cleanup(func() { ip("netns", "del", hub91()) })
	must := func(args ...string) { t.Helper(); spacetest.Must(t, ip(args...)) }
	must("-n", hub91(), "link", "add", "br0", "type", "bridge")
	must("-n", hub91(), "link", "set", "br0", "up")
	for n := range 3 {
		ns, port := space91(n), fmt.Sprint("p", n)
		must("netns", "add", ns)
		t.Cleanup(func() { ip("netns", "del", ns) })
		must("-n", hub91(), "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
		must("-n", hub91(), "link", "set", port, "master", "br0")
		must("-n", hub91(), "link", "set", port, "up")
		must("-n", ns, "addr", "add", address(n)+"/24", "dev", "eth0")
		must("-n", ns, "link", "set", "eth0", "up")
		must("-n", ns, "link", "set", "lo", "up")
		disk := diskDir(c.dir, n)
		spacetest.Must(t, os.Mkdir(disk, 0o700))
		spacetest.Must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprint("size=", diskSize)))
		t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	}
	t.Cleanup(func() {
		for name := range c.procs {
			c.kill(name)
		}
	})
	return c
}

// start starts a child on a machine.
func (c *cluster) start(what string, n int) {
	c.t.Helper()
	self, err := os.Executable()
	spacetest.Must(c.t, err)
	p := &process{Cmd: exec.Command("ip", "netns", "exec", space91(n), self, "-test.run=^$"), gone: make(chan struct{})}
	p.Env = append(os.Environ(), "EVERHEAP_TEST_CHILD="+what, "EVERHEAP_TEST_DIR="+c.dir, fmt.Sprintf("%s=%d", machineVar, n))
	if c.sync {
		p.Env = append(p.Env, syncVar+"=1")
	}
	name := fmt.Sprint(what, n)
	out, err := p.StdoutPipe()
	spacetest.Must(c.t, err)
	p.in, err = p.StdinPipe()
	spacetest.Must(c.t, err)
	p.Stderr = p.Stdout
	spacetest.Must(c.t, p.Start())
	c.procs[name] = p
	go func() {
		defer close(p.gone)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.hear(name, n, lines.Text())
		}
		_ = p.Wait()
	}()
}

// hear handles a line of a child.
func (c *cluster) hear(name string, n int, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	words := strings.Fields(line)
	switch {
	case len(words) == 6 && words[0] == "op":
		key, _ := strconv.Atoi(words[1])
		began, _ := strconv.ParseInt(words[4], 10, 64)
		ended, _ := strconv.ParseInt(words[5], 10, 64)
		if ended == 0 {
			ended = math.MaxInt64
		}
		op := registerOp{key, words[2] == "w", words[3]}
		if op.write {
			delete(c.tried, op.value)
		}
		c.ops = append(c.ops, porcupine.Operation{ClientId: n, Input: op, Output: op, Call: began, Return: ended})
	case len(words) == 4 && words[0] == "try":
		key, _ := strconv.Atoi(words[1])
		began, _ := strconv.ParseInt(words[3], 10, 64)
		op := registerOp{key, true, words[2]}
		c.tried[op.value] = porcupine.Operation{ClientId: n, Input: op, Output: op, Call: began, Return: math.MaxInt64}
	case len(words) == 2 && words[0] == "acked":
		c.acked = append(c.acked, words[1])
	case len(words) > 1 && (words[0] == "wrong" || words[0] == "fail"):
		c.wrong = append(c.wrong, name+": "+line)
	}
	if len(words) > 0 && words[0] != "op" && words[0] != "acked" && words[0] != "try" {
		c.logs = append(c.logs, name+": "+line)
	}
}

// kill kills a child.
func (c *cluster) kill(name string) {
	if p := c.procs[name]; p != nil {
		_ = p.Process.Kill()
		<-p.gone
		delete(c.procs, name)
	}
}

// link cuts a machine off, or connects it again.
func (c *cluster) link(n int, state string) {
	c.t.Helper()
	spacetest.Must(c.t, ip("-n", hub91(), "link", "set", fmt.Sprint("p", n), state))
}

// registerOp is a read or a write of a register.
type registerOp struct {
	key   int
	write bool
	value string
}

// registers is the model of the registers.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		all := make([][]porcupine.Operation, clusterKeys)
		for _, o := range history {
			k := o.Input.(registerOp).key
			all[k] = append(all[k], o)
		}
		return all
	},
	Init: func() any { return "-" },
	Step: func(state, input, _ any) (bool, any) {
		op := input.(registerOp)
		if op.write {
			return true, op.value
		}
		return state.(string) == op.value, state
	},
}

// upset injects a fault into the machines, and repairs it.
func (c *cluster) upset(r *rand.Rand) string {
	n := r.IntN(3)
	for try := 0; try < 3; try++ { // mostly the leader
		if _, err := os.Stat(filepath.Join(spaceDir(c.dir, n), "replica")); err == nil {
			n = (n + 1) % 3
		}
	}
	if r.IntN(3) == 0 {
		n = r.IntN(3)
	}
	pause := func() { time.Sleep(time.Duration(2000+r.IntN(4000)) * time.Millisecond) }
	again := func(names ...string) {
		for _, what := range names {
			c.kill(fmt.Sprint(what, n))
			c.start(what, n)
		}
	}
	for m := range 3 { // remove spaces put aside, which the test does not need
		list, _ := filepath.Glob(spaceDir(c.dir, m) + ".aside-*")
		for _, aside := range list {
			os.RemoveAll(aside)
		}
	}
	switch r.IntN(8) {
	case 6:
		return c.fill(n, pause)
	case 7:
		return c.cut(n, r, pause)
	case 0:
		c.link(n, "down")
		pause()
		c.link(n, "up")
		return fmt.Sprint("cut off ", n)
	case 1:
		again("server")
		return fmt.Sprint("killed the server of ", n)
	case 2:
		again("copy")
		return fmt.Sprint("killed the copy of ", n)
	case 3:
		c.kill(fmt.Sprint("copy", n))
		pause()
		c.start("copy", n)
		return fmt.Sprint("killed the copy of ", n, " for a while")
	case 4: // a power loss: versions that were not durable are lost
		for _, what := range []string{"client", "copy", "server"} {
			c.kill(fmt.Sprint(what, n))
		}
		os.Remove(filepath.Join(spaceDir(c.dir, n), "live"))
		pause()
		for _, what := range []string{"server", "copy", "client"} {
			c.start(what, n)
		}
		return fmt.Sprint("power lost on ", n)
	default:
		p := c.procs[fmt.Sprint("copy", n)].Process
		_ = p.Signal(unix.SIGSTOP)
		pause()
		_ = p.Signal(unix.SIGCONT)
		return fmt.Sprint("stopped the copy of ", n, " for a while")
	}
}

// Three machines with a server, a copy and a client each, under partitions, kills, stops, full disks and cuts of
// power: the registers are linearizable, no acknowledged write is lost, whichever copy led, and no
// copy ever shows an inconsistent bank.
func TestCluster(t *testing.T) {
	if *clusterFor == 0 {
		t.Skip("skipped: it takes minutes and root; make replica-cluster runs it")
	}
	c := newCluster(t)
	r := rand.New(rand.NewPCG(*clusterSeed, 0))
	t.Logf("seed %d", *clusterSeed)
	for _, what := range []string{"server", "copy", "client"} {
		for n := range 3 {
			c.start(what, n)
		}
	}
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.acked) }
	progress := func(what string) {
		t.Helper()
		was := count()
		if !spacetest.Wait(2*time.Minute, func() bool { return count() > was+5 }) {
			c.tell()
			t.Fatalf("no write is acknowledged any more: %s", what)
		}
	}
	progress("at the start")
	for end := time.Now().Add(*clusterFor); time.Now().Before(end); {
		did := c.upset(r)
		began := time.Now()
		progress(did)
		t.Logf("%s; %d acknowledged, going on after %v", did, count(), time.Since(began).Round(time.Millisecond))
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
	}
	for n := range 3 {
		c.kill(fmt.Sprint("client", n))
	}
	c.verify()
}

// tell logs the last output of the children.
func (c *cluster) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Log(strings.Join(c.logs[max(0, len(c.logs)-120):], "\n"))
	for n := range 3 {
		b, err := os.ReadFile(serverLog(c.dir, n))
		lines := strings.Split(string(b), "\n")
		c.t.Logf("server %d, %v:\n%s", n, err, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}

// verify verifies the copies at the end.
func (c *cluster) verify() {
	t := c.t
	missing := func(n int) (list []string) {
		if _, err := os.Stat(filepath.Join(spaceDir(c.dir, n), "heap")); err != nil {
			return []string{"everything"}
		}
		s, err := everheap.Open(spaceDir(c.dir, n), clusterOpen...)
		if err != nil {
			return []string{err.Error()}
		}
		defer s.Close()
		if err := auditBank(s); err != nil {
			t.Error(err)
		}
		err = s.View(func(tx *everheap.Tx) error {
			done, err := everheap.OpenMap[string, bool](tx, "done")
			for _, id := range c.acked {
				if err == nil && done.Peek(tx, id) == nil {
					list = append(list, id)
				}
			}
			return err
		})
		if err != nil {
			list = append(list, err.Error())
		}
		return list
	}
	for n := range 3 {
		var list []string
		if !spacetest.Wait(time.Minute, func() bool { list = missing(n); return len(list) == 0 }) {
			t.Errorf("machine %d lacks %d of %d acknowledged writes: %v", n, len(list), len(c.acked), list[:min(9, len(list))])
		}
	}
	c.mu.Lock()
	if len(c.wrong) > 0 {
		t.Errorf("wrong: %q", c.wrong[:min(9, len(c.wrong))])
	}
	ops := c.ops
	for _, op := range c.tried {
		ops = append(ops, op)
	}
	c.mu.Unlock()
	unknown := 0
	for _, o := range ops {
		if o.Return == math.MaxInt64 {
			unknown++
		}
	}
	t.Logf("%d operations, %d of them with an unknown outcome", len(ops), unknown)
	switch porcupine.CheckOperationsTimeout(registers, ops, 2*time.Minute) {
	case porcupine.Illegal:
		t.Error("the history of the registers is not linearizable")
	case porcupine.Unknown:
		t.Error("porcupine did not find out in time")
	}
	if t.Failed() {
		c.tell()
	}
}
