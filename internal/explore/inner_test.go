//go:build explore

package explore

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	mostBound = flag.Int("explored.bound", 1, "")
	patience  = flag.Duration("explored.time", time.Minute, "")
	scenario  = flag.String("explored.scenario", "", "")
	long      = flag.Bool("explored.long", false, "")
)

// world makes the world of a scenario.
func world(t *testing.T, sc *Scenario) *World {
	t.Helper()
	w, err := NewWorld(filepath.Join(t.TempDir(), "s"), sc.Options, sc.Prepare)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// explore explores a scenario with one more deviation after the other, until something
// goes wrong. What it learns of the words that are shared is used from the next time on;
// where it learns more it begins again.
func explore(t *testing.T, sc *Scenario, m Mutant, most int, d time.Duration) (o Outcome) {
	w := world(t, sc)
	defer w.Close()
	f := newFilter()
	f.near = m.Near
	for bound := 0; bound <= most; bound++ {
		for again := true; again; again = o.Late > 0 && o.Complete && bound < 2 {
			o = w.Explore(sc, m.Name, bound, time.Now().Add(d), f)
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

func TestScenarios(t *testing.T) {
	for i := range Scenarios {
		sc := &Scenarios[i]
		if *scenario != "" && *scenario != sc.Name {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			if o := explore(t, sc, Mutant{}, *mostBound, *patience); o.Failure != "" {
				t.Error(o.Failure)
			}
		})
	}
}

// Each fix that is taken out is found out.
func TestMutants(t *testing.T) {
	for _, m := range Mutants {
		if *scenario != "" && *scenario != m.Name {
			continue
		}
		if m.Long && !*long && *scenario == "" {
			t.Logf("%s: left to make explore, since it may take minutes to be found", m.Name)
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			for i := range Scenarios {
				if Scenarios[i].Name != m.Finds {
					continue
				}
				o := explore(t, &Scenarios[i], m, max(2, *mostBound), 15**patience)
				if o.Failure == "" {
					t.Errorf("that %s is not found", m.What)
				}
				first, _, _ := strings.Cut(o.Failure, "\n")
				t.Logf("found: %s", first)
				return
			}
			t.Errorf("there is no scenario %q", m.Finds)
		})
	}
}
