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
	Story                string // how it came to that
	Late                 int    // words that were found to be shared too late: see filter
	Duration             time.Duration
}

// A Budget bounds an exploration. What must be found is to have one that counts runs: those
// are the same ones on a machine that has much else to do.
type Budget struct {
	Time time.Duration // 0: any
	Runs int           // 0: any
}

// left reports whether there may be another run.
func (b Budget) left(began time.Time, runs int) bool {
	return (b.Time == 0 || time.Since(began) < b.Time) && (b.Runs == 0 || runs < b.Runs)
}

// Explore runs a scenario in all ways that deviate so many times at most from the
// default, until one goes wrong or the budget is used up.
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
