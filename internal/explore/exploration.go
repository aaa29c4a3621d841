//go:build explore

package explore

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/explore/step"
	"github.com/everheap/everheap/internal/upkeep"
)

// Outcome is what an exploration has come to.
type Outcome struct {
	Runs, Steps, Longest int
	Complete             bool   // all schedules within the bound were run
	Failure              string // of the last run; "": none
	Late                 int    // words that were found to be shared too late: see filter
	Duration             time.Duration
}

// Explore runs a scenario in all ways that deviate so many times at most from the
// default, until one goes wrong or the time is over.
func (w *World) Explore(sc *Scenario, mutant string, bound int, until time.Time, f *filter) (o Outcome) {
	began := time.Now()
	f.freeze()
	var choices []int
	for more := true; more && time.Now().Before(until); {
		s := &schedule{mutant: mutant, bound: bound, kills: sc.Kills, replay: choices, filter: f}
		if o.Failure = w.once(sc, s); o.Failure != "" {
			o.Failure += s.story()
		}
		o.Runs++
		o.Steps += s.steps
		o.Longest = max(o.Longest, s.steps)
		if o.Failure != "" {
			break
		}
		choices, more = s.backtrack()
		o.Complete = !more
	}
	o.Late, o.Duration = f.learnt, time.Since(began)
	return o
}

// once is one run.
func (w *World) once(sc *Scenario, s *schedule) (failure string) {
	defer func() {
		if r := recover(); r != nil {
			failure = fmt.Sprintf("after the run: panic: %v\n%s", r, debug.Stack())
		}
	}()
	if err := w.reset(); err != nil {
		return fmt.Sprint("resetting: ", err)
	}
	r := &Run{world: w, schedule: s}
	if sc.Cut != nil {
		s.cut, s.every = func() error { w.lost = true; return sc.Cut(w) }, w.every
	}
	step.Small, upkeep.Listed = sc.Small, ""
	threads := sc.Threads(r)
	if s.failure == "" {
		step.MutantOn = s.mutant
		s.run(threads)
		if s.failure == "" && sc.After != nil {
			sc.After(r)
		}
		step.MutantOn = ""
	}
	if s.failure == "" && !s.lost {
		r.judge()
	}
	r.end()
	return s.failure
}
