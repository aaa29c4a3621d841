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
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/replica"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// The cost of a leader for writers: the server and the leader are processes of their own, as in
// practice, and this process writes, in rounds with and without a leader, in turns.

const childVar = "REPLICA_BENCH_CHILD"

// children has the functions of child processes.
var children = map[string]func(args []string) error{"server": serverChild, "lead": leadChild}

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
	for _, k := range []struct {
		name  string
		round func() ([]float64, error)
		of    []string
	}{
		{fmt.Sprintf("a Set at %d /s", *rate), b.paced, []string{"median", "p90", "mean", "processor time"}},
		{"Sets as fast as they go", b.unpaced, []string{"time of all", "processor time"}},
	} {
		ratios, spent, err := b.inTurns(l, k.round)
		if err != nil {
			return err
		}
		fmt.Printf("%-45s %.1f µs of processor time a change, of the leader\n", k.name, spent)
		for i, of := range k.of {
			r := ratios[i]
			slices.Sort(r)
			fmt.Printf("%-45s %s %.3f of one without (half of %d rounds: %.3f to %.3f)\n", k.name+", with a leader", of, r[len(r)/2], len(r), r[len(r)/4], r[len(r)*3/4])
		}
	}
	return nil
}

// inTurns runs rounds with a leader and without one, and returns the ratios of their results, and the
// leader's processor time per change.
func (b *bench) inTurns(l *child, round func() ([]float64, error)) (ratios [4][]float64, spent float64, err error) {
	sum, sets := 0.0, uint64(0)
	with := func() (list []float64, err error) {
		if _, err := l.tell("lead"); err != nil {
			return nil, err
		}
		before, err := b.newest()
		if err != nil {
			return nil, err
		}
		if list, err = round(); err != nil {
			return nil, err
		}
		after, err := b.newest()
		if err != nil {
			return nil, err
		}
		micros, err := l.tell("stop")
		sum, sets = sum+micros, sets+after-before
		return list, err
	}
	if _, err := round(); err != nil { // afterwards the heap has its final size
		return ratios, 0, err
	}
	for n := range *rounds {
		order := []func() ([]float64, error){round, with}
		if n%2 == 1 {
			slices.Reverse(order)
		}
		first, err := order[0]()
		if err != nil {
			return ratios, 0, err
		}
		second, err := order[1]()
		if err != nil {
			return ratios, 0, err
		}
		if n%2 == 1 {
			first, second = second, first
		}
		for i := range first {
			ratios[i] = append(ratios[i], second[i]/first[i])
		}
	}
	return ratios, sum / float64(sets), nil
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
