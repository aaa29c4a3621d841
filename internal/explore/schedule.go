//go:build explore

package explore

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/everheap/everheap/internal/explore/step"
)

// A Thread is a goroutine of a process; the schedule decides when it runs.
type Thread struct {
	id        int
	process   *Process
	name      string
	body      func()
	resume    chan struct{}
	exited    chan struct{}
	state     threadState
	preempted bool // it stands still by a deviation
	patience  int  // how many more times it may wait without letting other threads run
	steps     int
	where     string // its next step
}

type threadState int

const (
	ready   threadState = iota
	waiting             // for other threads, or for some time
	done
	dead
	unborn // its process is a fork that does not exist yet
)

// A decision is a choice of the schedule.
type decision struct {
	costs  []int // the costs of the alternatives; the first one, 0, is the default
	chosen int
	spent  int // the costs before it
}

// limits of one run.
const (
	mostSteps  = 200000
	mostPauses = 3000 // consecutive pauses in which no thread ends
)

// schedule runs threads one at a time, and switches between them by its decisions.
type schedule struct {
	mutant       string
	bound, kills int // how much all deviations together may cost, and how many of them may kill
	replay       []int
	decisions    []decision
	spent        int
	killed       int
	cut          func() error // damages the live file; nil: nothing does
	lost         bool         // the live file was damaged
	every        int          // one of this many steps may be the one before which it is damaged; 0: any step
	steps        int
	pauses, idle int
	clock        time.Time
	threads      []*Thread
	current      *Thread
	active       bool
	ending       bool
	finished     chan struct{}
	failure      string
	trace        []string // the deviations, for people
	filter       *filter
}

// began is the time at which each run begins.
var began = time.Unix(1_800_000_000, 0)

// run runs the threads to the end, or to a failure.
func (s *schedule) run(threads []*Thread) {
	s.threads, s.clock, s.finished = threads, began, make(chan struct{}, 1)
	for i, t := range threads {
		t.id, t.resume, t.exited = i, make(chan struct{}), make(chan struct{})
		go s.start(t)
	}
	step.Driven, s.active = s, true
	var born []*Thread
	for _, t := range threads {
		if t.process.forked {
			t.state = unborn
		} else {
			born = append(born, t)
		}
	}
	s.current = born[s.decide(make([]int, len(born)))] // any thread may begin, at no cost
	s.current.resume <- struct{}{}
	<-s.finished
	s.active = false
}

// start runs a thread from its first to its last step.
func (s *schedule) start(t *Thread) {
	defer close(t.exited)
	<-t.resume
	if s.ending {
		return
	}
	completed := false
	defer func() {
		r := recover()
		if completed || s.ending { // its deferred calls may fail, since the memory has changed under them
			return
		}
		if r != nil {
			s.fail("%s: panic: %v\n%s", t.name, r, debug.Stack())
		} else {
			s.fail("%s ended by itself", t.name)
		}
		s.finished <- struct{}{}
	}()
	debug.SetPanicOnFault(s.cut == nil) // otherwise a fault without a guard must end the program
	t.body()
	completed = true
	t.state = done
	s.pauses = 0
	if s.failure != "" {
		s.finished <- struct{}{}
		return
	}
	if next := s.next(t, false); next != nil {
		s.current = next
		next.resume <- struct{}{}
		return
	}
	s.finished <- struct{}{}
}

// fail notes the first failure.
func (s *schedule) fail(format string, args ...any) {
	if s.failure == "" {
		s.failure = fmt.Sprintf(format, args...)
	}
}

// end ends all threads that stand still. Their deferred calls work on memory that is thrown
// away.
func (s *schedule) end() {
	s.ending = true
	for _, t := range s.threads {
		select {
		case <-t.exited:
		case t.resume <- struct{}{}:
			<-t.exited
		}
	}
	step.Driven = nil
}

// decide returns the index of the alternative to take.
func (s *schedule) decide(costs []int) int {
	d := decision{costs: costs, spent: s.spent}
	if n := len(s.decisions); n < len(s.replay) {
		d.chosen = s.replay[n]
		if d.chosen >= len(costs) {
			s.fail("the schedule cannot be repeated: decision %d has %d alternatives, and number %d was taken", n, len(costs), d.chosen)
			d.chosen = 0
		}
	}
	s.decisions = append(s.decisions, d)
	s.spent += costs[d.chosen]
	return d.chosen
}

// backtrack returns the choices of the next run: the last decision with an untried
// alternative that the bound allows takes it.
func (s *schedule) backtrack() ([]int, bool) {
	for i := len(s.decisions) - 1; i >= 0; i-- {
		d := s.decisions[i]
		for c := d.chosen + 1; c < len(d.costs); c++ {
			if d.spent+d.costs[c] > s.bound {
				continue
			}
			next := make([]int, 0, i+1)
			for _, e := range s.decisions[:i] {
				next = append(next, e.chosen)
			}
			return append(next, c), true
		}
	}
	return nil, false
}

// Step implements step.Driver.
func (s *schedule) Step(where string, kind step.Kind, at any) {
	if !s.active || s.ending {
		return
	}
	t := s.current
	t.steps++
	if s.steps++; s.steps > mostSteps {
		s.fail("%s goes on for ever, at %s", t.name, where)
		s.stop(t)
	}
	t.where = where
	if s.cut != nil {
		s.lookAtGuard(t, where, kind, at)
	}
	worth := s.filter.worth(t, where, kind, at)
	if s.spent >= s.bound || !worth && (s.cut == nil || s.lost) {
		return
	}
	s.deviate(t, where, worth)
}

// lookAtGuard verifies that a fault at this access of a word of live would be a panic (L15).
func (s *schedule) lookAtGuard(t *Thread, where string, kind step.Kind, at any) {
	if kind != step.Read && kind != step.Write || at == nil || !t.process.shares(at) {
		return
	}
	if guarded := debug.SetPanicOnFault(true); !guarded {
		debug.SetPanicOnFault(false)
		s.fail("%s would die at %s, if the live file was cut: there is no guard", t.name, where)
	}
}

// deviate lets another thread run, kills the process or damages the live file, if the
// schedule decides so. It damages the live file before any step that can notice it, and
// deviates otherwise only where worth is set.
func (s *schedule) deviate(t *Thread, where string, worth bool) {
	var others []*Thread
	costs := []int{0}
	for _, u := range s.threads {
		if worth && u != t && u.state == ready {
			others = append(others, u)
			costs = append(costs, 1)
		}
	}
	kill := worth && s.killed < s.kills && t.process.mortal
	if kill {
		costs = append(costs, 1)
	}
	cut := s.cut != nil && !s.lost && s.cuttable(worth)
	if cut {
		costs = append(costs, 1)
	}
	if len(costs) == 1 {
		return
	}
	chosen := s.decide(costs)
	switch {
	case chosen == 0:
	case cut && chosen == len(costs)-1:
		s.trace = append(s.trace, fmt.Sprintf("the live file is damaged before %s continues with %s", t.name, where))
		s.lost = true
		if err := s.cut(); err != nil {
			s.fail("cutting the live file: %v", err)
		}
	case kill && chosen == len(costs)-1:
		s.trace = append(s.trace, fmt.Sprintf("%s is killed before %s", t.name, where))
		s.kill(t)
	default:
		u := others[chosen-1]
		s.trace = append(s.trace, fmt.Sprintf("%s stands still before %s, %s continues (before %s)", t.name, where, u.name, u.where))
		t.preempted = true
		s.yieldTo(t, u)
	}
}

// cuttable reports whether the live file may be damaged before this step.
func (s *schedule) cuttable(worth bool) bool {
	if s.filter.near != nil {
		return worth
	}
	return s.every == 0 || s.steps%s.every == 0
}

// yieldTo lets u run, and returns when t may run.
func (s *schedule) yieldTo(t, u *Thread) {
	if u != t {
		s.current = u
		u.resume <- struct{}{}
		<-t.resume
		if s.ending {
			runtime.Goexit()
		}
	}
	t.state, t.preempted = ready, false
}

// stop ends the run from within a thread.
func (s *schedule) stop(t *Thread) {
	s.finished <- struct{}{}
	<-t.resume
	runtime.Goexit()
}

// kill ends the process of the current thread.
func (s *schedule) kill(t *Thread) {
	s.killed++
	t.process.dead = true
	for _, u := range s.threads {
		if u.process == t.process && u.state != done {
			u.state = dead
		}
	}
	s.active = false
	t.process.die()
	s.active = true
	next := s.next(t, false)
	if next == nil {
		s.stop(t)
	}
	s.current = next
	next.resume <- struct{}{}
	<-t.resume
	runtime.Goexit()
}

// next returns the thread that runs when t does not; nil: no thread is left. It prefers a
// thread that is not preempted, then a preempted one, then one that waits. A waiting thread
// t may be its own successor, as if its time were over: then it is impatient for a while.
func (s *schedule) next(t *Thread, impatience bool) *Thread {
	var list []*Thread
	for rank := range 3 {
		for i := range s.threads {
			u := s.threads[(t.id+1+i)%len(s.threads)]
			r := 0
			if u.state == waiting {
				r = 2
			} else if u.preempted {
				r = 1
			}
			if u != t && (u.state == ready || u.state == waiting) && r == rank {
				list = append(list, u)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	costs := []int{0}
	for _, u := range list[1:] {
		if s.spent < s.bound && u.state == ready {
			costs = append(costs, 1)
		}
	}
	self := -1
	if impatience && list[0].state == ready {
		self = len(costs)
		costs = append(costs, 0)
	}
	if len(costs) == 1 {
		return list[0]
	}
	chosen := s.decide(costs)
	if chosen == self {
		s.trace = append(s.trace, fmt.Sprintf("%s waits no longer (%s)", t.name, t.where))
		t.patience = 4
		return t
	}
	if chosen > 0 {
		s.trace = append(s.trace, fmt.Sprintf("%s continues next", list[chosen].name))
	}
	return list[chosen]
}

// stuck is the panic of a thread that waits although no other thread does anything.
type stuck string

// Pause implements step.Driver.
func (s *schedule) Pause(where string, d time.Duration) {
	if s.ending {
		runtime.Goexit()
	}
	if !s.active {
		if s.idle++; s.idle > mostPauses {
			panic(stuck(where))
		}
		time.Sleep(10 * time.Microsecond)
		return
	}
	t := s.current
	t.where = where
	if s.pauses++; s.pauses > mostPauses {
		s.fail("%s waits for ever: %s; others: %s", t.name, where, s.others(t))
		s.stop(t)
	}
	t.state = waiting
	if t.patience > 0 {
		t.patience--
		s.clock = s.clock.Add(d)
		t.state = ready
		return
	}
	next := s.next(t, where == "futex")
	if next == nil {
		next = t
	}
	if next == t || next.state == waiting { // all threads wait: time passes
		s.clock = s.clock.Add(d)
	}
	s.yieldTo(t, next)
}

// others lists the next steps of the other threads.
func (s *schedule) others(t *Thread) string {
	text := ""
	for _, u := range s.threads {
		if u != t {
			text += fmt.Sprintf("%s (state %d) before %s; ", u.name, u.state, u.where)
		}
	}
	return text
}

// Stopped implements step.Driver.
func (s *schedule) Stopped() bool {
	return s.active && slices.ContainsFunc(s.threads, func(u *Thread) bool {
		return u.process != s.current.process && u.preempted
	})
}

// Forked implements step.Driver.
func (s *schedule) Forked() bool { return s.active && s.current.process.forked }

// Now implements step.Driver.
func (s *schedule) Now() time.Time {
	if s.active {
		return s.clock
	}
	return time.Now()
}

// A filter knows before which steps a deviation is worth it. If a step commutes with all
// steps of other threads, a deviation right before it has the same results as one before the
// next step that does not commute. The filter learns from the runs: a word is shared once
// two processes have used it and one of them wrote it. It uses what it learns from the next
// exploration on, since all runs of one exploration must agree.
type filter struct {
	words  map[uintptr]*word
	shared map[uintptr]bool
	learnt int // how many words became shared since freeze
	near   []string
}

// word has the filter's knowledge of a word of the live file.
type word struct {
	process int // the process that used it; -1: several
	written bool
	shared  bool
}

func newFilter() *filter {
	return &filter{words: map[uintptr]*word{}, shared: map[uintptr]bool{}}
}

// freeze makes the filter use what it has learnt.
func (f *filter) freeze() {
	for a, w := range f.words {
		if w.shared {
			f.shared[a] = true
		}
	}
	f.learnt = 0
}

// worth reports whether the schedule may deviate before a step.
func (f *filter) worth(t *Thread, where string, kind step.Kind, at any) bool {
	if f.near != nil {
		return slices.ContainsFunc(f.near, func(part string) bool { return strings.Contains(where, part) })
	}
	if kind != step.Read && kind != step.Write || at == nil {
		return true
	}
	a, ok := t.process.place(at)
	if !ok {
		return len(t.process.threads) > 1 // a word of the process
	}
	w := f.words[a]
	if w == nil {
		w = &word{process: t.process.id}
		f.words[a] = w
	}
	if w.process != t.process.id {
		w.process = -1
	}
	w.written = w.written || kind == step.Write
	if !w.shared && w.written && w.process < 0 {
		w.shared = true
		f.learnt++
	}
	return f.shared[a]
}

// where the run deviated, for people.
func (s *schedule) story() string {
	text := ""
	for _, line := range s.trace {
		text += "\n    " + line
	}
	return text + fmt.Sprintf("\n    (choices %v)", slices.Clone(s.choices()))
}

// choices returns the choices of the run, by which it can be repeated.
func (s *schedule) choices() []int {
	list := make([]int, len(s.decisions))
	for i, d := range s.decisions {
		list[i] = d.chosen
	}
	return list
}
