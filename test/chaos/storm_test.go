package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

const (
	workers = 5
	checker = workers // the id of the process that looks
)

// A storm is one round: a space, its processes, and the faults.
type storm struct {
	profile
	t         *testing.T
	r         *rand.Rand
	dir       string
	restores  *restores
	processes map[int]*process
	lives     map[int]int
	absent    map[int]time.Time // when dead processes are started again
	next      time.Time         // when the next fault happens
	violence  int               // percentage of faults that concern all processes
	log       *os.File
	disk      *disk
	kills     int
	stops     int
	losses    int
	waited    time.Duration // longest time of a process without a commit
	mu        sync.Mutex
}

// TestChaos runs storms, for as long as the flag says.
func TestChaos(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = 1
	}
	base := *keepFlag
	if base == "" {
		base = os.TempDir()
	}
	for began := time.Now(); time.Since(began) < *soakFlag; seed++ {
		dir, err := os.MkdirTemp(base, "everheap-chaos-")
		if err != nil {
			t.Fatal(err)
		}
		f := newStorm(t, dir, seed)
		t.Logf("round with -everheap.seed=%d in %s", seed, dir)
		err = f.round(min(*roundFlag, *soakFlag-time.Since(began)))
		if err != nil {
			f.keep(err)
			t.Fatalf("chaos, seed %d: %v\neverything is kept in %s", seed, err, dir)
		}
		t.Log(f.summary())
		if err := f.disk.unmount(""); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// newStorm decides what kind of round a seed makes: one of four has a space, or a disk
// if there can be a small one, that gets full.
func newStorm(t *testing.T, dir string, seed uint64) *storm {
	f := &storm{t: t, dir: dir, r: rand.New(rand.NewPCG(seed, 1)), restores: newRestores(dir),
		processes: map[int]*process{}, lives: map[int]int{}, absent: map[int]time.Time{}}
	f.violence = 1 + f.r.IntN(6)
	f.profile = profile{Dir: dir, Space: filepath.Join(dir, "space"), Window: 1 << 30, Seed: seed}
	switch kind := f.r.IntN(8); {
	case !*fullFlag:
	case kind == 0:
		f.Full, f.Window = true, tightSpace
	case kind == 1:
		var err error
		if f.disk, err = mountDisk(filepath.Join(dir, "disk")); err != nil {
			t.Fatal(err)
		}
		if f.disk != nil {
			f.Full, f.Space = true, filepath.Join(dir, "disk", "space")
		}
	}
	return f
}

// told writes an event to the log of the round.
func (f *storm) told(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.log, "%d.%06d %s\n", clock()/1e9, clock()/1000%1e6, fmt.Sprintf(format, args...))
}

// round runs one space through a storm, and verifies the result.
func (f *storm) round(length time.Duration) (err error) {
	for _, sub := range []string{"out", "ledger", "made", "dropped", "seen", "home"} {
		if err := os.Mkdir(filepath.Join(f.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if f.log, err = os.Create(filepath.Join(f.dir, "log")); err != nil {
		return err
	}
	defer f.log.Close()
	s, err := everheap.Open(f.Space, everheap.WithMaxSize(f.Window))
	if err != nil {
		return err
	}
	if err := errors.Join(found(s), s.Close()); err != nil {
		return err
	}
	for id := range workers + 1 {
		f.begin(id)
	}
	for over := time.Now().Add(length); time.Now().Before(over); time.Sleep(5 * time.Millisecond) {
		if err := f.look(); err != nil {
			return err
		}
		if time.Now().After(f.next) {
			f.next = time.Now().Add(time.Duration(f.r.IntN(1000)) * time.Millisecond)
			if err := f.strike(); err != nil {
				return err
			}
		}
	}
	return f.end()
}

// begin starts a process, and in builds with points tells it where to stop or to die.
func (f *storm) begin(id int) {
	role, point := "worker", ""
	if id == checker {
		role = "checker"
	} else if invariant.Enabled && f.r.IntN(2) == 0 {
		point = f.point()
	}
	f.start(id, role, point)
}

// point chooses where a process is to stop or to die, as the flag says.
func (f *storm) point() string {
	prefix, how, _ := strings.Cut(*pointFlag, ":")
	var points []string
	for _, name := range invariant.Points {
		if strings.HasPrefix(name, prefix) {
			points = append(points, name)
		}
	}
	if how == "" {
		how = []string{"kill", "stop"}[f.r.IntN(2)]
	}
	return fmt.Sprintf("%s:%d:%s", points[f.r.IntN(len(points))], 1+f.r.IntN(1<<f.r.IntN(8)), how)
}

// look handles what has happened since the last call: processes that have died or stopped, that have
// found an error, or that have waited for too long.
func (f *storm) look() error {
	if text, err := os.ReadFile(filepath.Join(f.dir, "failure")); err == nil && len(text) > 0 { // otherwise the file is still being written
		return errors.New(string(text))
	}
	now := time.Now()
	full, err := f.disk.full(false)
	if err != nil {
		return err
	}
	for id, p := range f.processes {
		if full {
			p.since = now
		}
		switch {
		case p.gone():
			if err := f.bury(p); err != nil {
				return err
			}
			f.absent[id] = now.Add(time.Duration(f.r.IntN(500)) * time.Millisecond)
		case p.stopped:
			if now.After(p.until) {
				f.resume(p)
			}
		case p.point != "" && p.state() == "T":
			f.told("%s stands still at its point", p.name())
			f.stopped(p)
		default:
			if err := f.progress(p); err != nil {
				return err
			}
		}
	}
	for id, at := range f.absent {
		if now.After(at) {
			delete(f.absent, id)
			f.begin(id)
		}
	}
	return nil
}

// progress is an error if a process that works has not committed anything for long.
func (f *storm) progress(p *process) error {
	if p.role != "worker" {
		return nil
	}
	last := p.since
	for n := range owners {
		l, err := openLedger(f.dir, ownerID(p.id, n))
		if err != nil {
			return err
		}
		if at := time.Now().Add(-time.Duration(clock() - l.note.At)); at.After(last) {
			last = at
		}
		l.file.Close()
	}
	waited := time.Since(last)
	f.waited = max(f.waited, waited)
	if waited > *patienceFlag {
		return fmt.Errorf("process %s has not committed anything for %v, although it is neither dead nor stopped", p.name(), waited)
	}
	return nil
}

// stopped notes that a process is stopped, and decides for how long.
func (f *storm) stopped(p *process) {
	length := time.Duration(5+f.r.IntN(300)) * time.Millisecond
	switch f.r.IntN(8) {
	case 0, 1, 2:
		length = time.Duration(1000+f.r.IntN(3000)) * time.Millisecond
	case 3:
		length = time.Duration(4000+f.r.IntN(8000)) * time.Millisecond
	}
	p.stopped, p.until = true, time.Now().Add(length)
	f.stops++
	f.told("%s is stopped for %v", p.name(), length)
}

func (f *storm) resume(p *process) {
	p.stopped, p.since = false, time.Now()
	p.signal(syscall.SIGCONT)
	f.told("%s goes on", p.name())
	for _, other := range f.processes {
		if !other.stopped {
			other.since = maxTime(other.since, p.since.Add(-*patienceFlag/2)) // this process may have blocked it until now
		}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pick chooses a worker; nil if there is none. At least one worker continues.
func (f *storm) pick(stopped bool) *process {
	var list []*process
	for id := range workers {
		if p := f.processes[id]; p != nil && p.stopped == stopped && !p.gone() {
			list = append(list, p)
		}
	}
	if len(list) == 0 || !stopped && len(list) < 2 {
		return nil
	}
	return list[f.r.IntN(len(list))]
}

// strike injects a fault into a process.
func (f *storm) strike() error {
	if f.r.IntN(100) < f.violence {
		return f.everybody(f.r.IntN(2) == 0)
	}
	switch n := f.r.IntN(100); {
	case n < 45:
		if p := f.pick(false); p != nil {
			p.signal(syscall.SIGSTOP)
			f.stopped(p)
		}
	case n < 75:
		if p := f.pick(false); p != nil {
			f.kill(p)
		}
	case n < 83:
		if p := f.pick(true); p != nil {
			f.kill(p)
		}
	case n < 93:
		if p := f.pick(false); p != nil {
			f.told("%s is to end", p.name())
			p.ask()
		}
	case n < 95 && f.disk != nil:
		if full, err := f.disk.full(false); full || err != nil {
			return err
		}
		f.told("the disk is full")
		return f.disk.fill(time.Duration(f.r.IntN(4000)) * time.Millisecond)
	}
	return nil
}

func (p *process) ask() {
	p.asked = true
	_, _ = fmt.Fprintln(p.in, "end")
}

func (f *storm) kill(p *process) {
	f.told("%s is killed", p.name())
	p.signal(syscall.SIGKILL)
	f.kills++
}

// everybody kills all processes at once; with lost, power is lost as well.
func (f *storm) everybody(lost bool) error {
	f.told("everybody is killed; power is lost: %v", lost)
	for _, p := range f.processes {
		p.signal(syscall.SIGKILL)
		f.kills++
	}
	for id, p := range f.processes {
		<-p.done
		if _, err := os.Stat(filepath.Join(f.dir, "failure")); err == nil {
			return f.look()
		}
		if err := f.bury(p); err != nil {
			return err
		}
		f.absent[id] = time.Now()
	}
	if lost {
		return f.powerLoss()
	}
	return nil
}

// powerLoss puts the space into the state after a power loss, without its live file, and verifies
// that all durable transactions are there.
func (f *storm) powerLoss() error {
	f.losses++
	if _, err := f.disk.full(true); err != nil { // opening the space needs room
		return err
	}
	if err := os.Remove(filepath.Join(f.Space, "live")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	os.Remove(filepath.Join(f.dir, "holder"))
	made, err := os.ReadDir(filepath.Join(f.dir, "made"))
	if err != nil {
		return err
	}
	for _, c := range made { // checkpoints last as commits do
		os.Remove(filepath.Join(f.dir, "made", c.Name()))
	}
	return f.alone(func(s *everheap.Space, w world) error {
		var sum summary
		began := clock()
		err := s.View(func(tx *everheap.Tx) (err error) { sum, err = w.audit(tx); return err })
		if err != nil {
			return err
		}
		for id := range workers * owners {
			owner := ownerID(0, id)
			l, err := openLedger(f.dir, owner)
			if err != nil {
				return err
			}
			defer l.file.Close()
			durable, err := l.read(durableAt)
			if err != nil {
				return err
			}
			seq, least := sum.Seqs[owner], f.restores.least(owner, durable)
			if seq < least || seq > l.last {
				return fmt.Errorf("after a power loss the last transaction of owner %d is %d; %d was durable, and %d the last one that it tried", owner, seq, least, l.last)
			}
			f.told("owner %d has %d after the power loss; %d was durable, %d acknowledged", owner, seq, durable.Seq, l.note.Seq)
			l.durable(acked{})
			l.ack(seq, began)
		}
		return check(s)
	})
}

// alone opens the space in this process, while no other process runs.
func (f *storm) alone(fn func(s *everheap.Space, w world) error) error {
	s, err := everheap.Open(f.Space)
	if err != nil {
		return err
	}
	w, err := openWorld(s)
	if err == nil {
		err = fn(s, w)
	}
	return errors.Join(err, s.Close())
}

// end lets all processes end by themselves, and verifies the result.
func (f *storm) end() error {
	f.told("everybody is to end")
	if _, err := f.disk.full(true); err != nil {
		return err
	}
	for _, p := range f.processes {
		if p.stopped {
			f.resume(p)
		}
		p.ask()
	}
	for began := time.Now(); len(f.processes) > 0; time.Sleep(5 * time.Millisecond) {
		for _, p := range f.processes {
			if p.gone() {
				if err := f.bury(p); err != nil {
					return err
				}
			} else if p.state() == "T" { // at its point, perhaps
				p.signal(syscall.SIGCONT)
			}
		}
		if text, err := os.ReadFile(filepath.Join(f.dir, "failure")); err == nil && len(text) > 0 {
			return errors.New(string(text))
		}
		if time.Since(began) > 2**patienceFlag {
			return fmt.Errorf("%d processes were asked to end, and have not, for %v", len(f.processes), time.Since(began))
		}
	}
	if err := f.alone(func(s *everheap.Space, w world) error { return inspectAll(s) }); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if err := f.rest(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if err := f.powerLoss(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}
