package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/everheap/everheap"
)

// salvageCmd writes all readable data of a damaged space as a backup.
type salvageCmd struct {
	spaceArg
	Out  string `arg:"" help:"File to write the backup to; - is standard output."`
	JSON bool   `name:"json" help:"Print the report as JSON."`
}

// Exit codes of salvage.
const (
	exitLost        = 1
	exitNotSalvaged = 2
)

// salvaged is a report, in the form that salvage prints.
type salvaged struct {
	Version   uint64    `json:"version"`
	Committed string    `json:"committed,omitempty"`
	Found     string    `json:"found"`
	Objects   uint64    `json:"objects"`
	Entries   uint64    `json:"entries"`
	Changes   uint64    `json:"changes"`
	Named     uint64    `json:"named"`
	Lost      uint64    `json:"lost"`
	Bytes     uint64    `json:"bytes"`
	Findings  []finding `json:"findings"`
}

// Run implements the verb. If the backup goes to standard output, the report goes to standard error.
func (c *salvageCmd) Run(std *streams) error {
	dir, err := c.dir()
	if err == nil {
		err = c.outside(dir)
	}
	if err == nil && c.Out == "-" && isTerminal(std.out) {
		err = errors.New("a backup cannot be written to a terminal; name a file, or redirect the output")
	}
	if err != nil {
		return &exitError{exitNotSalvaged, err}
	}
	var report everheap.SalvageReport
	write := func(w io.Writer) (err error) {
		report, err = everheap.Salvage(dir, w)
		return err
	}
	to, n := std.out, uint64(0)
	if c.Out == "-" {
		w := &counter{w: std.out}
		err, to = write(w), std.err
		n = w.n
	} else {
		n, err = writeFile(c.Out, write)
	}
	if err != nil {
		return &exitError{exitNotSalvaged, err}
	}
	r := newSalvaged(report, n)
	if c.JSON {
		err = printJSON(to, r)
	} else {
		r.print(to, c.Out)
	}
	if err == nil && r.Lost > 0 {
		err = &exitError{exitLost, nil}
	}
	return err
}

// outside returns an error if the backup would be written into the space.
func (c *salvageCmd) outside(dir string) error {
	if c.Out == "-" {
		return nil
	}
	out := c.Out
	if target, err := filepath.EvalSymlinks(out); err == nil {
		out = target
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(out))
	if err == nil {
		parent, err = filepath.Abs(parent)
	}
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	if parent == dir || strings.HasPrefix(parent, dir+string(filepath.Separator)) {
		return fmt.Errorf("%s lies in the damaged space, which must stay as it is; write to another place", c.Out)
	}
	return nil
}

// newSalvaged makes the report for people and programs.
func newSalvaged(report everheap.SalvageReport, n uint64) *salvaged {
	r := &salvaged{Version: uint64(report.Version), Found: report.Found, Objects: report.Objects, Entries: report.Entries,
		Changes: report.Changes, Named: report.Named, Lost: report.Lost, Bytes: n, Findings: []finding{}}
	if !report.Committed.IsZero() {
		r.Committed = report.Committed.Format(time.RFC3339)
	}
	for _, f := range report.Findings {
		r.Findings = append(r.Findings, newFinding(f))
	}
	return r
}

// print writes the report for people.
func (r *salvaged) print(w io.Writer, out string) {
	for _, f := range r.Findings {
		f.print(w)
	}
	when := ""
	if r.Committed != "" {
		when = " of " + r.Committed
	}
	fmt.Fprintf(w, "version %d%s; %s\n", r.Version, when, r.Found)
	fmt.Fprintf(w, "%s, %s, and %s from the journal: %s\n", plural(r.Objects, "object"), plural(r.Entries, "entry"), plural(r.Changes, "change"), size(r.Bytes))
	if r.Named > 0 {
		fmt.Fprintf(w, "%s that lost their names are called salvaged-N\n", plural(r.Named, "collection"))
	}
	verdict := "all of it is there"
	if r.Lost > 0 {
		verdict = plural(r.Lost, "thing") + " could not be got out"
	}
	fmt.Fprintf(w, "%s; to create a space from it: everheap restore NAME %s\n", verdict, out)
}
