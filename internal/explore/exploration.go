//go:build explore

package explore

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/explore/step"
	"github.com/everheap/everheap/internal/upkeep"
)

// Outcome is the result of an exploration.
type Outcome struct {
	Runs, Steps, Longest int
	Complete             bool   // all schedules within the bound were run
	Failure              string // the failure of the last run; "": none
	Story                string // the deviations of that run
	Late                 int    // words that the filter found to be shared during this exploration: see filter
	Duration             time.Duration
}

// A Budget bounds an exploration. An exploration that must find a mutant needs a budget of
// runs: a busy machine makes the same runs, only slower.
type Budget struct {
	Time time.Duration // 0: no limit
	Runs int           // 0: no limit
}

// left reports whether the budget allows another run.
func (b Budget) left(began time.Time, runs int) bool {
	return (b.Time == 0 || time.Since(began) < b.Time) && (b.Runs == 0 || runs < b.Runs)
}

// Explore runs a scenario with all schedules of at most bound deviations, until a run fails
// or the budget is used up.
func (w *World) Explore(sc *Scenario, mutant string, bound int, most Budget, f *filter) (o Outcome) {
	began := time.Now()
	f.freeze()
	var choices []int
	for more := true; more && most.left(began, o.Runs); {
		s := &schedule{mutant: mutant, bound: bound, kills: sc.Kills, replay: choices, filter: f}
		if o.Failure = w.once(sc, s); o.Failure != "" {
			o.Story = s.story()
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

// once makes one run.
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
