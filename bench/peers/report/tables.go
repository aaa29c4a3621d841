package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/everheap/everheap/bench/peers/measure"
)

// column is a measured operation of a table or of the summary.
type column struct {
	op   string // may have its mode behind a slash
	head string
}

// table is one workload; its rows are engines.
type table struct {
	section   string // of the document
	workload  string
	reference string // the engine that the others are compared with in the first column
	columns   []column
	notes     bool // the last column has what the runs noted
}

var tables = []table{
	{"reads", "points", "go-map", []column{{"get", "get, a copy"}, {"get-tx1000", "of 1,000 in one transaction"}, {"in-place", "in place"}, {"in-place-tx1000", "of 1,000 in one transaction"}, {"get-2-goroutines", "get, 2 goroutines, each"}, {"scan", "scan, per entry"}}, false},
	{"writes", "points", "go-map", []column{{"put1", "replace one"}, {"rmw1", "read, change, write one"}, {"load", "load, 1,000 a transaction, per entry"}, {"memory", "resident memory"}, {"disk", "on disk"}, {"gc", "one Go collection"}}, false},
	{"indexed", "indexed", "go-map", []column{{"lookup", "find one by its mail address"}, {"put-no-index", "replace one, without the index"}, {"put-same", "with it, the address stays"}, {"put-moved", "with it, a new address"}}, false},
	{"durable", "durable", "", []column{{"durable-1", "1 writer"}, {"durable-16", "16 writers"}}, false},
	{"restart", "restart", "go-map", []column{{"after-kill", "after SIGKILL"}, {"again", "once more"}, {"cold", "with a cold page cache"}}, false},
	{"processes", "processes", "", []column{{"write-of-2", "2 processes: writes"}, {"read-of-2", "reads"}, {"write-of-4", "4 processes: writes"}, {"read-of-4", "reads, all 3 readers"}}, false},
	{"ycsb", "ycsb", "go-map", []column{{"A", "A: half updates"}, {"B", "B: 5 % updates"}, {"C", "C: reads"}, {"D", "D: latest"}, {"E", "E: scans"}, {"F", "F: read, change, write"}}, false},
	{"forum", "forum", "go-map", []column{{"day/async", "a process may be killed"}, {"day/sync", "power may be lost"}}, false},
	{"reader", "reader", "", []column{{"grows-held", "while a reader holds its version"}, {"grows-alone", "the same with no reader"}, {"grows-after", "after the reader has ended"}}, false},
	{"graph", "graph", "go-pointers", []column{{"traverse", "traverse, per part"}, {"load", "load, per part"}}, false},
	{"memory", "memory", "", []column{{"get", "reads"}, {"put1", "writes"}}, true},
}

// number formats a value with three digits, grouped.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		s := strconv.FormatInt(int64(math.Round(v)), 10)
		for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// scale finds the readable unit of a value: ns become µs or ms, and rates thousands.
func scale(v float64, unit string) (by float64, name string) {
	switch {
	case unit == "ns" && v >= 1e6:
		return 1e6, "ms"
	case unit == "ns" && v >= 1e4:
		return 1e3, "µs"
	}
	return 1, unit
}

// text formats the median of a series, with its unit, and the range of the rounds.
func (s *Series) text() string {
	v := s.values()
	if len(v) == 0 || s.note != "" {
		return "–"
	}
	by, unit := scale(s.median(), s.unit)
	text := number(s.median()/by) + " " + unit
	if unit == "/s" {
		text = number(s.median()) + " /s"
	}
	if len(v) > 1 {
		text += " [" + number(v[0]/by) + "–" + number(v[len(v)-1]/by) + "]"
	}
	return text
}

// advantage is how many times as good ours is as theirs, within rounds; below 1 it is worse.
func advantage(ours, theirs *Series) (float64, bool) {
	if ours == nil || theirs == nil {
		return 0, false
	}
	if measure.HigherIsBetter(ours.unit) {
		return Ratio(ours, theirs)
	}
	return Ratio(theirs, ours)
}

// times formats a ratio.
func times(v float64, ok bool) string {
	switch {
	case !ok:
		return "–"
	case v >= 100:
		return number(v) + "×"
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 0, 64) + "×"
	case v < 0.1:
		return strconv.FormatFloat(v, 'g', 2, 64) + "×"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + "×"
}

// row writes a row of Markdown.
func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// head writes the two first rows.
func head(b *strings.Builder, cells ...string) {
	row(b, cells...)
	row(b, slices.Repeat([]string{"---"}, len(cells))...)
}

// name formats the name of an engine: ours stand out.
func name(engine string) string {
	if isOurs(engine) {
		return "**" + engine + "**"
	}
	return engine
}

// markdown makes the table: engines in the order of the first column.
func (t table) markdown(r *Run) string {
	var columns []column
	for _, c := range t.columns {
		if len(r.ranked(t.workload, c.op)) > 0 {
			columns = append(columns, c)
		}
	}
	if len(columns) == 0 {
		return "This run did not measure it.\n"
	}
	var engines []string
	for _, c := range columns {
		for _, e := range append(r.ranked(t.workload, c.op), r.noted(t)...) {
			if !slices.Contains(engines, e) {
				engines = append(engines, e)
			}
		}
	}
	var b strings.Builder
	heads := []string{"engine"}
	reference := r.get(t.workload, columns[0].op, t.reference)
	for i, c := range columns {
		heads = append(heads, c.head)
		if i == 0 && reference != nil {
			heads = append(heads, "speed, "+t.reference+" = 1")
		}
		if t.workload == "durable" {
			heads = append(heads, "÷ bare disk")
		}
	}
	if t.notes {
		heads = append(heads, "note")
	}
	head(&b, heads...)
	for _, e := range engines {
		cells := []string{name(e)}
		for i, c := range columns {
			s := r.get(t.workload, c.op, e)
			if s != nil && s.note != "" {
				s = nil
			}
			cells = append(cells, s.text())
			if i == 0 && reference != nil {
				cells = append(cells, times(advantage(s, reference)))
			}
			if t.workload == "durable" && s != nil {
				cells = append(cells, number(Median(s.extra["of_raw"])))
			}
		}
		if t.notes {
			note := "–"
			for _, c := range columns {
				if s := r.get(t.workload, c.op, e); s != nil && s.note != "" {
					note = s.note
				}
			}
			cells = append(cells, note)
		}
		row(&b, cells...)
	}
	return b.String()
}

// noted lists the engines of a table that have notes in place of values.
func (r *Run) noted(t table) (list []string) {
	for _, e := range r.engines {
		for _, c := range t.columns {
			if s := r.get(t.workload, c.op, e); s != nil && s.note != "" && t.notes {
				list = append(list, e)
			}
		}
	}
	return slices.Compact(list)
}

// size describes the data of a workload.
func (r *Run) size(workload string) string {
	n, rounds := 0, 0
	for k, s := range r.series {
		if k.workload == workload {
			n, rounds = max(n, s.n), max(rounds, len(s.byRound))
		}
	}
	if rounds == 0 {
		return ""
	}
	if rounds == 1 {
		return fmt.Sprintf("n = %s, 1 round.\n\n", number(float64(n)))
	}
	return fmt.Sprintf("n = %s, %d rounds.\n\n", number(float64(n)), rounds)
}
