package work

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/model"
)

// childVariable tells a process of this program that it is a child, and what to do.
const childVariable = "EVERHEAP_PEERS_CHILD"

// childSpec is the task of a child.
type childSpec struct {
	Kind    string // a key of childKinds
	Engine  string
	Dir     string
	N       int
	Seconds float64
	Group   string // a control group that the child enters; "" for none
	Memory  int64  // bytes that the group has
}

// childReport is the line that a child ends with.
type childReport struct {
	OpenMS, GetMS float64
	Karma         int64
	Rate          float64
	P50, P99      float64 // microseconds
	RSS           float64 // MiB
}

// updatesBeforeKill are made, and acknowledged, before the process is killed.
const updatesBeforeKill = 10_000

// markKarma is the Karma of user 1 after the last update before the kill.
const markKarma = 424242

// child is a process of this program that runs.
type child struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	in     io.WriteCloser
	errors bytes.Buffer
	start  time.Time
}

func startChild(spec childSpec) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &child{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(b))
	p.cmd.Stderr = &p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	p.start = time.Now()
	return p, p.cmd.Start()
}

// errTimeout: the child has not answered.
var errTimeout = errors.New("no answer from the child")

// line reads one line of the child.
func (p *child) line(limit time.Duration) (string, error) {
	type answer struct {
		s   string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		s, err := p.out.ReadString('\n')
		answers <- answer{strings.TrimSpace(s), err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			waited := p.cmd.Wait()
			return "", fmt.Errorf("the child has ended (%v): %s", waited, strings.TrimSpace(p.errors.String()))
		}
		return a.s, nil
	case <-time.After(limit):
		return "", errTimeout
	}
}

// report reads the report of the child.
func (p *child) report(limit time.Duration) (r childReport, err error) {
	s, err := p.line(limit)
	if err == nil {
		err = json.Unmarshal([]byte(s), &r)
	}
	return r, err
}

// say writes a line to the child.
func (p *child) say(s string) error {
	_, err := fmt.Fprintln(p.in, s)
	return err
}

// kill ends the child with SIGKILL.
func (p *child) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// end lets the child end by itself.
func (p *child) end() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// Child runs the task of this process and ends it, if it is a child; otherwise it returns at once.
// main calls it first.
func Child() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var spec childSpec
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil && spec.Group != "" {
		err = enterGroup(spec.Group)
	}
	if err == nil {
		err = childKinds[spec.Kind](&childRun{spec, bufio.NewReader(os.Stdin)})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childRun is this process, if it is a child.
type childRun struct {
	childSpec
	in *bufio.Reader
}

var childKinds = map[string]func(*childRun) error{
	"nothing": func(*childRun) error { fmt.Println("ready"); return nil },
	"load":    (*childRun).load,
	"get":     (*childRun).get,
	"write":   func(c *childRun) error { return c.loop(true) },
	"read":    func(c *childRun) error { return c.loop(false) },
}

func (c *childRun) open(readOnly bool) (*opened, error) {
	b := &Bench{Name: c.Engine}
	return b.open(engines.Options{Dir: c.Dir, Durability: engines.Async, ReadOnly: readOnly, Memory: c.Memory}, 1)
}

// load makes a database, updates it, and waits for its death.
func (c *childRun) load() error {
	o, err := c.open(false)
	if err != nil {
		return err
	}
	s := o.sessions[0]
	if err := loadUsers(s, c.N); err != nil {
		return err
	}
	t := newWorkers(1, 5)[0]
	for range updatesBeforeKill {
		i := t.rng.N(c.N)
		if err := s.Put(t.key.Key(i), t.pool.Take(i, int64(i))); err != nil {
			return err
		}
	}
	if err := s.Put(t.key.Key(1), t.pool.Take(1, markKarma)); err != nil {
		return err
	}
	if saver, ok := o.Engine.(engines.Saver); ok {
		if err := saver.Save(); err != nil {
			return err
		}
	}
	pid := 0
	if p := o.pids(); len(p) > 0 {
		pid = p[0]
	}
	fmt.Println("ready", pid)
	select {}
}

// get opens the database and reads one user.
func (c *childRun) get() error {
	start := time.Now()
	o, err := c.open(false)
	if err != nil {
		return err
	}
	r := childReport{OpenMS: float64(time.Since(start)) / 1e6}
	var u model.User
	if err := o.sessions[0].Get(model.UserKey(1), &u); err != nil {
		return err
	}
	r.GetMS = float64(time.Since(start))/1e6 - r.OpenMS
	r.Karma, r.RSS = u.Karma, measure.MemoryOf(o.pids()...).RSS
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, c.in)
	return o.close()
}

// loop reads or writes users for a time, from the word of its parent on.
func (c *childRun) loop(write bool) error {
	o, err := c.open(!write)
	if err != nil {
		return err
	}
	t := newWorkers(1, uint64(os.Getpid()))[0]
	s := o.sessions[0]
	if err := s.Get(t.key.Key(1), &t.user); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := c.in.ReadString('\n'); err != nil {
		return err
	}
	r, err := o.timed(1, c.Seconds, loop{times: true, call: func(s engines.Session, _ int) error {
		i := t.rng.N(c.N)
		if write {
			return s.Put(t.key.Key(i), t.pool.Take(i, int64(i)))
		}
		return s.Get(t.key.Key(i), &t.user)
	}})
	if err != nil {
		return err
	}
	rep := childReport{Rate: r.rate(), P50: r.latency.Quantile(0.5) / 1e3, P99: r.latency.Quantile(0.99) / 1e3, RSS: measure.MemoryOf().RSS}
	if err := json.NewEncoder(os.Stdout).Encode(rep); err != nil {
		return err
	}
	return o.close()
}
