package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// measurement is one run of the benchmark.
type measurement struct {
	plan    *plan.Plan
	budget  time.Duration // for one operation in one implementation
	only    string        // the operation, if not all
	profile io.Writer     // of Everheap's part, if not nil
}

// coldOperations are run first after the databases were opened again.
var coldOperations = []string{"T1", "T6", "Q1", "Q7"}

// rounds bounds how often an operation is measured.
const minRounds, maxRounds = 3, 25

// short is how long an operation must take to be timed by itself.
const short = time.Millisecond

// run builds the databases in a directory and prints the table.
func (m *measurement) run(w io.Writer, dir string) error {
	start := time.Now()
	s, err := build(m.plan, dir)
	if err != nil {
		return err
	}
	defer func() { s.close() }()
	fmt.Fprintf(w, "built in %.1f s; files: Everheap %s, bbolt %s\n\n", time.Since(start).Seconds(), megabytes(s.objectsDir()), megabytes(s.boltDir()))
	fmt.Fprintf(w, "%-7s %-26s %9s %12s %12s %12s  %9s  %8s\n", "", "hot", "count", names[0], names[1], names[2], "E./point.", "bbolt/E.")
	for _, pair := range m.hot() {
		times, err := m.measure(s, pair)
		if err != nil {
			return err
		}
		for i, op := range pair {
			m.row(w, op, times[i])
		}
	}
	fmt.Fprintf(w, "\n%-7s %-26s %9s %12s %12s %12s  %9s  %8s\n", "", "cold, from the disk", "count", "", names[1], names[2], "", "bbolt/E.")
	for _, op := range plan.Operations() {
		if !slices.Contains(coldOperations, op.Name) || m.skips(op) {
			continue
		}
		times, err := m.cold(s, op)
		if err != nil {
			return err
		}
		m.row(w, op, times)
	}
	return nil
}

func (m *measurement) skips(op plan.Operation) bool { return m.only != "" && m.only != op.Name }

// hot returns the operations, in groups that are measured together: Delete removes
// what Insert added.
func (m *measurement) hot() (groups [][]plan.Operation) {
	for _, op := range plan.Operations() {
		switch {
		case op.Name == "delete" && len(groups) > 0 && groups[len(groups)-1][0].Name == "insert":
			groups[len(groups)-1] = append(groups[len(groups)-1], op)
		case !m.skips(op):
			groups = append(groups, []plan.Operation{op})
		}
	}
	return groups
}

// measure runs a group of operations once in each implementation to warm up, and then
// in turns; it returns the median times, by operation and implementation. All
// implementations do what writes equally often.
func (m *measurement) measure(s *suite, group []plan.Operation) ([][]time.Duration, error) {
	samples := make([][][]time.Duration, len(group)) // by operation, implementation, round
	for i := range samples {
		samples[i] = make([][]time.Duration, len(names))
	}
	repeat := make([]int, len(names))
	rounds := minRounds
	for round := 0; round <= rounds; round++ {
		longest := time.Duration(0)
		for k, db := range s.databases() {
			total := time.Duration(0)
			runtime.GC()
			profiling := m.profile != nil && round > 0 && db == plan.Database(s.objects)
			if profiling && m.only != "" && round == 1 {
				if err := pprof.StartCPUProfile(m.profile); err != nil {
					return nil, err
				}
			}
			for i, op := range group {
				took, err := m.time(db, op, max(repeat[k], 1))
				if err != nil {
					return nil, err
				}
				if total += took; round > 0 {
					samples[i][k] = append(samples[i][k], took)
				}
				if round == 0 && !op.Writes {
					repeat[k] = 1 + int(short/max(took, 1))
				}
			}
			longest = max(longest, total*time.Duration(max(repeat[k], 1)))
		}
		if round == 0 {
			rounds = min(max(int(m.budget/max(longest, 1)), minRounds), maxRounds)
		}
	}
	medians := make([][]time.Duration, len(group))
	for i := range group {
		for k := range names {
			medians[i] = append(medians[i], median(samples[i][k]))
		}
	}
	return medians, nil
}

// time runs an operation several times and returns what one took.
func (m *measurement) time(db plan.Database, op plan.Operation, repeat int) (time.Duration, error) {
	want := op.Expect(m.plan)
	start := time.Now()
	for range repeat {
		n, err := op.Run(db, m.plan)
		if err != nil {
			return 0, fmt.Errorf("%s: %T: %w", op.Name, db, err)
		}
		if n != want {
			return 0, fmt.Errorf("%s: %T counts %d, the plan has %d", op.Name, db, n, want)
		}
	}
	return time.Since(start) / time.Duration(repeat), nil
}

// cold opens the databases again before each of a few rounds, and measures the first
// run of an operation. Pointers have nothing to open.
func (m *measurement) cold(s *suite, op plan.Operation) ([]time.Duration, error) {
	samples := make([][]time.Duration, len(names))
	for range minRounds {
		if err := s.reopen(); err != nil {
			return nil, err
		}
		for k, db := range s.databases() {
			if k == 0 {
				continue
			}
			took, err := m.time(db, op, 1)
			if err != nil {
				return nil, err
			}
			samples[k] = append(samples[k], took)
		}
	}
	return []time.Duration{0, median(samples[1]), median(samples[2])}, nil
}

// row prints what an operation took, in microseconds, and the ratios.
func (m *measurement) row(w io.Writer, op plan.Operation, times []time.Duration) {
	micro := func(t time.Duration) string { return fmt.Sprintf("%.1f µs", float64(t)/1e3) }
	ratio := func(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }
	pointers, over := "", ""
	if times[0] > 0 {
		pointers, over = micro(times[0]), ratio(times[1], times[0])
	}
	fmt.Fprintf(w, "%-7s %-26s %9d %12s %12s %12s  %9s  %8s\n", op.Name, op.What, op.Expect(m.plan),
		pointers, micro(times[1]), micro(times[2]), over, ratio(times[2], times[1]))
}

func median(samples []time.Duration) time.Duration {
	slices.Sort(samples)
	return samples[len(samples)/2]
}

// megabytes returns the size of the files of a directory.
func megabytes(dir string) string {
	total := int64(0)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return fmt.Sprintf("%.0f MB", float64(total)/1e6)
}
