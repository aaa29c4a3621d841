package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/bench/peers/report"
)

// results is the file of records that a report is made of.
type results struct {
	Results string `arg:"" optional:"" help:"File of the records; results/quick.jsonl by default." type:"existingfile"`
}

// load reads the records.
func (r results) load() (*report.Run, error) {
	return report.Load(cmp.Or(r.Results, filepath.Join("results", "quick.jsonl")))
}

// reportCmd writes the report.
type reportCmd struct {
	results
	Out    string `help:"File to write; what stands outside of its markers stays." short:"o" type:"path" placeholder:"FILE"`
	Readme string `help:"File whose table between markers is replaced as well." type:"path" placeholder:"FILE"`
}

// Run writes the report.
func (c *reportCmd) Run() error {
	run, err := c.load()
	if err != nil {
		return err
	}
	if c.Out == "" {
		fmt.Print(run.Markdown())
		return nil
	}
	if err := report.Insert(c.Out, run.Sections()); err != nil {
		return err
	}
	if c.Readme != "" {
		return report.Insert(c.Readme, map[string]string{"measured": run.Readme()})
	}
	return nil
}

// chartCmd draws the charts.
type chartCmd struct {
	results
	Out string `help:"Directory to write to." short:"o" type:"path" default:"../../docs/bench"`
}

// Run draws the charts.
func (c *chartCmd) Run() error {
	run, err := c.load()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	for _, chart := range run.Charts() {
		if err := chart.Save(filepath.Join(c.Out, chart.Name+".svg")); err != nil {
			return fmt.Errorf("%s: %w", chart.Name, err)
		}
	}
	return nil
}
