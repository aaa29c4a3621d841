// Package report makes tables and charts of records. A figure is the median of the rounds. A ratio is
// the median of the ratios within each round, so that a temporary slowness of the machine cancels
// out. Start reading at Run.
package report

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/everheap/everheap/bench/peers/measure"
)

// Run is a set of records of one session.
type Run struct {
	machine *measure.Machine
	series  map[key]*Series
	engines []string // in the order in which they appeared first
	rounds  int
	loudest float64 // percent of the machine that others used during a measurement at most
	foreign []float64
}

// key tells series apart.
type key struct{ workload, op, mode, engine string }

// Series is the same measurement in several rounds.
type Series struct {
	unit    string
	n       int
	byRound map[int]float64
	extra   map[string][]float64
	note    string
}

// Load reads the records of a file.
func Load(path string) (*Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := measure.ReadRecords(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return NewRun(records), nil
}

// NewRun sorts records into series.
func NewRun(records []measure.Record) *Run {
	r := &Run{machine: &measure.Machine{}, series: map[key]*Series{}}
	for _, rec := range records {
		if rec.Machine != nil {
			r.machine = rec.Machine
			continue
		}
		k := key{rec.Workload, rec.Op, rec.Mode, rec.Engine}
		s := r.series[k]
		if s == nil {
			s = &Series{unit: rec.Unit, byRound: map[int]float64{}, extra: map[string][]float64{}}
			r.series[k] = s
		}
		s.byRound[rec.Round], s.n, s.note = rec.Value, rec.N, cmp.Or(rec.Note, s.note)
		for name, v := range rec.Extra {
			s.extra[name] = append(s.extra[name], v)
		}
		if !slices.Contains(r.engines, rec.Engine) {
			r.engines = append(r.engines, rec.Engine)
		}
		r.rounds = max(r.rounds, rec.Round)
		if rec.Seconds > 0 {
			r.foreign = append(r.foreign, rec.Foreign)
		}
		r.loudest = max(r.loudest, rec.Foreign)
	}
	return r
}

// get returns a series, or nil; op may have its mode behind a slash: "day/sync".
func (r *Run) get(workload, op, engine string) *Series {
	op, mode, ok := strings.Cut(op, "/")
	for k, s := range r.series {
		if k.workload == workload && k.op == op && k.engine == engine && (!ok || k.mode == mode) {
			return s
		}
	}
	return nil
}

// values are those of the rounds.
func (s *Series) values() (list []float64) {
	if s == nil {
		return nil
	}
	for _, v := range s.byRound {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

// median is that of the rounds, and 0 if there are none.
func (s *Series) median() float64 { return Median(s.values()) }

// Median returns the middle of some values, the mean of the two middle ones if their number
// is even, and 0 if there are none.
func Median(values []float64) float64 {
	list := slices.Sorted(slices.Values(values))
	n := len(list)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return list[n/2]
	}
	return (list[n/2-1] + list[n/2]) / 2
}

// Ratio is the median of the ratios of two series, round by round. ok is false if they have
// no round in common.
func Ratio(a, b *Series) (ratio float64, ok bool) {
	if a == nil || b == nil {
		return 0, false
	}
	var list []float64
	for round, v := range a.byRound {
		if w, there := b.byRound[round]; there && w != 0 && v != 0 {
			list = append(list, v/w)
		}
	}
	return Median(list), len(list) > 0
}

// rank is the value by which series are sorted: the median, or, for durable commits, the median
// relative to the bare disk at the same time.
func (s *Series) rank() float64 {
	if ofRaw := s.extra["of_raw"]; len(ofRaw) > 0 {
		return Median(ofRaw)
	}
	return s.median()
}

// compareValues puts the better value first.
func compareValues(unit string, a, b float64) int {
	switch {
	case better(unit, a, b):
		return -1
	case better(unit, b, a):
		return 1
	}
	return 0
}

// better reports whether a is the better one of two values of a unit.
func better(unit string, a, b float64) bool {
	if measure.HigherIsBetter(unit) {
		return a > b
	}
	return a < b
}

// ranked returns the engines that have a series for an operation, the best median first.
func (r *Run) ranked(workload, op string) (names []string) {
	for _, e := range r.engines {
		if s := r.get(workload, op, e); s != nil && s.note == "" {
			names = append(names, e)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		x, y := r.get(workload, op, a), r.get(workload, op, b)
		return compareValues(x.unit, x.rank(), y.rank())
	})
	return names
}

// isOurs reports whether an engine is Everheap.
func isOurs(engine string) bool { return strings.HasPrefix(engine, "everheap") }

// isMemory reports whether an engine is a plain structure of Go, which keeps nothing.
func isMemory(engine string) bool {
	return slices.Contains([]string{"go-map", "go-map-strings", "sync-map", "go-memdb", "go-pointers"}, engine)
}
