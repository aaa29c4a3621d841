package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// checkCmd verifies a space.
type checkCmd struct {
	spaceArg
	JSON bool `name:"json" help:"Print JSON."`
}

// Exit codes of check.
const (
	exitFindings   = 1
	exitNotChecked = 2
)

// checked is a report, in the form that check prints.
type checked struct {
	Version  uint64    `json:"version"`
	Objects  uint64    `json:"objects"`
	Entries  uint64    `json:"entries"`
	Blocks   uint64    `json:"blocks"`
	Bytes    uint64    `json:"bytes"`
	Findings []finding `json:"findings"`
}

// finding is one finding of a report.
type finding struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Object string `json:"object,omitempty"`
	What   string `json:"what"`
}

// newFinding returns a finding in the form that check prints.
func newFinding(f everheap.Finding) finding {
	object := ""
	if f.Object != 0 {
		object = fmt.Sprintf("%x", uint64(f.Object))
	}
	return finding{f.File, f.Offset, object, f.What}
}

// print writes a finding for people.
func (f finding) print(w io.Writer) {
	object := ""
	if f.Object != "" {
		object = " (object " + f.Object + ")"
	}
	fmt.Fprintf(w, "%s at offset %d%s: %s\n", f.File, f.Offset, object, f.What)
}

// Run implements the verb.
func (c *checkCmd) Run(ctx context.Context, std *streams) error {
	var report everheap.Report
	began := time.Now()
	err := c.read(std, func(s *everheap.Space) (err error) {
		report, err = s.Check(ctx)
		return err
	})
	if err != nil {
		return &exitError{exitNotChecked, err}
	}
	r := &checked{uint64(report.Version), report.Objects, report.Entries, report.Blocks, report.Bytes, []finding{}}
	for _, f := range report.Findings {
		r.Findings = append(r.Findings, newFinding(f))
	}
	if c.JSON {
		err = printJSON(std.out, r)
	} else {
		r.print(std.out, time.Since(began))
	}
	if err == nil && len(r.Findings) > 0 {
		err = &exitError{exitFindings, nil}
	}
	return err
}

// print writes the report for people.
func (r *checked) print(w io.Writer, took time.Duration) {
	for _, f := range r.Findings {
		f.print(w)
	}
	verdict := "clean"
	if n := len(r.Findings); n > 0 {
		verdict = plural(uint64(n), "finding") + "; restore a backup, or get out what can still be read: everheap salvage"
	}
	fmt.Fprintf(w, "version %d: %s, %s, %s in %s, %.1f s: %s\n", r.Version, plural(r.Objects, "object"),
		plural(r.Entries, "entry"), plural(r.Blocks, "block"), size(r.Bytes), took.Seconds(), verdict)
}

// recoverCmd recovers a space after a power loss.
type recoverCmd struct {
	spaceArg
}

// Run implements the verb. Opening a space for writing recovers it, if necessary.
func (c *recoverCmd) Run(std *streams) error {
	return c.with(func(s *everheap.Space) error {
		st := s.Stats()
		fmt.Fprintf(std.out, "the space is whole: version %d, committed %s ago\n", st.Version, since(st.Committed))
		return nil
	})
}

// debugCmd helps to find a bug of the library itself.
type debugCmd struct {
	Events debugEventsCmd `cmd:"" help:"Print the events that programs noted, in order of time. The programs and this command must be built with the tag invariants."`
}

// debugEventsCmd prints the events of a space.
type debugEventsCmd struct {
	spaceArg
}

// Run implements the verb. The space is not opened.
func (c *debugEventsCmd) Run(std *streams) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	return invariant.DumpEventsOf(dir, std.out)
}
