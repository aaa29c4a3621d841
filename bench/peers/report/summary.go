package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// line is a row of the summary: an operation of ours and its rivals.
type line struct {
	what     string
	workload string
	op       string
	ours     string // the engine; "" for everheap
	memory   string // the structure of Go, "" for none
}

// lines are the rows of the summary. Each store competes in what it can do.
var lines = []line{
	{"read one record in place, 1,000 in one transaction", "points", "in-place-tx1000", "", "go-map"},
	{"read one record in place, a transaction each", "points", "in-place", "", "go-map"},
	{"read one record as a copy, a transaction each", "points", "get", "", "go-map"},
	{"the same from 2 goroutines", "points", "get-2-goroutines", "", "go-map"},
	{"read one string in place, 1,000 in one transaction", "points", "in-place-tx1000", "everheap-strings", "go-map-strings"},
	{"replace one record, a transaction each", "points", "put1", "", "go-map"},
	{"replace one string, a transaction each", "points", "put1", "everheap-strings", "go-map-strings"},
	{"read, change and write one record", "points", "rmw1", "", "go-map"},
	{"load, 1,000 records a transaction, per record", "points", "load", "", "go-map"},
	{"scan, per record", "points", "scan", "", "go-map"},
	{"resident memory", "points", "memory", "", "go-map"},
	{"one collection of Go's collector with the data open", "points", "gc", "", "go-map"},
	{"find one record by a unique index, in place, a transaction each", "indexed", "lookup", "", "go-map"},
	{"replace one record that a unique index finds, a transaction each", "indexed", "put-same", "", "go-map"},
	{"the same with a new value in the index", "indexed", "put-moved", "", "go-map"},
	{"durable commits, 1 writer", "durable", "durable-1", "", ""},
	{"durable commits, 16 writers", "durable", "durable-16", "", ""},
	{"process start to first read, after SIGKILL", "restart", "after-kill", "", "go-map"},
	{"4 processes: reads of the 3 readers", "processes", "read-of-4", "", ""},
	{"4 processes: writes of the writer", "processes", "write-of-4", "", ""},
	{"YCSB A, half updates, 2 goroutines", "ycsb", "A", "", "go-map"},
	{"YCSB B, 5 % updates", "ycsb", "B", "", "go-map"},
	{"YCSB C, reads", "ycsb", "C", "", "go-map"},
	{"YCSB D, reads of the latest, 5 % inserts", "ycsb", "D", "", "go-map"},
	{"YCSB E, scans, 5 % inserts, `Sorted`", "ycsb", "E", "everheap-sorted", ""},
	{"YCSB F, half read, change, write", "ycsb", "F", "", "go-map"},
	{"day of a forum, a process may be killed", "forum", "day/async", "", "go-map"},
	{"day of a forum, power may be lost, 16 goroutines", "forum", "day/sync", "", ""},
	{"graph of references, per part", "graph", "traverse", "", "go-pointers"},
	{"data larger than memory: reads", "memory", "get", "", ""},
	{"data larger than memory: writes", "memory", "put1", "", ""},
	{"growth of the files for an update while a reader holds its version", "reader", "grows-held", "", ""},
}

// engine is ours.
func (l line) engine() string {
	if l.ours == "" {
		return "everheap"
	}
	return l.ours
}

// handMade is the hand-written map with a log. It is not an available store, and is compared
// separately.
const handMade = "go-map-log"

// rival returns the best store of others that keeps its data, or "" if there is none. It leaves out
// the memory of stores whose data lie in another process.
func (r *Run) rival(l line) string {
	for _, e := range r.ranked(l.workload, l.op) {
		if r.get(l.workload, l.op, e).median() <= 0 {
			continue // no ratio to that: Pebble's files shrink as often as they grow
		}
		if !isOurs(e) && !isMemory(e) && e != handMade && l.op != "gc" && l.op != "memory" {
			return e
		}
	}
	return ""
}

// compared is a line with its figures.
type compared struct {
	line
	ours          *Series
	memory        *Series
	rival         *Series
	rivalName     string
	toMemory      float64 // how many times as good ours is; 0 if there is none
	toRival       float64
	toLog         float64 // to the map with a log
	withM, withRv bool
	withLog       bool
}

// compare fills the lines that were measured.
func (r *Run) compare() (list []compared) {
	for _, l := range lines {
		c := compared{line: l, ours: r.get(l.workload, l.op, l.engine()), rivalName: r.rival(l)}
		if c.ours == nil || c.ours.note != "" {
			continue
		}
		c.memory, c.rival = r.get(l.workload, l.op, l.memory), r.get(l.workload, l.op, c.rivalName)
		c.toMemory, c.withM = advantage(c.ours, c.memory)
		c.toRival, c.withRv = advantage(c.ours, c.rival)
		c.toLog, c.withLog = advantage(c.ours, r.get(l.workload, l.op, handMade))
		list = append(list, c)
	}
	return list
}

// summary is the main table.
func (r *Run) summary() string {
	var b strings.Builder
	head(&b, "work", "Everheap", "in Go's memory", "speed", "map with a log: speed", "best other store", "speed")
	for _, c := range r.compare() {
		memory, rival := "–", "–"
		if c.withM {
			memory = c.line.memory + ": " + c.memory.text()
		}
		if c.withRv {
			rival = c.rivalName + ": " + c.rival.text() + c.rival.ofDisk()
		}
		row(&b, c.what, c.ours.text()+c.ours.ofDisk(), memory, times(c.toMemory, c.withM), times(c.toLog, c.withLog), rival, times(c.toRival, c.withRv))
	}
	return b.String()
}

// even is the speed from which two are the same, on a machine that others use too.
const even = 0.95

// losses lists where another store is better, and says how often Go's memory is.
func (r *Run) losses() string {
	var b strings.Builder
	list := r.compare()
	slices.SortStableFunc(list, func(a, b compared) int { return cmp.Compare(a.toRival, b.toRival) })
	for _, c := range list {
		if c.withRv && c.toRival < even {
			fmt.Fprintf(&b, "- %s: **%s** is %.1f times as good (%s; Everheap %s).\n", upper(c.what), c.rivalName, 1/c.toRival, c.rival.text(), c.ours.text())
		}
	}
	if b.Len() == 0 {
		b.WriteString("- No other store that keeps its data was better in any line of the first table in this run.\n")
	}
	b.WriteString("\n")
	sentence(&b, list, "The map with a log", func(c compared) (float64, bool) { return c.toLog, c.withLog })
	sentence(&b, list, "Go's memory", func(c compared) (float64, bool) { return c.toMemory, c.withM })
	return b.String()
}

// sentence says in how many lines something is better than Everheap, and by how much.
func sentence(b *strings.Builder, list []compared, what string, speed func(compared) (float64, bool)) {
	var by []float64
	lines, worst := 0, ""
	for _, c := range list {
		v, ok := speed(c)
		if !ok {
			continue
		}
		lines++
		if v < even {
			if by = append(by, 1/v); 1/v == slices.Max(by) {
				worst = c.what
			}
		}
	}
	if len(by) > 0 {
		fmt.Fprintf(b, "%s is better in %d of %d lines: %.1f times in the median, %.1f times at most (%s).\n", what, len(by), lines, Median(by), slices.Max(by), worst)
	}
}

// upper begins a text with a capital.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// readmeLines are the rows of the summary that README.md shows.
var readmeLines = []string{"in-place-tx1000", "get", "put1", "load", "durable-1", "durable-16", "after-kill", "write-of-4", "day/async", "traverse"}

// Readme is the table of README.md.
func (r *Run) Readme() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds, %s records of about 150 bytes, %d cores (`make bench`). A speed above 1× is in favour of Everheap. "+
		"[BENCHMARKS.md](BENCHMARKS.md) has every engine, the ranges, and where Everheap loses and why; [bench/peers](bench/peers) measures it on your machine.\n\n",
		r.rounds, r.records(), r.machine.Cores)
	head(&b, "work", "Everheap", "Go's memory", "speed", "best other store", "speed")
	for _, c := range r.compare() {
		if !slices.Contains(readmeLines, c.op) || c.engine() == "everheap-strings" || c.workload == "memory" || c.op == "load" && c.workload != "points" {
			continue
		}
		memory, rival := "–", "–"
		if c.withM {
			memory = c.memory.short()
		}
		if c.withRv {
			rival = c.rivalName + ": " + c.rival.short()
		}
		row(&b, c.what, c.ours.short(), memory, times(c.toMemory, c.withM), rival, times(c.toRival, c.withRv))
	}
	return b.String()
}

// short is text without the range.
func (s *Series) short() string {
	text, _, _ := strings.Cut(s.text(), " [")
	return text + s.ofDisk()
}

// ofDisk says, for durable commits, how many there were for each sync of the bare disk.
func (s *Series) ofDisk() string {
	if len(s.extra["of_raw"]) == 0 {
		return ""
	}
	return fmt.Sprintf(", %s of the bare disk", number(Median(s.extra["of_raw"])))
}

// records returns the number of records of the points.
func (r *Run) records() string {
	if s := r.get("points", "get", "everheap"); s != nil {
		return number(float64(s.n))
	}
	return "some"
}
