package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// measurement is one run of the benchmark.
type measurement struct {
	plan   *plan.Plan
	budget time.Duration // for one operation in one implementation
	only   string        // the operation, if not all
}

// coldOperations are run first after the databases were opened again.
var coldOperations = []string{"T1", "T6", "Q1", "Q7"}

// minRounds and maxRounds bound how often an operation is measured.
const minRounds, maxRounds = 3, 25

// short is how long must pass to be measured, unless the budget is less: what is faster
// is repeated.
const short = 2 * time.Millisecond

// run builds the databases in a directory and prints the table.
func (m *measurement) run(w io.Writer, dir string) error {
	runtime.LockOSThread() // its time is measured
	defer runtime.UnlockOSThread()
	start := time.Now()
	s, err := build(m.plan, dir)
	if err != nil {
		return err
	}
	defer func() { s.close() }()
	fmt.Fprintf(w, "built in %.1f s; files:", time.Since(start).Seconds())
	for i, dir := range s.dirs() {
		fmt.Fprintf(w, " %s %.0f MB", names[i+1], float64(sizeOf(dir))/1e6)
	}
	fmt.Fprintln(w)
	m.head(w, "hot: processor time, the least of several rounds")
	for _, group := range m.groups() {
		times, err := m.measure(s, group)
		if err != nil {
			return err
		}
		for i, op := range group {
			m.row(w, op, times[i], "")
		}
	}
	m.head(w, "cold: time to open, with nothing in memory, and until the first result")
	for _, op := range plan.Operations() {
		if !slices.Contains(coldOperations, op.Name) || m.skips(op) {
			continue
		}
		times, reads, err := m.cold(s, op)
		if err != nil {
			return err
		}
		m.row(w, op, times, reads)
	}
	return nil
}

func (m *measurement) skips(op plan.Operation) bool { return m.only != "" && m.only != op.Name }

// groups returns the operations that are measured together: Delete removes what Insert
// added, and is never measured without it.
func (m *measurement) groups() (groups [][]plan.Operation) {
	for _, op := range plan.Operations() {
		switch {
		case op.Name == "delete":
			if n := len(groups); n > 0 && groups[n-1][0].Name == "insert" {
				groups[n-1] = append(groups[n-1], op)
			}
		case !m.skips(op):
			groups = append(groups, []plan.Operation{op})
		}
	}
	return groups
}

// measure runs a group of operations in each implementation, in turns, and returns the
// least times, by operation and implementation: other work on the machine makes times
// longer and never shorter. The first round is not counted; it says how many more there
// are, the same for all implementations, so that what is written is.
func (m *measurement) measure(s *suite, group []plan.Operation) ([][]time.Duration, error) {
	least := make([][]time.Duration, len(group))
	for i := range least {
		least[i] = make([]time.Duration, len(names))
	}
	repeat := slices.Repeat([]int{1}, len(names))
	rounds := minRounds
	for round := 0; round <= rounds; round++ {
		longest := time.Duration(0)
		for k, db := range s.databases() {
			took, err := m.round(db, group, repeat[k])
			if err != nil {
				return nil, err
			}
			total := time.Duration(0)
			for i, t := range took {
				total += t
				if round > 0 && (least[i][k] == 0 || t < least[i][k]) {
					least[i][k] = t
				}
			}
			if round == 0 && !group[0].Writes {
				repeat[k] = 1 + int(min(short, m.budget)/max(total, 1))
			}
			longest = max(longest, total*time.Duration(repeat[k]))
		}
		if round == 0 {
			rounds = min(max(int(m.budget/max(longest, 1)), minRounds), maxRounds)
		}
	}
	return least, nil
}

// round runs a group of operations, and returns what each took. What does not write
// runs once before, since the collection of garbage takes the place of what was in the
// caches of the processor.
func (m *measurement) round(db plan.Database, group []plan.Operation, repeat int) (took []time.Duration, err error) {
	runtime.GC()
	for _, op := range group {
		if !op.Writes {
			if _, err := m.time(db, op, 1, threadTime); err != nil {
				return nil, err
			}
		}
		t, err := m.time(db, op, repeat, threadTime)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	return took, nil
}

// time runs an operation several times and returns what one took, on a clock.
func (m *measurement) time(db plan.Database, op plan.Operation, repeat int, clock func() time.Duration) (time.Duration, error) {
	want := op.Expect(m.plan)
	start := clock()
	for range repeat {
		n, err := op.Run(db, m.plan)
		if err != nil {
			return 0, fmt.Errorf("%s: %T: %w", op.Name, db, err)
		}
		if n != want {
			return 0, fmt.Errorf("%s: %T counts %d, the plan has %d", op.Name, db, n, want)
		}
	}
	return (clock() - start) / time.Duration(repeat), nil
}

// cold measures opening a database anew, with nothing of it in memory, and the first run
// of an operation, a few times. It returns the least times, and the reads from the disk
// of the last round.
func (m *measurement) cold(s *suite, op plan.Operation) (least []time.Duration, reads string, err error) {
	least = make([]time.Duration, len(names))
	for range minRounds {
		reads = ""
		for k := 1; k < len(names); k++ {
			if err := s.forget(k); err != nil {
				return nil, "", err
			}
			before, start := majorFaults(), wallTime()
			db, err := s.open(k)
			if err != nil {
				return nil, "", err
			}
			if _, err := m.time(db, op, 1, wallTime); err != nil {
				return nil, "", err
			}
			took := wallTime() - start
			reads += fmt.Sprintf(" %d", majorFaults()-before)
			if least[k] == 0 || took < least[k] {
				least[k] = took
			}
		}
	}
	return least, "pages read:" + reads, nil
}

// head prints the names of columns. The last ones are ratios.
func (m *measurement) head(w io.Writer, what string) {
	fmt.Fprintf(w, "\n%s\n%-7s%-26s%8s", what, "", "", "count")
	for _, name := range names {
		fmt.Fprintf(w, "%12s", name)
	}
	fmt.Fprintf(w, "  |%9s%9s  |%9s%9s\n", "refs/ptr", "own/ptr", "bb/refs", "bb/own")
}

// row prints what an operation took, in microseconds, and the ratios.
func (m *measurement) row(w io.Writer, op plan.Operation, times []time.Duration, note string) {
	fmt.Fprintf(w, "%-7s%-26s%8d", op.Name, op.What, op.Expect(m.plan))
	for _, t := range times {
		micro := ""
		if t > 0 {
			micro = fmt.Sprintf("%.1f", float64(t)/1e3)
		}
		fmt.Fprintf(w, "%12s", micro)
	}
	ratio := func(a, b time.Duration) string {
		if b == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", float64(a)/float64(b))
	}
	fmt.Fprintf(w, "  |%9s%9s  |%9s%9s %s\n", ratio(times[1], times[0]), ratio(times[2], times[0]),
		ratio(times[3], times[1]), ratio(times[3], times[2]), note)
}

// threadTime is the time that this thread had a processor. With nothing to wait for it
// is what passes on a machine that is otherwise idle, and hardly more on a busy one.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// wallTime is the time that passes.
func wallTime() time.Duration { return time.Since(began) }

var began = time.Now()

// sizeOf returns the bytes that the files of a directory take on the disk.
func sizeOf(dir string) (total int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var st syscall.Stat_t
		if syscall.Stat(filepath.Join(dir, e.Name()), &st) == nil {
			total += st.Blocks * 512
		}
	}
	return total
}

// majorFaults returns how many pages this process had to wait for the disk for.
func majorFaults() int64 {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return ru.Majflt
}
