package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/replica"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// What writers pay for a leader: the server and the leader are processes of their own, as in use, and this
// process writes, in rounds with a leader, without one, and beside a process that only computes, in turns.
// That one takes as much processor time as the leader and the server did, and knows nothing of the space:
// what a writer pays beside it is the price of any work on the same processors.

const childVar = "REPLICA_BENCH_CHILD"

// children are what a process of the benchmark can be.
var children = map[string]func(args []string) error{"server": serverChild, "lead": leadChild, "compute": computeChild}

// serverChild is a server with its streams in a directory.
func serverChild(args []string) error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: args[0], NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the server does not start")
	}
	fmt.Println(s.ClientURL())
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent ends
	return err
}

// leadChild leads with a space from the command "lead" until the command "stop"; then it removes its
// subscription.
func leadChild(args []string) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, leaderNice); err != nil {
		return err
	}
	nc, err := nats.Connect(args[1])
	if err != nil {
		return err
	}
	defer nc.Close()
	var l *replica.Leader
	var space *everheap.Space
	var began, spent time.Duration
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "lead":
			if space, err = everheap.Open(args[0], flush100); err == nil {
				l, err = replica.Lead(context.Background(), nc, space, replica.Options{Stream: "cost", Copy: "a", SnapshotBytes: 1 << 40})
			}
			if err != nil {
				return err
			}
			v, err := versionOf(space)
			if err != nil {
				return err
			}
			until(func() bool { return l.Status().Durable >= v })
			began = processor()
		case "stop":
			spent = processor() - began
			if err := errors.Join(l.Stop(), forget(space), space.Close()); err != nil {
				return err
			}
		}
		fmt.Println(spent.Microseconds())
	}
	return nil
}

// computeChild computes, from "compute SHARE" until "stop", for a share of each millisecond, with the priority
// of a leader: it copies memory, as who passes changes on does.
func computeChild([]string) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, leaderNice); err != nil {
		return err
	}
	var stop chan struct{}
	var all sync.WaitGroup
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, text, _ := strings.Cut(lines.Text(), " ")
		if verb == "stop" {
			close(stop)
			all.Wait()
		} else {
			share, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return err
			}
			stop = make(chan struct{})
			threads := 1 + int(share/mostShare)
			for range threads {
				all.Go(func() { computeFor(share/float64(threads), stop) })
			}
		}
		fmt.Println(0)
	}
	return nil
}

// mostShare is the share of a processor that one thread takes at most: it can never take all.
const mostShare = 0.8

// computeFor computes for a share of the time, below 1.
func computeFor(share float64, stop chan struct{}) {
	from, to := make([]byte, 1<<20), make([]byte, 1<<20)
	at := 0
	for began, busy := time.Now(), time.Duration(0); ; time.Sleep(time.Millisecond) {
		for busy < time.Duration(share*float64(time.Since(began))) {
			select {
			case <-stop:
				return
			default:
			}
			t := time.Now()
			copy(to[at:at+4096], from[at:])
			at = (at + 4096) % len(from)
			busy += time.Since(t)
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// leaderNice is the priority of the unit in ../systemd.
const leaderNice = 5

var flush100 = everheap.WithFlushInterval(100 * time.Millisecond)

// forget drops the subscription of a leader that has stopped.
func forget(space *everheap.Space) error {
	sub, err := space.Subscribe("replica-cost", 0)
	if err != nil {
		return err
	}
	return sub.Drop()
}

// child is a process of the benchmark.
type child struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

func startChild(what string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, args...)}
	c.cmd.Env = append(os.Environ(), childVar+"="+what)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

// hear returns the next line of the child.
func (c *child) hear() (string, error) {
	line, err := c.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// tell sends a command to the child, and waits until it is done. After "stop" it returns the
// processor time of leading, in microseconds.
func (c *child) tell(what string) (micros float64, err error) {
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		return 0, err
	}
	line, err := c.hear()
	if err == nil {
		micros, err = strconv.ParseFloat(line, 64)
	}
	return micros, err
}

// processor returns the processor time of this process.
func processor() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (c *child) end() {
	c.in.Close()
	_ = c.cmd.Wait()
}

// cost prints the cost for writers: the time of a Set at a fixed rate, and the total time at full
// speed.
func cost() error {
	dir, err := os.MkdirTemp("", "everheap-replica-cost-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := startChild("server", filepath.Join(dir, "jetstream"))
	if err != nil {
		return err
	}
	defer s.end()
	url, err := s.hear()
	if err != nil {
		return err
	}
	b := &bench{}
	path := filepath.Join(dir, "space")
	if b.space, err = everheap.Open(path, everheap.WithMaxSize(4<<30), flush100); err != nil {
		return err
	}
	defer b.space.Close()
	if b.rows, err = everheap.OpenMap[int, row](b.space, "rows"); err != nil {
		return err
	}
	l, err := startChild("lead", path, url)
	if err != nil {
		return err
	}
	defer l.end()
	c, err := startChild("compute")
	if err != nil {
		return err
	}
	defer c.end()
	t := turns{b: b, server: s, leader: l, other: c}
	for _, k := range []struct {
		name  string
		round func() ([]float64, error)
		of    []string
	}{
		{fmt.Sprintf("a Set at %d /s", *rate), b.paced, []string{"median", "p90", "mean", "processor time"}},
		{"Sets as fast as they go", b.unpaced, []string{"time of all", "processor time"}},
	} {
		if err := t.run(k.round); err != nil {
			return err
		}
		fmt.Printf("%-45s %.1f µs of processor time a change, of the leader; %.2f of a processor, of both\n", k.name, t.spent/t.sets, t.share)
		for i, of := range k.of {
			tell := func(what string, r []float64) {
				slices.Sort(r)
				fmt.Printf("%-45s %s %.3f (half of %d rounds: %.3f to %.3f)\n", k.name+", "+what, of, r[len(r)/2], len(r), r[len(r)/4], r[len(r)*3/4])
			}
			tell("with a leader to without", t.leaderToNone[i])
			tell("beside as much work to without", t.otherToNone[i])
			tell("with a leader to beside as much work", t.leaderToOther[i])
		}
	}
	return nil
}

// turns runs rounds with a leader, beside a process that computes as much, and without either, in turns.
type turns struct {
	b                     *bench
	server, leader, other *child

	leaderToNone, otherToNone, leaderToOther [4][]float64 // ratios of what rounds return
	spent                                    float64      // microseconds of processor time of the leader
	sets                                     float64      // changes meanwhile
	share                                    float64      // of a processor, that leader and server took in the last round
}

func (t *turns) run(round func() ([]float64, error)) error {
	*t = turns{b: t.b, server: t.server, leader: t.leader, other: t.other}
	with := func() ([]float64, error) { return t.withLeader(round) }
	beside := func() (list []float64, err error) {
		if _, err := t.other.tell(fmt.Sprint("compute ", t.share)); err != nil {
			return nil, err
		}
		if list, err = round(); err == nil {
			_, err = t.other.tell("stop")
		}
		return list, err
	}
	for _, fn := range []func() ([]float64, error){round, with} { // the heap has its size then, and the share is known
		if _, err := fn(); err != nil {
			return err
		}
	}
	t.spent, t.sets = 0, 0
	kinds := []func() ([]float64, error){round, with, beside}
	for n := range *rounds {
		var got [3][]float64
		for i := range kinds {
			k := (i + n) % len(kinds)
			list, err := kinds[k]()
			if err != nil {
				return err
			}
			got[k] = list
		}
		for i := range got[0] {
			t.leaderToNone[i] = append(t.leaderToNone[i], got[1][i]/got[0][i])
			t.otherToNone[i] = append(t.otherToNone[i], got[2][i]/got[0][i])
			t.leaderToOther[i] = append(t.leaderToOther[i], got[1][i]/got[2][i])
		}
	}
	return nil
}

// withLeader is a round with a leader.
func (t *turns) withLeader(round func() ([]float64, error)) (list []float64, err error) {
	if _, err := t.leader.tell("lead"); err != nil {
		return nil, err
	}
	before, err := t.b.newest()
	if err != nil {
		return nil, err
	}
	server, err := t.server.processor()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if list, err = round(); err != nil {
		return nil, err
	}
	took := time.Since(began)
	serverNow, err := t.server.processor()
	if err != nil {
		return nil, err
	}
	after, err := t.b.newest()
	if err != nil {
		return nil, err
	}
	micros, err := t.leader.tell("stop")
	t.spent, t.sets = t.spent+micros, t.sets+float64(after-before)
	t.share = (micros*1e3 + float64(serverNow-server)) / float64(took)
	return list, err
}

// processor returns what the child has had of processors.
func (c *child) processor() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from the third of proc(5) on
	var ticks int64
	for _, at := range []int{14 - 3, 15 - 3} { // utime and stime
		n, err := strconv.ParseInt(fields[at], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ
}

// paced writes at the fixed rate for two seconds.
func (b *bench) paced() ([]float64, error) {
	times := make([]float64, 2**rate)
	sum := 0.0
	began, busy := time.Now(), processor()
	for i := range times {
		if wait := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(*rate))); wait > 500*time.Microsecond {
			time.Sleep(wait)
		}
		at := time.Now()
		if err := b.set(i); err != nil {
			return nil, err
		}
		times[i] = float64(time.Since(at))
		sum += times[i]
	}
	busy = processor() - busy
	slices.Sort(times)
	return []float64{times[len(times)/2], times[len(times)*9/10], sum / float64(len(times)), float64(busy)}, nil
}

// unpaced writes as fast as it goes.
func (b *bench) unpaced() ([]float64, error) {
	began, busy := time.Now(), processor()
	for i := range *changes {
		if err := b.set(i); err != nil {
			return nil, err
		}
	}
	return []float64{float64(time.Since(began)), float64(processor() - busy)}, nil
}
