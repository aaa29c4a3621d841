package report

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// machineText says where and how a run was measured.
func (r *Run) machineText() string {
	m := r.machine
	var b strings.Builder
	head(&b, "", "")
	row(&b, "machine", fmt.Sprintf("%s, %d cores, %.0f GiB", m.Processor, m.Cores, m.MemoryGiB))
	row(&b, "system", fmt.Sprintf("%s, data on %s, %s", m.Kernel, m.FS, m.Go))
	row(&b, "commit", m.Commit)
	row(&b, "when", m.Time)
	row(&b, "command", "`cd bench/peers && "+m.Command+"`")
	row(&b, "rounds", fmt.Sprintf("%d; larger than memory: %d", r.rounds, r.roundsOf("memory")))
	row(&b, "other load", r.load())
	if s := r.get("raw", "write-and-sync-4k", "disk"); s != nil {
		row(&b, "bare disk", "4 KiB written and synced: "+s.text())
	}
	if s := r.get("raw", "process-start", "disk"); s != nil {
		row(&b, "start of a process", s.text()+", part of every restart")
	}
	if len(m.Missing) > 0 {
		row(&b, "left out", strings.Join(m.Missing, ", ")+": not there on this machine")
	}
	return b.String()
}

func (r *Run) roundsOf(workload string) (n int) {
	for k, s := range r.series {
		if k.workload == workload {
			n = max(n, len(s.byRound))
		}
	}
	return n
}

// load describes the processor time of other processes.
func (r *Run) load() string {
	if len(r.foreign) == 0 {
		return "not measured"
	}
	disturbed := 0
	for _, f := range r.foreign {
		if f > 10 {
			disturbed++
		}
	}
	return fmt.Sprintf("other processes used %.0f %% of the machine in the median, %.0f %% at most; more than 10 %% during %d of %d measurements",
		Median(r.foreign), r.loudest, disturbed, len(r.foreign))
}

// engineText says how the engines are set up.
func (r *Run) engineText() string {
	var b strings.Builder
	head(&b, "engine", "version", "set up")
	var names []string
	for e := range r.machine.Notes {
		names = append(names, e)
	}
	slices.Sort(names)
	for _, e := range names {
		row(&b, name(e), r.machine.Versions[e], r.machine.Notes[e])
	}
	return b.String()
}

// Sections are the parts of the document that are generated, by their markers.
func (r *Run) Sections() map[string]string {
	s := map[string]string{"machine": r.machineText(), "summary": r.summary(), "losses": r.losses(), "engines": r.engineText()}
	for _, t := range tables {
		s[t.section] = r.size(t.workload) + t.markdown(r)
	}
	return s
}

// Markdown is the whole report, without prose.
func (r *Run) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\n%s\n%s", r.machineText(), r.summary())
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n%s%s", upper(t.section), r.size(t.workload), t.markdown(r))
	}
	fmt.Fprintf(&b, "\n## Where Everheap loses\n\n%s\n## Engines\n\n%s", r.losses(), r.engineText())
	return b.String()
}

// Insert replaces, in a file, the text between the markers of each section:
//
//	<!-- begin NAME: generated -->
//	<!-- end NAME -->
//
// A section that has no markers in the file is left out; markers of no section are an error.
func Insert(path string, sections map[string]string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(b)
	inserted := 0
	for name, section := range sections {
		begin, end := "<!-- begin "+name+": generated -->\n", "<!-- end "+name+" -->"
		i := strings.Index(text, begin)
		if i < 0 {
			continue
		}
		j := strings.Index(text[i:], end)
		if j < 0 {
			return fmt.Errorf("%s: section %s has no end", path, name)
		}
		text = text[:i+len(begin)] + section + text[i+j:]
		inserted++
	}
	if n := strings.Count(text, "<!-- begin "); n != inserted {
		return fmt.Errorf("%s has %d sections with markers, and %d of them are known", path, n, inserted)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
