//go:build explore

package explore

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/format"
)

var (
	mostBound = flag.Int("explored.bound", 1, "")
	patience  = flag.Duration("explored.time", time.Minute, "")
	scenario  = flag.String("explored.scenario", "", "")
	long      = flag.Bool("explored.long", false, "")
)

// mutantRuns is the number of runs for one bound of a mutant: whether the mutant is found
// must not depend on the speed or the load of the machine. Most mutants take less than a
// hundred.
const mutantRuns = 4000

// mutantPatience replaces mutantRuns in a long test.
const mutantPatience = time.Minute

// In a short test the live file is cut before one of this many steps, and for this long.
const (
	cutEvery    = 37
	cutPatience = time.Second
)

// world creates the world of a scenario.
func world(t *testing.T, sc *Scenario) *World {
	t.Helper()
	w, err := NewWorld(filepath.Join(t.TempDir(), "s"), sc)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// explore explores a scenario with one more deviation each time, until a run fails. It uses
// what it learns of shared words from the next exploration on; if it learns more it begins
// again.
func explore(t *testing.T, sc *Scenario, m Mutant, most int, b Budget) (o Outcome) {
	w := world(t, sc)
	defer w.Close()
	if sc.Cut != nil && !*long && m.Name == "" {
		w.every, b.Time = cutEvery, max(b.Time, cutPatience)
	}
	f := newFilter()
	if f.near = m.Near; m.Soon != nil && !*long {
		f.near = m.Soon
	}
	for bound := 0; bound <= most; bound++ {
		for again := true; again; again = o.Late > 0 && o.Complete && bound < 2 {
			o = w.Explore(sc, m.Name, bound, b, f)
		}
		all := "all"
		if !o.Complete {
			all = "not all"
		}
		t.Logf("%s: %d deviations: %s schedules: %d runs of up to %d steps, %d steps, in %v", sc.Name, bound, all, o.Runs, o.Longest, o.Steps, o.Duration.Round(time.Millisecond))
		if o.Failure != "" {
			break
		}
	}
	return o
}

// A fork has the lists that the parent had, and keeps them when the parent continues.
func TestFork(t *testing.T) {
	w := world(t, &Scenario{Options: noJournal})
	defer w.Close()
	r := &Run{world: w, schedule: &schedule{}}
	defer r.end()
	p, c := r.process(false), r.child()
	r.set(p, 2, 1, 2)
	r.fork(p, c, nil)
	if r.schedule.failure != "" {
		t.Fatal(r.schedule.failure)
	}
	lists := func(p *Process) (list []string) {
		_, h := p.space.Parts()
		h.Census(func(a format.Addr, size format.ByteCount, free bool) { list = append(list, fmt.Sprint(a, size, free)) })
		slices.Sort(list)
		return list
	}
	before := lists(p)
	if got := lists(c); len(before) == 0 || !slices.Equal(got, before) {
		t.Errorf("the parent has %d blocks in its lists, the fork %d", len(before), len(got))
	}
	for range 3 {
		r.set(p, 2, 1, 2)
		r.must("tidying", p.space.Tidy())
	}
	if slices.Equal(lists(p), before) {
		t.Error("the parent has the same blocks in its lists still")
	}
	if got := lists(c); !slices.Equal(got, before) {
		t.Errorf("the fork has %d blocks in its lists, and had %d before the parent went on", len(got), len(before))
	}
	parent, _ := p.space.Parts()
	fork, _ := c.space.Parts()
	if parent.Entry() == fork.Entry() || parent.Incarnation() != fork.Incarnation() || fork.Entry().Commits.Load() != parent.Entry().Commits.Load() {
		t.Error("the fork does not have the words of the parent, mapped for itself")
	}
}

func TestScenarios(t *testing.T) {
	for i := range Scenarios {
		sc := &Scenarios[i]
		if *scenario != "" && *scenario != sc.Name {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			if o := explore(t, sc, Mutant{}, *mostBound, Budget{Time: *patience}); o.Failure != "" {
				t.Error(o.Failure + o.Story)
			}
		})
	}
}

// The explorer finds each mutant.
func TestMutants(t *testing.T) {
	budget := Budget{Runs: mutantRuns}
	if *long {
		budget = Budget{Time: max(mutantPatience, 15**patience)}
	}
	for _, m := range Mutants {
		if *scenario != "" && *scenario != m.Name {
			continue
		}
		if m.Long && !*long && *scenario == "" {
			t.Logf("%s: only make explore looks for it, since that may take minutes", m.Name)
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			for i := range Scenarios {
				if Scenarios[i].Name != m.Finds {
					continue
				}
				o := explore(t, &Scenarios[i], m, max(2, *mostBound), budget)
				if o.Failure == "" {
					t.Errorf("the mutant is not found: %s", m.What)
				}
				first, _, _ := strings.Cut(o.Failure, "\n")
				t.Logf("found: %s%s", first, o.Story)
				return
			}
			t.Errorf("there is no scenario %q", m.Finds)
		})
	}
}
